"""What a prompt's two things look like, in words that a detector of colours reads.

choose_colours(rng)                                       {"id1": "orange", "id2": "blue"}
looks_of(<a fox, a fire hydrant>, choose_colours(rng))    {"id1": "an orange fox", "id2": "a blue hydrant"}
"""

from __future__ import annotations

import numpy as np

from schemas.dsr import ANIMAL, OBJECT, DsrLabels
from tasks.backends.colour.palette import COLOUR_WORDS
from tasks.datasets.dsr.wording import with_article

# Of COLOURS. Neither shade nor blur confuses the two of a pair; red and purple, or yellow and green, run together.
COLOUR_PAIRS = (
    ("red", "green"),
    ("red", "blue"),
    ("orange", "green"),
    ("orange", "blue"),
    ("orange", "purple"),
    ("yellow", "blue"),
    ("yellow", "purple"),
)


def choose_colours(rng: np.random.Generator) -> dict[str, str]:
    """{instance_id: a colour word}"""
    first, second = COLOUR_PAIRS[rng.integers(len(COLOUR_PAIRS))]
    return {ANIMAL: first, OBJECT: second} if rng.random() < 0.5 else {ANIMAL: second, OBJECT: first}


def looks_of(labels: DsrLabels, colours: dict[str, str]) -> dict[str, str]:
    """The head noun of each with its one colour: 'a red panda' is a blue panda here."""
    nouns = {ANIMAL: labels.animal, OBJECT: labels.object}
    heads = {i: head_noun(noun) for i, noun in nouns.items()}
    return {i: with_article(f"{colours[i]} {'thing' if head in COLOUR_WORDS else head}") for i, head in heads.items()}


def head_noun(noun: str) -> str:
    """'fire hydrant' -> 'hydrant'; 'thing' if there is no word at all."""
    return next(iter(noun.lower().split()[::-1]), "thing")
