"""The measurable part of a noun phrase: which colour belongs to which garment, or to the thing itself.

    describe(<"a man in a dark blue shirt with a red ball", living>)
        ->  Description(garments=(Garment("shirt", "upper", (Tint("blue", "dark"),)),), person=True, living=True)

The ball does not belong to the man's looks. This is not a grammar: it knows the words below and assigns each colour to
the noun that it precedes or describes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from schemas.instance import Instance
from tasks.backends.colour.palette import COLOUR_WORDS, MODIFIERS, Tint

BodyRegion = Literal["upper", "lower", "whole", "small"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PERSON_WORDS = _words(
    "person people man men woman women boy girl child children kid toddler baby player lady gentleman guy teenager "
    "adult worker athlete dancer runner skater cyclist rider chef cook barista waiter waitress teacher student farmer "
    "juggler musician performer pedestrian goalkeeper father mother"
)
ROUND_WORDS = _words("ball football basketball volleyball baseball softball balloon orange marble globe")

GARMENTS: dict[BodyRegion, frozenset[str]] = {
    "upper": _words(
        "shirt tshirt tee top sweater jumper jacket coat hoodie blouse jersey vest cardigan pullover sweatshirt polo "
        "tank blazer parka"
    ),
    "lower": _words("trousers pants jeans skirt shorts leggings slacks joggers tights chinos"),
    "whole": _words("dress suit uniform robe overalls jumpsuit tracksuit costume gown clothes outfit"),
    "small": _words(
        "hat cap helmet beanie hair beard shoes shoe boots sneakers socks scarf gloves glove bag backpack collar belt "
        "glasses watch tie apron eyes"
    ),
}
GARMENT_REGIONS: dict[str, BodyRegion] = {word: region for region, words in GARMENTS.items() for word in words}
IMPLIED_TINTS = {"jeans": Tint("blue")}
LINKS = _words("in wearing wears is are has")  # what follows describes the instance itself
DEPARTURES = _words(  # what follows describes something else
    "on at near beside behind under of from to into onto by over above below holding next against through"
)


class Garment(NamedTuple):
    """("shirt", "upper", (dark blue,))"""

    word: str
    region: BodyRegion
    tints: tuple[Tint, ...]


@dataclass(frozen=True)
class Description:
    """What a noun phrase says that can be measured."""

    body: tuple[Tint, ...] = ()  # colours of the thing itself
    garments: tuple[Garment, ...] = ()
    person: bool = False
    living: bool = False
    round: bool = False

    @property
    def large_garments(self) -> tuple[Garment, ...]:
        """Garments large enough to judge a box of the whole figure by."""
        return tuple(g for g in self.garments if g.region != "small")

    @property
    def tints(self) -> tuple[Tint, ...]:
        """All colours that the thing's or the figure's box should show."""
        return tuple(dict.fromkeys([*self.body, *(tint for g in self.large_garments for tint in g.tints)]))


def describe(instance: Instance) -> Description:
    """The noun's measurable words, or the appearance's where the noun has none."""
    head = _singular(instance.class_name.lower().split()[-1])
    person = instance.living and head in PERSON_WORDS
    found = Description()
    for text in (instance.noun, instance.appearance):
        found = _read_phrase(text, head, person)
        if found.tints:
            break
    return replace(found, person=person, living=instance.living, round=head in ROUND_WORDS)


def _read_phrase(text: str, head: str, person: bool) -> Description:
    body: list[Tint] = []
    garments: list[Garment] = []
    for sentence in re.split(r"[.;!?]", text.lower()):
        reader = _PhraseReader(head, person)
        for word in re.findall(r"[a-z]+", re.sub(r"t[- ]?shirt", "tshirt", sentence)):
            reader.read(word)
        reader.end()
        body += reader.body
        garments += reader.garments
    return Description(body=tuple(dict.fromkeys(body)), garments=tuple(dict.fromkeys(garments)))


class _PhraseReader:
    """Assigns each colour word to the noun that it precedes or describes."""

    def __init__(self, head: str, person: bool) -> None:
        self.head, self.person = head, person
        self.body: list[Tint] = []
        self.garments: list[Garment] = []
        self._pending: list[Tint] = []
        self._modifier = ""
        self._elsewhere = False
        self._last_was_colour = False

    def read(self, word: str) -> None:
        is_colour = word in COLOUR_WORDS
        if word in MODIFIERS:
            self._modifier = MODIFIERS[word]
        elif is_colour:
            tint = COLOUR_WORDS[word]
            self._pending.append(tint._replace(modifier=self._modifier or tint.modifier))
            self._modifier = ""
        elif _singular(word) == self.head:
            self.body += self._take()
        elif word in GARMENT_REGIONS and not self._elsewhere:
            self._close_garment(word)
        elif word in LINKS or word in DEPARTURES or word == "with":
            self._close_predicate()
            # A person "with" something wears it; a thing "with" something has another part.
            self._elsewhere = word in DEPARTURES or (word == "with" and not self.person)
        self._last_was_colour = is_colour or (self._last_was_colour and word == "and")

    def end(self) -> None:
        self._close_predicate()
        if self._pending and not self.body and not self.garments and not self.person:
            self.body += self._take()  # the noun is a synonym of the class: "a blue mug" for a cup

    def _take(self) -> list[Tint]:
        if self._modifier == "dark":  # "dark trousers": the modifier is the colour
            self._pending.append(Tint("", "dark"))
        tints, self._pending, self._modifier = self._pending, [], ""
        return [] if self._elsewhere else tints

    def _close_garment(self, word: str) -> None:
        tints = self._take()
        if not tints and word in IMPLIED_TINTS:
            tints = [IMPLIED_TINTS[word]]
        if tints:
            self.garments.append(Garment(word, GARMENT_REGIONS[word], tuple(tints)))

    def _close_predicate(self) -> None:
        """Colours at the end of a phrase describe the instance: "the ball is red", "a woman in white"."""
        if self._last_was_colour:
            tints = self._take()
            if tints and self.person:
                self.garments.append(Garment("clothes", "whole", tuple(tints)))
            elif tints:
                self.body += tints


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word
