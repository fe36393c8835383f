"""Correctness@tau as curves, as SVG (SpatialAlign, figure A6).

curve_charts(statistics) -> CurveCharts(overall=<svg ...>, by_type=[("A", "left to top", <svg ...>), ...])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from schemas.dsr import CorrectnessCurve, DsrStatistics
from tasks.datasets.dsr.report.correctness import SPLITS, TAU, correctness_at, curve_name, types_of
from tasks.datasets.dsr.report.types import letter, type_name
from tasks.pages.charts import points_of, svg


class Plot(NamedTuple):
    """A drawing and its margins."""

    width: int
    height: int
    left: int
    top: int
    right: int
    bottom: int

    def x(self, tau: float) -> float:
        return self.left + tau * (self.width - self.left - self.right)

    def y(self, share: float) -> float:
        return self.top + (1 - share) * (self.height - self.top - self.bottom)


LARGE = Plot(460, 300, left=34, top=12, right=14, bottom=40)
SMALL = Plot(200, 138, left=26, top=8, right=8, bottom=22)


@dataclass(frozen=True)
class CurveCharts:
    """The curves of both splits."""

    splits: list[str]  # those that have judged samples
    overall: Markup
    by_type: list[tuple[str, str, Markup]]  # the paper's letter, the type's name, its chart


def curve_charts(statistics: DsrStatistics) -> CurveCharts:
    judged = {curve.name: curve for curve in statistics.curves if curve.n_judged}

    def of(code: str) -> dict[str, CorrectnessCurve]:
        return {split: judged[name] for split in SPLITS if (name := curve_name(split, code)) in judged}

    return CurveCharts(
        splits=list(of("")),
        overall=curve_chart(of(""), statistics.taus, LARGE, "Correctness at every threshold"),
        by_type=[
            (letter(code), type_name(code), curve_chart(of(code), statistics.taus, SMALL, type_name(code)))
            for code in types_of(statistics)
            if of(code)
        ],
    )


def curve_chart(curves: Mapping[str, CorrectnessCurve], taus: Sequence[float], plot: Plot, label: str) -> Markup:
    """curves: by split, of which train is dashed."""
    is_large = plot is LARGE
    ticks = (0, 0.25, 0.5, 0.75, 1) if is_large else (0, 0.5, 1)
    parts = [_axes(plot, ticks), _threshold(plot, is_large)]
    parts += [
        Markup('<polyline class="path {}" points="{}"><title>{}</title></polyline>').format(
            split,
            points_of(np.array([(plot.x(t), plot.y(c)) for t, c in zip(taus, curve.correctness, strict=True)])),
            f"{split}: {curve.n_judged} judged",
        )
        for split, curve in curves.items()
    ]
    parts += _readings({split: correctness_at(curve, taus) for split, curve in curves.items()}, plot, is_large)
    return svg(plot.width, plot.height, label, parts)


def _readings(shares: Mapping[str, float | None], plot: Plot, named: bool) -> list[Markup]:
    """Each curve's value at TAU, the greater one to the upper right of its dot, the other to the lower left."""
    known = sorted(((share, split) for split, share in shares.items() if share is not None), reverse=True)
    marks = []
    for place, (share, split) in enumerate(known):
        x, y = plot.x(TAU), plot.y(share)
        is_upper = place == 0
        words = f"{split} {share:.3f}" if named else f"{share:.2f}"
        marks.append(
            Markup(
                '<circle class="dot {s}" cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>'
                '<text class="reading {s} {side}" x="{tx:.1f}" y="{ty:.1f}">{words}</text>'
            ).format(
                s=split,
                x=x,
                y=y,
                r=4.5 if named else 3,
                side="above" if is_upper else "below",
                tx=x + 6 if is_upper else x - 6,
                ty=max(y - 7, plot.top + 10) if is_upper else min(y + 16, plot.height - plot.bottom - 4),
                words=words,
            )
        )
    return marks


def _axes(plot: Plot, ticks: Sequence[float]) -> Markup:
    floor = plot.height - plot.bottom
    lines = [
        Markup('<path class="grid" d="M{} {:.1f}H{}"/><text class="axis" x="{}" y="{:.1f}">{:g}</text>').format(
            plot.left, plot.y(tick), plot.width - plot.right, plot.left - 15, plot.y(tick) + 4, tick
        )
        for tick in ticks
    ]
    lines += [
        Markup('<text class="axis" x="{:.1f}" y="{}">{:g}</text>').format(plot.x(tick), floor + 15, tick)
        for tick in ticks
    ]
    return Markup("").join(lines)


def _threshold(plot: Plot, named: bool) -> Markup:
    floor = plot.height - plot.bottom
    line = Markup('<path class="tau" d="M{x:.1f} {}V{}"/>').format(plot.top, floor, x=plot.x(TAU))
    words = Markup(
        '<text class="axis" x="{:.1f}" y="{}">τ</text><text class="tau" x="{:.1f}" y="{}">τ = {:g}</text>'
    ).format((plot.left + plot.width - plot.right) / 2, plot.height - 6, plot.x(TAU), floor + 29, TAU)
    return line + words if named else line
