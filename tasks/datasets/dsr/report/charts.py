"""The page's own charts.

curve_chart(curves, taus, LARGE, "...")    Correctness@tau as curves (SpatialAlign, figure A6)
score_chart(statistics.scores, (0, 1), 0.7)    valid samples by score, on both sides of the threshold
agreement_chart(bins, "r initial")    a judge's yes and no by SSR-Score (figure 4)
ssr_chart(view)    how well each frame of a sample satisfies both relations (figure 2b)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from markupsafe import Markup

from schemas.dsr import SCORE_BIN, SCORE_BINS_FROM, CorrectnessCurve
from tasks.datasets.dsr.report.tables import correctness_at
from tasks.datasets.dsr.view import TAU, SampleView
from tasks.metrics.correctness import AgreementBin, reaches
from tasks.pages.charts import Plot, frame_ticks, tag
from tasks.pages.views import Point
from tasks.pages.wording import brief, signed

LARGE = Plot(460, 300, x=(0, 1), y=(0, 1), left=34, top=12, right=14, bottom=40)
SMALL = Plot(200, 138, x=(0, 1), y=(0, 1), left=26, top=8, right=8, bottom=22)
SCORES = Plot(460, 250, x=(0, 1), y=(0, 1), left=20, top=34, right=20, bottom=40)
ANSWERS = Plot(460, 204, x=(-1, 1), y=(0, 1), top=22, bottom=40)
SSR = Plot(480, 226, x=(0, 1), y=(-1, 1), top=28, right=12, bottom=36)

SCORE_TICK = 0.25
MAX_FRAME_TICKS = 9


# --- Correctness -----------------------------------------------------------------------------


def curve_chart(curves: Mapping[str, CorrectnessCurve], taus: Sequence[float], plot: Plot, label: str) -> Markup:
    """curves: by split, of which train is dashed; plot: LARGE, with words, or SMALL."""
    is_large = plot is LARGE
    ticks = {tick: f"{tick:g}" for tick in ((0, 0.25, 0.5, 0.75, 1) if is_large else (0, 0.5, 1))}
    words = [plot.title("τ"), tag("text", f"τ = {TAU:g}", class_="tau", x=plot.x_of(TAU), y=plot.floor + 29)]
    shares = {split: correctness_at(curve, taus) for split, curve in curves.items()}
    known = sorted(((share, split) for split, share in shares.items() if share is not None), reverse=True)
    return plot.svg(
        label,
        plot.grid(ticks),
        plot.ticks(ticks),
        plot.upright(TAU, "tau"),
        *(words if is_large else ()),
        *(
            plot.line(
                list(zip(taus, curve.correctness, strict=True)),
                f"path {split}",
                tag("title", f"{split}: {curve.n_judged} judged"),
            )
            for split, curve in curves.items()
        ),
        *(
            part
            for place, (share, split) in enumerate(known)
            for part in reading(plot, split, share, is_large, is_upper=place == 0)
        ),
    )


def reading(plot: Plot, split: str, share: float, is_large: bool, *, is_upper: bool) -> list[Markup]:
    """A curve's value at TAU: the greater one to the upper right of its dot, the other to the lower left."""
    x, y = plot.x_of(TAU), plot.y_of(share)
    return [
        tag("circle", class_=f"dot {split}", cx=x, cy=y, r=4.5 if is_large else 3),
        tag(
            "text",
            f"{split} {share:.3f}" if is_large else f"{share:.2f}",
            class_=f"reading {split} {'above' if is_upper else 'below'}",
            x=x + 6 if is_upper else x - 6,
            y=max(y - 7, plot.top + 10) if is_upper else min(y + 16, plot.floor - 4),
        ),
    ]


# --- Scores ----------------------------------------------------------------------------------


def score_chart(counts: Sequence[int], span: tuple[float, float], tau: float) -> Markup:
    """counts: of the bins of DsrStatistics; span: the least and the greatest score there can be."""
    low, high = span
    plot = replace(SCORES, x=span, y=(0, max(counts, default=0) or 1))

    def bar(start: float, n: int) -> Markup:
        end = start + SCORE_BIN
        return tag(
            "g",
            tag("title", f"{start:.2f} to {end:.2f}: {n}"),
            plot.bar((start, end), (0, n), f"bar {'above' if reaches(start, tau) else 'below'}", rx=2),
            tag("text", brief(n), class_="n", x=plot.x_of(start + SCORE_BIN / 2), y=plot.y_of(n) - 4),
        )

    ticks = (k * SCORE_TICK for k in range(math.ceil(low / SCORE_TICK), math.floor(high / SCORE_TICK) + 1))
    x = plot.x_of(tau)
    return plot.svg(
        "valid samples by score",
        *(bar(start, n) for start, n in within(counts, high) if n),
        plot.rule(),
        plot.ticks({tick: signed(tick) for tick in ticks}),
        tag("path", class_="tau", d=f"M{x:.1f} 14V{plot.floor:g}"),
        tag("text", f"τ = {tau:g}", class_="tau", x=x, y=10),
        plot.title("DSR-Score"),
    )


