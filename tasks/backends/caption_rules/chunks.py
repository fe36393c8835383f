"""Chunks: what the chunker makes of words and the clause reader reads.

"A boy in red gently kicks the ball." ->
    NounPhrase(boy)  Mark(preposition, in)  NounPhrase(red)  Mark(adverb, gently)  VerbGroup(kick)  NounPhrase(ball)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeGuard

from tasks.backends.caption_rules.inflection import noun_form
from tasks.backends.caption_rules.nouns import COMPOUNDS, PLURAL_ONLY
from tasks.backends.caption_rules.word_classes import DEFINITE, MANY, POSSESSOR_OF
from tasks.backends.caption_rules.words import Word, indefinite_article


@dataclass(frozen=True)
class NounPhrase:
    """A base noun phrase. `words` are its own words without determiners; the last is the head."""

    determiners: tuple[str, ...]
    words: tuple[Word, ...]
    head: str
    plural: bool
    number: int | None = None
    pronoun: str | None = None
    possessor: NounPhrase | None = None

    @property
    def text(self) -> str:
        """As written, with an article for what a determiner said: "the red cup" -> "a red cup"."""
        return " ".join([*self.article, *(word.text for word in self.words)])

    @property
    def article(self) -> list[str]:
        bare = not self.determiners and self.possessor is None
        if self.plural or bare or not self.words or self.head in PLURAL_ONLY:
            return []
        return [indefinite_article(self.words[0].lower)]

    @property
    def modifiers(self) -> list[str]:
        return [word.lower for word in self.words[:-1] if word.lower != "and"]

    @property
    def indefinite(self) -> bool:
        return not self.possessor and not DEFINITE & set(self.determiners)

    @property
    def counted(self) -> bool:
        """ "two dogs", "several cups"."""
        return _counts_several(self.determiners, self.number)


Form = Literal["finite", "past", "participle", "gerund", "infinitive"]


@dataclass(frozen=True)
class VerbGroup:
    """Auxiliaries and main verb. `form` is "past" where a past tense and a participle look the same."""

    lemma: str
    form: Form
    passive: bool = False
    asserted: bool = True

    @property
    def tensed(self) -> bool:
        """Whether it can be its clause's own verb."""
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
    """The phrase of these words, at least one: its head in the singular, "washing machines" -> "washing machine"."""
    head, plural = noun_form(words[-1].lower) or (words[-1].lower, False)
    if len(words) > 1 and (words[-2].lower, head) in COMPOUNDS:
        head = f"{words[-2].lower} {head}"
    owner = next((d for d in determiners if d in POSSESSOR_OF), None)
    if owner and possessor is None:
        possessor = NounPhrase((), (), owner, False, pronoun=POSSESSOR_OF[owner])
    plural = plural or _counts_several(determiners, number)
    return NounPhrase(tuple(determiners), tuple(words), head, plural, number, None, possessor)


def _counts_several(determiners: Sequence[str], number: int | None) -> bool:
    return (number or 0) > 1 or bool(MANY & set(determiners))
