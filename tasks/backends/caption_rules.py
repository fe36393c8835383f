"""Reads interactions out of an English caption by rules: the embedded CaptionReader.

    "A boy in a red shirt kicks a ball." ->
        Listing([Mention("id1", "boy"), Mention("id2", "ball")], [Relation("id1", "kick", "id2", ...)])

Four steps, each linear but for short look-aheads: words; chunks (noun phrases, verb groups, prepositions);
clauses, read from left to right with a subject and a current verb; entities, where a later mention finds
the earlier one. It knows the plain sentences that captioners write. What it cannot read it leaves out.

Where MATRIX leaves room, the rules decide so:
- A goal is an object too: "throws a ball to a dog" is throw and throw to, "puts it on a table" put and put on.
  Scenery is none ("on a lawn"), nor are tools, own limbs, own clothes being adjusted, and plain places.
- Several individuals that the caption does not tell apart ("two dogs", "three cups") have no id, so no relation;
  things without a number ("vegetables") are one heap with one id.
- "Hug each other" and "shake hands" are one relation, in the caption's order.
- What is only tried, wanted, denied or supposed is not said to happen.
"""

from __future__ import annotations

import importlib.metadata
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import lemminflect

from schemas.instance import Instance
from schemas.outcome import RowFailed
from schemas.source import MAX_CAPTION_CHARS
from tasks.backends import caption_lexicon as lex
from tasks.extract_triplets import Listing, Mention, Rating, Relation

logger = logging.getLogger(__name__)

NOT_STATED = "Not stated in the caption."

# --- Words -----------------------------------------------------------------------------------

_MARKUP = re.compile(r"<[^<>]{0,300}>|&[a-z]{2,8};")
_SENTENCE_END = re.compile(r"[.!?]+[\"')\]]*(?=\s|$)|\n+")
_TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|\d+|[,;:()&—–]")
_TITLES = {"mr", "mrs", "ms", "dr", "st", "vs"}


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
        elif ending == "s" and (stem in lex.PRONOUNS or stem in lex.RELATIVES | {"there", "that"}):
            words += [Word(text[:-2], stem), Word("is", "is")]
        else:
            words.append(Word(text, lower))
    return words


# --- Chunks ----------------------------------------------------------------------------------


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
        if self.plural or bare or not self.words or self.head in lex.PLURAL_ONLY:
            return []
        return ["an" if self.words[0].lower[0] in "aeiou" else "a"]

    @property
    def modifiers(self) -> list[str]:
        return [word.lower for word in self.words[:-1] if word.lower != "and"]

    @property
    def indefinite(self) -> bool:
        return not self.possessor and not {"the", "this", "that", "these", "those"} & set(self.determiners)


Form = Literal["finite", "past", "participle", "gerund", "infinitive"]


@dataclass(frozen=True)
class VerbGroup:
    """Auxiliaries and main verb. `form` is "past" where a past tense and a participle look the same."""

    lemma: str
    form: Form
    passive: bool = False
    asserted: bool = True


@dataclass(frozen=True)
class Mark:
    """A word that links chunks, or an adverb."""

    kind: Literal["preposition", "conjunction", "comma", "boundary", "relative", "adverb"]
    text: str


Chunk = NounPhrase | VerbGroup | Mark

# No caption's base noun phrase is longer; it bounds the time that nonsense takes.
_MAX_PHRASE_WORDS = 16
# Several words that act as one.
_MULTIWORD = sorted(
    {tuple(text.split()) for text in lex.PREPOSITIONS | lex.WEARING if " " in text}, key=len, reverse=True
)
_GERUND_MARKERS = {"by", "after", "before", "without", "while", "when", "from", "for"}


