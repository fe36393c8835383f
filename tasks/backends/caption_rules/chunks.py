"""Chunks: noun phrases, verb groups and marks. `Scan` collects them from words, `ChunkStream` reads them.

"A boy in red gently kicks the ball." ->
    NounPhrase(boy)  Mark(preposition, in)  NounPhrase(red)  Mark(adverb, gently)  VerbGroup(kick)  NounPhrase(ball)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeGuard

from tasks.backends.caption_rules.nouns import ADJECTIVES, COMPOUNDS, LIVING, MASS, MEASURES, is_adjective, noun_form
from tasks.backends.caption_rules.verbs import VerbForm, verb_form
from tasks.backends.caption_rules.words import (
    CONJUNCTIONS,
    DEFINITE,
    DETERMINERS,
    FUNCTION_WORDS,
    MANY,
    PARTICLES,
    POSSESSOR_OF,
    PREPOSITIONS,
    PRONOUNS,
    REFLEXIVES,
    Word,
    indefinite_article,
    is_adverb,
)

# --- Kinds of chunks -------------------------------------------------------------------------


@dataclass(frozen=True)
class NounPhrase:
    """A base noun phrase. `words` excludes determiners; the last word is the head."""

    determiners: tuple[str, ...]
    words: tuple[Word, ...]
    head: str
    plural: bool
    number: int | None = None
    pronoun: str | None = None
    possessor: NounPhrase | None = None

    @property
    def text(self) -> str:
        """As written, with an indefinite article for its determiner: "the red cup" -> "a red cup"."""
        return " ".join([*self.article, *(word.text for word in self.words)])

    @property
    def article(self) -> list[str]:
        bare = not self.determiners and self.possessor is None
        if self.plural or bare or not self.words or self.head in MASS:
            return []
        return [indefinite_article(self.words[0].lower)]

    @property
    def modifiers(self) -> list[str]:
        return [word.lower for word in self.words[:-1] if word.lower != "and"]

    @property
    def span(self) -> tuple[int, int] | None:
        """Its characters in the caption, without determiners; None for "another" alone."""
        first, last = (self.words[0].span, self.words[-1].span) if self.words else (None, None)
        return (first[0], last[1]) if first and last else None

    @property
    def indefinite(self) -> bool:
        return not self.possessor and not DEFINITE & set(self.determiners)

    @property
    def counted(self) -> bool:
        """ "two dogs", "several cups"."""
        return (self.number or 0) > 1 or bool(MANY & set(self.determiners))


Form = Literal["finite", "past", "participle", "gerund", "infinitive"]


@dataclass(frozen=True)
class VerbGroup:
    """Auxiliaries and main verb. `form` is "past" if it can be past tense or participle: "pushed"."""

    lemma: str
    form: Form
    passive: bool = False
    asserted: bool = True

    @property
    def tensed(self) -> bool:
        """Whether it can be the main verb of its clause."""
        return self.form in {"finite", "past"}


Kind = Literal["preposition", "conjunction", "comma", "boundary", "relative", "adverb"]


@dataclass(frozen=True)
class Mark:
    """A word that links chunks, or an adverb."""

    kind: Kind
    text: str


Chunk = NounPhrase | VerbGroup | Mark


def is_mark(chunk: Chunk | None, *kinds: Kind) -> TypeGuard[Mark]:
    """Whether a chunk is a mark of one of these kinds."""
    return isinstance(chunk, Mark) and chunk.kind in kinds


def noun_phrase(
    determiners: Sequence[str], words: Sequence[Word], number: int | None, possessor: NounPhrase | None
) -> NounPhrase:
    """Make a phrase of at least one word; its head is singular: "washing machines" -> "washing machine"."""
    head, plural = noun_form(words[-1].lower) or (words[-1].lower, False)
    if len(words) > 1 and (compound := f"{words[-2].lower} {head}") in COMPOUNDS:
        head = compound
    owner = next((d for d in determiners if d in POSSESSOR_OF), None)
    if owner and possessor is None:
        possessor = NounPhrase((), (), owner, False, pronoun=POSSESSOR_OF[owner])
    phrase = NounPhrase(tuple(determiners), tuple(words), head, plural, number, possessor=possessor)
    return replace(phrase, plural=True) if phrase.counted else phrase


# --- Words into chunks -----------------------------------------------------------------------

# What follows a verb: the start of an object, or the end of a clause; "" is the sentence's end.
_AFTER_A_VERB = DETERMINERS | PREPOSITIONS | REFLEXIVES | PARTICLES | CONJUNCTIONS | PRONOUNS.keys() | {",", ""}


class Scan:
    """What the chunker's readers share: a sentence's words, its chunks so far, and what the clause still lacks.

    "Two boys push ..."  before "push": subject_open and plural_subject, so "push" may be their verb
    "The boy pushes ..." after it:      not subject_open, so a word that may be a noun is one

    Word indices beyond the sentence read as "".
    """

    def __init__(self, words: Sequence[Word]) -> None:
        self.words = words
        self.chunks: list[Chunk] = []
        self.subject_open = True  # no tensed verb yet in this clause
        self.plural_subject = False
        self.interrupted = False  # a relative clause stands between the subject and its verb
        self.reopened = False  # a living noun phrase after a link may be the next clause's subject

    # Words ahead

    def lower(self, i: int) -> str:
        return self.words[i].lower if 0 <= i < len(self.words) else ""

    def verb_form(self, i: int) -> VerbForm | None:
        return verb_form(self.lower(i))

    def is_adjective(self, i: int) -> bool:
        return is_adjective(self.lower(i))

    def nounlike(self, i: int) -> bool:
        """Whether word i can be a noun."""
        word = self.lower(i)
        if not word[:1].isalpha() or word in FUNCTION_WORDS:
            return False
        return noun_form(word) is not None and not (is_adverb(word) and word not in ADJECTIVES)

    def object_follows(self, i: int) -> bool:
        """Whether the next word suits word i as a verb, not as a noun inside a noun phrase."""
        following = self.lower(i + 1)
        return (
            following in _AFTER_A_VERB
            or is_adverb(following)
            or is_adjective(following)
            or (self.nounlike(i + 1) and noun_form(self.lower(i)) is None)
        )

    # Chunks so far

    def last(self) -> Chunk | None:
        """The latest chunk that is no adverb."""
        return next((chunk for chunk in reversed(self.chunks) if not is_mark(chunk, "adverb")), None)

    def linked(self) -> bool:
        """Whether the latest chunk is a comma or a linking word."""
        return is_mark(self.last(), "conjunction", "comma", "boundary", "relative")

    # Additions

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
        """Add a noun phrase that is no pronoun: it may make the subject plural, or start a new subject."""
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


# --- Reading chunks --------------------------------------------------------------------------


class ChunkStream:
    """A sentence's chunks, read from left to right; `position` is the index of the next one.

    "a ball | thrown by a boy hits ..."     "thrown" is reduced: a participle that describes the ball
    "a cup and | a girl lifts ..."          a tensed verb follows "a girl", so she starts a clause
    """

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self.chunks = chunks
        self.position = 0

    def peek(self, offset: int = 0) -> Chunk | None:
        """The next chunk, or its neighbour at an offset; None beyond the sentence."""
        return self._at(self.position + offset)

    def _at(self, position: int) -> Chunk | None:
        return self.chunks[position] if 0 <= position < len(self.chunks) else None

    def tensed_ahead(self, offset: int = 0) -> bool:
        """Whether a clause's main verb comes next; adverbs and conjoined noun phrases are skipped."""
        position = self.position + offset
        while (chunk := self._at(position)) is not None:
            if is_mark(chunk, "adverb"):
                position += 1
            elif is_mark(chunk, "conjunction") and isinstance(self._at(position + 1), NounPhrase):
                position += 2
            else:
                return isinstance(chunk, VerbGroup) and chunk.tensed and not self._reduced(chunk, position)
        return False

    def just_read_reduced(self, verb: VerbGroup) -> bool:
        """Whether the verb just read is a participle that describes a noun: "a ball thrown by"."""
        return self._reduced(verb, self.position - 1)

    def _reduced(self, verb: VerbGroup, position: int) -> bool:
        """Whether the verb at a position is a participle, even if it looks like a past: "a boy dressed ... kicks"."""
        following = self._at(position + 1)
        if verb.form != "past":
            return verb.form == "participle"
        return is_mark(following, "preposition") and (
            following.text == "by" or self._tensed_after_phrases(position + 1)
        )

    def _tensed_after_phrases(self, position: int) -> bool:
        """Whether only prepositional phrases lie between a position and the next tensed verb."""
        while (chunk := self._at(position)) is not None:
            if isinstance(chunk, VerbGroup):
                return chunk.tensed
            if not (isinstance(chunk, NounPhrase) or is_mark(chunk, "preposition", "adverb")):
                return False
            position += 1
        return False

    def comma_just_before(self) -> bool:
        """Whether a comma stands before the verb just read: "A boy pats a dog that barks, and | lifts"."""
        return any(is_mark(self.peek(offset), "comma") for offset in (-4, -3, -2))

    def measured(self, offset: int = 0) -> list[NounPhrase]:
        """The noun phrase at an offset, and what it is a measure of: "a pair" of "red gloves"; [] if there is none."""
        phrase, mark, inner = self.peek(offset), self.peek(offset + 1), self.peek(offset + 2)
        if not isinstance(phrase, NounPhrase):
            return []
        measures = phrase.head in MEASURES | {"suit"} and is_mark(mark, "preposition") and mark.text == "of"
        return [phrase, inner] if measures and isinstance(inner, NounPhrase) else [phrase]

    def coordinated(self, alike: Callable[[NounPhrase], bool]) -> list[str]:
        """Read "A, B and C" at the position while the noun phrases are alike; returns their texts."""
        texts = []
        while phrases := self.measured():
            if "no" not in phrases[0].determiners:  # "in jeans and no shirt"
                texts.append(" of ".join(phrase.text for phrase in phrases))
            self.position += 2 * len(phrases) - 1
            skip = 0
            while is_mark(self.peek(skip), "comma", "conjunction"):
                skip += 1
            following = self.measured(skip)
            if not skip or not following or not alike(following[-1]):
                break
            self.position += skip
        return texts
