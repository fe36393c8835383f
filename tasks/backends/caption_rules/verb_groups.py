"""Verb groups: decides whether a word is a verb in its sentence, and reads it with its auxiliaries.

"is being gently pushed"  ->  VerbGroup(push, finite, passive)
"starts to throw"         ->  VerbGroup(throw, finite)
"does not want to throw"  ->  VerbGroup(throw, finite, asserted=False)
"""

from __future__ import annotations

from tasks.backends.caption_rules.chunks import Form, NounPhrase, Scan, VerbGroup, is_mark
from tasks.backends.caption_rules.nouns import GARMENTS, LIVING, is_adjective, noun_form
from tasks.backends.caption_rules.verbs import (
    ACTION_LEMMAS,
    ASPECTUALS,
    UNREALISED,
    VAGUE_VERBS,
    VerbForm,
    coined_verb_form,
)
from tasks.backends.caption_rules.words import (
    ADVERBS,
    AUXILIARIES,
    BE,
    CLOTHED_IN,
    DETERMINERS,
    DRESSED,
    NEGATIONS,
    PARTICLES,
    PREPOSITIONS,
    WEARING,
    is_adverb,
    is_unknown,
)

_NEVER_VERBS = PREPOSITIONS | ADVERBS | DETERMINERS
_BEFORE_A_GERUND = {"by", "after", "before", "without", "while", "when", "from", "for"} | PARTICLES
_HAVE = {"has", "have", "had", "having"}


class VerbGroupReader:
    """Reads the verb group at a word, if one starts there."""

    def __init__(self, scan: Scan) -> None:
        self.scan = scan

    def read(self, i: int) -> int:
        """Add the verb group at word i; returns the index after it, or i if there is none."""
        word = self.scan.lower(i)
        if word in AUXILIARIES:
            return self._auxiliaries(i)
        if word == "to" and (end := self._infinitive(i)) > i:
            return end
        if word in WEARING or self._worn(i) or not self._reads_as_verb(i):
            return i
        lemma, tags = self.scan.verb_form(i) or coined_verb_form(word)
        return self._add(i + 1, VerbGroup(lemma, _form(tags)))

    def _worn(self, i: int) -> bool:
        """ "dressed in" and "clad in" lead to garments, as "wearing" does."""
        return self.scan.lower(i) in DRESSED and f"{self.scan.lower(i)} {self.scan.lower(i + 1)}" in CLOTHED_IN

    def _infinitive(self, i: int) -> int:
        start = i + 1
        while is_adverb(self.scan.lower(start)):
            start += 1
        form = self.scan.verb_form(start)
        if form is None or "VB" not in form.tags:
            return i
        return self._add(start + 1, VerbGroup(form.lemma, "infinitive"))

    def _auxiliaries(self, i: int) -> int:
        """ "is being gently pushed": the auxiliaries, adverbs between them, and the main verb's form."""
        last, asserted, first = "", True, self.scan.lower(i)
        while (word := self.scan.lower(i)) and (
            word in AUXILIARIES | NEGATIONS or (is_adverb(word) and not self._main_verb_here(i))
        ):
            asserted = asserted and word not in NEGATIONS
            last = word if word in AUXILIARIES else last
            i += 1
        form: Form = "gerund" if first in {"being", "having"} else "finite"
        lemma, tags = self.scan.verb_form(i) or ("", frozenset())
        if last in BE and "VBG" in tags:
            return self._add(i + 1, VerbGroup(lemma, form, asserted=asserted))
        if last in BE and "VBN" in tags and not self._worn(i):
            return self._add(i + 1, VerbGroup(lemma, form, passive=True, asserted=asserted))
        if last not in BE and ("VBN" if last in _HAVE else "VB") in tags:
            return self._add(i + 1, VerbGroup(lemma, form, asserted=asserted))
        return self._add(i, VerbGroup("be" if last in BE else "have", form, asserted=asserted))

    def _main_verb_here(self, i: int) -> bool:
        return self.scan.verb_form(i) is not None and not self.scan.lower(i).endswith("ly")

    def _add(self, i: int, verb: VerbGroup) -> int:
        """Add a verb group that ends before word i; of "starts to throw", add "throw". Returns the index after it."""
        if verb.lemma in ASPECTUALS | UNREALISED:
            to = self.scan.lower(i) == "to"
            inner = self.scan.verb_form(i + to)
            if inner and ("VB" in inner.tags if to else inner.tags == {"VBG"}):
                asserted = verb.asserted and verb.lemma not in UNREALISED
                return self._add(i + to + 1, VerbGroup(inner.lemma, verb.form, asserted=asserted))
        self.scan.add_verb(verb)
        return i

    # Noun or verb?

    def _reads_as_verb(self, i: int) -> bool:
        """Whether a word that can be noun or verb is a verb here, judged by the chunks before it."""
        word, last = self.scan.lower(i), self.scan.last()
        form = self.scan.verb_form(i)
        if form is None:
            return self._coined_verb(i)
        if word in _NEVER_VERBS:
            return False
        if "VBG" in form.tags:
            return self._reads_as_gerund(i)
        nounlike = noun_form(word) is not None or is_adjective(word)
        if last is None:
            return False
        if isinstance(last, VerbGroup):  # "the ball he throws hits a girl"
            return "VBZ" in form.tags and self._in_relative() and self.scan.object_follows(i)
        if isinstance(last, NounPhrase):
            return last.pronoun is None or self.scan.subject_open or not nounlike
        if last.kind == "relative":
            return True
        if last.kind == "preposition":
            return not nounlike and last.text in PARTICLES
        return not nounlike or (last.kind in {"conjunction", "comma"} and self._conjoined_verb(i, form))

    def _conjoined_verb(self, i: int, form: VerbForm) -> bool:
        """ "catches it and pats ...", "Two men, ..., shake hands": the words after it suit a verb."""
        before = self.scan.chunks[-2] if len(self.scan.chunks) > 1 else None
        dressed = isinstance(before, NounPhrase) and before.head in GARMENTS
        if dressed and self.scan.lower(i) in GARMENTS and self.scan.lower(i + 1) not in DETERMINERS:
            return False  # "in a shirt and tie"
        agrees = bool(form.tags & {"VBZ", "VBD"}) or self.scan.plural_subject
        lacks_verb = self.scan.subject_open and self.scan.plural_subject
        follows = self.scan.object_follows(i) or (lacks_verb and self.scan.nounlike(i + 1))
        return form.lemma in ACTION_LEMMAS | VAGUE_VERBS and agrees and follows

    def _in_relative(self) -> bool:
        return any(is_mark(chunk, "relative") for chunk in self.scan.chunks[-4:])

    def _reads_as_gerund(self, i: int) -> bool:
        last = self.scan.last()
        if is_mark(last, "preposition"):
            return last.text in _BEFORE_A_GERUND
        return not (isinstance(last, VerbGroup) and self.scan.nounlike(i + 1))

    def _coined_verb(self, i: int) -> bool:
        """ "A boy zorbs a ball": an unknown word, after a living subject that still lacks its verb."""
        word, last = self.scan.lower(i), self.scan.last()
        living = isinstance(last, NounPhrase) and (last.head in LIVING or last.pronoun is not None)
        return living and self.scan.subject_open and is_unknown(word) and word.endswith(("s", "ed", "ing"))


def _form(tags: frozenset[str]) -> Form:
    if tags & {"VBZ", "VBP", "VB"}:
        return "finite"
    if "VBD" in tags:
        return "past"
    return "participle" if "VBN" in tags else "gerund"
