"""Types of prompts as the page names them; no code stands for all types.

type_name("LT") -> "left to top"      letter("LT") -> "A"      type_name("") -> "all types"
"""

from __future__ import annotations

from schemas.relation import DSR_TYPES


def letter(code: str) -> str:
    """The paper's, or nothing for a type that is not the paper's."""
    return DSR_TYPES[code][0] if code in DSR_TYPES else ""


def type_name(code: str) -> str:
    if code not in DSR_TYPES:
        return code or "all types"
    _, initial, final = DSR_TYPES[code]
    return f"{initial} to {final}"
