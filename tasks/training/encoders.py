"""What a model family's encoders do for the stages that prepare samples: pictures and text to what its network takes.

encoder = load_encoder(EncoderConfig(family="cogvideox", model="THUDM/CogVideoX-5b-I2V"), TorchConfig())
encoder.encode_video(frames)             (49, 480, 720, 3) uint8  ->  (13, 16, 60, 90)
encoder.encode_text("A red ball ...")    EncodedText(embedding (226, 4096), offsets [(0, 1), (2, 5), ...])
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import Field

from schemas.config import StageConfig
from tasks.backends.torch_runtime import Precision

if TYPE_CHECKING:
    import numpy as np
    import torch


class EncoderConfig(StageConfig):
    """Which model's autoencoder and text encoder make a sample's latents and embedding."""

    family: Literal["cogvideox", "wan", "wan22"] = Field(
        description="cogvideox: CogVideoX 1.0; wan: Wan2.1; wan22: Wan2.2-TI2V-5B, whose latents are 16 times smaller"
    )
    model: str = Field(
        description="A pipeline as save_pretrained writes it: a folder, or OWNER/NAME[@REVISION] of the model hub"
    )
    precision: Precision = Field("bfloat16", description="Precision of the text encoder, and of stored embeddings")
    vae_precision: Precision = Field("float32", description="Precision of the autoencoder, and of stored latents")
    tiling: bool = Field(
        False,
        description="Encode pictures in overlapping tiles, as diffusers does: less memory, more time, other latents",
    )


@dataclass(frozen=True)
class EncodedText:
    """A prompt as the network takes it."""

    embedding: torch.Tensor  # (L, D)
    # One a token, padding excluded: start and end of its characters in the prompt, white space around them excluded;
    # (n, n) for none.
    offsets: tuple[tuple[int, int], ...]


def tokens_of(offsets: Sequence[tuple[int, int]], spans: Collection[tuple[int, int]]) -> list[int]:
    """Which tokens, from 0, hold a character of a span.

    tokens_of([(0, 1), (2, 5), (6, 10), (10, 11), (11, 11)], [(6, 10)]) -> [2]      "a red ball."
    """
    return [
        token
        for token, (start, end) in enumerate(offsets)
        if any(max(start, first) < min(end, last) for first, last in spans)
    ]


class Encoder(Protocol):
    """The frozen networks of a video model that stand before its denoiser."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What its answers depend on: model with revision or digest, libraries, precision."""

    def encode_video(self, frames: np.ndarray) -> torch.Tensor:
        """(F, H, W, 3) uint8 RGB -> latents as the network is trained on them, on the CPU.

        CogVideoX (1 + (F - 1) / 4, 16, H / 8, W / 8); Wan (16, 1 + (F - 1) / 4, H / 8, W / 8). The distribution's mode:
        the same frames give the same latents. Raises RowFailed for frames that do not divide.
        """

    def encode_image(self, picture: np.ndarray) -> torch.Tensor:
        """(H, W, 3) uint8 RGB -> latents of a video's first frame as the network is given them, F = 1; as above."""

    def encode_text(self, prompt: str) -> EncodedText:
        """Raises RowRejected("prompt_too_long") for a prompt that would be cut off."""
