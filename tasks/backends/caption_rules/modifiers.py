"""Noun phrases with their modifiers: garments, features, the whole of a part, the place.

"a man in a red hat with a beard"  ->  Described(man, wears=["a red hat"], has=["a beard"])
"the lid of a pot on a table"      ->  Described(lid, whole=Described(pot, place="on a table"))

Garments belong to the nearest noun that can wear them: "a man holds a teddy bear in a blue T-shirt" dresses the bear,
"a man holds a ball in a blue T-shirt" the man. What "in" leads to is a place unless it is known to be worn.
"""

from __future__ import annotations

from tasks.backends.caption_rules.chunks import ChunkStream, NounPhrase, is_mark
from tasks.backends.caption_rules.clauses import Clause
from tasks.backends.caption_rules.entities import Described
from tasks.backends.caption_rules.nouns import (
    ABSTRACT,
    BODY_PARTS,
    CLOTHS,
    COLOURS,
    GARMENTS,
    HAIRSTYLES,
    LIMBS,
    LIVING,
    PEOPLE,
    PLACES_IN_VIEW,
    WEARERS,
)
from tasks.backends.caption_rules.words import CLOTHED_IN, STATIC_PREPOSITIONS

# "the lid of the box of the man of ...": no real caption is deeper; deeper phrases are read as adjuncts.
_MAX_NESTING = 8


class ModifierReader:
    """Reads noun phrases with their modifiers from a sentence's chunks."""

    def __init__(self, stream: ChunkStream) -> None:
        self.stream = stream
        self.nesting = 0  # depth of the noun phrase being read

    def described(self, clause: Clause, *, attach_all: bool = False) -> Described:
        """Read the noun phrase at the position, with the modifiers that belong to it and not to the clause's verb.

        attach_all: attach every phrase that can describe the noun; so before the clause's verb.
        """
        base = self.stream.peek()
        assert isinstance(base, NounPhrase)
        self.stream.position += 1
        mention = Described(base)
        self.nesting += 1
        while self.nesting <= _MAX_NESTING and self._attach(mention, clause, attach_all):
            pass
        self.nesting -= 1
        return mention

    def _attach(self, mention: Described, clause: Clause, attach_all: bool) -> bool:
        """Attach one prepositional phrase if it describes the mention; False if it does not."""
        mark, phrase = self.stream.peek(), self.stream.peek(1)
        if not (is_mark(mark, "preposition") and isinstance(phrase, NounPhrase)):
            return False
        preposition, base = mark.text, mention.base
        wearer = base.head in WEARERS or base.pronoun in {"he", "him", "she", "her"}
        if preposition == "of":
            return self._attach_whole(mention, clause)
        if self.worn_ahead(preposition, 1):
            if not (wearer or attach_all) or (base.head not in PEOPLE and clause.takes_garment(phrase)):
                return False
            self.stream.position += 1
            mention.wears += self.garments(preposition)
            return True
        hair = preposition == "in" and phrase.head in HAIRSTYLES
        if (wearer and hair) or (preposition == "with" and self._describes_looks(mention, attach_all)):
            self.stream.position += 1
            alive = phrase.head in LIVING  # "with a hat and | a man ..." goes on with another subject
            mention.has += self.stream.coordinated(
                lambda p: _is_feature(p, attach_all) and (alive or p.head not in LIVING)
            )
            return True
        if preposition not in STATIC_PREPOSITIONS:
            return False
        describes = attach_all or self.stream.tensed_ahead(2) or not clause.takes(preposition, phrase)
        if phrase.head in PLACES_IN_VIEW or (preposition != "by" and describes):
            self._attach_place(mention, clause, preposition)
            return True
        return False

    def _attach_whole(self, mention: Described, clause: Clause) -> bool:
        """Attach "of ...", unless it leads to the object of "takes a bite of"."""
        if any(light and "of" in light.prepositions for light in (clause.light, clause.light_verb(mention.base))):
            return False
        self.stream.position += 1
        mention.whole = self.described(clause)
        return True

    def worn_ahead(self, preposition: str, offset: int = 0) -> bool:
        """Whether the noun phrase at an offset, after this preposition, is worn: "in a red hat", "wearing a beard"."""
        phrases = self.stream.measured(offset)
        return bool(phrases) and (preposition in CLOTHED_IN or (preposition == "in" and _is_worn(phrases[-1])))

    def garments(self, preposition: str) -> list[str]:
        """Read what is worn, at the position: "a white shirt and black trousers"; a clown's costume if "dressed as"."""
        named = preposition in CLOTHED_IN
        texts = self.stream.coordinated(lambda p: _is_worn(p) or (named and p.head not in LIVING))
        return [f"{text} costume" for text in texts] if preposition == "dressed as" else texts

    def _describes_looks(self, mention: Described, attach_all: bool) -> bool:
        """Whether the "with" phrase ahead is part of the mention's looks."""
        phrases = self.stream.measured(1)
        able = attach_all or (mention.base.head in WEARERS and mention.base.pronoun is None)
        return able and bool(phrases) and _is_feature(phrases[-1], attach_all)

    def _attach_place(self, mention: Described, clause: Clause, preposition: str) -> None:
        self.stream.position += 1
        place = self.described(clause)
        mention.landmarks.append(place)
        if place.base.head not in ABSTRACT and not place.base.pronoun:
            mention.place = mention.place or f"{preposition} {place.place_text}"
            clause.keep_place(preposition, place)


def _is_feature(phrase: NounPhrase, attach_all: bool) -> bool:
    """Whether it is part of someone's looks, "with brown fur", not a tool or an own hand."""
    if phrase.head in ABSTRACT or phrase.possessor or phrase.head in {"hand", "foot", "paw", "mouth"}:
        return False
    if attach_all:
        return True
    return phrase.head in GARMENTS or (
        phrase.head in BODY_PARTS and (phrase.head not in LIMBS or bool(phrase.modifiers))
    )


def _is_worn(phrase: NounPhrase) -> bool:
    """ "in a red hat", "in leather", "in black and white"; but "in an orange" is fruit."""
    bare = not phrase.determiners and phrase.possessor is None
    return phrase.head in GARMENTS or (bare and phrase.head in COLOURS | CLOTHS)