class Chunker:
    """Groups a sentence's words into chunks, deciding noun or verb by what stands before."""

    def __init__(self, words: Sequence[Word]) -> None:
        self.words = words
        self.chunks: list[Chunk] = []
        self.subject_open = True  # no finite verb yet in this clause
        self.plural_subject = False
        self.interrupted = False  # a relative clause stands between the subject and its verb
        self.reopened = False  # a living noun phrase after a link may be the next clause's subject

    def read(self) -> list[Chunk]:
        position = 0
        while position < len(self.words):
            position = self._next(position)
        return self.chunks

    def _next(self, i: int) -> int:
        """Read one chunk at word i; returns where the next begins."""
        for reader in (self._mark, self._verb, self._preposition, self._noun_phrase, self._adverb):
            end = reader(i)
            if end > i:
                return end
        return i + 1  # not a word of any caption grammar: passed over

    def _lower(self, i: int) -> str:
        return self.words[i].lower if 0 <= i < len(self.words) else ""

    def _last(self) -> Chunk | None:
        """The chunk before, adverbs aside."""
        return next((c for c in reversed(self.chunks) if not (isinstance(c, Mark) and c.kind == "adverb")), None)

    def _add(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)

    # Marks and prepositions

    def _mark(self, i: int) -> int:
        word, last = self._lower(i), self._last()
        if word in {",", "(", ")", "—", "–"}:
            self._add(Mark("comma", word))
        elif word == "after" and isinstance(last, VerbGroup) and last.lemma in lex.FOLLOWED_BY_AFTER:
            self._add(Mark("preposition", word))
        elif word in {";", ":"} or word in lex.SUBORDINATORS:
            self._open_clause(Mark("boundary", word))
        elif word in lex.RELATIVES or (word == "that" and isinstance(last, NounPhrase)):
            self._open_clause(Mark("relative", word))
        elif word in lex.CONJUNCTIONS:
            if isinstance(last, NounPhrase) and self.subject_open:
                self.plural_subject = True
            self._add(Mark("conjunction", word))
        else:
            return i
        return i + 1

    def _open_clause(self, mark: Mark) -> None:
        last = self._last()
        self.plural_subject = mark.kind == "relative" and isinstance(last, NounPhrase) and last.plural
        self.interrupted = mark.kind == "relative" and self.subject_open and last is not None
        self.subject_open, self.reopened = True, False
        self._add(mark)

    def _preposition(self, i: int) -> int:
        for words in _MULTIWORD:
            if tuple(self._lower(i + k) for k in range(len(words))) == words:
                self._add(Mark("preposition", " ".join(words)))
                return i + len(words)
        word = self._lower(i)
        if word not in lex.PREPOSITIONS | lex.WEARING | lex.PARTICLES:
            return i
        self._add(Mark("preposition", word))
        return i + 1

    def _adverb(self, i: int) -> int:
        if not lex.is_adverb(self._lower(i)):
            return i
        self._add(Mark("adverb", self._lower(i)))
        return i + 1

    # Verbs

    def _verb(self, i: int) -> int:
        word = self._lower(i)
        if word in lex.AUXILIARIES:
            return self._auxiliaries(i)
        if word == "to" and (end := self._infinitive(i)) > i:
            return end
        if word in lex.WEARING or not self._reads_as_verb(i):
            return i
        if word in {"dressed", "clad"} and self._lower(i + 1) == "in":
            return i
        lemma, tags = self._verb_forms(i)
        return self._complete(i + 1, lemma, _form(tags))

    def _verb_forms(self, i: int) -> tuple[str, frozenset[str]]:
        word = self._lower(i)
        forms = lex.verb_forms(word)
        if forms:
            return forms
        lemma = (lemminflect.getLemma(word, "VERB") or (word,))[0]
        tags = {"s": "VBZ", "d": "VBD", "g": "VBG"}
        return lemma, frozenset({tags.get(word[-1], "VB")})

    def _infinitive(self, i: int) -> int:
        start = i + 1
        while lex.is_adverb(self._lower(start)):
            start += 1
        forms = lex.verb_forms(self._lower(start))
        if forms is None or "VB" not in forms[1]:
            return i
        return self._complete(start + 1, forms[0], "infinitive")

    def _auxiliaries(self, i: int) -> int:
        """ "is being gently pushed": the auxiliaries, adverbs between them, and the main verb's form."""
        last, asserted, first = "", True, self._lower(i)
        while (word := self._lower(i)) and (
            word in lex.AUXILIARIES or word in lex.NEGATIONS or (lex.is_adverb(word) and not self._main_verb_here(i))
        ):
            asserted = asserted and word not in lex.NEGATIONS
            last = word if word in lex.AUXILIARIES else last
            i += 1
        form: Form = "gerund" if first in {"being", "having"} else "finite"
        forms = lex.verb_forms(self._lower(i))
        tags = forms[1] if forms else frozenset()
        if last in lex.BE and "VBG" in tags and forms:
            return self._complete(i + 1, forms[0], form, asserted=asserted)
        if last in lex.BE and "VBN" in tags and forms and self._lower(i) not in {"dressed", "clad"}:
            return self._complete(i + 1, forms[0], form, passive=True, asserted=asserted)
        wanted = "VBN" if last in {"has", "have", "had", "having"} else "VB"
        if last not in lex.BE and wanted in tags and forms:
            return self._complete(i + 1, forms[0], form, asserted=asserted)
        return self._complete(i, "be" if last in lex.BE else "have", form, asserted=asserted)

    def _main_verb_here(self, i: int) -> bool:
        return lex.verb_forms(self._lower(i)) is not None and not self._lower(i).endswith("ly")

    def _complete(
        self,
        i: int,
        lemma: str,
        form: Form,
        *,
        passive: bool = False,
        asserted: bool = True,
    ) -> int:
        """Add the verb group, or the inner one of "starts to throw"; returns where the next chunk begins."""
        if lemma in lex.ASPECTUALS | lex.UNREALISED:
            to = self._lower(i) == "to"
            inner = lex.verb_forms(self._lower(i + to))
            if inner and (("VB" in inner[1]) if to else inner[1] == {"VBG"}):
                asserted = asserted and lemma not in lex.UNREALISED
                return self._complete(i + to + 1, inner[0], form, asserted=asserted)
        if form in {"finite", "past"}:
            self.interrupted = self.interrupted and self.subject_open
            self.subject_open = self.reopened = False
        self._add(VerbGroup(lemma, form, passive, asserted))
        return i

    def _reads_as_verb(self, i: int) -> bool:
        """Whether an open-class word that may be noun or verb is a verb here."""
        word, last = self._lower(i), self._last()
        forms = lex.verb_forms(word)
        if forms is None:
            return self._coined_verb(i)
        lemma, tags = forms
        if word in lex.PREPOSITIONS | lex.ADVERBS | lex.DETERMINERS:
            return False
        if "VBG" in tags:
            return self._reads_as_gerund(i)
        nounlike = lex.noun_lemma(word) is not None or lex.is_adjective(word)
        if isinstance(last, VerbGroup):
            return "VBZ" in tags and self._in_relative() and self._object_follows(i)  # "the ball he throws hits a girl"
        if isinstance(last, NounPhrase):
            return last.pronoun is None or self.subject_open or not nounlike
        if last is None or last.kind == "preposition":
            return not nounlike and last is not None and last.text in lex.PARTICLES
        if last.kind in {"conjunction", "comma"}:
            return not nounlike or (lemma in lex.ACTION_LEMMAS and self._agrees(tags) and self._verb_fits(i))
        return last.kind == "relative" or not nounlike

    def _in_relative(self) -> bool:
        return any(isinstance(chunk, Mark) and chunk.kind == "relative" for chunk in self.chunks[-4:])

    def _reads_as_gerund(self, i: int) -> bool:
        last = self._last()
        noun_next = self._nounlike(i + 1) and lex.verb_forms(self._lower(i)) is not None
        if isinstance(last, Mark) and last.kind == "preposition":
            return last.text in _GERUND_MARKERS | lex.PARTICLES
        if isinstance(last, VerbGroup):
            return not noun_next
        return True

    def _coined_verb(self, i: int) -> bool:
        """ "A boy zorbs a ball": a word of no table, after a living subject that still lacks its verb."""
        word, last = self._lower(i), self._last()
        living = isinstance(last, NounPhrase) and (last.head in lex.LIVING or last.pronoun is not None)
        return living and self.subject_open and lex.is_unknown(word) and word.endswith(("s", "ed", "ing"))

    def _verb_fits(self, i: int) -> bool:
        """Whether what follows word i suits a verb; after "Two men, ..., " a bare noun does: "shake hands"."""
        lacks_verb = self.subject_open and self.plural_subject
        return self._object_follows(i) or (lacks_verb and self._nounlike(i + 1))

    def _agrees(self, tags: frozenset[str]) -> bool:
        return bool(tags & {"VBZ", "VBD"}) or self.plural_subject

    def _object_follows(self, i: int) -> bool:
        """Whether word i is followed by what follows a verb, not a noun inside a noun phrase."""
        following = self._lower(i + 1)
        return (
            following in lex.DETERMINERS | lex.PREPOSITIONS | lex.REFLEXIVES | lex.PARTICLES | {""}
            or following in lex.PRONOUNS
            or lex.is_adverb(following)
            or following in lex.CONJUNCTIONS | {","}
            or (self._nounlike(i + 1) and lex.noun_lemma(self._lower(i)) is None)
            or lex.is_adjective(following)
        )

    def _nounlike(self, i: int) -> bool:
        word = self._lower(i)
        closed = lex.DETERMINERS | lex.PREPOSITIONS | lex.CONJUNCTIONS | lex.AUXILIARIES | lex.SUBORDINATORS
        if not word or not word[0].isalpha() or word in closed or word in lex.PRONOUNS or word in lex.RELATIVES:
            return False
        return lex.noun_lemma(word) is not None and not (lex.is_adverb(word) and word not in lex.ADJECTIVES)

    # Noun phrases

    def _noun_phrase(self, i: int) -> int:
        word = self._lower(i)
        if word in {"someone", "somebody"}:
            self._add(NounPhrase(("a",), (Word("person", "person"),), "person", False))
            return i + 1
        if word in lex.REFLEXIVES or word in lex.INDEFINITE_PRONOUNS:
            self._add_pronoun(i, word)
            return i + 1
        if word in {"each", "one"} and self._lower(i + 1) in {"other", "another"}:
            self._add_pronoun(i, "each other")
            return i + 2
        if word in lex.PRONOUNS and not (word == "her" and self._possesses(i)):
            self._add_pronoun(i, word)
            return i + 1
        phrase, end = self._base_phrase(i)
        if phrase is None:
            return i
        if self.subject_open and not (isinstance(self._last(), Mark) and self._is_preposition(self._last())):
            self.plural_subject = self.plural_subject or phrase.plural
        self.reopened = self.reopened or (self._linked() and phrase.head in lex.LIVING)
        self._add(phrase)
        return end

    @staticmethod
    def _is_preposition(chunk: Chunk | None) -> bool:
        return isinstance(chunk, Mark) and chunk.kind == "preposition"

    def _linked(self) -> bool:
        """Whether a comma, a conjunction or the like stands before."""
        return isinstance(self._last(), Mark) and not self._is_preposition(self._last())

    def _add_pronoun(self, i: int, pronoun: str) -> None:
        plural = lex.PRONOUNS.get(pronoun, (None, False))[1]
        self._add(NounPhrase((), (self.words[i],), pronoun, plural, pronoun=pronoun))

    def _possesses(self, i: int) -> bool:
        """ "hugs her mother" but not "hands her a cup"."""
        return self._nounlike(i + 1) or (lex.is_adjective(self._lower(i + 1)) and self._nounlike(i + 2))

    def _base_phrase(self, i: int) -> tuple[NounPhrase | None, int]:
        """The longest base noun phrase at word i and its end; (None, i) if there is none."""
        start, determiners, number = i, [], None
        possessor: NounPhrase | None = None
        content: list[Word] = []
        while i < min(len(self.words), start + _MAX_PHRASE_WORDS):
            word = self._lower(i)
            if not content and (word in lex.DETERMINERS or word.isdecimal()) and not self._starts_number_pronoun(i):
                determiners.append(word)
                number = int(word[:4]) if word.isdecimal() else lex.NUMBERS.get(word, number)
                i += 1
            elif not content and self._stands_alone(i, determiners):
                break
            elif word.endswith("'s"):
                owner = Word(self.words[i].text[:-2], word[:-2])
                possessor = _phrase(determiners, [*content, owner], number, None)
                content, determiners, number, i = [], [], None, i + 1
            elif self._joins_adjectives(i, content):
                content += [self.words[i]] if word == "and" else []
                i += 1
            elif self._belongs(i, content, bool(determiners) or possessor is not None):
                content.append(self.words[i])
                i += 1
            else:
                break
        opened = bool(determiners) or possessor is not None
        while content and content[-1].lower != "other" and not self._can_head(content[-1], opened):
            content.pop()
            i -= 1
        if not content and not {"one", "another", "both", "other", "this"} & set(determiners):
            return None, start
        if not content:
            content = [Word("one", "one")]
        return _phrase(determiners, content, number, possessor), i

    def _starts_number_pronoun(self, i: int) -> bool:
        """ "that" before a verb is no determiner; numbers and articles always are."""
        return self._lower(i) == "that" and not self._nounlike(i + 1) and not lex.is_adjective(self._lower(i + 1))

    def _stands_alone(self, i: int, determiners: list[str]) -> bool:
        """ "one throws a ball": the determiner is the whole noun phrase."""
        forms = lex.verb_forms(self._lower(i))
        pronominal = bool(determiners) and determiners[-1] in {"one", "another", "each", "both", "all", "some"}
        if not pronominal or forms is None or forms[0] not in lex.ACTION_LEMMAS:
            return False
        return bool(forms[1] & {"VBZ", "VBP"}) and self._lower(i + 1) in lex.DETERMINERS | lex.PREPOSITIONS

    def _joins_adjectives(self, i: int, content: list[Word]) -> bool:
        """The "and" of "brown and white dog", the comma of "big, red ball"."""
        if self._lower(i) not in {"and", ","} or not content or i + 2 >= len(self.words):
            return False
        adjectives = all(lex.is_adjective(word.lower) and word.lower not in lex.GARMENTS for word in content)
        return (
            adjectives
            and lex.is_adjective(self._lower(i + 1))
            and (self._nounlike(i + 2) or lex.is_adjective(self._lower(i + 2)))
            and not self._verb_after_noun(i + 2, content)
        )

    def _belongs(self, i: int, content: list[Word], opened: bool) -> bool:
        """Whether word i continues a noun phrase that has `content` so far."""
        word = self._lower(i)
        if not word[:1].isalpha():
            return False
        has_noun = any(not lex.is_adjective(w.lower) or w.lower in lex.LIVING for w in content)
        if has_noun and (lex.is_adverb(word) or word in lex.PREPOSITIONS | lex.PARTICLES):
            return False
        if self._closed(word, opened):
            return False
        if lex.is_adverb(word) and word not in lex.ADJECTIVES:
            if opened and lex.is_adjective(word) and self._nounlike(i + 1):
                return True  # "a high chair"
            return opened and not content and (lex.is_adjective(self._lower(i + 1)) or self._participle(i + 1))
        if content and self._verb_after_noun(i, content):
            return False
        if lex.noun_lemma(word) is not None or lex.is_adjective(word):
            return True
        if has_noun or lex.verb_forms(word) is None:
            return False
        if self._participle(i):
            return self._nounlike(i + 1) or lex.is_adjective(self._lower(i + 1))
        return opened  # "the pan": a noun that the tables have as a verb only

    def _closed(self, word: str, opened: bool) -> bool:
        if word in lex.ADJECTIVES and opened:
            return False
        closed = lex.PREPOSITIONS | lex.CONJUNCTIONS | lex.AUXILIARIES | lex.SUBORDINATORS | lex.DETERMINERS
        return word in closed | lex.RELATIVES | lex.REFLEXIVES | lex.NEGATIONS or word in lex.PRONOUNS

    def _participle(self, i: int) -> bool:
        forms = lex.verb_forms(self._lower(i))
        return forms is not None and bool(forms[1] & {"VBG", "VBN"})

    @staticmethod
    def _can_head(word: Word, opened: bool) -> bool:
        if lex.noun_lemma(word.lower) is not None or word.lower in lex.COLOURS:
            return True
        return opened and lex.verb_forms(word.lower) is not None and not word.lower.endswith(("ed", "ing"))

    def _verb_after_noun(self, i: int, content: list[Word]) -> bool:
        """Whether word i, after a noun phrase's `content`, is the clause's verb: "a boy | pats a dog"."""
        word, before = self._lower(i), content[-1].lower
        forms = lex.verb_forms(word)
        head = lex.noun_lemma(before)
        if head is None:
            return False
        living = head[0] in lex.LIVING
        if forms is None:
            return living and self.subject_open and lex.is_unknown(word) and word.endswith(("s", "ed"))
        lemma, tags = forms
        if lex.is_adjective(before) and not living:
            return "VBZ" in tags and self.subject_open and lemma in lex.ACTION_LEMMAS and self._object_follows(i)
        if lex.noun_lemma(word) is None and word not in lex.ADJECTIVES:
            return True
        open_here = self.subject_open or self._linked() or (self.reopened and lemma in lex.ACTION_LEMMAS)
        open_here = open_here or (self.interrupted and self._object_follows(i))
        if "VBZ" in tags:
            if lemma not in lex.ACTION_LEMMAS and word in lex.GARMENTS:
                return False  # "workout clothes"
            return open_here or (living and lemma in lex.ACTION_LEMMAS)
        if "VBG" in tags:
            return not (self._nounlike(i + 1) and (word, self._lower(i + 1)) in lex.COMPOUNDS)
        if "VBD" in tags and word != lemma:
            return open_here
        subject_end = living or before in lex.COLOURS or head[0] in lex.GARMENTS
        plural = head[1] or before in lex.COLLECTIVES or (self.plural_subject and subject_end)
        object_follows = self._object_follows(i) or self._nounlike(i + 1)
        return self.subject_open and plural and lemma in lex.ACTION_LEMMAS and object_follows


