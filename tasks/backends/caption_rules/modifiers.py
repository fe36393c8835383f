"""Noun phrases with their modifiers: garments, features, the whole of a part, the place.

"a man in a red hat with a beard"  ->  Described(man, wears=["a red hat"], has=["a beard"])
"the lid of a pot on a table"      ->  Described(lid, whole=Described(pot, place="on a table"))
"""

from __future__ import annotations

from tasks.backends.caption_rules.chunks import ChunkStream, NounPhrase, is_mark
from tasks.backends.caption_rules.clauses import Clause
from tasks.backends.caption_rules.entities import Described
from tasks.backends.caption_rules.nouns import ABSTRACT, BODY_PARTS, COLOURS, GARMENTS, LIVING, PLACES_IN_VIEW
from tasks.backends.caption_rules.words import STATIC_PREPOSITIONS, WEARING

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
        living = base.head in LIVING or base.pronoun is not None or base.head in {"one", "other"}
        if preposition == "of":
            return self._attach_whole(mention, clause)
        if preposition == "wearing" or (preposition in WEARING and phrase.head in GARMENTS | COLOURS):
            return self._attach_garments(mention, clause, phrase, living)
        if preposition == "with" and (living or attach_all) and _is_feature(phrase, attach_all):
            self.stream.position += 1
            mention.has += self.stream.coordinated(lambda p: _is_feature(p, attach_all))
            return True
        if preposition not in STATIC_PREPOSITIONS:
            return False
        describes = attach_all or self.stream.tensed_ahead(2) or not clause.takes(preposition)
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

    def _attach_garments(self, mention: Described, clause: Clause, phrase: NounPhrase, living: bool) -> bool:
        if phrase.head not in GARMENTS | COLOURS:  # a garment that the lexicon lacks
            self.stream.position += 2
            mention.wears.append(phrase.text)
            return True
        wears = [mention.wears] if living else [subject.wears for subject in clause.subjects[:1]]
        self.stream.position += 1
        garments = self.stream.coordinated(lambda p: p.head in GARMENTS)
        for worn in wears:
            worn.extend(garment for garment in garments if garment not in worn)
        return True

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
    return attach_all or phrase.head in GARMENTS or phrase.head in BODY_PARTS
