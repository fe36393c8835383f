"""Base noun phrases: determiners, adjectives and nouns up to the head; and pronouns.

"the old man's big, red ball is"  ->  NounPhrase(ball, words "big red ball", possessor NounPhrase(man))
"a boy pats a dog"                ->  NounPhrase(boy); "pats" can be a noun, but here it is the verb
"""

from __future__ import annotations

from collections.abc import Sequence

from tasks.backends.caption_rules.chunks import NounPhrase, Scan, noun_phrase
from tasks.backends.caption_rules.nouns import (
    ADJECTIVES,
    BODY_PARTS,
    COLLECTIVES,
    COLOURS,
    COMPOUNDS,
    GARMENTS,
    LIVING,
    is_adjective,
    noun_form,
)
from tasks.backends.caption_rules.verbs import ACTION_LEMMAS, verb_form
from tasks.backends.caption_rules.words import (
    DETERMINERS,
    FUNCTION_WORDS,
    INDEFINITE_PRONOUNS,
    NEGATIONS,
    NUMBERS,
    PARTICLES,
    PREPOSITIONS,
    PRONOUNS,
    REFLEXIVES,
    Word,
    is_adverb,
    is_unknown,
)

# Longer than any real base noun phrase; it bounds the time spent on nonsense.
_MAX_PHRASE_WORDS = 16
_OUTSIDE_PHRASES = FUNCTION_WORDS | REFLEXIVES | NEGATIONS
# Determiners that can be a whole noun phrase: "another in blue".
_PRONOMINAL = {"one", "another", "both", "other", "this"}
# Determiners that can be a whole subject before a verb that looks like a noun: "one throws a ball".
_PRONOMINAL_SUBJECTS = {"one", "another", "each", "both", "all", "some"}
# Words that follow verbs of motion, never nouns.
_WHITHER = {"toward", "towards", "away", "apart", "together"}


