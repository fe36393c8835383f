"""Static spatial relationships: where one thing is, seen from another (SpatialAlign 3.1, table 1).

    RELATIONS["left"].at           "on the left of"
    RELATIONS["left"].direction    (-1, 0, 0)
    type_code("left", "top")       "LT", the paper's type A

A relation is a direction: x to the right of the image, y down, z away from the camera. Grammar, parser, scores and
tables use only this table: a new relation is one line here (along z, boxes with depth are needed too).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class SpatialRelation:
    """A static spatial relationship (SSR)."""

    name: str
    code: str  # letter in the authors' type codes
    direction: tuple[float, float, float]  # unit vector from the object to the animal: right, down, away
    at: str  # how a prompt says where the animal is at first
    to: str  # how it says where the animal goes
    from_: str  # how it says where the animal comes from


RELATIONS: dict[str, SpatialRelation] = {
    relation.name: relation
    for relation in (
        SpatialRelation("left", "L", (-1, 0, 0), "on the left of", "to the left of", "from the left of"),
        SpatialRelation("right", "R", (1, 0, 0), "on the right of", "to the right of", "from the right of"),
        SpatialRelation("top", "T", (0, -1, 0), "on the top of", "to the top of", "from the top of"),
    )
}

# The paper's six dynamic spatial relationships (DSR) in the order of its table 1: code -> (letter, initial, final).
DSR_TYPES: dict[str, tuple[str, str, str]] = {
    "LT": ("A", "left", "top"),
    "TL": ("B", "top", "left"),
    "RT": ("C", "right", "top"),
    "LR": ("D", "left", "right"),
    "TR": ("E", "top", "right"),
    "RL": ("F", "right", "left"),
}


def type_code(initial: str, final: str) -> str:
    """The authors' code of a change of relation: 'LT' is left to top."""
    return RELATIONS[initial].code + RELATIONS[final].code


def in_table_order(codes: Iterable[str]) -> list[str]:
    """Codes of types without duplicates: first the paper's, in the order of its table 1, then others alphabetically."""
    known = list(DSR_TYPES)
    return sorted(set(codes), key=lambda code: (known.index(code) if code in known else len(known), code))


def known_relation(name: str) -> str:
    """The name itself. Raises ValueError if there is no such relation."""
    if name not in RELATIONS:
        raise ValueError(f"unknown relation {name!r}; use one of {', '.join(RELATIONS)}")
    return name
