"""Words: sentences split into words, and what a single word can be without its context.

"Dr. Lee isn't here. He's <b>away</b>!" ->
    ("Dr. Lee isn't here.",   dr lee is not here)
    ("He's <b>away</b>!",     he is away)

A word class is a set of lower-case words. PREPOSITIONS also has entries of several words: "in front of".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import lemminflect

Gender = Literal["m", "f", "n"]

# --- Word classes ----------------------------------------------------------------------------


def word_set(text: str) -> frozenset[str]:
    """ "on next_to" -> {"on", "next to"}."""
    return frozenset(word.replace("_", " ") for word in text.split())


NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
MANY = word_set("several many few multiple various numerous both dozens hundreds couple")
DETERMINERS = (
    MANY
    | frozenset(NUMBERS)
    | word_set("a an the this that these those some any every each another all no his her its their my your our")
)
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
    "on in at beside near behind under above below between among by inside outside underneath atop next_to in_front_of "
    "on_top_of close_to to_the_left_of to_the_right_of"
)
DRESSED = word_set("dressed clad attired garbed outfitted")
# What follows these is worn, whatever it is; what follows "in" may be a place.
CLOTHED_IN = word_set("wearing sporting dressed_as") | {f"{participle} in" for participle in DRESSED}
WEARING = CLOTHED_IN | {"in"}
PREPOSITIONS = (
    STATIC_PREPOSITIONS
    | WEARING
    | word_set(
        "of with from to into onto through across along over around against toward towards for about upon past beneath "
        "without during off up down out like via amid amongst within throughout alongside out_of away_from up_to on_to "
        "in_to back_to off_of instead_of along_with together_with"
    )
)
# Never a noun.
FUNCTION_WORDS = DETERMINERS | PREPOSITIONS | CONJUNCTIONS | AUXILIARIES | SUBORDINATORS | RELATIVES | PRONOUNS.keys()
# Particles that never lead to a noun phrase of their own.
DIRECTIONS = word_set("out away back apart together")
PARTICLES = word_set("up down off out over away back on in around along apart together through")
# Adverbs that do not end in "-ly".
ADVERBS = word_set(
    "then upward upwards downward downwards forward forwards backward backwards sideways again together apart "
    "away back there here nearby home just also still now very quite too almost already often once twice high "
    "hard fast aside afterwards meanwhile next later suddenly finally soon ahead overhead indoors outdoors "
    "alone instead well yet even only slightly half nearly first"
)


@lru_cache(maxsize=8192)
def lemmas_of(word: str) -> dict[str, tuple[str, ...]]:
    """Lemmas by part of speech, from lemminflect: "saw" -> {"NOUN": ("saw",), "VERB": ("see", "saw")}."""
    return lemminflect.getAllLemmas(word)


def is_adverb(word: str) -> bool:
    """True for adverbs of manner, direction and time."""
    return word in ADVERBS or (word.endswith("ly") and "ADV" in lemmas_of(word))


def is_unknown(word: str) -> bool:
    """True if lemminflect lacks the word: a name, a new noun ("frisbee") or another language."""
    return not lemmas_of(word)


def indefinite_article(word: str) -> str:
    """ "orange" -> "an", "red" -> "a": judged by the first letter."""
    return "an" if word[0].lower() in "aeiou" else "a"


# --- Sentences -------------------------------------------------------------------------------

_MARKUP = re.compile(r"<[^<>]{0,300}>|&[a-z]{2,8};")
_SENTENCE_END = re.compile(r"[.!?]+[\"')\]]*(?=\s|$)|\n+")
_TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|\d+|[,;:()&—–]")
_TITLES = {"mr", "mrs", "ms", "dr", "st", "vs"}
# After these words 's means "is"; after others it marks a possessor.
_BEFORE_IS = RELATIVES | {"there", "that"} | PRONOUNS.keys()


@dataclass(frozen=True)
class Word:
    """One word or punctuation mark of a sentence. `lower` has straight apostrophes."""

    text: str
    lower: str
    span: tuple[int, int] | None = field(default=None, compare=False)  # its characters in the caption, the end excluded


def sentences(caption: str) -> list[tuple[str, list[Word]]]:
    """Each sentence as the caption has it, with its words. Markup counts as white space."""
    readable = _MARKUP.sub(lambda match: " " * len(match.group()), caption)
    found, start = [], 0
    ends = [match.end() for match in _SENTENCE_END.finditer(readable) if not _ends_in_title(readable, match.start())]
    for end in [*ends, len(readable)]:
        words = _words(readable[start:end], start)
        if words:
            found.append((caption[start:end].strip(), words))
        start = end
    return found


def _ends_in_title(text: str, end: int) -> bool:
    return text[max(0, end - 4) : end].split(" ")[-1].lower() in _TITLES


def _words(sentence: str, offset: int) -> list[Word]:
    """offset: of the sentence in its caption"""
    words: list[Word] = []
    for match in _TOKEN.finditer(sentence):
        text = match.group().replace("’", "'")
        lower = text.lower()
        start, end = offset + match.start(), offset + match.end()
        stem, _, ending = lower.rpartition("'")
        if lower in {"five", "fives"} and words and words[-1].lower == "high":
            high = words[-1].span or (start, start)
            words[-1] = Word(f"{words[-1].text}-{text}", f"high-{lower}", (high[0], end))
        elif lower.endswith("n't"):
            words += [Word(text[:-3], lower[:-3], (start, end - 3)), Word("not", "not", (end - 3, end))]
        elif ending == "s" and stem in _BEFORE_IS:
            words += [Word(text[:-2], stem, (start, end - 2)), Word("is", "is", (end - 2, end))]
        else:
            words.append(Word(text, lower, (start, end)))
    return words
