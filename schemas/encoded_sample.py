"""A sample as a video model's frozen networks encoded it.

EncodedSample(latents=b"...", text=b"...", image_latents=b"...", token_offsets=[(0, 1), (2, 5)], made_by=[...])
"""

from __future__ import annotations

from typing import ClassVar

from schemas.provenance import MadeBy
from schemas.record import StageResult, column


class EncodedSample(StageResult):
    """Columns as those of the table of encodings (schemas/training_samples.py), and where the tokens stand."""

    stage_name: ClassVar[str] = "encode_samples"

    latents: bytes = column("safetensors `latents` of the video")
    text: bytes = column("safetensors `text`: (L, D), the prompt's embedding")
    image_latents: bytes | None = column("safetensors `latents` of the first frame alone, F = 1", default=None)
    id_latents: bytes | None = column("safetensors `latents` of the ID map, F = 1", default=None)
    token_offsets: list[tuple[int, int]] = column(
        "One a token, padding excluded: its characters of the prompt, start, end; n, n for none"
    )
    made_by: list[MadeBy] = column("The encoders")
