"""How many valid samples have which score, on both sides of the threshold, as SVG.

score_chart(statistics.scores, (0, 1), tau=0.7) -> <svg class="chart" ...> a bar a bin, a line at tau
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from schemas.dsr import SCORE_BIN, SCORE_BINS_FROM
from tasks.metrics.correctness import reaches
from tasks.pages.charts import svg
from tasks.pages.wording import brief, signed

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 20, 20, 34, 40  # margins
TICK = 0.25


def score_chart(counts: Sequence[int], span: tuple[float, float], tau: float) -> Markup:
    """counts: of the bins of DsrStatistics; span: the least and the greatest score there can be."""
    low, high = span
    px_per_unit = (WIDTH - LEFT - RIGHT) / (high - low)
    floor = HEIGHT - BOTTOM
    px_per_sample = (floor - TOP) / (max(counts, default=0) or 1)

    def x(score: float) -> float:
        return LEFT + (score - low) * px_per_unit

    def bar(start: float, n: int) -> Markup:
        return Markup(
            '<g><title>{:.2f} to {:.2f}: {}</title><rect class="bar {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" '
            'height="{:.1f}" rx="2"/><text class="n" x="{:.1f}" y="{:.1f}">{}</text></g>'
        ).format(
            start,
            start + SCORE_BIN,
            n,
            "above" if reaches(start, tau) else "below",
            x(start) + 1,
            floor - px_per_sample * n,
            SCORE_BIN * px_per_unit - 2,
            px_per_sample * n,
            x(start + SCORE_BIN / 2),
            floor - px_per_sample * n - 4,
            brief(n),
        )

    ticks = [
        Markup('<text class="axis" x="{:.1f}" y="{}">{}</text>').format(x(k * TICK), floor + 16, signed(k * TICK))
        for k in range(math.ceil(low / TICK), math.floor(high / TICK) + 1)
    ]
    return svg(
        WIDTH,
        HEIGHT,
        "valid samples by score",
        [
            *(bar(start, n) for start, n in within(counts, high) if n),
            Markup('<path d="M{} {f}.5H{}" class="rule"/>').format(LEFT, WIDTH - RIGHT, f=floor),
            *ticks,
            Markup('<path class="tau" d="M{x:.1f} 14V{}"/><text class="tau" x="{x:.1f}" y="10">τ = {:g}</text>').format(
                floor, tau, x=x(tau)
            ),
            Markup('<text class="axis" x="{}" y="{}">DSR-Score</text>').format(WIDTH / 2, HEIGHT - 6),
        ],
    )


def within(counts: Sequence[int], high: float) -> list[tuple[float, int]]:
    """(start, samples) of each bin. The greatest score there can be, itself a start, is put into the bin before it."""
    starts = [SCORE_BINS_FROM + place * SCORE_BIN for place in range(len(counts))]
    inside = [(start, n) for start, n in zip(starts, counts, strict=True) if start < high - SCORE_BIN / 2]
    n_highest = sum(counts) - sum(n for _, n in inside)
    return [(start, n + n_highest * (place == len(inside) - 1)) for place, (start, n) in enumerate(inside)]
