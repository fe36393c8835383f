"""CaptionRules: the four turns of a CaptionReader, answered from one reading of the caption.

"A boy gently pushes a green box." ->
    count 1;  list boy push box;  rate contactness 5, dynamism 3 (4 for its class, -1 for "gently");
    describe "a boy", "a green box"

`read_caption` turns sentence after sentence into drafts, then gives ids to the entities that take part:
"A boy kicks a ball. A girl sleeps." -> id1 boy, id2 ball; the girl has no id.
"""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from schemas.extraction import Listing, Mention, Rating, Relation, Subjects
from schemas.instance import Instance
from schemas.outcome import RowFailed
from schemas.source import MAX_CAPTION_CHARS
from tasks.backends.caption_rules.chunker import chunks
from tasks.backends.caption_rules.clauses import Contact, Draft
from tasks.backends.caption_rules.entities import Discourse, Entity, listed
from tasks.backends.caption_rules.nouns import COLOURS, SHADES, is_adjective
from tasks.backends.caption_rules.sentence_reader import SentenceReader
from tasks.backends.caption_rules.verbs import FORCEFUL, GENTLE, UNKNOWN_VERB, VERB_SCORES, Score
from tasks.backends.caption_rules.words import sentences

logger = logging.getLogger(__name__)

NOT_STATED = "Not stated in the caption."


class CaptionRules:
    """The embedded CaptionReader: deterministic, so asking afresh gives the same answer."""

    def __init__(self, subjects: Subjects = "living") -> None:
        self.subjects = subjects
        self.identity = {
            "backend": "rules",
            "model": "caption-rules-3",
            "lemminflect": importlib.metadata.version("lemminflect"),
        }
        self.concurrency = 1  # pure Python: threads would only take turns

    def count_interactions(self, caption: str, attempt: int) -> int | None:
        return len(read_caption(caption, self.subjects).relations) or None

    def list_interactions(self, caption: str, attempt: int) -> Listing:
        reading = read_caption(caption, self.subjects)
        return Listing(mentions=reading.mentions, relations=reading.relations)

    def rate(self, caption: str, relation: Relation, mentions: list[Mention]) -> Rating:
        """Score by the verb's class, then shift dynamism by the caption's adverbs (figure 22)."""
        key = (relation.subject_id, relation.verb, relation.object_id)
        draft = read_caption(caption, self.subjects).drafts.get(key)
        score, rule, confidence = _verb_score(relation.verb, draft.contact if draft else None)
        adverbs = draft.adverbs if draft else []
        change = any(a in FORCEFUL for a in adverbs) - any(a in GENTLE for a in adverbs)
        dynamism = min(5, max(1, score.dynamism + change))
        if dynamism != score.dynamism:
            rule += f"; dynamism {change:+d} for '{' '.join(adverbs)}'"
        return Rating(contactness=score.contactness, dynamism=dynamism, explanation=rule, confidence=confidence)

    def describe(self, caption: str, relations: list[Relation], mentions: list[Mention]) -> list[Instance]:
        """Noun, looks and place as the caption states them, without guesses (figure 23)."""
        entities = read_caption(caption, self.subjects).entities
        return [_instance(mention, entities.get(mention.instance_id)) for mention in mentions]


def _verb_score(verb: str, contact: Contact | None) -> tuple[Score, str, float]:
    """Score, the rule that gave it, and the confidence in that rule."""
    lemma = verb.split(" ")[0]
    if contact in {"limb", "tool"} and lemma in VERB_SCORES:
        score = VERB_SCORES[lemma]._replace(contactness=5)
        return score, f"'{lemma}' is of the class '{score.verb_class}', and the {contact} makes contact", 0.9
    if verb in VERB_SCORES:
        score = VERB_SCORES[verb]
        return score, f"'{verb}' is of the class '{score.verb_class}'", 0.9
    if lemma in VERB_SCORES:
        score = VERB_SCORES[lemma]
        rule = f"'{verb}' is scored as '{lemma}', of the class '{score.verb_class}'"
        return score, rule, 0.9 if contact else 0.6
    if contact:
        return (
            UNKNOWN_VERB._replace(contactness=5),
            f"'{verb}' is in no verb class, but the {contact} makes contact",
            0.6,
        )
    return UNKNOWN_VERB, f"'{verb}' is in no verb class", 0.4


def _instance(mention: Mention, entity: Entity | None) -> Instance:
    if entity is None or entity.class_name != mention.class_name:
        raise RowFailed(
            "unknown_instance", f"{mention.instance_id} '{mention.class_name}' is not of this caption", retryable=False
        )
    return Instance(
        instance_id=mention.instance_id,
        class_name=entity.class_name,
        noun=entity.noun,
        appearance=_appearance(entity),
        spatial=f"{entity.is_phrase} {entity.place}." if entity.place else NOT_STATED,
        living=entity.living,
    )


def _appearance(entity: Entity) -> str:
    """One sentence: "The man is young and wears a dark blue shirt and dark trousers."."""
    looks = _adjectives(entity.words[:-1])
    clauses = [f"wears {listed(entity.wears)}"] if entity.wears else []
    clauses += [f"has {listed(entity.has)}"] if entity.has else []
    if looks:
        return f"{entity.is_phrase} {listed([listed(looks), *clauses])}."
    return f"The {entity.class_name} {listed(clauses)}." if clauses else NOT_STATED


def _adjectives(words: Sequence[str]) -> list[str]:
    """["small", "dark", "blue"] -> ["small", "dark blue"]: a shade joins its colour, nouns are left out."""
    looks: list[str] = []
    for word in (w.lower() for w in words):
        if looks and looks[-1] in SHADES and word in COLOURS:
            looks[-1] = f"{looks[-1]} {word}"
        elif word != "and" and is_adjective(word):
            looks.append(word)
    return looks


# --- Reading ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """Everything that the rules found in one caption."""

    relations: list[Relation]
    mentions: list[Mention]
    entities: dict[str, Entity]  # by instance id
    drafts: dict[tuple[str, str, str], Draft]  # by (subject id, verb, object id)
    mentioned: list[Entity]  # in the caption's order, also those that take part in no relation


@lru_cache(maxsize=256)
def read_caption(caption: str, subjects: Subjects = "living") -> Reading:
    """Parse a caption once; count, list, rate and describe all answer from the same reading.

    subjects: who may act: people and animals ("living"), or anything ("any").
    Raises RowFailed("caption_too_long") beyond MAX_CAPTION_CHARS; it never reads only a part.
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
    """Whether subject and object differ: two of a class need distinguishing details for two ids (figure 21)."""
    subject, target = draft.subject, draft.object
    assert subject is not None
    return not (subject.class_name == target.class_name and subject.identity == target.identity)


def _number(drafts: Sequence[Draft], entities: Sequence[Entity]) -> Reading:
    """Number the entities that take part, in the caption's order, and drop repeated relations."""
    taking_part = {id(entity) for draft in drafts for entity in (draft.subject, draft.object)}
    numbered = {
        f"id{number}": entity
        for number, entity in enumerate((entity for entity in entities if id(entity) in taking_part), start=1)
    }
    ids = {id(entity): instance_id for instance_id, entity in numbered.items()}
    relations: dict[tuple[str, str, str], Relation] = {}
    read: dict[tuple[str, str, str], Draft] = {}
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
            read[key] = draft
    mentions = [
        Mention(instance_id=instance_id, class_name=entity.class_name, living=entity.living)
        for instance_id, entity in numbered.items()
    ]
    return Reading(list(relations.values()), mentions, numbered, read, list(entities))
