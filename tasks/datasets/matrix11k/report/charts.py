"""Charts as inline SVG: figure 10 of MATRIX, and the bar that shows when an instance has a mask.

presence_bar([True, True, False, True], anchor_frame=1)
->  <svg class="presence" ...> frames 0 and 1 and frame 3 filled, a stroke at 1 </svg>
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from schemas.matrix11k import MatrixStatistics
from tasks.pages.charts import WIDTH, columns, svg, word_bars

TOP_WORDS = 15


@dataclass(frozen=True)
class Charts:
    """Figure 10 of MATRIX."""

    contact_dynamism: Markup
    interactions: Markup
    instances: Markup
    verbs: Markup
    nouns: Markup


def charts(statistics: MatrixStatistics) -> Charts:
    return Charts(
        contact_dynamism=heat_map(statistics.contact_dynamism),
        interactions=columns(statistics.interactions_per_clip, "interactions in a clip"),
        instances=columns(statistics.instances_per_clip, "instances in a clip"),
        verbs=word_bars(statistics.top_verbs[:TOP_WORDS]),
        nouns=word_bars(statistics.top_nouns[:TOP_WORDS]),
    )


def heat_map(grid: Sequence[Sequence[int]]) -> Markup:
    """5 x 5 counts, contactness down and dynamism across from 1 -> a map with contactness 5 on top."""
    most = max((n for row in grid for n in row), default=0) or 1
    cells = [
        Markup(
            '<g><title>contactness {c}, dynamism {d}: {n}</title><rect x="{x}" y="{y}" width="50" height="38" rx="4" '
            'class="cell" fill-opacity="{shade:.3f}"/><text x="{tx}" y="{ty}" class="{ink}">{n}</text></g>'
        ).format(
            c=contact + 1,
            d=dynamism + 1,
            n=n,
            x=44 + 54 * dynamism,
            y=4 + 42 * (4 - contact),
            tx=69 + 54 * dynamism,
            ty=28 + 42 * (4 - contact),
            shade=0.06 + 0.94 * n / most,
            ink=("on" if n / most > 0.5 else "") if n else "none",
        )
        for contact, row in enumerate(grid)
        for dynamism, n in enumerate(row)
    ]
    ticks = [Markup('<text x="{}" y="230">{}</text>').format(69 + 54 * i, i + 1) for i in range(5)]
    ticks += [Markup('<text x="34" y="{}">{}</text>').format(28 + 42 * (4 - i), i + 1) for i in range(5)]
    axes = Markup(
        '<text x="177" y="250" class="axis">dynamism</text>'
        '<text x="12" y="109" class="axis" transform="rotate(-90 12 109)">contactness</text>'
    )
    return svg(WIDTH, 258, "contactness by dynamism", [*cells, *ticks, axes])


def presence_bar(present: Sequence[bool], anchor_frame: int) -> Markup:
    """A thin bar over the frames: filled where there is a mask, a stroke at the anchor."""
    runs = []
    at = 0
    for has_mask, frames in groupby(present):
        length = len(list(frames))
        if has_mask:
            runs.append(Markup('<rect x="{}" y="0" width="{}" height="10"/>').format(at, length))
        at += length
    return Markup(
        '<svg class="presence" viewBox="0 0 {n} 10" preserveAspectRatio="none" role="img" aria-label="{label}">'
        '{runs}<path d="M{anchor} 0V10" vector-effect="non-scaling-stroke"/></svg>'
    ).format(
        n=len(present),
        label=f"a mask in {sum(present)} of {len(present)} frames, anchor on frame {anchor_frame}",
        runs=Markup("").join(runs),
        anchor=anchor_frame + 0.5,
    )
