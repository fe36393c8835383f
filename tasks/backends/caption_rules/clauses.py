"""One clause while it is read, and the drafts of relations that a sentence's clauses give.

"A boy throws a ball to a dog"     ->  Clause(subjects=[boy], verb=throw, direct=[ball]); throw takes "to"
                                       Draft(boy, throw, ball), Draft(boy, throw to, dog)
"... gives the dog a hug"          ->  Clause(verb=give, light=hug)
"A boy and a girl push two carts"  ->  no Draft: the carts are not told apart
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from schemas.extraction import Subjects
from tasks.backends.caption_rules.chunks import NounPhrase, VerbGroup
from tasks.backends.caption_rules.entities import Described, Entity, individuals
from tasks.backends.caption_rules.nouns import (
    ABSTRACT,
    BODY_PARTS,
    COLOURS,
    GARMENTS,
    HOLLOW,
    LIVING,
    MASS,
    PLACES_IN_VIEW,
    SCENE,
    SUBSTANCES,
)
from tasks.backends.caption_rules.verbs import (
    GOAL_CLASSES,
    INNER_STATES,
    LAID_ON,
    LAYING,
    LIGHT_VERBS,
    OBJECT_PREPOSITIONS,
    TOOL_CLASSES,
    VAGUE_VERBS,
    VERB_SCORES,
    LightVerb,
)

# "braids the hair of a boy"; "puts an arm around a boy"; "taps his stomach with a paddle".
Contact = Literal["body part", "limb", "tool"]


@dataclass
class Draft:
    """A relation while its clause is still being read."""

    subject: Entity | None  # None: a participle before its subject, "Holding a cup, a woman ..."
    verb: str
    object: Entity
    sentence: str
    adverbs: list[str] = field(default_factory=list)
    contact: Contact | None = None  # what makes contact certain, whatever the verb


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
    own: NounPhrase | None = None  # the direct object, if it is the doer's own: "his stomach", "herself"
    tools: list[Entity] = field(default_factory=list)  # "with a spoon"
    after_tool: bool = False  # the latest noun phrase is a tool
    wears: list[str] = field(default_factory=list)  # before the subject: "Dressed in red, a man ..."
    place: str | None = None
    adverbs: list[str] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)  # of the current verb

    def set_verb(self, verb: VerbGroup, doers: Sequence[Entity], adverbs: Sequence[str]) -> None:
        """Start another verb, without objects yet."""
        self.verb, self.verb_text, self.doers, self.adverbs = verb, verb.lemma, list(doers), list(adverbs)
        self.direct, self.drafts, self.light, self.role, self.goal_taken = [], [], None, None, False
        self.own, self.after_tool = None, False

    def takes(self, preposition: str, ahead: NounPhrase) -> bool:
        """Whether the current verb can still take an object by this preposition; `ahead` is the phrase after it."""
        if self.verb is None or self.goal_taken or self.verb.passive:
            return False
        if self.light:
            return preposition in self.light.prepositions
        if self.lays_limb:
            return preposition in LAID_ON
        if self._lays_on_somebody(preposition, ahead):
            return True
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

    @property
    def lays_limb(self) -> bool:
        """ "wraps his arms around a girl": the limb is the doer's own, what it touches is the object."""
        return (
            self.verb is not None and self.verb.lemma in LAYING and self.own is not None and self.own.head in BODY_PARTS
        )

    def _lays_on_somebody(self, preposition: str, ahead: NounPhrase) -> bool:
        """ "puts a hat on a baby", "ties a ribbon around the neck of a cat"; not "puts a hat on his own head"."""
        assert self.verb is not None
        if preposition not in LAID_ON or not (self.direct or self.reading_object):
            return False
        score = VERB_SCORES.get(self.verb.lemma)
        lays = self.verb.lemma in LAYING or (score is not None and score.verb_class == "place")
        return lays and (ahead.head in BODY_PARTS or (ahead.head in LIVING and preposition not in {"around", "into"}))

    def takes_garment(self, garment: NounPhrase) -> bool:
        """Whether nobody wears it: "puts a coin in a hat", "paints a wall in red"."""
        if self.verb is None:
            return False
        score = VERB_SCORES.get(self.verb.lemma)
        verb_class = score.verb_class if score else ""
        if garment.head in COLOURS:
            return verb_class == "mark"
        has_object = bool(self.direct) or self.reading_object
        return has_object and garment.head in HOLLOW and (verb_class == "place" or self.takes("in", garment))

    def tools_alone(self) -> list[Entity]:
        """The tools, if the verb is done to nothing but the doer: "taps his stomach with a stick", "eats with a spoon".

        With another object ("cuts an apple with a knife") the tools are only the manner.
        """
        if self.verb is None or self.verb.passive or self.direct or self.drafts or self.light:
            return []
        if not all(doer.living for doer in self.doers):
            return []
        score = VERB_SCORES.get(self.verb.lemma)
        if self.own is None and (self.role == "" or score is None or score.verb_class not in TOOL_CLASSES):
            return []
        return self.tools if score is None or score.contactness >= 4 else []

    def verb_on_part(self, base: NounPhrase) -> str | None:
        """ "shakes a man's hand" is "shakes hands with a man"."""
        light = LIGHT_VERBS.get((self.verb.lemma, base.head)) if self.verb and base.possessor else None
        return light.verb if light and "of" in light.prepositions and base.head in BODY_PARTS else None

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

    def relate(self, clause: Clause, objects: Sequence[Entity], verb: str, contact: Contact | None = None) -> None:
        """Draft a relation from each doer to each object, if the current verb names an action."""
        if clause.verb is None or not clause.verb.asserted:
            return
        if clause.verb.lemma in VAGUE_VERBS | INNER_STATES and contact != "limb":  # "rests her head on a boy"
            return
        doers: list[Entity | None] = [*individuals(clause.doers)]
        if not clause.doers and clause.verb.form == "gerund":
            doers = [None]
        for doer in doers:
            for entity in individuals(objects):
                self._add(clause, doer, verb, entity, contact)

    def reciprocate(self, clause: Clause, verb: str) -> None:
        """ "A boy and a girl hug": draft one relation, from the first doer to the second."""
        doers = individuals(clause.doers)
        if len(doers) == 2:
            self._add(clause, doers[0], verb, doers[1])

    def _add(
        self, clause: Clause, doer: Entity | None, verb: str, entity: Entity, contact: Contact | None = None
    ) -> None:
        if clause.muted or doer is entity or not self._may_act(doer):
            return
        draft = Draft(doer, verb, entity, self.sentence, contact=contact)
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


def is_tool(base: NounPhrase, own: NounPhrase | None) -> bool:
    """Whether "with ..." names a thing in use: "with a spoon", "with soap"; not "with a friend", "with care".

    own: the verb's object, if it is the doer's own. Only then is a garment a tool: "covers her face with a scarf".
    """
    if base.pronoun:
        return base.pronoun in {"it", "them"}
    if base.head in LIVING | BODY_PARTS | ABSTRACT | SCENE or "no" in base.determiners:
        return False
    if base.head in GARMENTS and (base.possessor or not own):
        return False
    bare = not (base.determiners or base.possessor or base.plural or base.head in MASS)
    return not bare or base.head in SUBSTANCES