def _form(tags: frozenset[str]) -> Form:
    if tags & {"VBZ", "VBP", "VB"}:
        return "finite"
    if "VBD" in tags:
        return "past"
    return "participle" if "VBN" in tags else "gerund"


def _phrase(
    determiners: Sequence[str], content: Sequence[Word], number: int | None, possessor: NounPhrase | None
) -> NounPhrase:
    lemma, plural = lex.noun_lemma(content[-1].lower) or (content[-1].lower, False)
    if len(content) > 1 and (content[-2].lower, lemma) in lex.COMPOUNDS:
        lemma = f"{content[-2].lower} {lemma}"
    owner = next((d for d in determiners if d in lex.POSSESSOR_OF), None)
    if owner and possessor is None:
        possessor = NounPhrase((), (), owner, False, pronoun=lex.POSSESSOR_OF[owner])
    many = (number or 0) > 1 or bool(lex.MANY & set(determiners))
    return NounPhrase(tuple(determiners), tuple(content), lemma, plural or many, number, None, possessor)


# --- Entities --------------------------------------------------------------------------------


@dataclass
class Described:
    """A noun phrase with what hangs on it: "a man | in a blue shirt | on the left"."""

    base: NounPhrase
    wears: list[str] = field(default_factory=list)
    has: list[str] = field(default_factory=list)
    place: str | None = None
    whole: Described | None = None  # the "of" phrase
    landmarks: list[Described] = field(default_factory=list)  # what its place is told by


