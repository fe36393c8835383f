"""What the generators of recipes share that start from a picture: one pipeline a process, sampled input by input.

class KinemaskVideos(PipelineVideos):
    def load(self, device): ...            the pipeline with what the run has learnt
    def arguments(self, shown): ...        what it is called with beside what all are
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from schemas.storage import AnyPath
from schemas.training_run import WEIGHTS, RunManifest
from tasks.backends.diffusers_models import Loaded
from tasks.backends.diffusers_videos.pipeline import Measures, as_frames, sampled
from tasks.backends.extras import MODELS
from tasks.backends.torch_runtime import TorchConfig, device_of, inference, load_once
from tasks.generate_videos import GenerateVideosConfig, Shown, weights_of
from tasks.media.encoding import encode_video
from tasks.readers.read_generation_inputs import Needs

if TYPE_CHECKING:
    import torch

LIBRARIES = ("diffusers", "transformers", "peft")


class PipelineVideos(ABC):
    """A `VideoGenerator` by an image-to-video pipeline."""

    kind: ClassVar[str]  # the recipe
    concurrency = 1
    needs: Needs
    trained: Measures  # the run's settings
    fps: int  # the model's own

    def __init__(self, run: AnyPath, manifest: RunManifest, config: GenerateVideosConfig, torch: TorchConfig) -> None:
        assert isinstance(run, Path)  # `load_generator` refuses others
        self.weights = run / WEIGHTS
        self._config, self._torch = config, torch
        self.identity: Mapping[str, str] = {
            "backend": self.kind,
            "model": manifest.request.base_model,
            "weights": weights_of(manifest),
            **MODELS.pinned(*LIBRARIES),
            "settings": config.model_dump_json(exclude={"crf"}),
        }

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) px."""
        return self.trained.height, self.trained.width

    @abstractmethod
    def load(self, device: torch.device) -> Any:
        """The pipeline. Raises ServiceDown."""

    @abstractmethod
    def arguments(self, shown: Shown) -> dict[str, Any]:
        """What the pipeline is called with for an input beside prompt, size, steps, guidance and noise."""

    def generate(self, shown: Shown) -> bytes:
        """See VideoGenerator. Raises RowFailed("not_finite") for pixels that are no numbers, ServiceDown for settings
        that the pipeline refuses."""
        device = device_of(self._torch)
        loaded = load_once("trained", (*self.identity.items(),), device, lambda: Loaded(self.load(device)))
        with loaded.lock, inference(device, "float32"):  # no autocast: networks are in the precision asked for
            pixels = sampled(loaded.pipeline, self._config, self.trained, shown, **self.arguments(shown))
        return encode_video(as_frames(pixels, "generate"), self._config.fps or self.fps, self._config.crf)
