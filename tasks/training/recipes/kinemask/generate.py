"""Videos by a run's ControlNet: a picture, masks and arrows set things in motion (KineMask 3.3).

load(Path("runs/kinemask-3f9c2a71b0de"), manifest, config, TorchConfig()).generate(Shown(prompt, 0, image, masks, ...))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from schemas.storage import AnyPath
from schemas.training_run import RunManifest
from tasks.backends.torch_runtime import Checkpoint, TorchConfig, loading
from tasks.datasets.kinemask.condition_clips import CONSTANT_PROMPT
from tasks.datasets.kinemask.condition_image import first_frame_masks
from tasks.generate_videos import GenerateVideosConfig, Shown
from tasks.readers.read_generation_inputs import Needs
from tasks.training.models.base import load_base
from tasks.training.pipeline_videos import PipelineVideos
from tasks.training.recipes.kinemask.config import KinemaskTraining
from tasks.training.recipes.kinemask.recipe import CONTROL_NET

if TYPE_CHECKING:
    import torch

OWN_FPS = {"cogvideox": 8, "wan": 24}


class KinemaskVideos(PipelineVideos):
    """CogVideoX's or Wan2.2's image-to-video pipeline with a run's ControlNet."""

    kind = "kinemask"

    def __init__(self, run: AnyPath, manifest: RunManifest, config: GenerateVideosConfig, torch: TorchConfig) -> None:
        super().__init__(run, manifest, config, torch)
        self.trained: KinemaskTraining = KinemaskTraining.model_validate_json(manifest.request.config)
        self.fps = OWN_FPS[self.trained.backbone]
        self.needs = Needs(True, True, CONSTANT_PROMPT if self.trained.prompt == "constant" else None)

    def load(self, device: torch.device) -> Any:
        import torch

        from tasks.training.models.cogvideox.control import CogVideoXControlNet
        from tasks.training.models.wan.control import WanControlNet
        from tasks.training.recipes.kinemask import pipeline

        base = load_base(self.trained.weights, self._config.precision, None, self._config.vae_precision)
        network: Any = {"cogvideox": CogVideoXControlNet, "wan": WanControlNet}[self.trained.backbone]
        folder = self.weights / CONTROL_NET
        with loading(Checkpoint.of(str(folder))):
            net = network.from_pretrained(folder, torch_dtype=getattr(torch, self._config.precision))
        kind = {"cogvideox": pipeline.KineMaskPipeline, "wan": pipeline.KineMaskWanPipeline}[self.trained.backbone]
        made = kind(**base.components, **_flags(base), control_net=net)
        made.set_progress_bar_config(disable=True)
        return made.to(device)

    def arguments(self, shown: Shown) -> dict[str, Any]:
        import torch

        assert shown.image is not None  # `needs`
        pushed = list(shown.velocities)
        masks = first_frame_masks(
            np.stack([shown.masks[name] for name in pushed]), [shown.velocities[name] for name in pushed], 1
        )
        image = torch.from_numpy(shown.image).movedim(-1, 0).float()[None] / 255
        return {"image": image, "masks": masks, "control_weight": self.trained.control.weight}


def _flags(pipeline: Any) -> dict[str, Any]:
    """What a pipeline is made of beside its networks: Wan2.2's two settings."""
    return {name: pipeline.config[name] for name in ("boundary_ratio", "expand_timesteps") if name in pipeline.config}


load = KinemaskVideos
