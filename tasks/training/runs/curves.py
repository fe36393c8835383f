"""Metrics as curves: pictures for a page, and files for everybody else.

    for curve in curves_of(metrics, validations):
        curve.name                  "loss", "learning_rate", "AAS"
        curve.svg                   inline SVG, in the colours of the page
        as_file(curve.svg)          the same as an .svg of its own

A curve has its raw values behind a running mean, and a stroke where a phase begins. The numbers that validation videos
were given are dots, with a line through each step's mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from markupsafe import Markup

from schemas.training_run import Validation
from tasks.pages.charts import Plot, svg, tag
from tasks.training.runs.reading import KNOWN, measured_by_step

WIDTH, HEIGHT = 420, 220
MOST_POINTS = 400  # of a line: about one a pixel
SMOOTHED_SHARE = 0.05  # of all values: the width of the running mean
SPIKE = 3.0  # what lies so many times the usual range above it is cut off, so that the rest can be seen
EXACT = ("learning_rate",)  # has no noise: its mean would only blur it
FIRST = ("loss", "learning_rate", "gradient_norm", "samples_per_s")

# Also in files of their own, where the page's colours are not known.
STYLE = Markup(
    ".chart { font: 12px system-ui, sans-serif; text-anchor: middle; }"
    ".chart .axis { fill: var(--soft, #626a73); }"
    ".chart .grid, .chart .rule { stroke: var(--line, #e2e2dc); fill: none; }"
    ".chart .phase { stroke: var(--rejected, #d49a2a); stroke-dasharray: 4 3; fill: none; }"
    ".chart .phase-name { fill: var(--rejected, #d49a2a); text-anchor: start; }"
    ".chart .raw { stroke: var(--accent, #2b6c8a); stroke-opacity: .3; fill: none; }"
    ".chart .smooth { stroke: var(--accent, #2b6c8a); stroke-width: 2; fill: none; }"
    ".chart .sample { fill: var(--accent, #2b6c8a); fill-opacity: .35; }"
    ".chart .mean { fill: var(--accent, #2b6c8a); }"
)


class Curve(NamedTuple):
    """A metric over steps."""

    name: str
    told: str  # its last, least and greatest value
    svg: Markup


def curves_of(metrics: pl.DataFrame, validations: Sequence[Validation]) -> list[Curve]:
    """One curve a metric that has a value, the loss first; then one for each number of the validation videos."""
    names = [name for name in metrics.columns if name not in KNOWN and metrics[name].is_finite().any()]
    ordered = sorted(names, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    phases = phase_starts(metrics)
    curves = [metric_curve(name, metrics, phases) for name in ordered]
    measured = measured_by_step(validations)
    return curves + [
        measured_curve(str(name), rows) for (name,), rows in measured.group_by("name", maintain_order=True)
    ]


def phase_starts(metrics: pl.DataFrame) -> dict[int, str]:
    """{first step: name} of each phase; empty if there is one only."""
    named = metrics.filter(pl.col("phase") != pl.col("phase").shift(1).fill_null(""))
    starts = dict(named.select("step", "phase").iter_rows())
    return starts if len(starts) > 1 else {}


def metric_curve(name: str, metrics: pl.DataFrame, phases: Mapping[int, str]) -> Curve:
    rows = metrics.select("step", name).filter(pl.col(name).is_finite())
    steps, values = rows["step"].to_numpy().astype(float), rows[name].to_numpy()
    low, high = _range(values)
    last_step = float(metrics["step"][-1])
    plot = _plot((float(metrics["step"][0]), last_step), (low, high))
    raw = np.stack([*_thinned(steps, np.clip(values, low, high))], axis=1)
    mean = values if name in EXACT else running_mean(values)
    smooth = np.stack([*_sampled(steps, np.clip(mean, low, high))], axis=1)
    drawing = plot.svg(
        f"{name} over steps",
        *_axes(plot),
        *(plot.upright(step, "phase") for step in phases),
        *(tag("text", phase, class_="phase-name", x=plot.x_of(step), y=plot.top - 7) for step, phase in phases.items()),
        plot.line(raw, "raw"),
        plot.line(smooth, "smooth"),
    )
    told = f"last {number(values[-1])} · least {number(values.min())} · greatest {number(values.max())}"
    return Curve(name, told, drawing)


def measured_curve(name: str, rows: pl.DataFrame) -> Curve:
    """rows: step and value, one a video"""
    means = rows.group_by("step").agg(pl.col("value").mean()).sort("step")
    low, high = _range(rows["value"].to_numpy())
    plot = _plot((0.0, float(rows["step"].max())), (low, high))  # type: ignore[arg-type]
    dots = (
        tag("circle", class_=classes, cx=plot.x_of(step), cy=plot.y_of(value), r=radius)
        for frame, classes, radius in ((rows.select("step", "value"), "sample", 2.5), (means, "mean", 3.5))
        for step, value in frame.iter_rows()
    )
    drawing = plot.svg(f"{name} over steps", *_axes(plot), plot.line(means.to_numpy(), "smooth"), *dots)
    first, last = means["value"][0], means["value"][-1]
    told = f"mean at step {means['step'][0]:,}: {number(first)} · at {means['step'][-1]:,}: {number(last)}"
    return Curve(name, told, drawing)


def spark(metrics: pl.DataFrame, name: str, n_steps: float, span: tuple[float, float]) -> Markup:
    """A little curve without axes. n_steps, span: of x and y, the same for all runs that are compared."""
    rows = metrics.select("step", name).filter(pl.col(name).is_finite())
    steps, values = rows["step"].to_numpy().astype(float), rows[name].to_numpy()
    plot = Plot(150, 36, (0, max(n_steps, 1)), span, 1, 2, 1, 2)
    points = np.stack([*_sampled(steps, np.clip(running_mean(values), *span), 100)], axis=1)
    return svg(150, 36, f"{name} over steps", plot.line(points, "smooth"))


def span_of(frames: Sequence[pl.DataFrame], name: str) -> tuple[float, float]:
    """The range of a metric over several runs."""
    smooth = [running_mean(f[name].filter(f[name].is_finite()).to_numpy()) for f in frames]
    return _range(np.concatenate(smooth))


def as_file(drawing: Markup) -> bytes:
    """Inline SVG -> an SVG file that needs nothing else."""
    head, rest = str(drawing).split(">", 1)
    return f'{head} xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}"><style>{STYLE}</style>{rest}\n'.encode()


def number(value: float) -> str:
    """Four digits: 0.1834, 1.2e-05, 48,210."""
    return f"{value:,.0f}" if 10_000 <= abs(value) < 1e9 else f"{value:.4g}"


def running_mean(values: np.ndarray) -> np.ndarray:
    """(N,) -> (N,): the mean of SMOOTHED_SHARE of them around each; fewer at the ends."""
    half = int(len(values) * SMOOTHED_SHARE / 2)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    start, end = np.maximum(at - half, 0), np.minimum(at + half + 1, len(values))
    means: np.ndarray = (sums[end] - sums[start]) / (end - start)
    return means


def _thinned(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each stretch of a long curve its least and its greatest value: no spike is lost."""
    if len(values) <= MOST_POINTS:
        return steps, values
    parts = np.array_split(np.arange(len(values)), MOST_POINTS // 2)
    kept = np.array([sorted((p[values[p].argmin()], p[values[p].argmax()])) for p in parts]).ravel()
    return steps[kept], values[kept]


def _sampled(steps: np.ndarray, values: np.ndarray, most: int = MOST_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Evenly spaced points of a smooth curve, its ends among them."""
    kept = np.unique(np.linspace(0, len(values) - 1, min(len(values), most)).round().astype(int))
    return steps[kept], values[kept]


def _range(values: np.ndarray) -> tuple[float, float]:
    """What is shown of them: all, but for spikes upwards; never empty."""
    low, usual, high = float(values.min()), float(np.quantile(values, 0.98)), float(values.max())
    if high - low > SPIKE * (usual - low) > 0:
        high = low + SPIKE / 2 * (usual - low)
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        margin = abs(low) / 2 or 1.0
        return low - margin, high + margin
    return low, high


def _plot(x: tuple[float, float], y: tuple[float, float]) -> Plot:
    return Plot(WIDTH, HEIGHT, (x[0], max(x[1], x[0] + 1)), y, left=52, right=12, top=20, bottom=24)


def _axes(plot: Plot) -> list[Markup]:
    ticks = {value: f"{value:,.0f}" for value in nice(*plot.x, 5) if value == int(value)}
    labels = {value: _label(value) for value in nice(*plot.y, 4)}
    return [plot.grid(labels), plot.rule(), plot.ticks(ticks)]


def _label(value: float) -> str:
    """Short enough for the margin: 0.15, 8e-5."""
    if value and abs(value) < 0.01:
        digits, power = f"{value:e}".split("e")
        return f"{float(digits):.3g}e{int(power)}"
    return f"{value:,.4g}"


def nice(low: float, high: float, about: int) -> list[float]:
    """Round values within a range: nice(0, 1, 4) -> [0, 0.2, 0.4, 0.6, 0.8, 1]."""
    rough = (high - low) / about
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough * 0.7)
    return [
        round(i * step, 12 - math.floor(math.log10(step)))
        for i in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1)
    ]
