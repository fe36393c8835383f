"""The instances to find in a clip, the answers of detector and verifier, and the result for each instance.

Wanted("A boy kicks a ball.", [id1 "boy", id2 "ball"], [("id1", "id2")])
    -> Proposal(frame=2, box_xyxy=(12, 40, 88, 130), score=0.71) -> Answer(match=True, ...) -> Grounding
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from schemas.candidate import Anchor, Box, Candidate
from schemas.instance import Instance
from schemas.provenance import MadeBy
from schemas.record import Record, StageResult, column


class Wanted(NamedTuple):
    """The instances to find in a row's pictures."""

    caption: str
    instances: list[Instance]
    pairs: list[tuple[str, str]]  # (subject, object) of each interaction: one is useless without the other


class Proposal(Record):
    """A box that a detector proposes for an instance."""

    frame: int = column("Index into the sampled frames it was given", ge=0)
    box_xyxy: Box = column("Left, top, right, bottom, exclusive", unit="px")
    score: float = column("Class-conditioned confidence", unit="0..1", ge=0, le=1)


class NotFound(NamedTuple):
    """A detector's answer on an instance that it proposes nothing for, if it can say why."""

    reason: str

    @classmethod
    def unknown(cls, class_name: str) -> NotFound:
        """The detector has no such class."""
        return cls(f"no detector here knows {class_name!r}; see --profile local")


Found = list[Proposal] | NotFound  # what a detector gives for an instance


class Answer(Record):
    """What a verifier says of one candidate."""

    match: bool = column("Is the boxed thing the described instance?")
    confidence: float = column("How sure it is of this answer", unit="0..1", ge=0, le=1)
    rationale: str = column("A short reason")


class Grounding(StageResult):
    """What became of a clip's instances."""

    stage_name: ClassVar[str] = "ground_instances"

    anchors: list[Anchor] = column("One for each instance that was found")
    candidates: list[Candidate] = column("Every proposal with its verdict, in the order they were looked at")
    lost_ids: list[str] = column("Instances that no candidate was verified for")
    made_by: list[MadeBy] = column("Detector and verifier")


def still_named(pairs: list[tuple[str, str]], lost: set[str]) -> set[str]:
    """Ids of the (subject, object) pairs without a lost instance."""
    return {i for pair in pairs if lost.isdisjoint(pair) for i in pair}
