"""The reading of a caption: the caption reader's answers, turn by turn, and the stage's result.

Relation(subject_id="id1", verb="kick", object_id="id2", ...) + Rating(contactness=5, dynamism=5, ...)
    -> Interaction (schemas/interaction.py), kept or dropped, in an Extraction
"""

from __future__ import annotations

from collections import Counter
from typing import ClassVar, Literal

from schemas.instance import Instance
from schemas.interaction import Interaction, InteractionType
from schemas.provenance import MadeBy
from schemas.record import Record, StageResult, column

Subjects = Literal["living", "any"]


class Mention(Record):
    """A listed instance, before it is described."""

    instance_id: str = column("id1, id2, ... in the caption's order", pattern=r"^id[1-9][0-9]*$")
    class_name: str = column("Base noun", min_length=1)
    living: bool = column("True for people and animals")


class Relation(Record):
    """A listed interaction, before it is rated."""

    subject_id: str = column("Instance that acts")
    verb: str = column("Base form of the action verb, with its particle", min_length=1)
    object_id: str = column("Another instance")
    type: InteractionType = column("multi_subject_relation or functional_action")
    source_sentence: str = column("The caption's sentence, word for word")


class Listing(Record):
    """The second turn's answer."""

    mentions: list[Mention] = column("Every entity that takes part, once")
    relations: list[Relation] = column("Every valid interaction")


class Rating(Record):
    """The third turn's answer for one interaction."""

    contactness: int = column("1..5", ge=1, le=5)
    dynamism: int = column("1..5", ge=1, le=5)
    explanation: str = column("A short reason")
    confidence: float = column("The rater's own confidence", unit="0..1", ge=0, le=1)


class Extraction(StageResult):
    """What became of a clip's caption."""

    stage_name: ClassVar[str] = "extract_triplets"

    interactions: list[Interaction] = column("Every interaction that was listed, kept or not")
    instances: list[Instance] = column("The entities that a kept interaction names")
    made_by: list[MadeBy] = column("Backend and model")

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(subject, object) of each kept interaction: all that later stages need."""
        return [(i.subject_id, i.object_id) for i in self.interactions if i.kept]


def listing_trouble(listing: Listing, subjects: Subjects = "living") -> str | None:
    """Why a listing breaks the paper's rules (one entity one id, living subject, separate object), or None.

    subjects: "any" lifts the rule that subjects are living.
    """
    counts = Counter(m.instance_id for m in listing.mentions)
    if repeated := [i for i, n in counts.items() if n > 1]:
        return f"{', '.join(repeated)} listed twice"
    living = {m.instance_id: m.living for m in listing.mentions}
    for relation in listing.relations:
        if relation.subject_id == relation.object_id:
            return f"{relation.subject_id} {relation.verb} itself"
        if missing := {relation.subject_id, relation.object_id} - set(living):
            return f"{', '.join(sorted(missing))} named but not listed"
        if subjects == "living" and not living[relation.subject_id]:
            return f"{relation.subject_id} acts but is not living"
    return None
