"""Sentences and words: the text as the chunker takes it.

"Dr. Lee isn't here. He's <b>away</b>!" ->
    ("Dr. Lee isn't here.",   dr lee is not here)
    ("He's <b>away</b>!",     he is away)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.backends.caption_rules.word_classes import PRONOUNS, RELATIVES

_MARKUP = re.compile(r"<[^<>]{0,300}>|&[a-z]{2,8};")
_SENTENCE_END = re.compile(r"[.!?]+[\"')\]]*(?=\s|$)|\n+")
_TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|\d+|[,;:()&—–]")
_TITLES = {"mr", "mrs", "ms", "dr", "st", "vs"}
# Words whose 's is "is", not a possessor's mark.
_BEFORE_IS = RELATIVES | {"there", "that"} | PRONOUNS.keys()


@dataclass(frozen=True)
class Word:
    """One word or mark of a sentence; lower has straight apostrophes."""

    text: str
    lower: str


def sentences(caption: str) -> list[tuple[str, list[Word]]]:
    """Each sentence, word for word, with its words. Markup counts as white space."""
    readable = _MARKUP.sub(lambda match: " " * len(match.group()), caption)
    found, start = [], 0
    ends = [match.end() for match in _SENTENCE_END.finditer(readable) if not _ends_in_title(readable, match.start())]
    for end in [*ends, len(readable)]:
        words = _words(readable[start:end])
        if words:
            found.append((caption[start:end].strip(), words))
        start = end
    return found


def indefinite_article(word: str) -> str:
    """ "an" before a vowel's letter: "orange ball" -> "an"."""
    return "an" if word[0].lower() in "aeiou" else "a"


def _ends_in_title(text: str, end: int) -> bool:
    return text[max(0, end - 4) : end].split(" ")[-1].lower() in _TITLES


def _words(sentence: str) -> list[Word]:
    words: list[Word] = []
    for match in _TOKEN.finditer(sentence):
        text = match.group().replace("’", "'")
        lower = text.lower()
        stem, _, ending = lower.rpartition("'")
        if lower in {"five", "fives"} and words and words[-1].lower == "high":
            words[-1] = Word(f"{words[-1].text}-{text}", f"high-{lower}")
        elif lower.endswith("n't"):
            words += [Word(text[:-3], lower[:-3]), Word("not", "not")]
        elif ending == "s" and stem in _BEFORE_IS:
            words += [Word(text[:-2], stem), Word("is", "is")]
        else:
            words.append(Word(text, lower))
    return words
