"""Entities: the people, animals and things of a caption. `Discourse` finds which one a noun phrase or pronoun means.

"A boy throws a red ball to a girl. She catches the ball."
    "a boy", "a red ball", "a girl" -> three entities;  "she" -> the girl;  "the ball" -> the red ball
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from tasks.backends.caption_rules.chunks import NounPhrase
from tasks.backends.caption_rules.nouns import (
    ABSTRACT,
    ANIMALS,
    BALL_GAMES,
    BODY_PARTS,
    COLLECTIVES,
    COLOURS,
    LIVING,
    MEASURES,
    OWNED_PARTS,
    PARTS,
    PEOPLE,
    PLACES_IN_VIEW,
    PLURAL_ONLY,
    SCENE,
    TOYS,
    WIDER,
    gender,
)
from tasks.backends.caption_rules.words import PRONOUNS, Gender, Word, indefinite_article

_NOT_DESCRIPTIVE = {"other", "same", "second", "first", "third", "own", "single", "one", "left", "right"}


@dataclass
class Described:
    """A noun phrase with its modifiers.

    "a man in a blue shirt on the left"  ->  Described(man, wears=["a blue shirt"], place="on the left")
    """

    base: NounPhrase
    wears: list[str] = field(default_factory=list)
    has: list[str] = field(default_factory=list)
    place: str | None = None
    whole: Described | None = None  # the "of" phrase
    landmarks: list[Described] = field(default_factory=list)  # what its place names: "on a table"

    @property
    def several(self) -> bool:
        """Whether it names individuals without telling them apart: "two dogs"."""
        base = self.base
        return base.counted or (base.head in LIVING and base.plural) or base.head in COLLECTIVES

    @property
    def place_text(self) -> str:
        """Its text when it is the place of something else: "the left of a table"."""
        base = self.base
        words = " ".join(word.text for word in base.words)
        article = "the" if base.head in PLACES_IN_VIEW and base.determiners else " ".join(base.article)
        whole = f" of {self.whole.place_text}" if self.whole else ""
        return f"{article} {words}{whole}".strip()


@dataclass(eq=False)
class Entity:
    """One person, animal or thing of the caption, described by all its mentions so far."""

    class_name: str
    living: bool
    gender: Gender | None
    article: list[str]
    words: list[str]
    wears: list[str]
    has: list[str]
    place: str | None
    of: str | None = None
    plural: bool = False  # "vegetables": one heap, one id
    several: bool = False  # individuals that the caption does not tell apart: no id
    salience: tuple[int, int] = (0, 0)
    members: list[Entity] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)  # its noun phrases in the caption; no pronouns

    @property
    def modifiers(self) -> set[str]:
        return {word.lower() for word in self.words[:-1]} - {"and"}

    @property
    def noun(self) -> str:
        """A short phrase that tells it apart by sight: "a man in a dark blue shirt and dark trousers"."""
        parts = [*self.article, *self.words]
        parts += ["of", self.of] if self.of else []
        parts += ["in", listed(self.wears)] if self.wears else []
        parts += ["with", listed(self.has)] if self.has else []
        return " ".join(parts)

    @property
    def is_phrase(self) -> str:
        """ "The ball is", "The vegetables are"."""
        return f"The {self.words[-1] if self.plural else self.class_name} {'are' if self.plural else 'is'}"

    @property
    def identity(self) -> tuple[str, str | None]:
        """What distinguishes it from others of its class."""
        return " ".join(part for part in self.noun.split(" ") if part not in {"a", "an"}), self.place

    def learn(self, looks: Sequence[str], mention: Described) -> None:
        """Add what a later mention tells: "a ball ... the red ball" is a red ball."""
        fresh = [word for word in looks if word.lower() not in self.modifiers]
        if fresh and not self.modifiers & COLOURS:
            self.words[:0] = fresh
            self.article = [indefinite_article(fresh[0])] if self.article else []
        self.wears = self.wears or mention.wears
        self.has = self.has or mention.has
        self.place = self.place or mention.place


def individuals(entities: Sequence[Entity]) -> list[Entity]:
    """Replace groups by their members; a group whose members are not told apart has none."""
    return [individual for entity in entities for individual in (entity.members if entity.several else [entity])]


def listed(items: Sequence[str]) -> str:
    """ "a hat, a scarf and boots"."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


