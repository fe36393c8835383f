"""Inflection and parts of speech of single words, from lemminflect's tables and our lists.

verb_form("kicks") -> ("kick", {"VBZ"})      lemma and Penn Treebank tags
noun_form("women") -> ("woman", True)        singular, and whether the word is plural
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import lemminflect

from tasks.backends.caption_rules.nouns import ADJECTIVES, GARMENTS, LIVING, PLURAL_ONLY
from tasks.backends.caption_rules.verbs import ACTION_LEMMAS
from tasks.backends.caption_rules.word_classes import ADVERBS


class VerbForm(NamedTuple):
    """A word read as a verb. `tags` are those of the Penn Treebank: "hit" has VB, VBP, VBD and VBN."""

    lemma: str
    tags: frozenset[str]


class NounForm(NamedTuple):
    """A word read as a noun."""

    lemma: str
    plural: bool


@lru_cache(maxsize=8192)
def _lemmas(word: str) -> dict[str, tuple[str, ...]]:
    return lemminflect.getAllLemmas(word)


@lru_cache(maxsize=8192)
def verb_form(word: str) -> VerbForm | None:
    """A lower-case word read as a verb: "kicks" -> ("kick", {"VBZ"}); None if it is none."""
    lemmas = [lemma for lemma in _lemmas(word).get("VERB", ()) if lemma]
    if not lemmas and "-" in word:
        return _hyphened_verb(word)
    # "found" is of "find" and of "found", "saw" of "see" and of "saw": a past form is the likelier reading.
    lemmas.sort(key=lambda lemma: (lemma not in ACTION_LEMMAS, lemma == word))
    for lemma in lemmas:
        inflections = lemminflect.getAllInflections(lemma, "VERB")
        tags = frozenset(tag for tag, forms in inflections.items() if word in forms)
        if "VBD" in tags and "VBN" not in inflections:  # the tables list a regular verb's past once
            tags |= {"VBN"}
        if tags:
            return VerbForm(lemma, tags)
    return None


def _hyphened_verb(word: str) -> VerbForm | None:
    """ "high-fives" -> ("high-five", {"VBZ"}), for the hyphened verbs of the lexicon."""
    head, _, tail = word.rpartition("-")
    ends_in_s = tail.endswith("s")
    stem, tags = verb_form(tail) or (tail.removesuffix("s"), frozenset({"VBZ"} if ends_in_s else {"VB", "VBP"}))
    lemma = f"{head}-{stem}"
    return VerbForm(lemma, tags) if lemma in ACTION_LEMMAS else None


@lru_cache(maxsize=8192)
def noun_form(word: str) -> NounForm | None:
    """A lower-case word read as a noun: "women" -> ("woman", True); None if the tables have it, but not as a noun."""
    if word in PLURAL_ONLY:
        return NounForm(word, False)
    known = _lemmas(word)
    if word in LIVING | GARMENTS:
        return NounForm(word, word == "people")
    lemmas = known.get("NOUN", ())
    if not lemmas:
        return _plural_of_listed(word) or (None if known else NounForm(word, False))
    # "leaves" is of "leaf" before "leave"; "bends" of "bend" before a noun "bends".
    lemma = "leaf" if "leaf" in lemmas else next((lemma for lemma in lemmas if lemma != word), word)
    return NounForm(lemma, lemma != word)


def _plural_of_listed(word: str) -> NounForm | None:
    """Plural of a noun that only our lists have: "t-shirts" -> ("t-shirt", True)."""
    stem = word.removesuffix("s")
    return NounForm(stem, True) if stem != word and stem in GARMENTS | LIVING else None


def is_adjective(word: str) -> bool:
    """True for words that can lead a noun: listed ones, the tables' adjectives and hyphened participles."""
    return word in ADJECTIVES or "ADJ" in _lemmas(word) or (word.endswith("ed") and "-" in word)


def is_adverb(word: str) -> bool:
    """True for manner, direction and time adverbs."""
    return word in ADVERBS or (word.endswith("ly") and "ADV" in _lemmas(word))


def is_unknown(word: str) -> bool:
    """True if no table has the word: a name, a new noun ("frisbee") or another language."""
    return not _lemmas(word)
