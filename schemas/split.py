"""The pieces of a split source: every frame of its span is in exactly one.

SplitResult(clips=[Clip(shot_index=0, ...)], dropped=[DroppedClip(reason="too_short", ...)])
"""

from __future__ import annotations

from typing import ClassVar, Literal

from schemas.clip import Clip
from schemas.record import Record, StageResult, column


class DroppedClip(Record):
    """A piece of a source that is no clip, and why."""

    clip: Clip = column("The piece")
    reason: Literal["too_short", "too_long", "transition"] = column("A short fixed word for counting")
    detail: str = column("Its length, and the limit if there is one")


class SplitResult(StageResult):
    """All pieces of a source: together they hold every frame of its span once."""

    stage_name: ClassVar[str] = "split_scenes"

    clips: list[Clip] = column("The pieces to go on with, in order")
    dropped: list[DroppedClip] = column("The other pieces, in order")
