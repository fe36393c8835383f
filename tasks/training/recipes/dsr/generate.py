"""Videos by Wan2.1 with the LoRA of a run (SpatialAlign 4.1): the stock pipeline, which curate-dsr samples as well.

load(Path("runs/dsr-3f9c2a71b0de"), manifest, config, TorchConfig()).generate(Shown("A fox ...", seed=0, ...))
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.storage import AnyPath
from schemas.training_run import WEIGHTS, RunManifest
from tasks.backends.diffusers_videos import DiffusersConfig
from tasks.backends.diffusers_videos.pipeline import DiffusersVideos
from tasks.backends.torch_runtime import TorchConfig
from tasks.generate_samples import GenerateConfig
from tasks.generate_videos import GenerateVideosConfig, Shown
from tasks.readers.read_generation_inputs import Needs
from tasks.training.recipes.dsr.config import DsrTraining
from tasks.training.recipes.dsr.model import LORA_FILE


class DsrVideos:
    """A text-to-video pipeline with a run's LoRA (`VideoGenerator`)."""

    needs = Needs()
    size = None

    def __init__(self, videos: DiffusersVideos) -> None:
        self._videos = videos
        self.concurrency = videos.concurrency

    @property
    def identity(self) -> Mapping[str, str]:
        return self._videos.identity

    def generate(self, shown: Shown) -> bytes:
        """See VideoGenerator."""
        return self._videos.generate(shown).video


def load(run: AnyPath, manifest: RunManifest, config: GenerateVideosConfig, torch: TorchConfig) -> DsrVideos:
    """The generator of a run of `train-dsr`."""
    trained = DsrTraining.model_validate_json(manifest.request.config)
    size = {"n_frames": trained.n_frames, "width": trained.width, "height": trained.height, "crf": config.crf}
    if config.fps is not None:
        size["fps"] = config.fps
    pipeline = DiffusersConfig(
        model=trained.model,
        lora=str(run / WEIGHTS / LORA_FILE),
        **config.model_dump(include={"steps", "guidance", "negative_prompt", "precision", "vae_precision"}),
    )
    return DsrVideos(DiffusersVideos(GenerateConfig(generator="diffusers", **size), pipeline, torch))
