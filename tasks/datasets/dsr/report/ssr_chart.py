"""How well each frame of a sample satisfies the initial and the final relation, as SVG (SpatialAlign, figure 2b).

ssr_chart(sample, end_frames=3) -> <svg class="chart" ...> frames across, SSR-Scores from -1 to 1 up
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from schemas.dsr import SampleRow
from tasks.pages.charts import frame_ticks, points_of, svg
from tasks.pages.wording import signed

WIDTH, HEIGHT = 480, 226
LEFT, RIGHT, TOP, BOTTOM = 34, 12, 28, 36  # margins
MAX_FRAME_TICKS = 9
WORDS_AT = {"initial": LEFT, "final": WIDTH // 2}  # where the names of the curves begin


class Axes(NamedTuple):
    """Where frames and scores lie in the drawing."""

    px_per_frame: float

    def x(self, frame: float) -> float:
        return LEFT + frame * self.px_per_frame

    def y(self, score: float) -> float:
        return TOP + (1 - score) / 2 * (HEIGHT - TOP - BOTTOM)


def ssr_chart(sample: SampleRow, end_frames: int) -> Markup:
    """end_frames: over how many found frames at either end the means are."""
    axes = Axes((WIDTH - LEFT - RIGHT) / max(sample.n_frames - 1, 1))
    found = [frame for frame, score in enumerate(sample.ssr_initial) if score is not None]
    first, last = found[:end_frames], found[-end_frames:]
    return svg(
        WIDTH,
        HEIGHT,
        "SSR-Scores of the initial and the final relation over time",
        [
            *_score_axis(axes),
            *_frame_axis(sample.n_frames, axes),
            *_missing(sample.ssr_initial, axes),
            *curve("initial", sample.initial, sample.ssr_initial, axes),
            *curve("final", sample.final, sample.ssr_final, axes),
            *end_mean("initial", sample.r_initial, first, axes),
            *end_mean("final", sample.r_final, last, axes),
            # Moved to the frame that the film shows, in steps of one frame.
            Markup('<path class="playhead" d="M{} {}V{}" data-step="{:.3f}"/>').format(
                LEFT, TOP, HEIGHT - BOTTOM, axes.px_per_frame
            ),
        ],
    )


def curve(kind: str, relation: str, scores: Sequence[float | None], axes: Axes) -> list[Markup]:
    """The line, broken where there is no score, and its name with a piece of it above the drawing."""
    lines = [
        Markup('<polyline class="path {}" points="{}"/>').format(
            kind, points_of(np.array([(axes.x(frame), axes.y(score)) for frame, score in run]))
        )
        for run in runs(scores)
    ]
    x = WORDS_AT[kind]
    name = Markup('<path class="path {k}" d="M{} 11h24"/><text x="{}" y="15" class="name {k}">{}</text>').format(
        x, x + 30, f"{kind}: {relation}", k=kind
    )
    return [*lines, name]


def runs(scores: Sequence[float | None]) -> list[list[tuple[float, float]]]:
    """Frames with a score, in runs of neighbours: [[(0, 0.9), (1, 0.8)], [(5, -0.2)]]. A lone one is a short line."""
    parts = []
    for has_score, group in groupby(enumerate(scores), key=lambda item: item[1] is not None):
        if has_score:
            run = [(float(frame), score) for frame, score in group if score is not None]
            parts.append(run if len(run) > 1 else [(run[0][0] - 0.3, run[0][1]), (run[0][0] + 0.3, run[0][1])])
    return parts


def end_mean(kind: str, mean: float, frames: Sequence[int], axes: Axes) -> list[Markup]:
    """The frames that a mean is over, and the mean: beside them, on the inner side of the drawing."""
    if not frames:
        return []
    left, right, y = axes.x(frames[0]), axes.x(frames[-1]), axes.y(mean)
    return [
        Markup('<rect class="end {}" x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>').format(
            kind, left - 2, TOP, right - left + 4, HEIGHT - TOP - BOTTOM
        ),
        Markup('<circle class="mean {}" cx="{:.1f}" cy="{:.1f}" r="4.5"/>').format(kind, (left + right) / 2, y),
        Markup('<text class="value {}" x="{:.1f}" y="{:.1f}">{}</text>').format(
            kind, right + 6 if kind == "initial" else left - 6, y - 6 if mean < 0 else y + 14, signed(mean)
        ),
    ]


def _missing(scores: Sequence[float | None], axes: Axes) -> list[Markup]:
    """Frames in which not both were found, as columns."""
    columns = []
    for is_missing, group in groupby(enumerate(scores), key=lambda item: item[1] is None):
        if is_missing:
            frames = [frame for frame, _ in group]
            left, right = axes.x(frames[0] - 0.5), axes.x(frames[-1] + 0.5)
            columns.append(
                Markup('<rect class="missing" x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>').format(
                    left, TOP, right - left, HEIGHT - TOP - BOTTOM
                )
            )
    return columns


def _score_axis(axes: Axes) -> list[Markup]:
    return [
        Markup('<path class="{}" d="M{} {:.1f}H{}"/><text x="{}" y="{:.1f}" class="axis">{}</text>').format(
            "zero" if score == 0 else "grid", LEFT, axes.y(score), WIDTH - RIGHT, LEFT - 16, axes.y(score) + 4, name
        )
        for score, name in ((1, "1"), (0.5, ""), (0, "0"), (-0.5, ""), (-1, "−1"))
    ]


def _frame_axis(n_frames: int, axes: Axes) -> list[Markup]:
    ticks = [
        Markup('<text x="{:.1f}" y="{}" class="axis">{}</text>').format(axes.x(frame), HEIGHT - BOTTOM + 15, frame)
        for frame in frame_ticks(n_frames, MAX_FRAME_TICKS)
    ]
    words = Markup('<text x="{}" y="{}" class="axis">frame</text>').format((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5)
    return [*ticks, words]
