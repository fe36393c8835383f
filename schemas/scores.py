"""The measurements of a generated sample: its scores, and a judge's answers to the same questions.

Scored(dsr_score=0.98, r_initial=0.97, ...), Judgement(initial_yes=True, final_yes=True) -> Answers
"""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

from schemas.dsr import Role
from schemas.provenance import MadeBy
from schemas.record import Record, StageResult, column

Variant = Literal["official", "paper"]
Validity = Literal["rivals", "official"]


class RivalCount(Record):
    """Where a second animal, or a second object, is seen."""

    role: Role = column("animal or object")
    frames: list[int] = column("Sampled frames on which there is another one, whether one or several")
    share: float = column("Of all sampled frames", unit="0..1", ge=0, le=1)


class DetectedFrames(Record):
    """What the authors' code counts: frames by the boxes that the detector finds on them."""

    valid: list[int] = column("Frames with two boxes: the animal's and the object's")
    redundant: list[int] = column("Frames with more boxes, or with two of another kind")


class Scored(StageResult):
    """A sample's score, and what it comes from. In the evidence of a rejection it has the curves, but no score."""

    schema_version: ClassVar[int] = 1
    stage_name: ClassVar[str] = "score_dsr"

    score: Variant = column("Which formula `dsr_score` is of")
    dsr_score: float | None = column("official: 0..1, paper: -0.25..1.25; null: the sample is not valid")
    r_initial: float | None = column("Mean SSR-Score of the initial relation over the first found frames", unit="-1..1")
    r_final: float | None = column("Mean SSR-Score of the final relation over the last found frames", unit="-1..1")
    g_initial: float | None = column("Initial relation: first found frame minus last; not halved", unit="-2..2")
    g_final: float | None = column("Final relation: last found frame minus first; not halved", unit="-2..2")
    n_found: int = column("Frames in which both are found", ge=0)
    ssr_initial: list[float | None] = column("One a frame: SSR-Score of the initial relation; null: not both found")
    ssr_final: list[float | None] = column("One a frame: SSR-Score of the final relation; null: not both found")
    rivals: list[RivalCount] = column("Where a second animal or object is seen: the evidence for `exactly one of each`")
    true_score: float | None = column("The score of the boxes that the generator drew, by the same formula")
    box_iou: float | None = column("Mean IoU of the tracked boxes with those that it drew", unit="0..1")
    detected: DetectedFrames | None = column("What validity `official` is judged by; null: another rule", default=None)


class Judgement(NamedTuple):
    """The answers to both questions."""

    initial_yes: bool
    final_yes: bool
    rationale: str | None = None


class Answers(StageResult):
    """What was answered."""

    schema_version: ClassVar[int] = 1
    stage_name: ClassVar[str] = "ask_relations"

    initial_yes: bool = column("Is the animal initially in the initial relation to the object?")
    final_yes: bool = column("Is the animal finally in the final relation to the object?")
    rationale: str | None = column("The judge's reasons; null: it gives none", default=None)
    made_by: list[MadeBy] = column("The judge")
