"""An interaction (triplet): who does what to whom.

("boy", "kicks", "ball") -> Interaction(subject_id="id1", verb="kick", object_id="id2",
                                        contactness=5, dynamism=5, confidence=0.9, ...)
"""

from __future__ import annotations

from typing import ClassVar, Literal

from schemas.record import Record, column

InteractionType = Literal["multi_subject_relation", "functional_action"]


class Interaction(Record):
    """A triplet with its scores (MATRIX 3.1, A.1)."""

    schema_version: ClassVar[int] = 1

    subject_id: str = column("Instance that acts, living: id1, id2, ...")
    verb: str = column("Base form of the action verb, with its particle: 'kick', 'pick up'")
    object_id: str = column("Instance acted upon, another one than the subject")
    type: InteractionType = column("Between two living subjects, or a subject's action on a thing")
    source_sentence: str = column("The caption's sentence that states it, word for word")
    contactness: int = column("1 no contact, 3 indirect or uncertain, 5 direct contact", ge=1, le=5)
    dynamism: int = column("1 static, 3 moderate movement or readiness, 5 strong action", ge=1, le=5)
    explanation: str = column("The rater's reason for both scores")
    confidence: float = column("The rater's own confidence", unit="0..1", ge=0, le=1)
    kept: bool = column("False if a threshold or a lost instance dropped it")
    drop_reason: str | None = column("Why it was dropped", default=None)