@dataclass(eq=False)
class Entity:
    """One person, animal or thing of the caption, described by all its mentions so far."""

    class_name: str
    living: bool
    gender: str | None
    plural: bool  # "vegetables": one heap, one id
    several: bool  # individuals that the caption does not tell apart: no id
    article: list[str]
    words: list[str]
    wears: list[str]
    has: list[str]
    of: str | None
    place: str | None
    salience: tuple[int, int] = (0, 0)
    members: list[Entity] = field(default_factory=list)

    @property
    def modifiers(self) -> set[str]:
        return {word.lower() for word in self.words[:-1]} - {"and"}

    @property
    def noun(self) -> str:
        """Short, visually distinguishing: "a man in a dark blue shirt and dark trousers"."""
        parts = [*self.article, *self.words]
        parts += ["of", self.of] if self.of else []
        parts += ["in", _listed(self.wears)] if self.wears else []
        parts += ["with", _listed(self.has)] if self.has else []
        return " ".join(parts)

    @property
    def is_phrase(self) -> str:
        """ "The ball is", "The vegetables are"."""
        return f"The {self.words[-1] if self.plural else self.class_name} {'are' if self.plural else 'is'}"

    @property
    def identity(self) -> tuple[str, str | None]:
        return " ".join(part for part in self.noun.split(" ") if part not in {"a", "an"}), self.place


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


# How strongly a role draws a later pronoun.
_SUBJECT, _DIRECT, _OTHER, _ADJUNCT = 2, 3, 1, 0


class Discourse:
    """The caption's entities; finds the one that a noun phrase or pronoun means."""

    def __init__(self) -> None:
        self.entities: list[Entity] = []
        self.groups: list[list[Entity]] = []  # conjoined subjects or objects, for "they" and "them"
        self.clause_index = 0

    def resolve(self, mention: Described, role: int, subjects: Sequence[Entity] = ()) -> list[Entity]:
        """The entities meant, most often one; [] for what is none: own body parts, ideas, oneself."""
        found = self._meant(mention, subjects)
        for entity in found:
            entity.salience = max(entity.salience, (self.clause_index, role))
            entity.place = entity.place or mention.place
        for landmark in mention.landmarks:  # after the phrase itself: "it behind a wall" is not the wall
            self.resolve(landmark, _ADJUNCT)
        return found

    def _meant(self, mention: Described, subjects: Sequence[Entity]) -> list[Entity]:
        base = mention.base
        if base.pronoun:
            return self._pronoun(base.pronoun, subjects)
        if base.head in lex.PARTS and mention.whole:
            return self._meant(mention.whole, subjects)
        if base.head in lex.MEASURES and mention.whole:
            return self._measured(mention, subjects)
        if base.head in lex.BODY_PARTS:
            return self.owner(base, subjects)
        if base.head in {"one", "other"}:
            return self._member(mention, subjects)
        if base.head in lex.ABSTRACT | lex.PLACES_IN_VIEW and base.head not in lex.PEOPLE:
            return []
        return [self._earlier(mention, subjects) or self._introduce(mention)]

    def _measured(self, mention: Described, subjects: Sequence[Entity]) -> list[Entity]:
        """ "a group of boys" is several boys; "a piece of cake" is a cake, described as the piece."""
        assert mention.whole is not None
        [*entities] = self._meant(mention.whole, subjects)
        for entity in entities:
            entity.several = entity.several or entity.living
        return entities

    def owner(self, base: NounPhrase, subjects: Sequence[Entity]) -> list[Entity]:
        """Whose body part it is, if not the subject's own."""
        if base.possessor is None:
            return []
        if base.possessor.pronoun is None:
            return self._meant(Described(base.possessor), subjects)
        pronoun = base.possessor.pronoun
        if any(self._agrees(subject, pronoun) and subject.gender is not None for subject in subjects):
            return []
        others = [e for e in self.entities if e.living and self._agrees(e, pronoun) and e not in subjects]
        known = [e for e in others if e.gender is not None]
        return [max(known, key=lambda e: e.salience)] if known else []

    def _pronoun(self, pronoun: str, subjects: Sequence[Entity]) -> list[Entity]:
        if pronoun not in lex.PRONOUNS:
            return []
        if lex.PRONOUNS[pronoun][1]:
            groups = [group for group in self.groups if not set(group) & set(subjects)]
            if groups:
                return list(groups[-1])
        able = [entity for entity in self.entities if entity not in subjects and self._agrees(entity, pronoun)]
        if not able:
            return []
        nominative = pronoun in {"he", "she"}
        exact = lex.PRONOUNS[pronoun][0]
        return [
            max(
                able,
                key=lambda e: (exact == "n" or e.gender == exact, nominative and e.salience[1] == _SUBJECT, e.salience),
            )
        ]

    @staticmethod
    def _agrees(entity: Entity, pronoun: str) -> bool:
        kind, plural = lex.PRONOUNS[pronoun]
        if plural or entity.several:
            return plural and (entity.several or not entity.article)
        if kind == "n":
            return not entity.living or entity.class_name in lex.ANIMALS | {"baby", "infant"}
        return entity.living and entity.gender in {kind, None}

    def _earlier(self, mention: Described, subjects: Sequence[Entity]) -> Entity | None:
        """The entity introduced before that a definite (or bare) phrase takes up again."""
        base = mention.base
        other = "other" in base.modifiers or "other" in base.determiners
        bare = not base.determiners and not base.possessor and not mention.wears and base.head not in lex.LIVING
        if (base.indefinite and not bare) or "another" in base.determiners:
            return None
        wider = lex.WIDER.get(base.head, frozenset())
        named = [e for e in self.entities if e.class_name == base.head] or [
            e for e in self.entities if e.class_name in wider
        ]
        fitting = [e for e in named if self._compatible(e, mention)]
        if other:
            fitting = [e for e in fitting if e not in subjects] if len(named) > 1 else []
        if not fitting:
            return None
        wanted = set(base.modifiers)
        return self._enrich(max(fitting, key=lambda e: (len(wanted & e.modifiers), e.salience)), mention)

    @staticmethod
    def _compatible(entity: Entity, mention: Described) -> bool:
        """No stated colour, garment or number speaks against it."""
        base = mention.base
        if entity.several != _several(base):
            return False
        colours, known = set(base.modifiers) & lex.COLOURS, entity.modifiers & lex.COLOURS
        if colours and known and not colours & known:
            return False
        sides = _sides([*base.modifiers, mention.place or ""]), _sides([*entity.modifiers, entity.place or ""])
        if all(sides) and not sides[0] & sides[1]:
            return False
        return not mention.wears or not entity.wears or _same_clothes(mention.wears, entity.wears)

    @staticmethod
    def _enrich(entity: Entity, mention: Described) -> Entity:
        """Keep what a later mention adds: "a ball ... the red ball" is a red ball."""
        fresh = [w.text for w in mention.base.words[:-1] if w.lower not in entity.modifiers | _NOT_DESCRIPTIVE]
        if fresh and not entity.modifiers & lex.COLOURS:
            entity.words[:0] = fresh
            entity.article = ["an" if entity.words[0][0].lower() in "aeiou" else "a"] if entity.article else []
        entity.wears = entity.wears or mention.wears
        entity.has = entity.has or mention.has
        entity.place = entity.place or mention.place
        return entity

    def _introduce(self, mention: Described) -> Entity:
        base = mention.base
        living = base.head in lex.LIVING and not set(base.modifiers) & lex.TOYS
        words = [word.text for word in base.words if word.lower not in _NOT_DESCRIPTIVE]
        entity = Entity(
            class_name=base.head,
            living=living,
            gender=lex.gender(base.head) if living else "n",
            plural=base.plural or base.head in lex.PLURAL_ONLY,
            several=_several(base),
            article=_article(base, words),
            words=[*words[:-1], words[-1].lower() if words[-1].istitle() else words[-1]] if words else [base.head],
            wears=list(mention.wears),
            has=list(mention.has),
            of=mention.whole.base.text if mention.whole else None,
            place=mention.place
            or next((f"on the {side}" for side in ("left", "right") if side in base.modifiers), None),
        )
        self.entities.append(entity)
        return entity

    def _member(self, mention: Described, subjects: Sequence[Entity]) -> list[Entity]:
        """ "one" and "the other" of "two men": each a member of the latest group, with its own description."""
        group = next((e for e in reversed(self.entities) if e.several), None)
        if group is None:
            return []
        first = "one" in mention.base.determiners
        if not (mention.wears or mention.has or mention.place) and group.members:
            return [m for m in group.members if m not in subjects][:1] if not first else group.members[:1]
        member = Entity(
            class_name=group.class_name,
            living=group.living,
            gender=group.gender,
            plural=False,
            several=False,
            article=["an" if group.class_name[0] in "aeiou" else "a"],
            words=[group.class_name],
            wears=list(mention.wears),
            has=list(mention.has),
            of=None,
            place=mention.place,
        )
        self.entities.append(member)
        group.members.append(member)
        return [member]


