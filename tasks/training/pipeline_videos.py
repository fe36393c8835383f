"""What the generators of recipes share that start from a picture: one pipeline a process, sampled input by input.

class KinemaskVideos(PipelineVideos):
    def load(self, device): ...            the pipeline with what the run has learnt
    def arguments(self, shown): ...        what it is called with beside what all are
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from schemas.outcome import RowFailed, ServiceDown
from schemas.storage import AnyPath
from schemas.training_run import WEIGHTS, RunManifest
from tasks.backends.diffusers_videos.pipeline import step_callback
from tasks.backends.extras import MODELS
from tasks.backends.torch_runtime import TorchConfig, device_of, inference, load_once
from tasks.generate_videos import GenerateVideosConfig, Shown, weights_of
from tasks.media.encoding import encode_video
from tasks.readers.read_generation_inputs import Needs

if TYPE_CHECKING:
    import torch

LIBRARIES = ("diffusers", "transformers", "peft")


@dataclass(frozen=True)
class Loaded:
    """A pipeline, ready on its device."""

    pipeline: Any
    lock: threading.Lock = field(default_factory=threading.Lock)  # its scheduler keeps the state of one video


class PipelineVideos(ABC):
    """A `VideoGenerator` by an image-to-video pipeline."""

    kind: ClassVar[str]  # the recipe
    concurrency = 1
    needs: Needs
    size: tuple[int, int]  # (height, width) px
    n_frames: int
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
            pixels = self._sample(loaded.pipeline, shown)
        if not np.isfinite(pixels).all():
            remedy = "set generate.precision and vae_precision to float32; if they are, the weights are broken"
            raise RowFailed("not_finite", f"pixels are no numbers: {remedy}", retryable=False)
        frames = (pixels * 255).round().astype(np.uint8)
        return encode_video(frames, self._config.fps or self.fps, self._config.crf)

    def _sample(self, pipeline: Any, shown: Shown) -> np.ndarray:
        """(F, H, W, 3) float in 0..1."""
        import torch

        height, width = self.size
        try:
            made = pipeline(
                prompt=shown.prompt,
                negative_prompt=self._config.negative_prompt,
                num_frames=self.n_frames,
                height=height,
                width=width,
                num_inference_steps=self._config.steps,
                guidance_scale=self._config.guidance,
                generator=torch.Generator().manual_seed(shown.seed),
                output_type="np",
                **self.arguments(shown),
                **step_callback(pipeline, self._config.steps),
            )
        except ValueError as error:  # inputs differ only in pictures and text, so the settings are wrong
            raise ServiceDown(f"{type(pipeline).__name__} refuses these settings: {error}") from error
        return np.asarray(made.frames[0])
