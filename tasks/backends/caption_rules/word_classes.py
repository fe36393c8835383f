"""Closed classes of words: determiners, pronouns, prepositions and the like, and the adverbs that are not in "-ly".

A class is a set of lower-case words; a preposition may be of several words: "in front of" in PREPOSITIONS.
"""

from __future__ import annotations

from typing import Literal

Gender = Literal["m", "f", "n"]


def word_set(text: str) -> frozenset[str]:
    """The words of a text, as the tables here are written."""
    return frozenset(text.split())


NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
MANY = word_set("several many few multiple various numerous both dozens hundreds couple")
ARTICLES = word_set("a an the this these those some any every each another all no")
POSSESSIVES = word_set("his her its their my your our")
DETERMINERS = ARTICLES | POSSESSIVES | MANY | frozenset(NUMBERS) | {"that"}
DEFINITE = word_set("the this that these those")
REFLEXIVES = word_set("himself herself itself themselves myself yourself oneself ourselves")
# pronoun -> (gender or None, plural)
PRONOUNS: dict[str, tuple[Gender | None, bool]] = {
    "he": ("m", False),
    "him": ("m", False),
    "she": ("f", False),
    "her": ("f", False),
    "it": ("n", False),
    "they": (None, True),
    "them": (None, True),
}
POSSESSOR_OF = {"his": "him", "her": "her", "its": "it", "their": "them"}
INDEFINITE_PRONOUNS = word_set(
    "someone somebody anyone everyone everybody nobody something nothing everything anything"
)
RELATIVES = word_set("who whom which")
SUBORDINATORS = word_set(
    "while as when whereas because until since if although though where so once whenever before after"
)
CONJUNCTIONS = word_set("and or but nor & plus")
BE = word_set("is are was were be been being am")
AUXILIARIES = BE | word_set("has have had will would can could may might shall should must do does did having")
NEGATIONS = word_set("not never n't neither hardly barely")

STATIC_PREPOSITIONS = word_set(
    "on in at beside near behind under above below between among by inside outside underneath atop"
) | {
    "next to",
    "in front of",
    "on top of",
    "close to",
    "to the left of",
    "to the right of",
}
WEARING = {"in", "wearing", "dressed in", "clad in", "sporting"}
PREPOSITIONS = (
    STATIC_PREPOSITIONS
    | WEARING
    | word_set(
        "of with from to into onto through across along over around against toward towards for about upon past beneath "
        "without during off up down out like via amid amongst within throughout alongside"
    )
    | {
        "out of",
        "away from",
        "up to",
        "on to",
        "in to",
        "back to",
        "off of",
        "instead of",
        "along with",
        "together with",
    }
)
# Never a noun.
FUNCTION_WORDS = DETERMINERS | PREPOSITIONS | CONJUNCTIONS | AUXILIARIES | SUBORDINATORS | RELATIVES | PRONOUNS.keys()
# Particles that lead to no noun phrase of their own.
DIRECTIONS = word_set("out away back apart together")
PARTICLES = word_set("up down off out over away back on in around along apart together through")
ADVERBS = word_set(
    "then upward upwards downward downwards forward forwards backward backwards sideways again together apart "
    "away back there here nearby home just also still now very quite too almost already often once twice high "
    "hard fast aside afterwards meanwhile next later suddenly finally soon ahead overhead indoors outdoors "
    "alone instead well yet even only slightly half nearly first"
)
