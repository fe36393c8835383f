"""Charts as inline SVG, in the colours of the page.

columns([0, 4, 2], "instances in a clip")
->  <svg class="chart" ...> two bars, 126 and 63 px high, above 1 and 2 </svg>
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from schemas.tables import Named
from tasks.pages.wording import shorten

WIDTH = 318  # of a chart, in its own units; on the page it is as wide as its panel

_DIGIT_WIDTH = 7.5
_FRAME_STEPS = (1, 2, 5, 10, 20, 50, 100)


def svg(width: int, height: int, label: str, parts: Sequence[Markup]) -> Markup:
    """label: what the picture shows, for those who do not see it."""
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        width, height, label, Markup("").join(parts)
    )


def points_of(points: np.ndarray) -> str:
    """(N, 2) -> what SVG calls points, one a row: "12.0,40.5 13.1,40.2"."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def frame_ticks(n_frames: int, most: int) -> range:
    """Frames that an axis names, at most so many where steps of a hundred allow it."""
    return range(0, n_frames, next((step for step in _FRAME_STEPS if n_frames / step <= most), n_frames))


def columns(counts: Sequence[int], label: str, names: Sequence[str] | None = None, every: int = 1) -> Markup:
    """Rows that have 0, 1, 2, ... of something -> upright bars.

    names: of the bars, if not 0, 1, 2, ...; every: of how many bars one has its name below
    """
    names = names or [str(value) for value in range(len(counts))]
    most = max(counts, default=0) or 1
    pitch = min(52, (WIDTH - 18) / max(len(counts), 1))
    gap = min(8, pitch / 4)
    left = (WIDTH - pitch * len(counts)) / 2
    has_room = _DIGIT_WIDTH * len(str(most)) <= pitch  # else only the tallest tells its count, and a touch all others
    tallest = counts.index(most) if most in counts else None
    bars = [
        Markup(
            '<g><title>{name}: {n}</title><rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{r:.1f}" '
            'class="bar"/><text x="{tx:.1f}" y="{ty:.1f}">{shown}</text>'
            '<text x="{tx:.1f}" y="176" class="axis">{below}</text></g>'
        ).format(
            name=name,
            n=n,
            x=left + gap / 2 + pitch * place,
            y=156 - 126 * n / most,
            w=pitch - gap,
            h=126 * n / most,
            r=min(3, gap / 2),
            tx=left + pitch * (place + 0.5),
            ty=150 - 126 * n / most,
            shown=n if n and (has_room or place == tallest) else "",
            below="" if place % every else name,
        )
        for place, (name, n) in enumerate(zip(names, counts, strict=True))
    ]
    floor = Markup('<path d="M4 156.5H314" class="rule"/>')
    below = Markup('<text x="159" y="195" class="axis">{}</text>').format(label)
    return svg(WIDTH, 200, label, [*bars, floor, below])


def word_bars(words: Sequence[Named], colours: Mapping[str, str] | None = None) -> Markup:
    """Words and how often they occur -> lying bars, in the given order; colours: of the bars of some, as CSS."""
    most = max((word.n for word in words), default=0) or 1
    colours = colours or {}
    bars = [
        Markup(
            '<g><title>{word}: {n}</title><text x="100" y="{ty}" class="word">{short}</text>'
            '<rect x="108" y="{y}" width="{w:.1f}" height="14" rx="3" class="bar"{own}/>'
            '<text x="{tx:.1f}" y="{ty}" class="count">{n}</text></g>'
        ).format(
            word=word.name,
            short=shorten(word.name, 14),
            n=word.n,
            y=4 + 22 * place,
            ty=15 + 22 * place,
            w=170 * word.n / most,
            tx=114 + 170 * word.n / most,
            own=Markup(' style="--c: {}"').format(colours[word.name]) if word.name in colours else "",
        )
        for place, word in enumerate(words)
    ]
    return svg(WIDTH, 22 * len(words) + 6, "most frequent words", bars)