_NOT_DESCRIPTIVE = {"other", "same", "second", "first", "third", "own", "single", "one", "left", "right"}


def _several(base: NounPhrase) -> bool:
    counted = (base.number or 0) > 1 or bool(lex.MANY & set(base.determiners))
    return counted or (base.head in lex.LIVING and base.plural) or base.head in lex.COLLECTIVES


def _article(base: NounPhrase, words: Sequence[str]) -> list[str]:
    if not base.article or not words:
        return []
    return ["an" if words[0][0].lower() in "aeiou" else "a"]


def _sides(texts: Sequence[str]) -> set[str]:
    return set(" ".join(texts).split()) & {"left", "right", "middle", "center", "centre"}


def _same_clothes(some: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two lists of garments share one and no colour speaks against it."""
    words, other_words = set(" ".join(some).lower().split()), set(" ".join(others).lower().split())
    colours, other_colours = words & lex.COLOURS, other_words & lex.COLOURS
    fits = not colours or not other_colours or bool(colours & other_colours)
    return fits and bool(words & other_words - {"a", "an", "and"})


# --- Clauses ---------------------------------------------------------------------------------


@dataclass
class Draft:
    """A relation while its clause is still being read."""

    subject: Entity | None  # None: a participle before its subject, "Holding a cup, a woman ..."
    verb: str
    object: Entity
    sentence: str
    adverbs: list[str]


@dataclass
class Clause:
    """What has been read of one clause. `doers` are the current verb's subjects, `subjects` the clause's."""

    subjects: list[Entity] = field(default_factory=list)
    outer: Clause | None = None  # the clause that a relative clause interrupts
    antecedent: list[Entity] = field(default_factory=list)
    gap: bool = False  # "the ball that a boy throws": the antecedent is the object
    muted: bool = False  # "as if", "if": not said to happen
    verb: VerbGroup | None = None
    verb_text: str = ""
    doers: list[Entity] = field(default_factory=list)
    direct: list[Entity] = field(default_factory=list)
    light: tuple[str, frozenset[str]] | None = None
    role: str | None = None  # of the latest object: "" direct, else its preposition
    after_adjunct: bool = False  # the latest noun phrase belongs to no object
    goal_taken: bool = False
    place: str | None = None
    adverbs: list[str] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)  # of the current verb


# Classes whose preposition leads to a second object; elsewhere verb + preposition takes the place of an object.
_GOAL_CLASSES = {"aim", "place in", "pour into", "transfer"}


# "the lid of the box of the man of ...": no caption goes deeper; what does is read as an adjunct.
_MAX_NESTING = 8


class SentenceReader:
    """Reads one sentence's chunks into drafts."""

    def __init__(self, sentence: str, chunks: list[Chunk], discourse: Discourse) -> None:
        self.sentence, self.chunks, self.discourse = sentence, chunks, discourse
        self.position = 0
        self.nesting = 0  # of the noun phrase being read, in others' modifiers
        self.reading_object = False  # a direct object's place says nothing of the subject's
        self.clause = Clause()
        self.link: str | None = None  # the comma or conjunction just read
        self.latest: list[Entity] = []  # what the last noun phrase meant
        self.drafts: list[Draft] = []

    def read(self) -> list[Draft]:
        while self.position < len(self.chunks):
            chunk = self.chunks[self.position]
            if isinstance(chunk, NounPhrase):
                self._noun()
            elif isinstance(chunk, VerbGroup):
                self.position += 1
                self._verb(chunk)
            else:
                self.position += 1
                _MARK_READERS[chunk.kind](self, chunk.text)
        self._end_clause()
        return [draft for draft in self.drafts if draft.subject is not None]

    def _peek(self, offset: int = 0) -> Chunk | None:
        position = self.position + offset
        return self.chunks[position] if 0 <= position < len(self.chunks) else None

    # Links between clauses

    def _comma(self, text: str) -> None:
        self.link = self.link or "comma"

    def _conjunction(self, text: str) -> None:
        self.link = "conjunction"

    def _adverb(self, text: str) -> None:
        self.clause.adverbs.append(text)
        if text == "instead":
            self.link = None

    def _boundary(self, text: str) -> None:
        fallback, muted = self._outermost().subjects, text == "if"
        self._end_clause()
        self.clause = Clause(muted=muted)
        self.clause.doers = fallback
        self.discourse.clause_index += 1
        self.link = None

    def _relative(self, text: str) -> None:
        living = [entity for entity in self.latest if entity.living]
        antecedent = living or self.clause.subjects if text in {"who", "whom"} else self.latest
        self.clause = Clause(outer=self.clause, antecedent=list(antecedent))
        self.link = None

    def _outermost(self) -> Clause:
        clause = self.clause
        while clause.outer is not None:
            clause = clause.outer
        return clause

    def _leave_relative(self) -> None:
        assert self.clause.outer is not None
        self._end_verb()
        self.clause = self.clause.outer

    def _end_clause(self) -> None:
        while True:
            self._end_verb()
            self._spread_place()
            if self.clause.outer is None:
                return
            self.clause = self.clause.outer

    def _spread_place(self) -> None:
        for entity in self.clause.subjects:
            entity.place = entity.place or self.clause.place

    # Noun phrases

    def _noun(self) -> None:
        link, self.link = self.link, None
        clause = self.clause
        self.reading_object = True
        mention = self._described(attach_all=clause.verb is None)
        self.reading_object = False
        if clause.verb is None:
            self._subject(mention, joined=link is not None and bool(clause.subjects))
        elif self._starts_clause(link):
            self._new_clause()
            self._subject(mention, joined=False)
        elif (
            link == "conjunction" and clause.role is not None and (mention.base.determiners or not clause.after_adjunct)
        ):
            self._object(mention, clause.role)
        elif link is None:
            self._direct_object(mention)
        else:
            self.latest = self.discourse.resolve(mention, _ADJUNCT, clause.doers)

    def _subject(self, mention: Described, *, joined: bool) -> None:
        clause = self.clause
        found = self.discourse.resolve(mention, _SUBJECT, clause.subjects if joined else ())
        members = [member for entity in found for member in entity.members]
        if joined and found and self._is_member_of(found[0], clause.subjects):
            found = []  # "two men, one in red and the other in blue": the group stays the subject
        clause.subjects = [*clause.subjects, *(e for e in found if e not in clause.subjects)] if joined else found
        self.latest = members or found
        self.clause.gap = bool(clause.antecedent) and not joined and clause.verb is None

    @staticmethod
    def _is_member_of(entity: Entity, groups: Sequence[Entity]) -> bool:
        return any(entity in group.members for group in groups)

    def _new_clause(self) -> None:
        self._end_clause()
        self.clause = Clause()
        self.discourse.clause_index += 1

    def _starts_clause(self, link: str | None) -> bool:
        """Whether the noun phrase just read is the subject of what follows, not an object."""
        verb, outer = self.clause.verb, self.clause.outer
        if not self._finite_at(self.position):
            return False
        if link is None:
            return verb is not None and verb.form == "gerund" and not self.clause.doers
        return not (outer is not None and outer.verb is None and link is None)

    def _finite_at(self, position: int) -> bool:
        """Whether a finite verb stands at a chunk, adverbs and conjoined noun phrases skipped."""
        while position < len(self.chunks):
            chunk = self.chunks[position]
            following = self.chunks[position + 1] if position + 1 < len(self.chunks) else None
            if isinstance(chunk, Mark) and chunk.kind == "adverb":
                position += 1
            elif isinstance(chunk, Mark) and chunk.kind == "conjunction" and isinstance(following, NounPhrase):
                position += 2
            else:
                return isinstance(chunk, VerbGroup) and chunk.form in {"finite", "past"} and not self._reduced(position)
        return False

    def _reduced(self, position: int) -> bool:
        """Whether the "past" verb at a chunk is a participle: "a ball thrown by", "a boy dressed ... kicks"."""
        verb = self.chunks[position]
        assert isinstance(verb, VerbGroup)
        if verb.form != "past":
            return verb.form == "participle"
        following = self.chunks[position + 1] if position + 1 < len(self.chunks) else None
        if not (isinstance(following, Mark) and following.kind == "preposition"):
            return False
        return following.text == "by" or self._finite_after_phrases(position + 1)

    def _finite_after_phrases(self, position: int) -> bool:
        """Whether only prepositional phrases lie between a chunk and the next finite verb."""
        while position < len(self.chunks):
            chunk = self.chunks[position]
            if isinstance(chunk, VerbGroup):
                return chunk.form in {"finite", "past"}
            if isinstance(chunk, Mark) and chunk.kind not in {"preposition", "adverb"}:
                return False
            position += 1
        return False

    def _described(self, *, attach_all: bool) -> Described:
        """The noun phrase at the position with the modifiers that belong to it."""
        base = self._peek()
        assert isinstance(base, NounPhrase)
        self.position += 1
        mention = Described(base)
        self.nesting += 1
        while self.nesting <= _MAX_NESTING and self._attach(mention, attach_all):
            pass
        self.nesting -= 1
        return mention

    def _attach(self, mention: Described, attach_all: bool) -> bool:
        """Attach one prepositional phrase if it describes the mention; False if it does not."""
        mark, phrase = self._peek(), self._peek(1)
        if not (isinstance(mark, Mark) and mark.kind == "preposition" and isinstance(phrase, NounPhrase)):
            return False
        preposition, living = mark.text, mention.base.head in lex.LIVING or mention.base.pronoun is not None
        living = living or mention.base.head in {"one", "other"}
        worn = phrase.head in lex.GARMENTS or phrase.head in lex.COLOURS
        if preposition == "of":
            return self._attach_whole(mention)
        if preposition in lex.WEARING and worn:
            owners = [mention] if living else self.clause.subjects[:1]
            self.position += 1
            garments = self._coordinated(lambda p: p.head in lex.GARMENTS)
            for owner in owners:
                owner.wears += [g for g in garments if g not in owner.wears]
            return True
        if preposition == "wearing":
            self.position += 2  # worn all the same, by a name the lexicon lacks
            mention.wears.append(phrase.text)
            return True
        if preposition == "with" and (living or attach_all) and self._is_feature(phrase, attach_all):
            self.position += 1
            mention.has += self._coordinated(lambda p: self._is_feature(p, attach_all))
            return True
        if phrase.head in lex.PLACES_IN_VIEW and preposition in lex.STATIC_PREPOSITIONS:
            return self._attach_place(mention, preposition)
        ahead = attach_all or self._finite_at(self.position + 2)
        if preposition in lex.STATIC_PREPOSITIONS and preposition != "by" and (ahead or not self._takes(preposition)):
            return self._attach_place(mention, preposition)
        return False

    def _attach_whole(self, mention: Described) -> bool:
        if self.clause.light and "of" in self.clause.light[1]:
            return False
        phrase = self._peek(1)
        light = isinstance(phrase, NounPhrase) and self._light_verb(mention.base)
        if light and "of" in light[1]:
            return False
        self.position += 1
        mention.whole = self._described(attach_all=False)
        return True

    def _coordinated(self, alike: Callable[[NounPhrase], bool]) -> list[str]:
        """The noun phrases "A, B and C" at the position, as far as they are alike."""
        texts = []
        while isinstance(phrase := self._peek(), NounPhrase):
            texts.append(phrase.text)
            self.position += 1
            skip = 0
            while isinstance(mark := self._peek(skip), Mark) and mark.kind in {"comma", "conjunction"}:
                skip += 1
            following = self._peek(skip)
            if not skip or not isinstance(following, NounPhrase) or not alike(following):
                break
            self.position += skip
        return texts

    def _is_feature(self, phrase: NounPhrase, attach_all: bool) -> bool:
        """Something one has to one's looks, "with brown fur", rather than a tool or one's own hand."""
        if phrase.head in lex.ABSTRACT or phrase.possessor or phrase.head in {"hand", "foot", "paw", "mouth"}:
            return False
        return attach_all or phrase.head in lex.GARMENTS or phrase.head in lex.BODY_PARTS

    def _attach_place(self, mention: Described, preposition: str) -> bool:
        self.position += 1
        place = self._described(attach_all=False)
        mention.landmarks.append(place)
        if place.base.head not in lex.ABSTRACT and not place.base.pronoun:
            mention.place = mention.place or f"{preposition} {self._place_text(place)}"
            self._place_clause(preposition, place)
        return True

    def _place_clause(self, preposition: str, place: Described) -> None:
        """Keep a scene, or where something is done without an object, as the subject's own place."""
        clause = self.clause
        scene = place.base.head in lex.SCENE - lex.PLACES_IN_VIEW
        if scene or (clause.verb is not None and not clause.direct and not self.reading_object):
            clause.place = clause.place or f"{preposition} {self._place_text(place)}"

    @staticmethod
    def _place_text(place: Described) -> str:
        base = place.base
        words = " ".join(word.text for word in base.words)
        article = "the" if base.head in lex.PLACES_IN_VIEW and base.determiners else " ".join(base.article)
        whole = f" of {SentenceReader._place_text(place.whole)}" if place.whole else ""
        return f"{article} {words}{whole}".strip()

    # Verbs

    def _verb(self, verb: VerbGroup) -> None:
        link, self.link = self.link, None
        before = self.chunks[self.position - 2] if self.position >= 2 else None
        adverbs = self.clause.adverbs[-1:] if isinstance(before, Mark) and before.kind == "adverb" else []
        self._end_verb()
        ends_relative = verb.form in {"finite", "past"} and self._ends_relative(link)
        after_object = self.clause.verb is not None and not ends_relative
        reduced = not (link and verb.form == "past") and (
            self._reduced(self.position - 1) or (verb.form == "past" and after_object)
        )
        if ends_relative and not reduced:
            self._leave_relative()
        clause = self.clause
        if reduced:
            self._set_verb(VerbGroup(verb.lemma, "participle", True, verb.asserted), self.latest, adverbs)
        elif verb.form == "gerund":
            self._set_verb(self._negated_by(before, verb), self._doers_of_gerund(link), adverbs)
        elif verb.form == "infinitive":
            previous = clause.verb.lemma if clause.verb else ""
            asserted = verb.asserted and previous in lex.APPROACHES and clause.verb is not None and clause.verb.asserted
            self._set_verb(VerbGroup(verb.lemma, "infinitive", verb.passive, asserted), clause.doers, adverbs)
        else:
            if not clause.subjects and clause.antecedent:
                clause.subjects = clause.antecedent
            if clause.verb is not None or not clause.subjects:
                self.discourse.clause_index += 1
            self._set_verb(verb, clause.subjects, adverbs)
            self._adopt_orphans()

    def _ends_relative(self, link: str | None) -> bool:
        clause = self.clause
        if clause.outer is None or clause.verb is None or clause.verb.form not in {"finite", "past"}:
            return False
        return link != "conjunction" or (clause.outer.verb is not None and self._comma_before_conjunction())

    def _comma_before_conjunction(self) -> bool:
        marks = [c for c in self.chunks[max(0, self.position - 4) : self.position - 1] if isinstance(c, Mark)]
        return any(mark.kind == "comma" for mark in marks)

    @staticmethod
    def _negated_by(before: Chunk | None, verb: VerbGroup) -> VerbGroup:
        if isinstance(before, Mark) and before.text in {"without", "instead of"}:
            return VerbGroup(verb.lemma, verb.form, verb.passive, asserted=False)
        return verb

    def _doers_of_gerund(self, link: str | None) -> list[Entity]:
        clause = self.clause
        if link == "conjunction" and clause.verb is not None:
            return clause.doers
        if link is None and self.latest and all(entity.living for entity in self.latest):
            return self.latest
        return clause.subjects or clause.doers

    def _set_verb(self, verb: VerbGroup, doers: Sequence[Entity], adverbs: list[str]) -> None:
        clause = self.clause
        clause.verb, clause.doers, clause.direct, clause.drafts = verb, list(doers), [], []
        clause.light, clause.role, clause.goal_taken, clause.adverbs = None, None, False, list(adverbs)
        clause.verb_text = verb.lemma
        if len(clause.doers) > 1:
            self.discourse.groups.append(clause.doers)
        particle = self._peek()
        if isinstance(particle, Mark) and particle.kind == "preposition" and self._is_particle(particle.text):
            clause.verb_text = f"{verb.lemma} {particle.text}"
            self.position += 1

    def _is_particle(self, text: str) -> bool:
        verb, following = self.clause.verb, self._peek(1)
        if verb is None or (verb.lemma, text) not in lex.PHRASAL or not isinstance(following, NounPhrase):
            return False
        # "puts on a hat" but "sits on a chair", "jumps on the bed"
        return text not in lex.OBJECT_PREPOSITIONS.get(verb.lemma, ()) or text not in lex.STATIC_PREPOSITIONS

    def _adopt_orphans(self) -> None:
        """ "Holding a cup, a woman walks": the participle's subject comes after it."""
        for draft in self.drafts:
            if draft.subject is None and len(self.clause.subjects) == 1 and self.clause.subjects[0] is not draft.object:
                draft.subject = self.clause.subjects[0]

    def _end_verb(self) -> None:
        """Close the current verb: what it still lacks is the antecedent, or the other of two subjects."""
        clause = self.clause
        if clause.verb is None:
            return
        if clause.gap and not clause.direct and clause.antecedent:
            self._relate(clause.antecedent, clause.verb_text)
            clause.gap = False
        verb = lex.RECIPROCAL.get(clause.verb.lemma)
        if clause.light and "with" in clause.light[1]:
            verb = clause.light[0]
        doers = self._individuals(clause.doers)
        if verb and not clause.drafts and not clause.direct and len(doers) == 2 and not clause.verb.passive:
            self._draft(doers[0], verb, doers[1])
        for draft in clause.drafts:
            draft.adverbs += clause.adverbs
        clause.drafts = []

    # Objects

    def _direct_object(self, mention: Described) -> None:
        clause = self.clause
        light = self._light_verb(mention.base)
        if light:
            clause.light = light
            if clause.direct and "" in light[1]:
                for draft in clause.drafts:
                    draft.verb = light[0]
            self.latest = []
            return
        if clause.direct and clause.verb is not None:
            if clause.verb.lemma not in lex.DITRANSITIVE:
                self.latest = self.discourse.resolve(mention, _ADJUNCT, clause.doers)
                return
            for draft in clause.drafts:
                draft.verb = f"{draft.verb} to"
        self._object(mention, "")

    def _light_verb(self, base: NounPhrase) -> tuple[str, frozenset[str]] | None:
        verb = self.clause.verb
        return lex.LIGHT_VERBS.get((verb.lemma, base.head)) if verb is not None and not base.possessor else None

    def _object(self, mention: Described, preposition: str) -> None:
        """A direct object ("") or a preposition's, of the current verb."""
        clause = self.clause
        if mention.base.pronoun == "each other":
            self.latest = []
            return self._reciprocal(preposition)
        found = self.discourse.resolve(mention, _OTHER if preposition else _DIRECT, clause.doers)
        self.latest, clause.role = found, preposition
        clause.after_adjunct = bool(mention.landmarks) and mention.landmarks[-1].base.head not in lex.PLACES_IN_VIEW
        if clause.verb is not None and clause.verb.passive and not preposition:
            return None
        if preposition:
            clause.goal_taken = True
            found = [entity for entity in found if mention.base.head not in lex.SCENE]
        else:
            clause.direct += found
            if len(clause.direct) > 1:
                self.discourse.groups.append(list(clause.direct))
            if self._self_directed(mention.base):
                return None
        return self._relate(found, self._verb_with(preposition))

    def _self_directed(self, base: NounPhrase) -> bool:
        """ "crosses the street", "adjusts his own hat": no second entity is acted upon."""
        clause = self.clause
        assert clause.verb is not None
        if clause.verb.lemma in lex.LOCOMOTION and base.head in lex.SCENE:
            return True
        dressing = clause.verb.lemma in lex.DRESSING or clause.verb_text in lex.DRESSING
        worn = base.head in lex.GARMENTS and base.possessor is not None
        return dressing and worn and not self.discourse.owner(base, clause.doers)

    def _verb_with(self, preposition: str) -> str:
        """ "throw" and "to" -> "throw to"; "hand over" and "to" -> "hand over to"."""
        clause = self.clause
        assert clause.verb is not None
        if not preposition:
            return clause.verb_text
        if clause.light and preposition in clause.light[1]:
            return clause.light[0]
        full = f"{clause.verb_text} {preposition}"
        return full if full in lex.VERB_SCORES else f"{clause.verb.lemma} {preposition}"

    def _reciprocal(self, preposition: str) -> None:
        doers = self._individuals(self.clause.doers)
        if len(doers) == 2:
            self._draft(doers[0], self._verb_with(preposition), doers[1])

    def _takes(self, preposition: str) -> bool:
        """Whether the current verb takes an object by this preposition, after what it has taken so far."""
        clause = self.clause
        if clause.verb is None or clause.goal_taken or clause.verb.passive:
            return False
        if clause.light:
            return preposition in clause.light[1]
        full = f"{clause.verb_text} {preposition}"
        if clause.verb_text != clause.verb.lemma:
            return full in lex.VERB_SCORES
        if preposition not in lex.OBJECT_PREPOSITIONS.get(clause.verb.lemma, ()):
            return False
        has_object = bool(clause.direct) or self.reading_object
        return not has_object or lex.VERB_SCORES[full].verb_class in _GOAL_CLASSES

    def _preposition(self, preposition: str) -> None:
        clause, phrase = self.clause, self._peek()
        if not isinstance(phrase, NounPhrase):
            return self._trailing_particle(preposition)
        if preposition in lex.DIRECTIONS and clause.verb is not None and clause.verb.lemma not in lex.LOCOMOTION:
            return None  # "blows out the candles": the noun phrase is the verb's object
        self.link = None
        if clause.verb is not None and clause.verb.passive and preposition == "by":
            return self._agent()
        if self._takes(preposition):
            return self._prepositional_object(preposition)
        mention = self._described(attach_all=False)
        self.latest = self.discourse.resolve(mention, _ADJUNCT, clause.doers)
        clause.after_adjunct = True
        worn = preposition in lex.WEARING and mention.base.head in lex.GARMENTS
        if worn and len(clause.subjects) == 1:
            clause.subjects[0].wears = clause.subjects[0].wears or [mention.base.text]
        elif preposition in lex.STATIC_PREPOSITIONS and self.latest and not mention.base.pronoun:
            self._place_clause(preposition, mention)
        return None

    def _prepositional_object(self, preposition: str) -> None:
        clause = self.clause
        goal_taken, clause.goal_taken = clause.goal_taken, True  # its own modifiers are places
        mention = self._described(attach_all=False)
        clause.goal_taken = goal_taken
        self._object(mention, preposition)
        if mention.base.head in lex.SCENE and preposition in lex.STATIC_PREPOSITIONS:
            self._place_clause(preposition, mention)

    def _trailing_particle(self, particle: str) -> None:
        """ "picks the bag up": the particle comes after the object."""
        clause = self.clause
        if clause.verb is None or (clause.verb.lemma, particle) not in lex.PHRASAL:
            return
        for draft in clause.drafts:
            if draft.verb == clause.verb.lemma:
                draft.verb = f"{clause.verb.lemma} {particle}"

    def _agent(self) -> None:
        """ "the ball is kicked by a boy": the boy kicks."""
        clause = self.clause
        assert clause.verb is not None
        patients = clause.doers
        agents = self.discourse.resolve(self._described(attach_all=False), _OTHER, patients)
        self.latest = agents
        clause.doers = agents
        self._relate(patients, clause.verb_text)

    # Drafts

    def _individuals(self, entities: Sequence[Entity]) -> list[Entity]:
        """Groups replaced by their members; a group whose members are not told apart has no id."""
        found: list[Entity] = []
        for entity in entities:
            found += entity.members if entity.several else [entity]
        return found

    def _relate(self, objects: Sequence[Entity], verb: str) -> None:
        clause = self.clause
        if clause.verb is None or not clause.verb.asserted or clause.muted:
            return
        if clause.verb.lemma in lex.VAGUE_VERBS or verb in lex.INNER_STATES or clause.verb.lemma in lex.INNER_STATES:
            return
        doers: list[Entity | None] = [*self._individuals(clause.doers)]
        if not clause.doers and clause.verb.form == "gerund":
            doers = [None]
        for doer in doers:
            for entity in self._individuals(objects):
                self._draft(doer, verb, entity)

    def _draft(self, doer: Entity | None, verb: str, entity: Entity) -> None:
        if self.clause.muted or doer is entity or (doer is not None and not doer.living):
            return
        draft = Draft(doer, verb, entity, self.sentence, [])
        self.drafts.append(draft)
        self.clause.drafts.append(draft)


_MARK_READERS: dict[str, Callable[[SentenceReader, str], None]] = {
    "preposition": SentenceReader._preposition,
    "conjunction": SentenceReader._conjunction,
    "comma": SentenceReader._comma,
    "boundary": SentenceReader._boundary,
    "relative": SentenceReader._relative,
    "adverb": SentenceReader._adverb,
}


# --- The reader ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """All that the rules found in one caption."""

    relations: list[Relation]
    mentions: list[Mention]
    entities: dict[str, Entity]  # by instance id
    adverbs: dict[tuple[str, str, str], list[str]]  # by (subject id, verb, object id)


@lru_cache(maxsize=256)
def read_caption(caption: str) -> Reading:
    """Parse a caption once; count, list, rate and describe all answer from the same reading.

    Raises RowFailed("caption_too_long") rather than read a part of it.
    """
    if len(caption) > MAX_CAPTION_CHARS:
        raise RowFailed(
            "caption_too_long",
            f"{len(caption)} characters, the rules read up to {MAX_CAPTION_CHARS}; shorten the caption",
            retryable=False,
        )
    discourse = Discourse()
    drafts: list[Draft] = []
    for sentence, words in sentences(caption):
        drafts += SentenceReader(sentence, Chunker(words).read(), discourse).read()
        discourse.clause_index += 1
    kept = [draft for draft in drafts if _told_apart(draft)]
    if len(kept) < len(drafts):
        logger.debug("%d relations between individuals that the caption does not tell apart", len(drafts) - len(kept))
    return _number(kept, discourse.entities)


def _told_apart(draft: Draft) -> bool:
    """Two of one kind need details that tell them apart, or they cannot have two ids (figure 21)."""
    subject, target = draft.subject, draft.object
    assert subject is not None
    return not (subject.class_name == target.class_name and subject.identity == target.identity)


def _number(drafts: Sequence[Draft], entities: Sequence[Entity]) -> Reading:
    """Give ids, in the caption's order, to the entities that take part, and drop repeated relations."""
    taking_part = {id(entity) for draft in drafts for entity in (draft.subject, draft.object)}
    numbered = [entity for entity in entities if id(entity) in taking_part]
    ids = {id(entity): f"id{number}" for number, entity in enumerate(numbered, start=1)}
    relations: dict[tuple[str, str, str], Relation] = {}
    adverbs: dict[tuple[str, str, str], list[str]] = {}
    for draft in drafts:
        key = (ids[id(draft.subject)], draft.verb, ids[id(draft.object)])
        adverbs.setdefault(key, draft.adverbs)
        relations.setdefault(
            key,
            Relation(
                subject_id=key[0],
                verb=key[1],
                object_id=key[2],
                type="multi_subject_relation" if draft.object.living else "functional_action",
                source_sentence=draft.sentence,
            ),
        )
    mentions = [
        Mention(instance_id=ids[id(entity)], class_name=entity.class_name, living=entity.living) for entity in numbered
    ]
    return Reading(list(relations.values()), mentions, {ids[id(e)]: e for e in numbered}, adverbs)


class CaptionRules:
    """The embedded CaptionReader: deterministic, so asking afresh gives the same answer."""

    def __init__(self) -> None:
        self.identity = {
            "backend": "rules",
            "model": "caption-rules-1",
            "lemminflect": importlib.metadata.version("lemminflect"),
        }
        self.concurrency = 1  # pure Python: threads would only take turns

    def count_interactions(self, caption: str, attempt: int) -> int | None:
        return len(read_caption(caption).relations) or None

    def list_interactions(self, caption: str, attempt: int) -> Listing:
        reading = read_caption(caption)
        return Listing(mentions=reading.mentions, relations=reading.relations)

    def rate(self, caption: str, relation: Relation, mentions: list[Mention]) -> Rating:
        """Score by the verb's class, then by what the caption's adverbs add (figure 22)."""
        score, rule, confidence = _verb_score(relation.verb)
        key = (relation.subject_id, relation.verb, relation.object_id)
        adverbs = read_caption(caption).adverbs.get(key, [])
        change = any(a in lex.FORCEFUL for a in adverbs) - any(a in lex.GENTLE for a in adverbs)
        dynamism = min(5, max(1, score.dynamism + change))
        if dynamism != score.dynamism:
            rule += f"; dynamism {change:+d} for '{' '.join(adverbs)}'"
        return Rating(contactness=score.contactness, dynamism=dynamism, explanation=rule, confidence=confidence)

    def describe(self, caption: str, relations: list[Relation], mentions: list[Mention]) -> list[Instance]:
        """Noun, looks and place as the caption states them; nothing is guessed (figure 23)."""
        entities = read_caption(caption).entities
        return [_instance(mention, entities.get(mention.instance_id)) for mention in mentions]


def _verb_score(verb: str) -> tuple[lex.Score, str, float]:
    """Score, the rule that gave it, and how far that rule is to be trusted."""
    if verb in lex.VERB_SCORES:
        score = lex.VERB_SCORES[verb]
        return score, f"'{verb}' is of the class '{score.verb_class}'", 0.9
    lemma = verb.split(" ")[0]
    if lemma in lex.VERB_SCORES:
        score = lex.VERB_SCORES[lemma]
        return score, f"'{verb}' is scored as '{lemma}', of the class '{score.verb_class}'", 0.6
    return lex.UNKNOWN_VERB, f"'{verb}' is in no verb class", 0.4


def _instance(mention: Mention, entity: Entity | None) -> Instance:
    if entity is None or entity.class_name != mention.class_name:
        raise RowFailed(
            "unknown_instance", f"{mention.instance_id} '{mention.class_name}' is not of this caption", retryable=False
        )
    return Instance(
        instance_id=mention.instance_id,
        class_name=entity.class_name,
        noun=entity.noun,
        appearance=_appearance(entity),
        spatial=f"{entity.is_phrase} {entity.place}." if entity.place else NOT_STATED,
        living=entity.living,
    )


def _appearance(entity: Entity) -> str:
    """One sentence: "The man is young and wears a dark blue shirt and dark trousers."."""
    looks = _adjectives(entity.words[:-1])
    clauses = [f"wears {_listed(entity.wears)}"] if entity.wears else []
    clauses += [f"has {_listed(entity.has)}"] if entity.has else []
    if looks:
        return f"{entity.is_phrase} {_listed([_listed(looks), *clauses])}."
    return f"The {entity.class_name} {_listed(clauses)}." if clauses else NOT_STATED


def _adjectives(words: Sequence[str]) -> list[str]:
    """["small", "dark", "blue"] -> ["small", "dark blue"]: a shade goes with its colour, nouns are left out."""
    looks: list[str] = []
    for word in (w.lower() for w in words):
        if looks and looks[-1] in lex.SHADES and word in lex.COLOURS:
            looks[-1] = f"{looks[-1]} {word}"
        elif word != "and" and lex.is_adjective(word):
            looks.append(word)
    return looks
