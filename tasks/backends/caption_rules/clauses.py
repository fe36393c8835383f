"""One clause while it is read: its subjects, its current verb, and what that verb takes as an object.

"A boy throws a ball to a dog"  ->  Clause(subjects=[boy], verb=throw, direct=[ball]); throw takes "to"
"... gives the dog a hug"       ->  Clause(verb=give, light=hug)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tasks.backends.caption_rules.chunks import NounPhrase, VerbGroup
from tasks.backends.caption_rules.entities import Described, Entity
from tasks.backends.caption_rules.nouns import PLACES_IN_VIEW, SCENE
from tasks.backends.caption_rules.verbs import GOAL_CLASSES, LIGHT_VERBS, OBJECT_PREPOSITIONS, VERB_SCORES, LightVerb


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
    """What has been read of one clause. `doers` are the current verb's subjects, `subjects` the clause's."""

    subjects: list[Entity] = field(default_factory=list)
    outer: Clause | None = None  # the clause that a relative clause interrupts
    antecedent: list[Entity] = field(default_factory=list)
    gap: bool = False  # "the ball that a boy throws": the antecedent is the object
    muted: bool = False  # "if": not said to happen
    verb: VerbGroup | None = None
    verb_text: str = ""  # with its particle: "pick up"
    doers: list[Entity] = field(default_factory=list)
    direct: list[Entity] = field(default_factory=list)
    light: LightVerb | None = None
    role: str | None = None  # of the latest object: "" direct, else its preposition
    reading_object: bool = False  # a direct object's place says nothing of the subject's
    after_adjunct: bool = False  # the latest noun phrase belongs to no object
    goal_taken: bool = False
    place: str | None = None
    adverbs: list[str] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)  # of the current verb

    def set_verb(self, verb: VerbGroup, doers: Sequence[Entity], adverbs: Sequence[str]) -> None:
        """Go on with another verb, which has no object yet."""
        self.verb, self.verb_text, self.doers, self.adverbs = verb, verb.lemma, list(doers), list(adverbs)
        self.direct, self.drafts, self.light, self.role, self.goal_taken = [], [], None, None, False

    def takes(self, preposition: str) -> bool:
        """Whether the current verb takes an object by this preposition, after what it has taken so far."""
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
        """Keep a scene, or where something is done without an object, as the subject's own place."""
        scene = place.base.head in SCENE - PLACES_IN_VIEW
        if scene or (self.verb is not None and not self.direct and not self.reading_object):
            self.place = self.place or f"{preposition} {place.place_text}"
