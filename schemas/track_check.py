"""A track check: one number measured on one mask track, and its threshold.

TrackCheck(instance_id="id2", measure="presence", value=0.96, threshold=0.3, passed=True)
"""

from __future__ import annotations

from typing import ClassVar

from schemas.record import Record, StageResult, column


class TrackCheck(Record):
    """One measure of one track."""

    schema_version: ClassVar[int] = 1

    instance_id: str = column("Whose track")
    measure: str = column(
        "presence, gap, area_min, area_max, swell, leaps, duplicate, swallowed: of the masks alone; outline, likeness: "
        "of the pictures; return: of a second walk; confirmed: of the verifier, asked again"
    )
    value: float = column("What was measured")
    threshold: float = column("What it was held against")
    passed: bool = column("False drops the track")
    detail: str | None = column("What the number is about", default=None)


class Checked(StageResult):
    """What became of a clip's tracks."""

    stage_name: ClassVar[str] = "check_tracks"

    checks: list[TrackCheck] = column("Every measure of every track")
    kept_ids: list[str] = column("Instances whose tracks passed and that a kept interaction names")
    review_frames: list[int] = column("Frames to look at: first verified, last valid, eight evenly between")
