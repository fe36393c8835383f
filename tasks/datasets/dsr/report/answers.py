"""How often a judge says yes where the boxes say how much, as SVG (SpatialAlign 3.5, figure 4).

answer_charts(snapshot) -> [AnswerChart(question="Initially?", n_yes_below=12, n_below=40, chart=<svg ...>), ...]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from schemas.storage import AnyPath
from tasks.metrics.correctness import AgreementBin, vlm_agreement
from tasks.pages.charts import svg
from tasks.pages.rows import scan
from tasks.pages.wording import brief

WIDTH, HEIGHT = 460, 204
LEFT, RIGHT, TOP, BOTTOM = 34, 8, 22, 40  # margins


@dataclass(frozen=True)
class AnswerChart:
    """The answers to one question."""

    question: str
    n_below: int  # samples whose SSR-Score is negative
    n_yes_below: int  # those of them that were answered yes
    chart: Markup


def answer_charts(snapshot: AnyPath) -> list[AnswerChart]:
    """Of the initial and of the final relation; nothing if there is no valid sample."""
    columns = scan(snapshot, "samples").select("r_initial", "r_final", "initial_yes", "final_yes").collect()
    if not len(columns):
        return []
    return [
        answer_chart(question, relation, vlm_agreement(columns[f"r_{relation}"], columns[f"{relation}_yes"]))
        for question, relation in (("Initially?", "initial"), ("Finally?", "final"))
    ]


def answer_chart(question: str, relation: str, bins: Sequence[AgreementBin]) -> AnswerChart:
    below = [part for part in bins if part.end <= 0]
    return AnswerChart(
        question=question,
        n_below=sum(part.n_yes + part.n_no for part in below),
        n_yes_below=sum(part.n_yes for part in below),
        chart=agreement_chart(bins, f"r {relation}"),
    )


def agreement_chart(bins: Sequence[AgreementBin], label: str) -> Markup:
    """A column a bin: the share of yes from below, of no from above, and how many there are."""
    px_per_unit = (WIDTH - LEFT - RIGHT) / (bins[-1].end - bins[0].start)
    floor, height = HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP

    def x(score: float) -> float:
        return LEFT + (score - bins[0].start) * px_per_unit

    columns = [
        Markup(
            '<g><title>{:.1f} to {:.1f}: {yes} yes, {no} no</title><rect class="no" x="{x:.1f}" y="{top}" '
            'width="{w:.1f}" height="{no_h:.1f}"/><rect class="yes" x="{x:.1f}" y="{yes_y:.1f}" width="{w:.1f}" '
            'height="{yes_h:.1f}"/><text class="n" x="{mid:.1f}" y="{n_y}">{n}</text></g>'
        ).format(
            part.start,
            part.end,
            x=x(part.start) + 1,
            w=x(part.end) - x(part.start) - 2,
            top=TOP,
            no_h=height * (1 - part.yes_share),
            yes_y=floor - height * part.yes_share,
            yes_h=height * part.yes_share,
            mid=x((part.start + part.end) / 2),
            n_y=TOP - 6,
            yes=part.n_yes,
            no=part.n_no,
            n=brief(part.n_yes + part.n_no),
        )
        for part in bins
        if part.yes_share is not None
    ]
    scale = [
        Markup('<text class="axis" x="{}" y="{:.1f}">{:g}</text>').format(LEFT - 14, floor - height * share + 4, share)
        for share in (0, 0.5, 1)
    ]
    ticks = [
        Markup('<text class="axis" x="{:.1f}" y="{}">{}</text>').format(x(score), floor + 16, name)
        for score, name in ((-1, "−1"), (-0.5, "−0.5"), (0, "0"), (0.5, "0.5"), (1, "1"))
    ]
    return svg(
        WIDTH,
        HEIGHT,
        f"share of yes by {label}",
        [
            *columns,
            Markup('<path d="M{} {f}.5H{}" class="rule"/>').format(LEFT, WIDTH - RIGHT, f=floor),
            *scale,
            *ticks,
            Markup('<text class="axis" x="{}" y="{}">{}</text>').format((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, label),
        ],
    )
