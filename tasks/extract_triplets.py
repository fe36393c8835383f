"""caption -> interaction triplets with scored verbs and described instances (MATRIX 3.1, A.1).

    "A boy in a red shirt kicks a ball." ->
        Interaction(subject_id="id1", verb="kick", object_id="id2", contactness=5, dynamism=5, ...)
        Instance("id1", "boy", "a boy in a red shirt", ...), Instance("id2", "ball", "a ball", ...)

Four turns: count the interactions, list them, rate each, describe each instance. The first two must
agree. Then the thresholds, the pruning of instances that no kept interaction names, and the cap.
"""

from __future__ import annotations

from typing import Literal, Protocol

from pydantic import Field

from schemas.instance import Instance
from schemas.interaction import Interaction, InteractionType
from schemas.outcome import RowFailed, RowRejected
from schemas.record import Record, column
from tasks.stage import StageConfig


class ExtractConfig(StageConfig):
    """How triplets are extracted."""

    llm: Literal["rules", "openai"] = Field("rules", description="rules: embedded; openai: any compatible server")
    min_contactness: int = Field(3, ge=1, le=5, description="Keep interactions at or above (MATRIX 3.1: thresholds)")
    min_dynamism: int = Field(2, ge=1, le=5, description="Keep interactions at or above (MATRIX 3.1: thresholds)")
    min_confidence: float = Field(0.5, ge=0, le=1, description="Discard ratings less certain than this (MATRIX A.1)")
    max_instances: int = Field(5, ge=2, description="Instances a clip, |K| = 5 in MATRIX A.3")
    over_cap: Literal["keep_salient", "reject"] = Field(
        "keep_salient", description="A clip with more instances: keep the most salient, or reject it"
    )
    recounts: int = Field(2, ge=0, description="How often turns that disagree are asked again before the row fails")


class Mention(Record):
    """A listed instance, before it is described."""

    instance_id: str = column("id1, id2, ... in the caption's order", pattern=r"^id[1-9][0-9]*$")
    class_name: str = column("Base noun", min_length=1)
    living: bool = column("True for people and animals")


class Relation(Record):
    """A listed interaction, before it is rated."""

    subject_id: str = column("Living instance that acts")
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


class CaptionReader(Protocol):
    """Reads interactions out of a caption: an LLM, or rules. The four turns of MATRIX figures 21 to 23.

    Every method raises RowFailed when there is no usable answer for this caption and ServiceDown when
    there would be none for any. No answer is ever made up.
    """

    identity: dict[str, str]  # backend, model, prompts' hashes: part of the stage's key and of the row
    concurrency: int  # how many captions it reads at once

    def count_interactions(self, caption: str, attempt: int) -> int | None:
        """How many valid interactions the caption states; None (the paper's null) if there is none.

        attempt is 0 at first, then 1, 2, ...: the same question is to be asked afresh, past any cache.
        """

    def list_interactions(self, caption: str, attempt: int) -> Listing:
        """The valid interactions and the entities that take part in them."""

    def rate(self, caption: str, relation: Relation, mentions: list[Mention]) -> Rating:
        """Contactness and dynamism of one interaction; mentions are its subject and object."""

    def describe(self, caption: str, relations: list[Relation], mentions: list[Mention]) -> list[Instance]:
        """Noun, appearance and place of each mention: exactly one Instance a mention, same ids, same order."""
