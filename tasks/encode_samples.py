"""samples -> what a video model's denoiser takes: latents of pictures, embeddings of prompts.

    49 frames of 720x480, their ID map, "A boy kicks a red ball."
    ->  latents (13, 16, 60, 90), of the first frame and the ID map (1, 16, 60, 90) each, text (226, 4096),
        tokens at characters (0, 1), (2, 5), (6, 11), ...

The networks are those of the model that will be trained; they stay as they are, so each sample goes through them once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from schemas.encoded_sample import EncodedSample
from schemas.provenance import MadeBy
from schemas.training_samples import SnapshotRow
from tasks.backends.torch_runtime import TorchConfig
from tasks.engine.shards import Row
from tasks.engine.stage import Stage
from tasks.training.encoders import Encoder, EncoderConfig
from tasks.training.models.encoder import load_encoder

if TYPE_CHECKING:
    import numpy as np
    import torch


class Encodable(Protocol):
    """A sample that is to be encoded; nothing is decoded before it is asked for."""

    @property
    def content(self) -> list[object]:
        """What the pictures are a function of, for keys: the SHA-256 of the video and of the ID map, never a path."""

    @property
    def prompt(self) -> str: ...

    @property
    def wants_first_frame(self) -> bool:
        """Does the model take the first frame beside the noise?"""

    def frames(self) -> np.ndarray:
        """(F, H, W, 3) uint8 RGB. Raises RowFailed for a video that cannot be read."""

    def id_map(self) -> np.ndarray | None:
        """(H, W, 3) uint8 RGB, or None if the model takes none."""


def encode_sample(sample: Encodable, encoder: Encoder, made_by: list[MadeBy]) -> EncodedSample:
    """Raises RowRejected("prompt_too_long"), RowFailed for frames that the model cannot take."""
    text = encoder.encode_text(sample.prompt)  # first: it may be refused, and costs least
    frames, id_map = sample.frames(), sample.id_map()
    return EncodedSample(
        latents=_stored(latents=encoder.encode_video(frames)),
        text=_stored(text=text.embedding),
        image_latents=_stored(latents=encoder.encode_image(frames[0])) if sample.wants_first_frame else None,
        id_latents=None if id_map is None else _stored(latents=encoder.encode_image(id_map)),
        token_offsets=list(text.offsets),
        made_by=made_by,
    )


def _stored(**tensor: torch.Tensor) -> bytes:
    from safetensors.torch import save

    return save(tensor)


def stage(
    read: Callable[[Row[SnapshotRow]], Encodable], config: EncoderConfig, torch: TorchConfig
) -> Stage[SnapshotRow, Encodable, EncodedSample]:
    """read: the flow's own, row -> sample"""
    encoder = load_encoder(config, torch)
    made_by = [MadeBy.of(EncodedSample.stage_name, dict(encoder.identity))]
    return Stage(
        version=1,
        result=EncodedSample,
        config=config,
        made_by=made_by,
        read=read,
        key_of=lambda sample: [sample.content, sample.prompt, sample.wants_first_frame],
        compute=lambda sample: encode_sample(sample, encoder, made_by),
        concurrency=1 + min(1, torch.look_ahead),  # one is decoded while the other is in the network
    )