class Role(IntEnum):
    """What a mention is in its clause. A later pronoun more likely means one with a higher value."""

    ADJUNCT = 0
    PREPOSITIONAL = 1
    SUBJECT = 2
    DIRECT = 3


class Discourse:
    """The caption's entities so far."""

    def __init__(self) -> None:
        self.entities: list[Entity] = []
        self.groups: list[list[Entity]] = []  # conjoined subjects or objects, for "they" and "them"
        self.clause_index = 0

    def resolve(self, mention: Described, role: Role, subjects: Sequence[Entity] = ()) -> list[Entity]:
        """The entities that a mention means, mostly one; [] for own body parts, ideas and oneself."""
        found = self._meant(mention, subjects)
        for entity in found:
            entity.salience = max(entity.salience, (self.clause_index, role))
            entity.place = entity.place or mention.place
            entity.wears = entity.wears or mention.wears
        for landmark in mention.landmarks:  # after the mention itself: in "it behind a wall", "it" is not the wall
            self.resolve(landmark, Role.ADJUNCT)
        return found

    def owner(self, base: NounPhrase, subjects: Sequence[Entity]) -> list[Entity]:
        """The owner of a body part or garment, unless it is a subject."""
        if base.possessor is None:
            return []
        if base.possessor.pronoun is None:
            return self._meant(Described(base.possessor), subjects)
        pronoun = base.possessor.pronoun
        if any(_agrees(subject, pronoun) and subject.gender is not None for subject in subjects):
            return []
        others = [e for e in self.entities if e.living and _agrees(e, pronoun) and e not in subjects]
        known = [e for e in others if e.gender is not None]
        return [max(known, key=lambda e: e.salience)] if known else []

    def _meant(self, mention: Described, subjects: Sequence[Entity]) -> list[Entity]:
        base = mention.base
        if base.pronoun:
            return self._pronoun(base.pronoun, subjects)
        if base.head in PARTS and mention.whole:
            return self._meant(mention.whole, subjects)
        if base.head in MEASURES and mention.whole:
            return self._measured(mention.whole, subjects)
        if base.head in BODY_PARTS or (base.head in OWNED_PARTS and base.possessor):
            return self.owner(base, subjects)
        if base.head in {"one", "other"}:
            return self._member(mention, subjects)
        if base.head in ABSTRACT | PLACES_IN_VIEW and base.head not in PEOPLE:
            return []
        if base.head in BALL_GAMES and not (base.determiners or base.possessor or base.plural):
            return []
        entity = self._earlier(mention, subjects) or self._introduce(mention)
        if base.span and base.span not in entity.spans:
            entity.spans.append(base.span)
        return [entity]

    def _measured(self, whole: Described, subjects: Sequence[Entity]) -> list[Entity]:
        """ "a group of boys" is several boys; "a piece of cake" is a cake."""
        entities = self._meant(whole, subjects)
        for entity in entities:
            entity.several = entity.several or entity.living
        return entities

    def _pronoun(self, pronoun: str, subjects: Sequence[Entity]) -> list[Entity]:
        """The most salient entity that agrees, known genders first, scenery last; for "they", the latest group."""
        if pronoun not in PRONOUNS:
            return []
        kind, plural = PRONOUNS[pronoun]
        others = (group for group in reversed(self.groups) if not set(group) & set(subjects))
        if plural and (group := next(others, None)):
            return list(group)
        able = [entity for entity in self.entities if entity not in subjects and _agrees(entity, pronoun)]
        nominative = pronoun in {"he", "she"}

        def fit(entity: Entity) -> tuple[bool, bool, bool, tuple[int, int]]:
            known, thing = kind == "n" or entity.gender == kind, entity.class_name not in SCENE
            was_subject = entity.salience[1] == Role.SUBJECT
            return known, thing, nominative and was_subject, entity.salience

        return [max(able, key=fit)] if able else []

    def _earlier(self, mention: Described, subjects: Sequence[Entity]) -> Entity | None:
        """The known entity that a definite or bare phrase means again."""
        base = mention.base
        bare = not base.determiners and not base.possessor and not mention.wears and base.head not in LIVING
        if (base.indefinite and not bare) or "another" in base.determiners:
            return None
        wider = WIDER.get(base.head, frozenset())
        named = [e for e in self.entities if e.class_name == base.head] or [
            e for e in self.entities if e.class_name in wider
        ]
        fitting = [e for e in named if _compatible(e, mention)]
        if "other" in base.modifiers or "other" in base.determiners:
            fitting = [e for e in fitting if e not in subjects] if len(named) > 1 else []
        if not fitting:
            return None
        wanted = set(base.modifiers)
        entity = max(fitting, key=lambda e: (len(wanted & e.modifiers), e.salience))
        entity.learn(_descriptive(base.words[:-1]), mention)
        return entity

    def _introduce(self, mention: Described) -> Entity:
        base = mention.base
        living = base.head in LIVING and not set(base.modifiers) & TOYS
        words = _descriptive(base.words)
        side = next((f"on the {side}" for side in ("left", "right") if side in base.modifiers), None)
        entity = Entity(
            class_name=base.head,
            living=living,
            gender=gender(base.head) if living else "n",
            article=[indefinite_article(words[0])] if base.article and words else [],
            words=[*words[:-1], words[-1].lower() if words[-1].istitle() else words[-1]] if words else [base.head],
            wears=list(mention.wears),
            has=list(mention.has),
            place=mention.place or side,
            of=mention.whole.base.text if mention.whole else None,
            plural=base.plural or base.head in PLURAL_ONLY,
            several=mention.several,
        )
        self.entities.append(entity)
        return entity

    def _member(self, mention: Described, subjects: Sequence[Entity]) -> list[Entity]:
        """ "one" and "the other" of "two men": members of the latest group, each with its own description."""
        group = next((e for e in reversed(self.entities) if e.several), None)
        if group is None:
            return []
        if group.members and not (mention.wears or mention.has or mention.place):
            first = "one" in mention.base.determiners
            return [member for member in group.members if first or member not in subjects][:1]
        member = Entity(
            class_name=group.class_name,
            living=group.living,
            gender=group.gender,
            article=[indefinite_article(group.class_name)],
            words=[group.class_name],
            wears=list(mention.wears),
            has=list(mention.has),
            place=mention.place,
        )
        self.entities.append(member)
        group.members.append(member)
        return [member]


