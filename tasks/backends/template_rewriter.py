"""Prompts reworded by sentence patterns: the embedded Rewriter (tasks/rewrite_prompts.py).

    TemplateRewriter().rewrite(labels, attempt=0)
        -> "A fox waits on the left of a chair in a wood. Then it sprints to the right of the chair."

The labels choose the pattern; another attempt takes the next one.
"""

from __future__ import annotations

from schemas.dsr import DsrLabels
from schemas.record import content_hash
from schemas.relation import RELATIONS
from tasks.datasets.dsr.wording import opened, with_article

# {an_animal} 'a fox', {animal} 'fox', {an_object} 'a chair', {object} 'chair', {verb} 'sprints',
# {at} 'on the left of', {from_} 'from the left of', {to} 'to the right of'.
# A scene, if there is one, opens the first group and stands at {scene} in the second.
_OPENED = (
    "{an_object} stands still while {an_animal} {verb} {from_} it {to} it.",
    "there is {an_object} with {an_animal} {at} it, and soon the {animal} {verb} {to} the {object}.",
    "{an_animal} first stays {at} {an_object}; after a moment it {verb} {to} the {object} and stops there.",
)
_WITHIN = (
    "{an_animal} waits {at} {an_object}{scene}. Then it {verb} {to} the {object}.",
    "{an_object} can be seen{scene}. At first {an_animal} is {at} it, but then the {animal} {verb} {to} it.",
)


class TemplateRewriter:
    """Rewords a prompt by one of a few patterns."""

    concurrency = 1  # pure Python: threads would wait for each other

    def __init__(self) -> None:
        self.identity = {"backend": "template", "model": "sentence-patterns-1"}

    def rewrite(self, labels: DsrLabels, attempt: int) -> str:
        said = labels.model_dump(mode="json", include=set(DsrLabels.model_fields))
        place = (int(content_hash("template-rewriter", said), 16) + attempt) % (len(_OPENED) + len(_WITHIN))
        return fill((*_OPENED, *_WITHIN)[place], labels)


def fill(pattern: str, labels: DsrLabels) -> str:
    """A pattern with the labels' words in it."""
    initial, final = RELATIONS[labels.initial], RELATIONS[labels.final]
    scene = labels.scene[:1].lower() + labels.scene[1:]
    text = pattern.format(
        an_animal=with_article(labels.animal),
        animal=labels.animal,
        an_object=with_article(labels.object),
        object=labels.object,
        verb=labels.verb,
        at=initial.at,
        from_=initial.from_,
        to=final.to,
        scene=f" {scene}" if scene else "",
    )
    return opened("" if "{scene}" in pattern else labels.scene, text)
