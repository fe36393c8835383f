"""Videos by CogVideoX with a run's weights: a picture, the masks of its instances, a prompt (MATRIX 5).

load(Path("runs/matrix-3f9c2a71b0de"), manifest, config, TorchConfig()).generate(Shown(prompt, 0, image, masks, {}))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schemas.storage import AnyPath
from schemas.training_run import RunManifest
from tasks.backends.torch_runtime import TorchConfig
from tasks.generate_videos import GenerateVideosConfig, Shown
from tasks.media.id_map import id_map
from tasks.readers.read_generation_inputs import Needs
from tasks.training.models.base import load_base
from tasks.training.pipeline_videos import PipelineVideos
from tasks.training.recipes.matrix.config import MatrixTraining

if TYPE_CHECKING:
    import torch


class MatrixVideos(PipelineVideos):
    """CogVideoX's image-to-video pipeline that sees an ID map, too."""

    kind = "matrix"
    needs = Needs(image=True)
    fps = 8  # CogVideoX's

    def __init__(self, run: AnyPath, manifest: RunManifest, config: GenerateVideosConfig, torch: TorchConfig) -> None:
        super().__init__(run, manifest, config, torch)
        self.trained: MatrixTraining = MatrixTraining.model_validate_json(manifest.request.config)

    def load(self, device: torch.device) -> Any:
        from tasks.training.recipes.matrix import pipeline

        base = load_base(self.trained.model, self._config.precision, None, self._config.vae_precision)
        made = pipeline.MatrixPipeline(**base.components)
        made.load_trained(self.weights)
        made.set_progress_bar_config(disable=True)
        return made.to(device)

    def arguments(self, shown: Shown) -> dict[str, Any]:
        import torch

        assert shown.image is not None  # `needs`
        image = torch.from_numpy(shown.image).movedim(-1, 0).float()[None] / 255
        return {"image": image, "id_map": id_map([shown.masks[name] for name in sorted(shown.masks)])}


load = MatrixVideos
