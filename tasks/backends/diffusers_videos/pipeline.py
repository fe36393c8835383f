"""A sample's prompt and seed -> its video, by a diffusers pipeline.

The content is not judged here. A black or motionless video is the model's answer to the prompt; later stages look for
the animal and the object in it and find it invalid (SpatialAlign 3.3).
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from schemas.generation import Generation, VideoFormat
from schemas.outcome import RowFailed, ServiceDown
from tasks.backends.diffusers_models import Loaded
from tasks.backends.diffusers_videos import DiffusersConfig
from tasks.backends.diffusers_videos.weights import libraries, load_pipeline
from tasks.backends.extras import MODELS
from tasks.backends.torch_runtime import Checkpoint, TorchConfig, device_of, inference, load_once
from tasks.engine.progress import advance
from tasks.media.encoding import encode_video

if TYPE_CHECKING:
    import torch

FRAMES_PER_LATENT = ("vae_scale_factor_temporal", "vae_temporal_compression_ratio")  # differs by pipeline


class Asked(Protocol):
    """What a video is a function of beside the settings: a DsrSample has both."""

    @property
    def text(self) -> str: ...
    @property
    def seed(self) -> int: ...


class DiffusersVideos:
    """Samples a text-to-video model (`Generator`)."""

    def __init__(self, config: VideoFormat, diffusers: DiffusersConfig, torch: TorchConfig) -> None:
        self.concurrency = 1 + min(1, torch.look_ahead)  # one is made while the last is encoded
        self._config, self._diffusers, self._torch = config, diffusers, torch
        self._checkpoint = Checkpoint.of(diffusers.model)
        self._lora = None if diffusers.lora is None else Checkpoint.of(diffusers.lora)
        self._network = {
            "backend": "diffusers",
            "model": self._checkpoint.identity,
            "lora": "none" if self._lora is None else self._lora.identity,
            **MODELS.pinned(*libraries(self._lora)),
            "precision": diffusers.precision,
            "vae_precision": diffusers.vae_precision,
            "flow_shift": "the model's" if diffusers.flow_shift is None else str(diffusers.flow_shift),
        }
        self.identity = {
            **self._network,
            "steps": str(diffusers.steps),
            "guidance": str(diffusers.guidance),
            "negative_prompt": diffusers.negative_prompt,
            "frames": f"{config.n_frames} of {config.width}x{config.height}",
        }

    def generate(self, sample: Asked) -> Generation:
        """The model's video of the prompt, from the noise of the seed.

        Raises RowFailed("not_finite") for pixels that are not finite, ServiceDown for settings that this pipeline
        does not support, and whatever loading and the GPU raise.
        """
        device = device_of(self._torch)
        key = (*self._network.items(), self._diffusers.offload)
        loaded = load_once("diffusers", key, device, lambda: self._load(device))
        # No autocast: it would override the decoder's precision.
        with loaded.lock, inference(device, "float32"):
            pixels = self._sample(loaded.pipeline, sample)
        frames = as_frames(pixels, "diffusers")
        return Generation(encode_video(frames, self._config.fps, self._config.crf))

    def _load(self, device: torch.device) -> Loaded:
        return Loaded(load_pipeline(self._diffusers, self._checkpoint, self._lora, device))

    def _sample(self, pipeline: Any, sample: Asked) -> np.ndarray:
        """(N, H, W, 3) float in 0..1."""
        config = self._config
        check_n_frames(config.n_frames, pipeline)
        pixels = sampled(pipeline, self._diffusers, config, sample)
        if pixels.shape != (config.n_frames, config.height, config.width, 3):
            n_frames, height, width = pixels.shape[:3]
            raise ServiceDown(
                f"{type(pipeline).__name__} made {n_frames} frames of {width}x{height}, expected {config.n_frames} of "
                f"{config.width}x{config.height}; set generate.n_frames, width and height to what it makes"
            )
        return pixels


class Denoising(Protocol):
    """How a video is denoised."""

    @property
    def steps(self) -> int: ...
    @property
    def guidance(self) -> float: ...
    @property
    def negative_prompt(self) -> str: ...


class Measures(Protocol):
    """How large a video is."""

    @property
    def n_frames(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...


def sampled(pipeline: Any, settings: Denoising, measures: Measures, asked: Asked, **given: Any) -> np.ndarray:
    """(N, H, W, 3) float in 0..1, from the noise of the seed. given: the pipeline's other arguments

    Raises ServiceDown for settings that the pipeline refuses.
    """
    import torch

    try:
        made = pipeline(
            prompt=asked.text,
            negative_prompt=settings.negative_prompt,
            num_frames=measures.n_frames,
            height=measures.height,
            width=measures.width,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            # On the CPU: GPU generators give other numbers.
            generator=torch.Generator("cpu").manual_seed(asked.seed),
            output_type="np",
            **given,
            **step_callback(pipeline, settings.steps),
        )
    except ValueError as error:  # rows differ only in what they ask for, so the settings are wrong
        raise ServiceDown(f"{type(pipeline).__name__} refuses these settings: {error}") from error
    return np.asarray(made.frames[0])


def as_frames(pixels: np.ndarray, section: str) -> np.ndarray:
    """(N, H, W, 3) in 0..1 -> uint8. section: of the config, whose precision is to blame for what is no number

    Raises RowFailed("not_finite").
    """
    if not np.isfinite(pixels).all():
        remedy = f"set {section}.precision and vae_precision to float32; if they are, the weights are broken"
        raise RowFailed("not_finite", f"pixels are no numbers: {remedy}", retryable=False)
    return (pixels * 255).round().astype(np.uint8)


def step_callback(pipeline: Any, n_steps: int) -> dict[str, Any]:
    """The pipeline's argument that has every denoising step told; none for the few pipelines without one."""
    if "callback_on_step_end" not in inspect.signature(pipeline.__call__).parameters:
        return {}

    def tell(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        advance(step + 1, n_steps, "denoising steps")
        return tensors

    return {"callback_on_step_end": tell}


def check_n_frames(n_frames: int, pipeline: Any) -> None:
    """Raises ServiceDown for a number of frames that the pipeline's decoder cannot make: Wan's makes 4k + 1."""
    ratio = next((int(getattr(pipeline, name)) for name in FRAMES_PER_LATENT if hasattr(pipeline, name)), 1)
    beyond = (n_frames - 1) % ratio
    if beyond:
        near = n_frames - beyond
        raise ServiceDown(
            f"generate.n_frames is {n_frames}, but a {type(pipeline).__name__} makes {ratio}k + 1 frames: set it to "
            f"{near} or {near + ratio}"
        )
