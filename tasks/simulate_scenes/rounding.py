"""Numbers as they are stored."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.scene import DIGITS, Vector


def rounded(vector: Iterable[float]) -> Vector:
    """A vector rounded to DIGITS decimals, without -0.0, whose bytes differ from 0.0."""
    x, y, z = (round(float(value), DIGITS) + 0.0 for value in vector)
    return x, y, z
