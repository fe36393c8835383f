"""Labels -> the two forms of a prompt that are functions of them (SpatialAlign 3.1; table 3d).

    structured  "In a wood, a fox is on the left of a chair, then the fox sprints to the right of the chair."
    from_to     "In a wood, a fox sprints from the left of a chair to the right of the chair."

tasks/readers/parse_prompts.py reads both back.
"""

from __future__ import annotations

import re

from schemas.dsr import DsrLabels
from schemas.relation import RELATIONS

_SPOKEN_VOWEL = re.compile(r"[aeio]|u(?!ni)", re.IGNORECASE)


def article(noun: str) -> str:
    """'a' or 'an', by the first letters: enough for nouns of things and animals."""
    return "an" if _SPOKEN_VOWEL.match(noun) else "a"


def with_article(noun: str) -> str:
    """'owl' -> 'an owl'."""
    return f"{article(noun)} {noun}"


def structured_text(labels: DsrLabels) -> str:
    """First where the animal is, then how it changes that: the form that the paper trains on."""
    initial, final = RELATIONS[labels.initial], RELATIONS[labels.final]
    return opened(
        labels.scene,
        f"{with_article(labels.animal)} is {initial.at} {with_article(labels.object)}, "
        f"then the {labels.animal} {labels.verb} {final.to} the {labels.object}.",
    )


def from_to_text(labels: DsrLabels) -> str:
    """The whole change in one clause."""
    initial, final = RELATIONS[labels.initial], RELATIONS[labels.final]
    return opened(
        labels.scene,
        f"{with_article(labels.animal)} {labels.verb} {initial.from_} {with_article(labels.object)} "
        f"{final.to} the {labels.object}.",
    )


def opened(scene: str, rest: str) -> str:
    """A sentence that its scene opens, if there is one."""
    return f"{scene}, {rest}" if scene else rest[:1].upper() + rest[1:]
