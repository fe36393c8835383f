"""Reads one sentence's chunks, from left to right, into drafts of relations.

    "The dog that a boy pats catches a ball, and a girl lifts it."
        "the dog ... catches a ball"    -> Draft(dog, catch, ball)
        "that a boy pats"               -> Draft(boy, pat, dog): a relative clause, its antecedent is the object
        "a girl lifts it"               -> Draft(girl, lift, ball)

A clause has a subject and a current verb. A noun phrase before the verb is the subject; after it, an object or the
next clause's subject. A preposition leads to another object, to the agent of a passive, or to a place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from schemas.extraction import Subjects
from tasks.backends.caption_rules.chunks import Chunk, ChunkStream, Mark, NounPhrase, VerbGroup, is_mark
from tasks.backends.caption_rules.clauses import Clause, Contact, Draft, Drafts, is_tool
from tasks.backends.caption_rules.entities import Described, Discourse, Entity, Role
from tasks.backends.caption_rules.modifiers import ModifierReader
from tasks.backends.caption_rules.nouns import BODY_PARTS, GARMENTS, OWNED_PARTS, PLACES_IN_VIEW, SCENE
from tasks.backends.caption_rules.verbs import (
    APPROACHES,
    DITRANSITIVE,
    DRESSING,
    LOCOMOTION,
    OBJECT_PREPOSITIONS,
    PHRASAL,
    RECIPROCAL,
    VERB_SCORES,
)
from tasks.backends.caption_rules.words import DIRECTIONS, REFLEXIVES, STATIC_PREPOSITIONS


class SentenceReader:
    """Reads one sentence. `sentence` is its text; new entities are added to `discourse`."""

    def __init__(
        self, sentence: str, chunks: Sequence[Chunk], discourse: Discourse, subjects: Subjects = "living"
    ) -> None:
        self.discourse = discourse
        self.stream = ChunkStream(chunks)
        self.modifiers = ModifierReader(self.stream)
        self.clause = Clause()
        self.link: str | None = None  # the comma or conjunction just read
        self.latest: list[Entity] = []  # what the last noun phrase meant
        self.drafts = Drafts(sentence, subjects)

    def read(self) -> list[Draft]:
        """The sentence's drafts, each with its subject."""
        while (chunk := self.stream.peek()) is not None:
            if isinstance(chunk, NounPhrase):
                self._noun()
                continue
            self.stream.position += 1
            if isinstance(chunk, VerbGroup):
                self._verb(chunk)
            else:
                self._mark(chunk)
        self._end_clause()
        return self.drafts.with_subject()

    # --- Marks, and where clauses begin and end ---

    def _mark(self, mark: Mark) -> None:
        match mark.kind:
            case "preposition":
                self._preposition(mark.text)
            case "conjunction":
                self.link = "conjunction"
            case "comma":
                self.link = self.link or "comma"
            case "boundary":
                self._boundary(mark.text)
            case "relative":
                self._relative(mark.text)
            case "adverb":
                self._adverb(mark.text)

    def _adverb(self, adverb: str) -> None:
        self.clause.adverbs.append(adverb)
        if adverb == "instead":
            self.link = None

    def _boundary(self, text: str) -> None:
        """ "while", ";": start a clause; its participle may still belong to the old subject."""
        self._end_clause()
        self._begin(Clause(muted=text == "if", doers=self.clause.subjects))

    def _relative(self, pronoun: str) -> None:
        living = [entity for entity in self.latest if entity.living]
        antecedent = living or self.clause.subjects if pronoun in {"who", "whom"} else self.latest
        self.clause = Clause(outer=self.clause, antecedent=list(antecedent))
        self.link = None

    def _begin(self, clause: Clause) -> None:
        self.clause, self.link = clause, None
        self.discourse.clause_index += 1

    def _leave_relative(self) -> None:
        assert self.clause.outer is not None
        self._end_verb()
        self.clause = self.clause.outer

    def _end_clause(self) -> None:
        """Close the clause and its outer clauses; the outermost stays current."""
        while True:
            self._end_verb()
            for entity in self.clause.subjects:
                entity.place = entity.place or self.clause.place
            if self.clause.outer is None:
                return
            self.clause = self.clause.outer

    # --- Noun phrases ---

    def _noun(self) -> None:
        link, self.link = self.link, None
        clause = self.clause
        if clause.verb is not None and clause.role is None and link is None:
            if clause.verb.lemma == "wear" and clause.verb.asserted:
                return self._clothe(self.modifiers.garments("wearing"))
            clause.own = self._own()
        clause.reading_object = True
        mention = self.modifiers.described(clause, attach_all=clause.verb is None)
        clause.reading_object = False
        joins_object = mention.base.determiners or not clause.after_adjunct
        if clause.verb is None:
            self._subject(mention, joined=link is not None and bool(clause.subjects))
        elif self._starts_clause(clause.verb, link):
            self._end_clause()
            self._begin(Clause())
            self._subject(mention, joined=False)
        elif link == "conjunction" and clause.after_tool:
            self._adjunct(mention)
            self._keep_tool(mention)
        elif link == "conjunction" and clause.role is not None and joins_object:
            self._object(mention, clause.role)
        elif link is None:
            self._direct_object(mention)
        else:
            self._adjunct(mention)

    def _subject(self, mention: Described, *, joined: bool) -> None:
        clause = self.clause
        found = self.discourse.resolve(mention, Role.SUBJECT, clause.subjects if joined else ())
        members = [member for entity in found for member in entity.members]
        if joined and found and any(found[0] in group.members for group in clause.subjects):
            found = []  # "two men, one in red and the other in blue": the group stays the subject
        clause.subjects = [*clause.subjects, *(e for e in found if e not in clause.subjects)] if joined else found
        clause.gap = bool(clause.antecedent) and not joined
        if clause.wears:
            self._clothe(clause.wears)
        self.latest = members or found

    def _starts_clause(self, verb: VerbGroup, link: str | None) -> bool:
        """Whether the noun phrase just read is the subject of the verb after it, not an object of the verb before."""
        subject_missing = verb.form == "gerund" and not self.clause.doers  # "Holding a cup, a woman walks"
        return self.stream.tensed_ahead() and (link is not None or subject_missing)

    def _adjunct(self, mention: Described) -> None:
        self.latest = self.discourse.resolve(mention, Role.ADJUNCT, self.clause.doers)

    # --- Verbs ---

    def _verb(self, verb: VerbGroup) -> None:
        """Make a verb current. Its doers are the subjects or the antecedent; a participle's is the noun before it."""
        link, self.link = self.link, None
        before = self.stream.peek(-2)
        adverbs = self.clause.adverbs[-1:] if is_mark(before, "adverb") else []
        self._end_verb()
        ends_relative = verb.tensed and self._ends_relative(link)
        reduced = self._is_reduced(verb, link, after_object=self.clause.verb is not None and not ends_relative)
        if ends_relative and not reduced:
            self._leave_relative()
        clause = self.clause
        if reduced:
            self._set_verb(replace(verb, form="participle", passive=True), self.latest, adverbs)
        elif verb.form == "gerund":
            denied = isinstance(before, Mark) and before.text in {"without", "instead of"}
            asserted = verb.asserted and not denied
            self._set_verb(replace(verb, asserted=asserted), self._doers_of_gerund(verb, link), adverbs)
        elif verb.form == "infinitive":
            approached = clause.verb is not None and clause.verb.asserted and clause.verb.lemma in APPROACHES
            self._set_verb(replace(verb, asserted=verb.asserted and approached), clause.doers, adverbs)
        else:
            clause.subjects = clause.subjects or clause.antecedent
            if clause.verb is not None or not clause.subjects:
                self.discourse.clause_index += 1
            self._set_verb(verb, clause.subjects, adverbs)
            self.drafts.give_orphans(clause.subjects)

    def _is_reduced(self, verb: VerbGroup, link: str | None, *, after_object: bool) -> bool:
        """Whether it describes the noun before: "a ball thrown by", "lifts a cup filled with"."""
        past = verb.form == "past"
        if past and link:
            return False
        return (past and after_object) or self.stream.just_read_reduced(verb)

    def _ends_relative(self, link: str | None) -> bool:
        """Whether a tensed verb is the outer clause's: "the boy who pats a dog | lifts a cup"."""
        clause = self.clause
        if clause.outer is None or clause.verb is None or not clause.verb.tensed:
            return False
        return link != "conjunction" or (clause.outer.verb is not None and self.stream.comma_just_before())

    def _doers_of_gerund(self, verb: VerbGroup, link: str | None) -> list[Entity]:
        clause = self.clause
        if link == "conjunction" and clause.verb is not None:
            return clause.doers
        score = VERB_SCORES.get(clause.verb.lemma) if clause.verb else None
        instrument = verb.lemma == "use" and score is not None and score.contactness >= 4  # "cuts hair using scissors"
        if link is None and self.latest and all(entity.living for entity in self.latest) and not instrument:
            return self.latest
        return clause.subjects or clause.doers

    def _set_verb(self, verb: VerbGroup, doers: Sequence[Entity], adverbs: Sequence[str]) -> None:
        """Make it current, with the particle after it: "picks | up the bag"."""
        self.clause.set_verb(verb, doers, adverbs)
        if len(doers) > 1:
            self.discourse.groups.append(self.clause.doers)
        particle, following = self.stream.peek(), self.stream.peek(1)
        if is_mark(particle, "preposition") and isinstance(following, NounPhrase) and _is_particle(verb, particle.text):
            self.clause.verb_text = f"{verb.lemma} {particle.text}"
            self.stream.position += 1

    def _end_verb(self) -> None:
        """Close the current verb. If it lacks its object, that is the antecedent, or the second of two subjects."""
        clause = self.clause
        if clause.verb is None:
            return
        self.drafts.relate(clause, clause.tools_alone(), f"{clause.verb_text} with", "tool")
        clause.tools = []
        if clause.gap and not clause.direct and clause.antecedent:
            self.drafts.relate(clause, clause.antecedent, clause.verb_text)
            clause.gap = False
        verb = RECIPROCAL.get(clause.verb.lemma)
        if clause.light and "with" in clause.light.prepositions:
            verb = clause.light.verb
        if verb and not clause.drafts and not clause.direct and not clause.verb.passive:
            self.drafts.reciprocate(clause, verb)
        for draft in clause.drafts:
            draft.adverbs += clause.adverbs
        clause.drafts = []

    # --- Objects ---

    def _direct_object(self, mention: Described) -> None:
        clause = self.clause
        assert clause.verb is not None
        if (light := clause.light_verb(mention.base)) and not mention.whole:
            clause.light = light
            if clause.direct and "" in light.prepositions:
                for draft in clause.drafts:
                    draft.verb = light.verb
            self.latest = []
        elif clause.direct and clause.verb.lemma not in DITRANSITIVE:
            self._adjunct(mention)
        else:
            if clause.direct:  # "gives a girl a cup": give to the girl
                for draft in clause.drafts:
                    draft.verb = f"{draft.verb} to"
            self._object(mention, "")

    def _object(self, mention: Described, preposition: str) -> None:
        """An object of the current verb: direct (""), or after a preposition."""
        clause = self.clause
        assert clause.verb is not None
        if mention.base.pronoun == "each other":
            self.latest = []
            return self.drafts.reciprocate(clause, clause.verb_with(preposition))
        found = self.discourse.resolve(mention, Role.PREPOSITIONAL if preposition else Role.DIRECT, clause.doers)
        self.latest, clause.role = found, preposition
        clause.after_adjunct = bool(mention.landmarks) and mention.landmarks[-1].base.head not in PLACES_IN_VIEW
        clause.after_tool = False
        contact: Contact | None = None
        if preposition:
            contact = "limb" if clause.lays_limb else self._body_part(mention)
            clause.goal_taken = True
            found = [e for e in found if e not in clause.direct and mention.base.head not in SCENE]
        elif clause.verb.passive:
            return None
        else:
            clause.direct += found
            if len(clause.direct) > 1:
                self.discourse.groups.append(list(clause.direct))
            if self._self_directed(clause.verb, mention.base):
                return None
            contact = self._body_part(mention)
            clause.verb_text = clause.verb_on_part(mention.base) or clause.verb_text
        return self.drafts.relate(clause, found, clause.verb_with(preposition), contact)

    def _body_part(self, mention: Described) -> Contact | None:
        return "body part" if mention.base.head in BODY_PARTS else None

    def _own(self) -> NounPhrase | None:
        """The noun phrase at the position, if it means the doer or a part of the doer: "himself", "his hand"."""
        base, of = self.stream.peek(), self.stream.peek(1)
        assert isinstance(base, NounPhrase)
        part = base.head in BODY_PARTS or (base.head in OWNED_PARTS and base.possessor is not None)
        anothers = is_mark(of, "preposition") and of.text == "of"
        if part and not anothers and not self.discourse.owner(base, self.clause.doers):
            return base
        return base if base.pronoun in REFLEXIVES else None

    def _self_directed(self, verb: VerbGroup, base: NounPhrase) -> bool:
        """ "crosses the street", "adjusts his own hat": nothing is done to another entity."""
        if verb.lemma in LOCOMOTION and base.head in SCENE:
            return True
        dressing = verb.lemma in DRESSING or self.clause.verb_text in DRESSING
        worn = base.head in GARMENTS and base.possessor is not None
        return dressing and worn and not self.discourse.owner(base, self.clause.doers)

    def _preposition(self, preposition: str) -> None:
        verb, following = self.clause.verb, self.stream.peek()
        if not isinstance(following, NounPhrase):
            return self._trailing_particle(preposition)
        if preposition in DIRECTIONS and verb is not None and verb.lemma not in LOCOMOTION:
            return None  # "blows out the candles": the noun phrase is the verb's object
        self.link = None
        if self.modifiers.worn_ahead(preposition) and not self.clause.takes_garment(following):
            return self._clothe(self.modifiers.garments(preposition))
        if verb is not None and verb.passive and preposition == "by":
            return self._agent()
        if self.clause.takes(preposition, following):
            return self._prepositional_object(preposition)
        return self._prepositional_adjunct(preposition)

    def _trailing_particle(self, particle: str) -> None:
        """ "picks the bag up": the particle comes after the object."""
        verb = self.clause.verb
        if verb is None or (verb.lemma, particle) not in PHRASAL:
            return
        for draft in self.clause.drafts:
            if draft.verb == verb.lemma:
                draft.verb = f"{verb.lemma} {particle}"

    def _agent(self) -> None:
        """ "the ball is kicked by a boy": the boy kicks."""
        clause = self.clause
        patients = clause.doers
        self.latest = self.discourse.resolve(self.modifiers.described(clause), Role.PREPOSITIONAL, patients)
        clause.doers = self.latest
        self.drafts.relate(clause, patients, clause.verb_text)

    def _prepositional_object(self, preposition: str) -> None:
        clause = self.clause
        clause.goal_taken = True  # so that its own modifiers are read as places
        mention = self.modifiers.described(clause)
        clause.goal_taken = False
        self._object(mention, preposition)
        if mention.base.head in SCENE and preposition in STATIC_PREPOSITIONS:
            clause.keep_place(preposition, mention)

    def _prepositional_adjunct(self, preposition: str) -> None:
        """A phrase that the verb does not take: a tool or a place."""
        clause = self.clause
        fronted = self.stream.peek(-2) is None
        mention = self.modifiers.described(clause)
        self._adjunct(mention)
        clause.after_adjunct, clause.after_tool = True, False
        if preposition == "with" and (fronted or clause.verb is not None):
            self._keep_tool(mention)
        elif preposition in STATIC_PREPOSITIONS and self.latest and not mention.base.pronoun:
            clause.keep_place(preposition, mention)

    def _keep_tool(self, mention: Described) -> None:
        if is_tool(mention.base, self.clause.own):
            self.clause.tools += self.latest
            self.clause.after_tool = True

    def _clothe(self, garments: Sequence[str]) -> None:
        """Garments that no noun beside them wears: the subject does, "kicks a ball in a red hat"; or the next one."""
        clause = self.clause
        wearers = clause.subjects or clause.doers
        if not wearers and clause.verb is None:
            clause.wears = list(garments)
        elif len(wearers) == 1:
            wearers[0].wears += [garment for garment in garments if garment not in wearers[0].wears]


def _is_particle(verb: VerbGroup, text: str) -> bool:
    """ "puts on a hat" but "sits on a chair", "jumps on the bed"."""
    if (verb.lemma, text) not in PHRASAL:
        return False
    return text not in OBJECT_PREPOSITIONS.get(verb.lemma, ()) or text not in STATIC_PREPOSITIONS
