"""CaptionRules: the four turns of a CaptionReader, answered from one reading of the caption.

"A boy gently pushes a green box." ->
    count 1;  list boy push box;  rate contactness 5, dynamism 3 (4 for its class, -1 for "gently");
    describe "a boy", "a green box"
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence

from schemas.extraction import Listing, Mention, Rating, Relation, Subjects
from schemas.instance import Instance
from schemas.outcome import RowFailed
from tasks.backends.caption_rules.entities import Entity, listed
from tasks.backends.caption_rules.inflection import is_adjective
from tasks.backends.caption_rules.nouns import COLOURS, SHADES
from tasks.backends.caption_rules.reading import read_caption
from tasks.backends.caption_rules.verbs import FORCEFUL, GENTLE, UNKNOWN_VERB, VERB_SCORES, Score

NOT_STATED = "Not stated in the caption."


class CaptionRules:
    """The embedded CaptionReader: deterministic, so asking afresh gives the same answer."""

    def __init__(self, subjects: Subjects = "living") -> None:
        self.subjects = subjects
        self.identity = {
            "backend": "rules",
            "model": "caption-rules-2",
            "lemminflect": importlib.metadata.version("lemminflect"),
        }
        self.concurrency = 1  # pure Python: threads would only take turns

    def count_interactions(self, caption: str, attempt: int) -> int | None:
        return len(read_caption(caption, self.subjects).relations) or None

    def list_interactions(self, caption: str, attempt: int) -> Listing:
        reading = read_caption(caption, self.subjects)
        return Listing(mentions=reading.mentions, relations=reading.relations)

    def rate(self, caption: str, relation: Relation, mentions: list[Mention]) -> Rating:
        """Score by the verb's class, then by what the caption's adverbs add (figure 22)."""
        score, rule, confidence = _verb_score(relation.verb)
        key = (relation.subject_id, relation.verb, relation.object_id)
        adverbs = read_caption(caption, self.subjects).adverbs.get(key, [])
        change = any(a in FORCEFUL for a in adverbs) - any(a in GENTLE for a in adverbs)
        dynamism = min(5, max(1, score.dynamism + change))
        if dynamism != score.dynamism:
            rule += f"; dynamism {change:+d} for '{' '.join(adverbs)}'"
        return Rating(contactness=score.contactness, dynamism=dynamism, explanation=rule, confidence=confidence)

    def describe(self, caption: str, relations: list[Relation], mentions: list[Mention]) -> list[Instance]:
        """Noun, looks and place as the caption states them; nothing is guessed (figure 23)."""
        entities = read_caption(caption, self.subjects).entities
        return [_instance(mention, entities.get(mention.instance_id)) for mention in mentions]


def _verb_score(verb: str) -> tuple[Score, str, float]:
    """Score, the rule that gave it, and how far that rule is to be trusted."""
    if verb in VERB_SCORES:
        score = VERB_SCORES[verb]
        return score, f"'{verb}' is of the class '{score.verb_class}'", 0.9
    lemma = verb.split(" ")[0]
    if lemma in VERB_SCORES:
        score = VERB_SCORES[lemma]
        return score, f"'{verb}' is scored as '{lemma}', of the class '{score.verb_class}'", 0.6
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
    """["small", "dark", "blue"] -> ["small", "dark blue"]: a shade goes with its colour, nouns are left out."""
    looks: list[str] = []
    for word in (w.lower() for w in words):
        if looks and looks[-1] in SHADES and word in COLOURS:
            looks[-1] = f"{looks[-1]} {word}"
        elif word != "and" and is_adjective(word):
            looks.append(word)
    return looks
