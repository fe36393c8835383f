"""Groups a sentence's words into chunks, from left to right.

    "He gently picks up a cup"  ->
        NounPhrase(he)  Mark(adverb, gently)  VerbGroup(pick)  Mark(preposition, up)  NounPhrase(cup)

At each word the readers try, in this order: mark, verb group, preposition, noun phrase, adverb. The first that fits
takes all words that belong. A word that fits none ("#") is skipped.
"""

from __future__ import annotations

from collections.abc import Sequence

from tasks.backends.caption_rules.chunks import Chunk, Mark, NounPhrase, Scan, VerbGroup
from tasks.backends.caption_rules.noun_phrases import NounPhraseReader
from tasks.backends.caption_rules.verb_groups import VerbGroupReader
from tasks.backends.caption_rules.verbs import FOLLOWED_BY_AFTER
from tasks.backends.caption_rules.words import (
    CONJUNCTIONS,
    PARTICLES,
    PREPOSITIONS,
    RELATIVES,
    SUBORDINATORS,
    Word,
    is_adverb,
)

# Prepositions of several words, longest first.
_MULTIWORD = sorted((tuple(text.split()) for text in PREPOSITIONS if " " in text), key=len, reverse=True)


def chunks(words: Sequence[Word]) -> list[Chunk]:
    """Group one sentence's words into chunks."""
    return _Chunker(words).read()


class _Chunker:
    def __init__(self, words: Sequence[Word]) -> None:
        self.scan = Scan(words)
        # A reader gets the index of a word and returns that of the next unread word; the same one if nothing fits.
        self.readers = (
            self._mark,
            VerbGroupReader(self.scan).read,
            self._preposition,
            NounPhraseReader(self.scan).read,
            self._adverb,
        )

    def read(self) -> list[Chunk]:
        i = 0
        while i < len(self.scan.words):
            ends = (read(i) for read in self.readers)
            i = next((end for end in ends if end > i), i + 1)
        return self.scan.chunks

    def _mark(self, i: int) -> int:
        word, last = self.scan.lower(i), self.scan.last()
        if word in {",", "(", ")", "—", "–"}:
            mark = Mark("comma", word)
        elif word == "after" and isinstance(last, VerbGroup) and last.lemma in FOLLOWED_BY_AFTER:
            mark = Mark("preposition", word)
        elif word in {";", ":"} or word in SUBORDINATORS:
            mark = Mark("boundary", word)
        elif word in RELATIVES or (word == "that" and isinstance(last, NounPhrase)):
            mark = Mark("relative", word)
        elif word in CONJUNCTIONS:
            mark = Mark("conjunction", word)
        else:
            return i
        self.scan.add_mark(mark)
        return i + 1

    def _preposition(self, i: int) -> int:
        for words in _MULTIWORD:
            if all(self.scan.lower(i + k) == word for k, word in enumerate(words)):
                self.scan.add_mark(Mark("preposition", " ".join(words)))
                return i + len(words)
        if self.scan.lower(i) not in PREPOSITIONS | PARTICLES:
            return i
        self.scan.add_mark(Mark("preposition", self.scan.lower(i)))
        return i + 1

    def _adverb(self, i: int) -> int:
        if not is_adverb(self.scan.lower(i)):
            return i
        self.scan.add_mark(Mark("adverb", self.scan.lower(i)))
        return i + 1
