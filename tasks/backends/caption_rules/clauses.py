"""One clause while it is read, and the drafts of relations that a sentence's clauses give.

"A boy throws a ball to a dog"     ->  Clause(subjects=[boy], verb=throw, direct=[ball]); throw takes "to"
                                       Draft(boy, throw, ball), Draft(boy, throw to, dog)
"... gives the dog a hug"          ->  Clause(verb=give, light=hug)
"A boy and a girl push two carts"  ->  no Draft: the carts are not told apart
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from schemas.extraction import Subjects
from tasks.backends.caption_rules.chunks import NounPhrase, VerbGroup
from tasks.backends.caption_rules.entities import Described, Entity, individuals
from tasks.backends.caption_rules.nouns import PLACES_IN_VIEW, SCENE
from tasks.backends.caption_rules.verbs import (
    GOAL_CLASSES,
    INNER_STATES,
    LIGHT_VERBS,
    OBJECT_PREPOSITIONS,
    VAGUE_VERBS,
    VERB_SCORES,
    LightVerb,
)


@dataclass
class Draft:
    """A relation while its clause is still being read."""

    subject: Entity | None  # None: a participle before its subject, "Holding a cup, a woman ..."
    verb: str
    object: Entity
    sentence: str
    adverbs: list[str] = field(default_factory=list)


@dataclass
class Clause:
    """What has been read of one clause. `doers` belong to the current verb, `subjects` to the clause."""

    subjects: list[Entity] = field(default_factory=list)
    outer: Clause | None = None  # the clause that a relative clause interrupts
    antecedent: list[Entity] = field(default_factory=list)
    gap: bool = False  # "the ball that a boy throws": the antecedent is the object
    muted: bool = False  # after "if": not said to happen
    verb: VerbGroup | None = None
    verb_text: str = ""  # with its particle: "pick up"
    doers: list[Entity] = field(default_factory=list)
    direct: list[Entity] = field(default_factory=list)
    light: LightVerb | None = None
    role: str | None = None  # of the latest object: "" for direct, or its preposition
    reading_object: bool = False  # then a place belongs to the object, not to the subject
    after_adjunct: bool = False  # the latest noun phrase belongs to no object
    goal_taken: bool = False
    place: str | None = None
    adverbs: list[str] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)  # of the current verb

    def set_verb(self, verb: VerbGroup, doers: Sequence[Entity], adverbs: Sequence[str]) -> None:
        """Start another verb, without objects yet."""
        self.verb, self.verb_text, self.doers, self.adverbs = verb, verb.lemma, list(doers), list(adverbs)
        self.direct, self.drafts, self.light, self.role, self.goal_taken = [], [], None, None, False

    def takes(self, preposition: str) -> bool:
        """Whether the current verb can still take an object by this preposition."""
        if self.verb is None or self.goal_taken or self.verb.passive:
            return False
        if self.light:
            return preposition in self.light.prepositions
        full = f"{self.verb_text} {preposition}"
        if self.verb_text != self.verb.lemma:
            return full in VERB_SCORES
        if preposition not in OBJECT_PREPOSITIONS.get(self.verb.lemma, ()):
            return False
        has_object = bool(self.direct) or self.reading_object
        return not has_object or VERB_SCORES[full].verb_class in GOAL_CLASSES

    def verb_with(self, preposition: str) -> str:
        """ "throw" and "to" -> "throw to"; "hand over" and "to" -> "hand over to"; "" is the direct object's."""
        assert self.verb is not None
        if not preposition:
            return self.verb_text
        if self.light and preposition in self.light.prepositions:
            return self.light.verb
        full = f"{self.verb_text} {preposition}"
        return full if full in VERB_SCORES else f"{self.verb.lemma} {preposition}"

    def light_verb(self, base: NounPhrase) -> LightVerb | None:
        """What the current verb means with this noun: "gives a hug" is hug."""
        return LIGHT_VERBS.get((self.verb.lemma, base.head)) if self.verb is not None and not base.possessor else None

    def keep_place(self, preposition: str, place: Described) -> None:
        """Keep a place for the subject if it is scenery, or if the verb has no object."""
        scene = place.base.head in SCENE - PLACES_IN_VIEW
        if scene or (self.verb is not None and not self.direct and not self.reading_object):
            self.place = self.place or f"{preposition} {place.place_text}"


class Drafts:
    """A sentence's drafts in reading order; `subjects` says who may act."""

    def __init__(self, sentence: str, subjects: Subjects) -> None:
        self.sentence = sentence
        self.subjects = subjects
        self._drafts: list[Draft] = []

    def relate(self, clause: Clause, objects: Sequence[Entity], verb: str) -> None:
        """Draft a relation from each doer to each object, if the current verb names an action."""
        if clause.verb is None or not clause.verb.asserted or clause.verb.lemma in VAGUE_VERBS | INNER_STATES:
            return
        doers: list[Entity | None] = [*individuals(clause.doers)]
        if not clause.doers and clause.verb.form == "gerund":
            doers = [None]
        for doer in doers:
            for entity in individuals(objects):
                self._add(clause, doer, verb, entity)

    def reciprocate(self, clause: Clause, verb: str) -> None:
        """ "A boy and a girl hug": draft one relation, from the first doer to the second."""
        doers = individuals(clause.doers)
        if len(doers) == 2:
            self._add(clause, doers[0], verb, doers[1])

    def _add(self, clause: Clause, doer: Entity | None, verb: str, entity: Entity) -> None:
        if clause.muted or doer is entity or not self._may_act(doer):
            return
        draft = Draft(doer, verb, entity, self.sentence)
        self._drafts.append(draft)
        clause.drafts.append(draft)

    def _may_act(self, doer: Entity | None) -> bool:
        return doer is None or doer.living or self.subjects == "any"

    def give_orphans(self, subjects: Sequence[Entity]) -> None:
        """ "Holding a cup, a woman walks": the participle's subject comes after it."""
        for draft in self._drafts:
            if draft.subject is None and len(subjects) == 1 and subjects[0] is not draft.object:
                draft.subject = subjects[0]

    def with_subject(self) -> list[Draft]:
        """The drafts whose subject the sentence names."""
        return [draft for draft in self._drafts if draft.subject is not None]
