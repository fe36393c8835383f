"""A generated video: as the generator returns it, and as it is stored with the instances in it.

Generation(video=b"...", looks={"id1": "an orange fox"}) -> Generated(n_frames=81, instances=[id1, id2], ...)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from schemas.candidate import Box
from schemas.dsr import TrueBoxes
from schemas.instance import Instance
from schemas.provenance import MadeBy
from schemas.record import StageResult, column


class VideoFormat(Protocol):
    """The format of generated videos, from the stage's config."""

    @property
    def n_frames(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def fps(self) -> int: ...
    @property
    def crf(self) -> int: ...


@dataclass(frozen=True)
class Generation:
    """A generated video."""

    video: bytes
    # {instance_id: 'an orange fox'} if the generator knows; else the prompt's words hold
    looks: dict[str, str] = field(default_factory=dict)
    # {instance_id: one a frame} if the generator knows
    boxes: dict[str, list[Box | None]] = field(default_factory=dict)
    drawn: str | None = None  # what was drawn on purpose, a short fixed word: 'as_asked', 'reversed', ...


class Generated(StageResult):
    """A sample's video, and what is to be found in it."""

    schema_version: ClassVar[int] = 1
    stage_name: ClassVar[str] = "generate_samples"

    video: bytes = column("The video file")
    video_sha256: str = column("SHA-256 of the video", unit="hex")
    n_frames: int = column("Frames that it holds", ge=1)
    fps: float = column("Frames a second", unit="frames/s", gt=0)
    width: int = column("Width", unit="px", ge=1)
    height: int = column("Height", unit="px", ge=1)
    instances: list[Instance] = column("The animal and the object, as detectors and verifiers are told of them")
    true_boxes: list[TrueBoxes] = column("Where they were drawn; empty: the generator cannot say")
    drawn: str | None = column("What was drawn on purpose; null: the generator cannot say", default=None)
    made_by: list[MadeBy] = column("The generator")
