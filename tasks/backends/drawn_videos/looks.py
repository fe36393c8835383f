"""How a prompt's two things look, in words that the colour detector reads.

choose_colours(rng)                                       {"id1": "orange", "id2": "blue"}
looks_of(<a fox, a fire hydrant>, choose_colours(rng))    {"id1": "an orange fox", "id2": "a blue hydrant"}
"""

from __future__ import annotations

import numpy as np

from schemas.dsr import ANIMAL, OBJECT, DsrLabels
from tasks.backends.colour.palette import COLOUR_WORDS
from tasks.datasets.dsr.wording import with_article

# Words of COLOURS. Shade and blur do not confuse the two of a pair, as they would red and purple or yellow and green.
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
    """Head nouns with their one colour: a prompt's 'red panda' may be 'a blue panda'."""
    nouns = {ANIMAL: labels.animal, OBJECT: labels.object}
    heads = {i: head_noun(noun) for i, noun in nouns.items()}
    return {i: with_article(f"{colours[i]} {'thing' if head in COLOUR_WORDS else head}") for i, head in heads.items()}


def head_noun(noun: str) -> str:
    """'fire hydrant' -> 'hydrant'; 'thing' if there is no word."""
    return next(iter(noun.lower().split()[::-1]), "thing")
