"""The state that the chunker's readers share: the words, the chunks so far, and what the clause still lacks.

"Two boys push ..."  at "push": subject_open and plural_subject, so "push" may be their verb
"The boy pushes ..." after it:  not subject_open, so a noun-like "push" is a noun
"""

from __future__ import annotations

from collections.abc import Sequence

from tasks.backends.caption_rules.chunks import Chunk, Mark, NounPhrase, VerbGroup, is_mark
from tasks.backends.caption_rules.inflection import VerbForm, is_adjective, is_adverb, noun_form, verb_form
from tasks.backends.caption_rules.nouns import ADJECTIVES, LIVING
from tasks.backends.caption_rules.word_classes import (
    CONJUNCTIONS,
    DETERMINERS,
    FUNCTION_WORDS,
    PARTICLES,
    PREPOSITIONS,
    PRONOUNS,
    REFLEXIVES,
)
from tasks.backends.caption_rules.words import Word

# What starts an object or ends a clause; "" is the sentence's end.
_AFTER_A_VERB = DETERMINERS | PREPOSITIONS | REFLEXIVES | PARTICLES | CONJUNCTIONS | PRONOUNS.keys() | {",", ""}


class Scan:
    """A sentence half read into chunks. Word indices beyond its ends read as ""."""

    def __init__(self, words: Sequence[Word]) -> None:
        self.words = words
        self.chunks: list[Chunk] = []
        self.subject_open = True  # no tensed verb yet in this clause
        self.plural_subject = False
        self.interrupted = False  # a relative clause stands between the subject and its verb
        self.reopened = False  # a living noun phrase after a link may be the next clause's subject

    # The words ahead

    def lower(self, i: int) -> str:
        return self.words[i].lower if 0 <= i < len(self.words) else ""

    def verb_form(self, i: int) -> VerbForm | None:
        return verb_form(self.lower(i))

    def is_adjective(self, i: int) -> bool:
        return is_adjective(self.lower(i))

    def nounlike(self, i: int) -> bool:
        """Whether word i may be a noun."""
        word = self.lower(i)
        if not word[:1].isalpha() or word in FUNCTION_WORDS:
            return False
        return noun_form(word) is not None and not (is_adverb(word) and word not in ADJECTIVES)

    def object_follows(self, i: int) -> bool:
        """Whether word i is followed by what follows a verb, not a noun inside a noun phrase."""
        following = self.lower(i + 1)
        return (
            following in _AFTER_A_VERB
            or is_adverb(following)
            or is_adjective(following)
            or (self.nounlike(i + 1) and noun_form(self.lower(i)) is None)
        )

    # The chunks behind

    def last(self) -> Chunk | None:
        """The chunk before, adverbs aside."""
        return next((chunk for chunk in reversed(self.chunks) if not is_mark(chunk, "adverb")), None)

    def linked(self) -> bool:
        """Whether a comma, a conjunction or the like stands before."""
        return is_mark(self.last(), "conjunction", "comma", "boundary", "relative")

    # What is found

    def add_mark(self, mark: Mark) -> None:
        """Add a mark; a boundary or a relative word opens a clause."""
        last = self.last()
        if mark.kind in {"boundary", "relative"}:
            after_relative = mark.kind == "relative"
            self.interrupted = after_relative and self.subject_open and last is not None
            self.plural_subject = after_relative and isinstance(last, NounPhrase) and last.plural
            self.subject_open, self.reopened = True, False
        elif mark.kind == "conjunction" and isinstance(last, NounPhrase) and self.subject_open:
            self.plural_subject = True
        self.chunks.append(mark)

    def add_noun_phrase(self, phrase: NounPhrase) -> None:
        """Add a noun phrase that is no pronoun: it may make the subject plural, or be a new one."""
        if self.subject_open and not is_mark(self.last(), "preposition"):
            self.plural_subject = self.plural_subject or phrase.plural
        self.reopened = self.reopened or (self.linked() and phrase.head in LIVING)
        self.chunks.append(phrase)

    def add_verb(self, verb: VerbGroup) -> None:
        """Add a verb group; a tensed one closes the subject."""
        if verb.tensed:
            self.interrupted = self.interrupted and self.subject_open
            self.subject_open = self.reopened = False
        self.chunks.append(verb)
