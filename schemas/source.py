"""A source: one input video file, with or without a caption.

{"video": "dog.mp4", "caption": "A woman throws a red ball to a dog."}     a manifest's line
Source(source_id="src-5f0c...", video="dog.mp4", video_sha256="9b1e...", ...)  after its bytes were read
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

from pydantic import field_validator, model_validator

from schemas.outcome import Kind, Subject
from schemas.record import Record, column, content_hash

MAX_CAPTION_CHARS = 20_000


def id_as_text(value: Any) -> Any:
    """7 -> "7": a column of ids may hold integers. Raises ValueError for other numbers, of which no text is certain."""
    if isinstance(value, bool | float | Decimal):
        raise ValueError(f"{value!r} is no id; give text or an integer")
    return str(value) if isinstance(value, int) else value


class ManifestRow(Record):
    """One line of a manifest, as a user writes it."""

    video: str = column("Path of the video, relative to the manifest's folder, or a file:// URI", min_length=1)
    caption: str | None = column(
        "What happens in the video, in English; without it there is nothing to extract",
        default=None,
        max_length=MAX_CAPTION_CHARS,
    )
    start_s: float | None = column("Use the video only from here", unit="s", default=None, ge=0)
    end_s: float | None = column("Use the video only up to here", unit="s", default=None, gt=0)
    id: str | None = column("The user's own name for the row; carried along, never a key", default=None, max_length=256)

    @field_validator("id", mode="before")
    @classmethod
    def _integers_are_ids(cls, value: Any) -> Any:
        return id_as_text(value)

    @field_validator("start_s", "end_s", mode="before")
    @classmethod
    def _true_is_no_time(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError(f"{value!r} is no number of seconds")
        return value

    @model_validator(mode="after")
    def _span_runs_forward(self) -> ManifestRow:
        if self.start_s is not None and self.end_s is not None and self.end_s <= self.start_s:
            raise ValueError(f"end_s {self.end_s} is not after start_s {self.start_s}")
        return self


class Source(Subject):
    """One input video of a manifest, known by its bytes."""

    schema_version: ClassVar[int] = 1
    table_name: ClassVar[str | None] = "sources"
    kind: ClassVar[Kind] = "source"

    source_id: str = column("Derived from the video's bytes, the span and the caption; it never moves")
    external_id: str | None = column("The id the manifest gave the row", default=None)
    line: int = column("Where the row stands in the manifest, from 1", ge=1)
    video: str = column("Path as the manifest writes it")
    video_sha256: str = column("SHA-256 of the video file's bytes", unit="hex")
    n_bytes: int = column("Size of the video file", unit="bytes", ge=0)
    caption: str | None = column("The caption the manifest gave", default=None)
    start_s: float | None = column("Asked span: start", unit="s", default=None)
    end_s: float | None = column("Asked span: end", unit="s", default=None)

    @property
    def row_id(self) -> str:
        return self.source_id

    @staticmethod
    def id_of(video_sha256: str, caption: str | None, start_s: float | None, end_s: float | None) -> str:
        return "src-" + content_hash("source", video_sha256, caption, start_s, end_s, length=16)