def _agrees(entity: Entity, pronoun: str) -> bool:
    """Whether a pronoun can mean an entity, by gender and number."""
    kind, plural = PRONOUNS[pronoun]
    if plural or entity.several:
        return plural and (entity.several or not entity.article)
    if kind == "n":
        return not entity.living or entity.class_name in ANIMALS | {"baby", "infant"}
    return entity.living and entity.gender in {kind, None}


def _compatible(entity: Entity, mention: Described) -> bool:
    """Whether no stated colour, side, garment or number contradicts the mention."""
    if entity.several != mention.several:
        return False
    words, known_words = mention.base.modifiers, entity.modifiers
    if _clash(set(words) & COLOURS, known_words & COLOURS):
        return False
    if _clash(_sides([*words, mention.place or ""]), _sides([*known_words, entity.place or ""])):
        return False
    return not mention.wears or not entity.wears or _same_clothes(mention.wears, entity.wears)


def _clash(some: set[str], others: set[str]) -> bool:
    """Whether both sets have words, but none in common."""
    return bool(some and others and not some & others)


def _sides(texts: Sequence[str]) -> set[str]:
    return set(" ".join(texts).split()) & {"left", "right", "middle", "center", "centre"}


def _same_clothes(some: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two lists of garments share a word, and their colours do not clash."""
    words, other_words = set(" ".join(some).lower().split()), set(" ".join(others).lower().split())
    return not _clash(words & COLOURS, other_words & COLOURS) and bool(words & other_words - {"a", "an", "and"})


def _descriptive(words: Sequence[Word]) -> list[str]:
    """The words that tell what something is or looks like, not where it is or which one of several."""
    return [word.text for word in words if word.lower not in _NOT_DESCRIPTIVE]
