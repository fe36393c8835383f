"""How pages write numbers and other people's text.

percent(0.938) -> "93 %"      score(0.938) -> "0.94"      shorten("a very long story", 7) -> "a very…"
signed(-0.125, 3) -> "−0.125"
usd(12.3456) -> "$12.35"      usd(0.01234) -> "$0.0123"   ratio(45, 30) -> "1.5"
brief(940) -> "940"      brief(1240) -> "1.2k"      brief(34000) -> "34k"
counted(1, "clip") -> "1 clip"      counted(3400, "clip") -> "3,400 clips"
"""

from __future__ import annotations

import math


def percent(share: float | None) -> str:
    """0.938 -> "93 %": rounded down, so that 100 % means all. A rate of nothing is a dash."""
    return "–" if share is None else f"{math.floor(100 * share + 1e-9)} %"


def score(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def signed(value: float, digits: int = 2) -> str:
    """With a minus as long as a plus, and none before a zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def usd(value: float) -> str:
    """To the cent; sums below a dollar to a hundredth of it."""
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.4f}"


def thousands(n: float) -> str:
    """34000 -> "34,000": a whole number, also of a quotient."""
    return f"{n:,.0f}"


def brief(n: int) -> str:
    """At most four characters, below ten million: where there is no room for more."""
    if n < 1000:
        return str(n)
    return f"{n / 1000:.1f}k" if n < 9950 else f"{n / 1000:.0f}k"


def counted(n: int, noun: str) -> str:
    """How many of something, in the singular where it is one."""
    return f"{thousands(n)} {noun}" if n == 1 else f"{thousands(n)} {noun}s"


def ratio(n: int, of: int) -> str:
    return f"{n / of:.1f}" if of else "–"


def shorten(text: str | None, length: int) -> str:
    """On one line, at most `length` characters. Nothing for None."""
    line = " ".join((text or "").split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"
