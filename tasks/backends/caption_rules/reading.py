"""A whole caption: sentence after sentence into drafts, then ids for those who take part.

read_caption("A boy kicks a ball. A girl sleeps.") ->
    Reading(relations=[id1 kick id2], mentions=[id1 boy, id2 ball], ...)      the girl takes part in nothing
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from schemas.extraction import Mention, Relation, Subjects
from schemas.outcome import RowFailed
from schemas.source import MAX_CAPTION_CHARS
from tasks.backends.caption_rules.chunker import chunks
from tasks.backends.caption_rules.clauses import Draft
from tasks.backends.caption_rules.discourse import Discourse
from tasks.backends.caption_rules.entities import Entity
from tasks.backends.caption_rules.sentence_reader import SentenceReader
from tasks.backends.caption_rules.words import sentences

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """All that the rules found in one caption."""

    relations: list[Relation]
    mentions: list[Mention]
    entities: dict[str, Entity]  # by instance id
    adverbs: dict[tuple[str, str, str], list[str]]  # by (subject id, verb, object id)


@lru_cache(maxsize=256)
def read_caption(caption: str, subjects: Subjects = "living") -> Reading:
    """Parse a caption once; count, list, rate and describe all answer from the same reading.

    subjects: who may act, people and animals or anything.
    Raises RowFailed("caption_too_long") rather than read a part of it.
    """
    if len(caption) > MAX_CAPTION_CHARS:
        raise RowFailed(
            "caption_too_long",
            f"{len(caption)} characters, the rules read up to {MAX_CAPTION_CHARS}; shorten the caption",
            retryable=False,
        )
    discourse = Discourse()
    drafts: list[Draft] = []
    for sentence, words in sentences(caption):
        drafts += SentenceReader(sentence, chunks(words), discourse, subjects).read()
        discourse.clause_index += 1
    kept = [draft for draft in drafts if _told_apart(draft)]
    if len(kept) < len(drafts):
        logger.debug("%d relations between individuals that the caption does not tell apart", len(drafts) - len(kept))
    return _number(kept, discourse.entities)


def _told_apart(draft: Draft) -> bool:
    """Two of one kind need details that tell them apart, or they cannot have two ids (figure 21)."""
    subject, target = draft.subject, draft.object
    assert subject is not None
    return not (subject.class_name == target.class_name and subject.identity == target.identity)


def _number(drafts: Sequence[Draft], entities: Sequence[Entity]) -> Reading:
    """Give ids, in the caption's order, to the entities that take part, and drop repeated relations."""
    taking_part = {id(entity) for draft in drafts for entity in (draft.subject, draft.object)}
    numbered = {
        f"id{number}": entity
        for number, entity in enumerate((entity for entity in entities if id(entity) in taking_part), start=1)
    }
    ids = {id(entity): instance_id for instance_id, entity in numbered.items()}
    relations: dict[tuple[str, str, str], Relation] = {}
    adverbs: dict[tuple[str, str, str], list[str]] = {}
    for draft in drafts:
        assert draft.subject is not None
        key = (ids[id(draft.subject)], draft.verb, ids[id(draft.object)])
        if key not in relations:
            relations[key] = Relation(
                subject_id=key[0],
                verb=key[1],
                object_id=key[2],
                type="multi_subject_relation" if draft.subject.living and draft.object.living else "functional_action",
                source_sentence=draft.sentence,
            )
            adverbs[key] = draft.adverbs
    mentions = [
        Mention(instance_id=instance_id, class_name=entity.class_name, living=entity.living)
        for instance_id, entity in numbered.items()
    ]
    return Reading(list(relations.values()), mentions, numbered, adverbs)
