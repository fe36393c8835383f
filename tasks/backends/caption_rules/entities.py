"""Entities: the persons, animals and things of a caption, and the noun phrases that mention them.

"a man in a blue shirt on the left"  ->  Described(man, wears=["a blue shirt"], place="on the left")
Entity.noun                          ->  "a man in a blue shirt"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tasks.backends.caption_rules.chunks import NounPhrase
from tasks.backends.caption_rules.nouns import COLLECTIVES, COLOURS, LIVING, PLACES_IN_VIEW
from tasks.backends.caption_rules.word_classes import Gender
from tasks.backends.caption_rules.words import indefinite_article


@dataclass
class Described:
    """A noun phrase with what hangs on it: "a man | in a blue shirt | on the left"."""

    base: NounPhrase
    wears: list[str] = field(default_factory=list)
    has: list[str] = field(default_factory=list)
    place: str | None = None
    whole: Described | None = None  # the "of" phrase
    landmarks: list[Described] = field(default_factory=list)  # what its place is told by

    @property
    def several(self) -> bool:
        """Whether it names individuals that it does not tell apart."""
        base = self.base
        return base.counted or (base.head in LIVING and base.plural) or base.head in COLLECTIVES

    @property
    def place_text(self) -> str:
        """As the place of something else: "the left of a table"."""
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

    @property
    def modifiers(self) -> set[str]:
        return {word.lower() for word in self.words[:-1]} - {"and"}

    @property
    def noun(self) -> str:
        """Short, visually distinguishing: "a man in a dark blue shirt and dark trousers"."""
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
        """What tells it from others of its class."""
        return " ".join(part for part in self.noun.split(" ") if part not in {"a", "an"}), self.place

    def learn(self, looks: Sequence[str], mention: Described) -> None:
        """Keep what a later mention adds: "a ball ... the red ball" is a red ball."""
        fresh = [word for word in looks if word.lower() not in self.modifiers]
        if fresh and not self.modifiers & COLOURS:
            self.words[:0] = fresh
            self.article = [indefinite_article(fresh[0])] if self.article else []
        self.wears = self.wears or mention.wears
        self.has = self.has or mention.has
        self.place = self.place or mention.place


def individuals(entities: Sequence[Entity]) -> list[Entity]:
    """Groups replaced by their members; a group whose members are not told apart has no id."""
    return [individual for entity in entities for individual in (entity.members if entity.several else [entity])]


def listed(items: Sequence[str]) -> str:
    """ "a hat, a scarf and boots"."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]
