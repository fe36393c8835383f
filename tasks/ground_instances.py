"""clips + triplets -> one verified anchor an instance (MATRIX 3.2, A.2).

    ("boy", "kicks", "ball") -> ball at [12, 40, 88, 130] on frame 16, the 2nd of 9 candidates

T uniformly sampled frames, class-only proposals, at most J a frame and class. An instance's candidates
are verified one by one in descending confidence until one is accepted; the accepted box leaves the
pools of the other instances of its class. No candidate verified: the instance goes, with every
interaction that names it.
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from pydantic import Field

from schemas.candidate import Box
from schemas.instance import Instance
from schemas.record import Record, column
from tasks.stage import StageConfig


class GroundConfig(StageConfig):
    """How instances are found and verified."""

    grounding: Literal["colour"] = Field("colour", description="colour: colour phrases and a people detector, embedded")
    vlm: Literal["rules", "openai"] = Field("rules", description="rules: attribute check; openai: any compatible VLM")
    n_frames: int = Field(8, ge=1, description="T of MATRIX A.2: frames sampled uniformly over the clip")
    max_candidates: int = Field(5, ge=1, description="J of MATRIX A.2: boxes a frame and class")
    exclusion_iou: float = Field(
        0.5, gt=0, le=1, description="A candidate that overlaps a box accepted for its class this much is excluded"
    )
    min_verdict_confidence: float = Field(0.5, ge=0, le=1, description="A yes less certain than this is a no")


class Proposal(Record):
    """A box that a detector proposes for an instance."""

    frame: int = column("Index into the sampled frames it was given", ge=0)
    box_xyxy: Box = column("Left, top, right, bottom, exclusive", unit="px")
    score: float = column("Class-conditioned confidence", unit="0..1", ge=0, le=1)


class Answer(Record):
    """What a verifier says of one candidate."""

    match: bool = column("Is the boxed thing the described instance?")
    confidence: float = column("How sure it is of this answer", unit="0..1", ge=0, le=1)
    rationale: str = column("A short reason")


class Detector(Protocol):
    """Proposes boxes."""

    identity: dict[str, str]
    concurrency: int

    def propose(self, frames: np.ndarray, instances: list[Instance]) -> dict[str, list[Proposal]]:
        """frames (T, H, W, 3) uint8 RGB -> {instance_id: proposals over all frames}, any order.

        High recall, not disambiguation: same-class instances may get the same boxes. A detector that
        knows only classes looks at `class_name`; the embedded one needs the noun's colour words as well.
        """


class Verifier(Protocol):
    """Decides whether a box shows the described instance."""

    identity: dict[str, str]
    concurrency: int

    def verify(self, frame: np.ndarray, box_xyxy: Box, instance: Instance, caption: str) -> Answer:
        """frame (H, W, 3) uint8 RGB. Raises RowFailed or ServiceDown, never makes an answer up."""