def within(counts: Sequence[int], high: float) -> list[tuple[float, int]]:
    """(start, samples) of each bin. The greatest score there can be, itself a start, is put into the bin before it."""
    starts = [SCORE_BINS_FROM + place * SCORE_BIN for place in range(len(counts))]
    inside = [(start, n) for start, n in zip(starts, counts, strict=True) if start < high - SCORE_BIN / 2]
    n_highest = sum(counts) - sum(n for _, n in inside)
    return [(start, n + n_highest * (place == len(inside) - 1)) for place, (start, n) in enumerate(inside)]


# --- Answers ---------------------------------------------------------------------------------


def agreement_chart(bins: Sequence[AgreementBin], label: str) -> Markup:
    """A column a bin: the share of yes from below, of no from above, and how many there are."""
    plot = replace(ANSWERS, x=(bins[0].start, bins[-1].end))

    def column(part: AgreementBin, yes: float) -> Markup:
        return tag(
            "g",
            tag("title", f"{part.start:.1f} to {part.end:.1f}: {part.n_yes} yes, {part.n_no} no"),
            plot.bar((part.start, part.end), (yes, 1), "no"),
            plot.bar((part.start, part.end), (0, yes), "yes"),
            tag(
                "text",
                brief(part.n_yes + part.n_no),
                class_="n",
                x=plot.x_of((part.start + part.end) / 2),
                y=plot.top - 6,
            ),
        )

    return plot.svg(
        f"share of yes by {label}",
        plot.grid({share: f"{share:g}" for share in (0, 0.5, 1)}),
        *(column(part, part.yes_share) for part in bins if part.yes_share is not None),
        plot.rule(),
        plot.ticks({-1: "−1", -0.5: "−0.5", 0: "0", 0.5: "0.5", 1: "1"}),
        plot.title(label),
    )


# --- A sample's two curves -------------------------------------------------------------------


def ssr_chart(view: SampleView) -> Markup:
    sample = view.row
    plot = replace(SSR, x=(0, max(sample.n_frames - 1, 1)))
    missing = [frames for is_found, frames in _stretches(sample.ssr_initial) if not is_found]
    return plot.svg(
        "SSR-Scores of the initial and the final relation over time",
        plot.grid({1: "1", 0.5: "", -0.5: "", -1: "−1"}),
        plot.grid({0: "0"}, "zero"),
        plot.ticks(frame_ticks(sample.n_frames, MAX_FRAME_TICKS)),
        plot.title("frame"),
        *(plot.band(frames[0] - 0.5, frames[-1] + 0.5, "missing") for frames in missing),
        *curve(plot, "initial", sample.initial, sample.ssr_initial, plot.left),
        *curve(plot, "final", sample.final, sample.ssr_final, plot.width // 2),
        *end_mean(plot, "initial", sample.r_initial, view.first_found),
        *end_mean(plot, "final", sample.r_final, view.last_found),
        plot.playhead(),
    )


def curve(plot: Plot, kind: str, relation: str, scores: Sequence[float | None], name_x: float) -> list[Markup]:
    """The line, broken where there is no score, and its name with a piece of it above the drawing."""
    return [
        *(plot.line(run, f"path {kind}") for run in runs(scores)),
        tag("path", class_=f"path {kind}", d=f"M{name_x:g} 11h24"),
        tag("text", f"{kind}: {relation}", class_=f"name {kind}", x=name_x + 30, y=15),
    ]


def runs(scores: Sequence[float | None]) -> list[list[Point]]:
    """Frames with a score, in runs of neighbours: [[(0, 0.9), (1, 0.8)], [(5, -0.2)]]. A lone one is a short line."""
    parts = []
    for is_found, frames in _stretches(scores):
        if is_found:
            run = [(float(frame), score) for frame in frames if (score := scores[frame]) is not None]
            parts.append(run if len(run) > 1 else [(run[0][0] - 0.3, run[0][1]), (run[0][0] + 0.3, run[0][1])])
    return parts


def _stretches(scores: Sequence[float | None]) -> Iterator[tuple[bool, list[int]]]:
    """Frames in which both were found, and those in which not, in turn."""
    for is_found, frames in groupby(range(len(scores)), key=lambda frame: scores[frame] is not None):
        yield is_found, list(frames)


def end_mean(plot: Plot, kind: str, mean: float, frames: Sequence[int]) -> list[Markup]:
    """The frames that a mean is over, and the mean: beside them, on the inner side of the drawing."""
    if not frames:
        return []
    left, right, y = plot.x_of(frames[0]), plot.x_of(frames[-1]), plot.y_of(mean)
    return [
        plot.bar((frames[0], frames[-1]), plot.y, f"end {kind}", gap=-4),
        tag("circle", class_=f"mean {kind}", cx=(left + right) / 2, cy=y, r=4.5),
        tag(
            "text",
            signed(mean),
            class_=f"value {kind}",
            x=right + 6 if kind == "initial" else left - 6,
            y=y - 6 if mean < 0 else y + 14,
        ),
    ]