class NounPhraseReader:
    """Reads the noun phrase at a word, if one starts there."""

    def __init__(self, scan: Scan) -> None:
        self.scan = scan

    def read(self, i: int) -> int:
        """Add the noun phrase at word i; returns the index after it, or i if there is none."""
        word = self.scan.lower(i)
        if word in {"someone", "somebody"}:
            self.scan.chunks.append(
                NounPhrase(("a",), (Word("person", "person", self.scan.words[i].span),), "person", False)
            )
            return i + 1
        if word in {"each", "one"} and self.scan.lower(i + 1) in {"other", "another"}:
            self._add_pronoun(i, "each other")
            return i + 2
        personal = word in PRONOUNS and not (word == "her" and self._possesses(i))
        if personal or word in REFLEXIVES | INDEFINITE_PRONOUNS:
            self._add_pronoun(i, word)
            return i + 1
        phrase, end = self._base_phrase(i)
        if phrase is not None:
            self.scan.add_noun_phrase(phrase)
        return end

    def _add_pronoun(self, i: int, pronoun: str) -> None:
        plural = pronoun in PRONOUNS and PRONOUNS[pronoun][1]
        self.scan.chunks.append(NounPhrase((), (self.scan.words[i],), pronoun, plural, pronoun=pronoun))

    def _possesses(self, i: int) -> bool:
        """ "hugs her mother" but not "hands her a cup"."""
        return self.scan.nounlike(i + 1) or (self.scan.is_adjective(i + 1) and self.scan.nounlike(i + 2))

    def _base_phrase(self, start: int) -> tuple[NounPhrase | None, int]:
        """The longest base noun phrase at a word, and the index after it; (None, start) if none starts there."""
        i = start
        determiners: list[str] = []
        number: int | None = None
        possessor: NounPhrase | None = None
        content: list[Word] = []
        while i < min(len(self.scan.words), start + _MAX_PHRASE_WORDS):
            word = self.scan.lower(i)
            if not content and self._is_determiner(i):
                determiners.append(word)
                number = int(word[:4]) if word.isdecimal() else NUMBERS.get(word, number)
            elif not content and self._stands_alone(i, determiners):
                break
            elif word.endswith("'s"):
                owned = self.scan.words[i]
                place = owned.span and (owned.span[0], owned.span[1] - 2)
                owner = Word(owned.text[:-2], word[:-2], place)
                possessor = noun_phrase(determiners, [*content, owner], number, None)
                content, determiners, number = [], [], None
            elif self._joins_adjectives(i, content):
                content += [self.scan.words[i]] if word == "and" else []
            elif self._belongs(i, content, opened=bool(determiners) or possessor is not None):
                content.append(self.scan.words[i])
            else:
                break
            i += 1
        opened = bool(determiners) or possessor is not None
        while content and content[-1].lower != "other" and not _can_head(content[-1].lower, opened):
            content.pop()
            i -= 1
        if not content and not _PRONOMINAL & set(determiners):
            return None, start
        return noun_phrase(determiners, content or [Word("one", "one")], number, possessor), i

    def _is_determiner(self, i: int) -> bool:
        """Whether word i is a number or a determiner; "that" before a verb is not."""
        word = self.scan.lower(i)
        if word == "that":
            return self.scan.nounlike(i + 1) or self.scan.is_adjective(i + 1)
        return word in DETERMINERS or word.isdecimal()

    def _stands_alone(self, i: int, determiners: Sequence[str]) -> bool:
        """ "one throws a ball": word i is the verb, and the determiner before it is the whole noun phrase."""
        form = self.scan.verb_form(i)
        pronominal = bool(determiners) and determiners[-1] in _PRONOMINAL_SUBJECTS
        if not pronominal or form is None or form.lemma not in ACTION_LEMMAS:
            return False
        return bool(form.tags & {"VBZ", "VBP"}) and self.scan.lower(i + 1) in DETERMINERS | PREPOSITIONS

    def _joins_adjectives(self, i: int, content: Sequence[Word]) -> bool:
        """The "and" of "brown and white dog", the comma of "big, red ball"."""
        if self.scan.lower(i) not in {"and", ","} or not content or i + 2 >= len(self.scan.words):
            return False
        return (
            all(is_adjective(word.lower) and word.lower not in GARMENTS for word in content)
            and self.scan.is_adjective(i + 1)
            and (self.scan.nounlike(i + 2) or self.scan.is_adjective(i + 2))
            and not self._verb_after_noun(i + 2, content[-1].lower)
        )

    def _belongs(self, i: int, content: Sequence[Word], *, opened: bool) -> bool:
        """Whether word i continues the noun phrase `content`; `opened`: a determiner or possessor leads it."""
        word = self.scan.lower(i)
        has_noun = any(not is_adjective(w.lower) or w.lower in LIVING for w in content)
        if not word[:1].isalpha() or (has_noun and (is_adverb(word) or word in PREPOSITIONS | PARTICLES)):
            return False
        if word in _OUTSIDE_PHRASES and not (opened and word in ADJECTIVES):
            return False
        if is_adverb(word) and word not in ADJECTIVES:
            return opened and self._adverb_belongs(i, first=not content)
        if content and self._verb_after_noun(i, content[-1].lower):
            return False
        if noun_form(word) is not None or is_adjective(word):
            return True
        if has_noun or verb_form(word) is None:
            return False
        if self._participle(i):
            return self.scan.nounlike(i + 1) or self.scan.is_adjective(i + 1)
        return opened  # "the pan": lemminflect has this noun as a verb only

    def _adverb_belongs(self, i: int, *, first: bool) -> bool:
        """ "a high chair", "a brightly coloured ball"."""
        if self.scan.is_adjective(i) and self.scan.nounlike(i + 1):
            return True
        return first and (self.scan.is_adjective(i + 1) or self._participle(i + 1))

    def _participle(self, i: int) -> bool:
        form = self.scan.verb_form(i)
        return form is not None and bool(form.tags & {"VBG", "VBN"})

    def _verb_after_noun(self, i: int, before: str) -> bool:
        """Whether word i, after the noun or adjective `before`, is the clause's verb: "a boy | pats a dog"."""
        scan, word = self.scan, self.scan.lower(i)
        noun, form = noun_form(before), scan.verb_form(i)
        if noun is None:
            return False
        living = noun.lemma in LIVING
        if form is None:
            return living and scan.subject_open and is_unknown(word) and word.endswith(("s", "ed"))
        known = form.lemma in ACTION_LEMMAS
        if is_adjective(before) and not living and before not in GARMENTS:  # "a blue dress | carry"
            looks = (itself := noun_form(word)) and itself.lemma in BODY_PARTS | GARMENTS
            if looks and scan.lower(i + 1) not in DETERMINERS:
                return False  # "a girl with long braids"; but "a girl in pink dresses a doll"
            in_colour = scan.lower(i - 2) == "in" and before in COLOURS
            if in_colour and scan.plural_subject and scan.lower(i + 1) in DETERMINERS:
                return scan.subject_open and known  # "a man in red and a woman in white | dress a doll"
            return "VBZ" in form.tags and scan.subject_open and known and (scan.object_follows(i) or in_colour)
        if noun_form(word) is None and word not in ADJECTIVES:
            return True
        if "VBZ" in form.tags:
            if not known and word in GARMENTS:
                return False  # "workout clothes"
            return self._lacks_verb(i, known=known) or (living and known)
        if "VBG" in form.tags:
            return not (scan.nounlike(i + 1) and f"{word} {scan.lower(i + 1)}" in COMPOUNDS)
        if "VBD" in form.tags and word != form.lemma:
            return self._lacks_verb(i, known=known)
        return self._heads_somewhere(i) or (known and self._plural_subject_before(i, before))

    def _lacks_verb(self, i: int, *, known: bool) -> bool:
        """Whether a clause can still take word i as its tensed verb; `known` means that the lexicon has it."""
        scan = self.scan
        if scan.subject_open or scan.linked() or (scan.reopened and known):
            return True
        return scan.interrupted and scan.object_follows(i)

    def _heads_somewhere(self, i: int) -> bool:
        """ "the cube and the cylinder | move towards each other": "move" is no noun here."""
        scan = self.scan
        return scan.subject_open and scan.plural_subject and scan.lower(i + 1) in _WHITHER

    def _plural_subject_before(self, i: int, before: str) -> bool:
        """ "two boys | kick a ball": a bare verb form needs a plural subject before it and an object after it."""
        scan, noun = self.scan, noun_form(before)
        assert noun is not None
        # "with long hair | paint a wall"; but "with face paint and a hat"
        ends_in_part = noun.lemma in BODY_PARTS and scan.lower(i + 1) in DETERMINERS
        ends_subject = noun.lemma in LIVING | GARMENTS or before in COLOURS or ends_in_part
        plural = noun.plural or before in COLLECTIVES or (scan.plural_subject and ends_subject)
        return scan.subject_open and plural and (scan.object_follows(i) or scan.nounlike(i + 1))


def _can_head(word: str, opened: bool) -> bool:
    if noun_form(word) is not None or word in COLOURS:
        return True
    return opened and verb_form(word) is not None and not word.endswith(("ed", "ing"))
