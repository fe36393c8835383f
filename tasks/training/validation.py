"""Videos that a training makes on the way, always of the same samples and noise: what changes is the training.

config.validation.due(step=250, n_steps=1000)                 True
rows = chosen(test_rows, config.validation)                   the same ones at every step and in every run
shown = write_validation(run, 250, "clip-9f3c", prompt, frames, 8, {"first frame": picture})
->  validation/step-000250/clip-9f3c.mp4, clip-9f3c.first-frame.png and what they are, for validation/index.json
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import numpy as np
from pydantic import Field

from schemas.config import StageConfig
from schemas.record import content_hash
from schemas.storage import write_atomic
from schemas.tables import OfClip
from schemas.training_run import VALIDATION, Condition, Measured, Validation
from tasks.backends.torch_runtime import Precision, TorchConfig, release_others
from tasks.media.encoding import encode_video
from tasks.media.png import encode_png

if TYPE_CHECKING:
    import torch

R = TypeVar("R", bound=OfClip)


class ValidationConfig(StageConfig):
    """Of what videos are made, and how; when: `Optimisation`. The papers state none of it; all of it is ours."""

    n_samples: int = Field(2, ge=1, description="Videos each time, of samples or prompts of the test split")
    n_denoising_steps: int = Field(50, ge=1, description="Denoising steps of a video")
    n_frames: int | None = Field(None, ge=5, description="Frames of a video: 4k + 1; null: as many as are trained on")
    guidance: float = Field(
        6.0, ge=1, description="Scale of classifier-free guidance; 1: none. diffusers' for CogVideoX"
    )
    seed: int = Field(0, ge=0, description="Of the noise that a video starts from")


class Filmed(Protocol):
    """A recipe's settings, as far as its videos need them."""

    @property
    def n_frames(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def validation(self) -> ValidationConfig: ...


def chosen(rows: Iterable[R], config: ValidationConfig) -> list[R]:
    """n_samples of them, the same whatever their order and whatever other snapshot they are in as well."""
    return sorted(rows, key=lambda row: content_hash("validation", row.clip_id))[: config.n_samples]


def write_validation(
    run: Path,
    step: int,
    sample_id: str,
    prompt: str,
    frames: np.ndarray,
    fps: Fraction | int,
    conditions: Mapping[str, np.ndarray],
    measured: Mapping[str, float] | None = None,
) -> Validation:
    """Write a video and what it was made from into a run's folder.

    frames:     (F, H, W, 3) uint8 RGB
    conditions: {"first frame": (H, W, 3) uint8 RGB}, or (F, H, W, 3) for a video
    """
    folder = Path(VALIDATION) / f"step-{step:06d}"

    def write(stem: str, pixels: np.ndarray) -> str:
        path = folder / f"{stem}.{'png' if pixels.ndim == 3 else 'mp4'}"
        write_atomic(run / path, encode_png(pixels) if pixels.ndim == 3 else encode_video(pixels, fps))
        return path.as_posix()

    return Validation(
        step=step,
        sample_id=sample_id,
        prompt=prompt,
        video=write(sample_id, frames),
        conditions=[
            Condition(name=name, path=write(f"{sample_id}.{re.sub(r'[^a-z0-9]+', '-', name.lower())}", pixels))
            for name, pixels in conditions.items()
        ],
        measured=[Measured(name=name, value=value) for name, value in (measured or {}).items()],
    )


def film(
    pipeline: Any, config: Filmed, text: torch.Tensor, empty: Callable[[], torch.Tensor], **given: Any
) -> np.ndarray:
    """(F, H, W, 3) uint8: what a pipeline makes of an encoded prompt, with the settings' noise; numbers gone bad are 0.

    text:  (1, L, D), on the device
    empty: what guidance leads away from, asked for where there is guidance
    given: the pipeline's other arguments
    """
    import torch

    settings = config.validation
    made = pipeline(
        num_frames=settings.n_frames or config.n_frames,
        height=config.height,
        width=config.width,
        num_inference_steps=settings.n_denoising_steps,
        guidance_scale=settings.guidance,
        prompt_embeds=text,
        negative_prompt_embeds=empty().to(text) if settings.guidance > 1 else None,
        generator=torch.Generator().manual_seed(settings.seed),
        output_type="np",
        **given,
    ).frames[0]
    return (np.nan_to_num(made) * 255).round().astype(np.uint8)


@contextmanager
def kept_random() -> Iterator[None]:
    """While it lasts, what is drawn from torch's generator on the CPU changes nothing for those who draw later."""
    import torch

    with torch.random.fork_rng(devices=[]):
        yield


def empty_text(
    family: Literal["cogvideox", "wan", "wan22"], model: str, precision: Precision, device: torch.device
) -> torch.Tensor:
    """(1, L, D) on the CPU: what guidance leads away from. The text encoder leaves memory again."""
    import torch

    from tasks.training.encoders import EncoderConfig
    from tasks.training.models.encoder import load_encoder

    # As many threads as there are: another number would change the last bits of the training.
    name = "cpu" if device.type == "cpu" else str(device)  # a job's is cpu:0
    here = TorchConfig(device=name, threads=torch.get_num_threads())
    encoder = load_encoder(EncoderConfig(family=family, model=model, precision=precision), here)
    embedding = encoder.encode_text("").embedding[None]
    release_others("encoders", None, torch.device(name))
    return embedding
