"""What a caption may say about a simulation: events with times, not yet worded.

    Starts(0.0, "id1", "left", Direction.RIGHT, towards="id3")
    Hits(0.79, "id1", "id3", "firm", goes=(Goes("id3", "pushed", Direction.RIGHT), Goes("id1", "halts", None)))
    Leaves(1.46, "id3", Direction.RIGHT)

Only what the picture shows is a fact. measures.py measures them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

import numpy as np


class Direction(Enum):
    """A direction in the picture; value: degrees counter-clockwise from the right."""

    RIGHT = 0
    TOP_RIGHT = 45
    TOP = 90
    TOP_LEFT = 135
    LEFT = 180
    BOTTOM_LEFT = 225
    BOTTOM = 270
    BOTTOM_RIGHT = 315

    @classmethod
    def of(cls, dx: float, dy: float) -> Direction:
        """The nearest of the eight; dx to the right, dy down, in px."""
        return cls(round(np.degrees(np.arctan2(-dy, dx)) / 45) % 8 * 45)


FrameThird = Literal["left", "middle", "right"]
Strength = Literal["slight", "plain", "firm"]
Manner = Literal["pushed", "nudged", "stays", "continues", "veers", "deflected", "bounces", "halts"]


@dataclass(frozen=True)
class Starts:
    """A controlled body moves from the first frame on."""

    time_s: float
    instance_id: str
    place: FrameThird
    direction: Direction
    towards: str | None  # the body that it is aimed at and hits first


@dataclass(frozen=True)
class Goes:
    """What a body does after a hit, until its next one.

    pushed, nudged, stays: it was at rest; then it moves, barely moves, does not move
    continues, veers, deflected, bounces, halts: it was moving; then it goes on, turns a little (not enough for another
        direction in the picture), turns, comes back, stops at once
    """

    instance_id: str
    manner: Manner
    direction: Direction | None  # None: nudged, stays, halts


@dataclass(frozen=True)
class Hits:
    """A visible collision, and what both bodies do afterwards as far as it is visible."""

    time_s: float
    first_id: str  # the faster one
    second_id: str
    strength: Strength
    goes: tuple[Goes, ...]  # of the second body, then of the first

    @property
    def pair(self) -> frozenset[str]:
        return frozenset((self.first_id, self.second_id))

    def after(self, instance_id: str) -> Goes | None:
        return next((goes for goes in self.goes if goes.instance_id == instance_id), None)


@dataclass(frozen=True)
class Stops:
    """It has moved and rests, visible, when the clip ends."""

    time_s: float
    instance_id: str
    beside: str | None


@dataclass(frozen=True)
class Leaves:
    """It moves out of the picture and does not come back; a hidden body has not left."""

    time_s: float
    instance_id: str
    side: Direction


@dataclass(frozen=True)
class Moves:
    """It still moves, visible, when the clip ends."""

    time_s: float
    instance_id: str
    direction: Direction
    slows: bool


@dataclass(frozen=True)
class Rests:
    """It never moves."""

    instance_id: str


Ends = Stops | Leaves | Moves


@dataclass(frozen=True)
class Facts:
    """Everything that may be said about a clip."""

    floor: str
    nouns: dict[str, str]  # {instance_id: "red cube"} of the bodies in the first frame, from left to right
    starts: list[Starts]
    hits: list[Hits]  # in order of time
    ends: list[Ends]  # in order of time; at most one a body
    rests: list[Rests]
    nothing_collides: bool  # visible or not
    ends_at_rest: bool  # every body, visible or not
