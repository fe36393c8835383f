"""Types of prompts as the page names them, in the order of the paper's table 1.

type_name("LT") -> "left to top"      letter("LT") -> "A"
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas.relation import DSR_TYPES


def in_order(codes: Iterable[str]) -> list[str]:
    """Each once: the paper's types first, as it lists them; then others, by their code."""
    known = list(DSR_TYPES)
    return sorted(set(codes), key=lambda code: (known.index(code) if code in known else len(known), code))


def letter(code: str) -> str:
    """The paper's, or nothing for a type that is not the paper's."""
    return DSR_TYPES[code][0] if code in DSR_TYPES else ""


def type_name(code: str) -> str:
    if code not in DSR_TYPES:
        return code
    _, initial, final = DSR_TYPES[code]
    return f"{initial} to {final}"
