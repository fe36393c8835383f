"""How the page writes numbers and other people's text.

percent(0.938) -> "93 %"      score(0.938) -> "0.94"      shorten("a very long story", 7) -> "a very…"
"""

from __future__ import annotations

import math


def percent(share: float | None) -> str:
    """0.938 -> "93 %": rounded down, so that 100 % means all. A rate of nothing is a dash."""
    return "–" if share is None else f"{math.floor(100 * share + 1e-9)} %"


def score(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def shorten(text: str | None, length: int) -> str:
    """On one line, at most `length` characters. Nothing for None."""
    line = " ".join((text or "").split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"
