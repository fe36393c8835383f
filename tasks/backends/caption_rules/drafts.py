"""The drafts of one sentence: which of a clause's doers does what to which of its objects.

"A boy and a girl push two carts and a box"  ->  Draft(boy, push, box), Draft(girl, push, box)
    the carts are not told apart, so there is none of them
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.extraction import Subjects
from tasks.backends.caption_rules.clauses import Clause, Draft
from tasks.backends.caption_rules.entities import Entity, individuals
from tasks.backends.caption_rules.verbs import INNER_STATES, VAGUE_VERBS


class Drafts:
    """A sentence's drafts, in the order in which they are read; only those of `subjects` who may act."""

    def __init__(self, sentence: str, subjects: Subjects) -> None:
        self.sentence = sentence
        self.subjects = subjects
        self._drafts: list[Draft] = []

    def relate(self, clause: Clause, objects: Sequence[Entity], verb: str) -> None:
        """Each of the current verb's doers to each of the objects, if the verb tells of a deed."""
        if clause.verb is None or not clause.verb.asserted or clause.verb.lemma in VAGUE_VERBS | INNER_STATES:
            return
        doers: list[Entity | None] = [*individuals(clause.doers)]
        if not clause.doers and clause.verb.form == "gerund":
            doers = [None]
        for doer in doers:
            for entity in individuals(objects):
                self._add(clause, doer, verb, entity)

    def reciprocate(self, clause: Clause, verb: str) -> None:
        """ "A boy and a girl hug": the first of two doers to the second."""
        doers = individuals(clause.doers)
        if len(doers) == 2:
            self._add(clause, doers[0], verb, doers[1])

    def _add(self, clause: Clause, doer: Entity | None, verb: str, entity: Entity) -> None:
        if clause.muted or doer is entity or not self._may_act(doer):
            return
        draft = Draft(doer, verb, entity, self.sentence)
        self._drafts.append(draft)
        clause.drafts.append(draft)

    def _may_act(self, doer: Entity | None) -> bool:
        return doer is None or doer.living or self.subjects == "any"

    def give_orphans(self, subjects: Sequence[Entity]) -> None:
        """ "Holding a cup, a woman walks": the participle's subject comes after it."""
        for draft in self._drafts:
            if draft.subject is None and len(subjects) == 1 and subjects[0] is not draft.object:
                draft.subject = subjects[0]

    def with_subject(self) -> list[Draft]:
        """The drafts whose subject the sentence tells."""
        return [draft for draft in self._drafts if draft.subject is not None]
