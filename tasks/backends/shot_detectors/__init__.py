"""Where shots change: how that is found, and which libraries find it.

Transition(start=48, cut=54, stop=60)    a dissolve of 12 frames, 48..59; frame 54 begins the new shot

pyscenedetect.py   content, adaptive, fades: PySceneDetect's own detectors
transnet.py        transnet: TransNet V2, a network that knows dissolves (needs an extra)
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from pydantic import Field, field_validator

from schemas.config import StageConfig

DetectorName = Literal["content", "adaptive", "fades", "transnet"]


class Transition(NamedTuple):
    """A change of shots, by frames counted from 0 in the span; start <= cut <= stop, all equal for a hard cut."""

    start: int  # the first frame that shows more than the old shot, or black
    cut: int  # the frame that begins the new shot if each shot gets its half
    stop: int  # the first frame that shows the new shot alone

    @classmethod
    def at(cls, frame: int) -> Transition:
        """A hard cut before a frame."""
        return cls(frame, frame, frame)

    @property
    def n_frames(self) -> int:
        """Frames that belong to neither shot alone."""
        return self.stop - self.start


class ShotDetectorConfig(StageConfig):
    """How changes of shots are found. Thresholds are those of PySceneDetect 0.7.2's command line, and TransNet's."""

    detector: list[DetectorName] = Field(
        ["adaptive"],
        min_length=1,
        description="One or several, whose finds are united. content, adaptive, fades: PySceneDetect's detect-content, "
        "detect-adaptive and detect-threshold (black, and likewise white); transnet: TransNet V2, which finds "
        "dissolves (needs the extra transnet)",
    )
    threshold: float = Field(27.0, gt=0, le=255, description="content: a frame that differs by this much is a cut")
    adaptive_threshold: float = Field(
        3.0, gt=0, le=255, description="adaptive: a cut differs this many times as much as the frames around it"
    )
    min_content_val: float = Field(15.0, ge=0, le=255, description="adaptive: and at least by this much")
    fade_threshold: int = Field(
        12,
        ge=1,
        le=127,
        description="fades: a frame is black if its mean is below this, and white if all its parts are above 255 less "
        "this",
    )
    transnet_threshold: float = Field(0.5, gt=0, lt=1, description="transnet: probability above which shots change")
    min_scene_len_s: float = Field(
        0.6,
        ge=0,
        description="Changes closer than this count as one; rounded to frames at the average rate, as PySceneDetect "
        "does",
    )

    @field_validator("detector", mode="before")
    @classmethod
    def _one_is_a_list(cls, names: object) -> object:
        return names.split(",") if isinstance(names, str) else names

    @field_validator("detector")
    @classmethod
    def _in_one_order(cls, names: list[DetectorName]) -> list[DetectorName]:
        return [name for name in get_args(DetectorName) if name in names]  # the same detectors: the same key
