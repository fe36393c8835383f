"""Captions read by an LLM: the four turns of MATRIX, figures 21 to 23.

    ChatCaptions(model).count_interactions("A boy kicks a ball.", attempt=0) -> 1

Each reply must fit its model and the caption; one that does not is asked for anew, and finally the
row fails.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from pydantic import Field

from schemas.extraction import Listing, Mention, Rating, Relation, Subjects, listing_trouble
from schemas.instance import Instance
from schemas.interaction import InteractionType
from tasks.backends.chat.asking import ChatModel, Json
from tasks.backends.chat.replies import InvalidReply, Reply, Text
from tasks.prompts import load_prompt

Id = Annotated[str, Field(pattern=r"^id[1-9][0-9]*$")]


class CountReply(Reply):
    """How many interactions the caption states."""

    count: int | None = Field(ge=1, description="The number of interactions, or null if there is none")


class EntityReply(Reply):
    """An entity that takes part in an interaction."""

    id: Id = Field(description="id1, id2, ... in the caption's order")
    class_name: Text = Field(description="Plain noun, singular: man, cup")
    living: bool = Field(description="True for people and animals")


class InteractionReply(Reply):
    """Who does what to whom."""

    subject_id: Id = Field(description="The entity that acts")
    verb: Text = Field(description="Base form, with its particle")
    object_id: Id = Field(description="The entity acted on")
    type: InteractionType
    source_sentence: Text = Field(description="The caption's sentence, character by character")


class ListReply(Reply):
    """The interactions of the caption and their entities."""

    entities: list[EntityReply]
    interactions: list[InteractionReply]


class RatingReply(Reply):
    """The ratings of one interaction."""

    contactness: int = Field(ge=1, le=5, description="1 none, 3 indirect or uncertain, 5 direct")
    dynamism: int = Field(ge=1, le=5, description="1 static, 3 some movement or readiness, 5 strong action")
    explanation: Text = Field(description="One short sentence")
    confidence: float = Field(ge=0, le=1, description="How sure you are of both numbers")


class DescriptionReply(Reply):
    """How one entity can be told apart."""

    id: Id = Field(description="The entity's id, as given")
    noun: Text = Field(description="Short noun phrase that can be seen")
    appearance: Text = Field(description="One sentence on how it looks")
    spatial: Text = Field(description="One sentence on where it is or its role")


class DescribeReply(Reply):
    """One description for each entity."""

    descriptions: list[DescriptionReply]


class ChatCaptions:
    """A CaptionReader (tasks/extract_triplets.py) that asks an LLM."""

    def __init__(self, model: ChatModel, subjects: Subjects = "living") -> None:
        self._model, self._subjects = model, subjects
        match subjects:
            case "living":
                self._count, self._list = load_prompt("count_interactions"), load_prompt("list_interactions")
            case "any":
                self._count, self._list = load_prompt("count_any_interactions"), load_prompt("list_any_interactions")
        self._rate, self._describe = load_prompt("rate_interaction"), load_prompt("describe_instances")
        self.concurrency = model.concurrency
        self.identity = model.identity(
            [self._count, self._list, self._rate, self._describe], [CountReply, ListReply, RatingReply, DescribeReply]
        )

    def count_interactions(self, caption: str, attempt: int) -> int | None:
        return self._model.ask(CountReply, self._count, {"caption": caption}, attempt=attempt).count

    def list_interactions(self, caption: str, attempt: int) -> Listing:
        reply = self._model.ask(
            ListReply,
            self._list,
            {"caption": caption},
            attempt=attempt,
            check=lambda reply: _check_listing(reply, caption, self._subjects),
        )
        return _listing(reply)

    def rate(self, caption: str, relation: Relation, mentions: list[Mention]) -> Rating:
        data: dict[str, Json] = {
            "caption": caption,
            "interaction": relation.model_dump(),
            "entities": _entities(mentions),
        }
        return Rating(**self._model.ask(RatingReply, self._rate, data).model_dump())

    def describe(self, caption: str, relations: list[Relation], mentions: list[Mention]) -> list[Instance]:
        data: dict[str, Json] = {
            "caption": caption,
            "interactions": [r.model_dump() for r in relations],
            "entities": _entities(mentions),
        }
        ids = [m.instance_id for m in mentions]
        reply = self._model.ask(DescribeReply, self._describe, data, check=lambda reply: _check_one_each(reply, ids))
        by_id = {d.id: d for d in reply.descriptions}
        return [
            Instance(
                instance_id=m.instance_id,
                class_name=m.class_name,
                living=m.living,
                noun=by_id[m.instance_id].noun,
                appearance=by_id[m.instance_id].appearance,
                spatial=by_id[m.instance_id].spatial,
            )
            for m in mentions
        ]


def _entities(mentions: list[Mention]) -> list[dict[str, Json]]:
    return [{"id": m.instance_id, "class_name": m.class_name, "living": m.living} for m in mentions]


def _listing(reply: ListReply) -> Listing:
    return Listing(
        mentions=[Mention(instance_id=e.id, class_name=e.class_name, living=e.living) for e in reply.entities],
        relations=[Relation(**i.model_dump()) for i in reply.interactions],
    )


def _check_listing(reply: ListReply, caption: str, subjects: Subjects) -> None:
    """Raises InvalidReply unless the ids agree, subjects may act and act on others, and the caption says so."""
    if trouble := listing_trouble(_listing(reply), subjects):
        raise InvalidReply(trouble)
    living = {e.id: e.living for e in reply.entities}
    said = _spaced(caption)
    for i in reply.interactions:
        for end in (i.subject_id, i.object_id):
            if i.type == "multi_subject_relation" and not living[end]:
                raise InvalidReply(f"{i.type} with {end}, which is not living")
        if _spaced(i.source_sentence) not in said:
            raise InvalidReply(f"the caption does not say {i.source_sentence!r}")
    if len(set(reply.interactions)) < len(reply.interactions):
        raise InvalidReply("an interaction is listed twice")


def _check_one_each(reply: DescribeReply, ids: list[str]) -> None:
    """Raises InvalidReply unless exactly these ids are described, once each."""
    described = Counter(d.id for d in reply.descriptions)
    if described != Counter(ids):
        raise InvalidReply(f"asked to describe {ids}, described {sorted(described.elements())}")


def _spaced(text: str) -> str:
    """The text with every run of white space as one blank."""
    return " ".join(text.split())
