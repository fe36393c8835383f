"""Charts as inline SVG, in the colours of the page.

columns([0, 4, 2], "instances in a clip")
->  <svg class="chart" ...> two bars, 126 and 63 px high, above 1 and 2 </svg>

plot = Plot(460, 300, x=(0, 1), y=(0, 1))        two axes
plot.svg("a line", plot.grid({0: "0", 1: "1"}), plot.line([(0, 0), (1, 0.5)], "path"))
->  <svg class="chart" ...> two grid lines with their labels, a line from 0 to half of the height </svg>
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import ArrayLike

from schemas.tables import Named
from tasks.pages.wording import shorten

WIDTH = 318  # of a chart, in its own units; on the page it is as wide as its panel

_DIGIT_WIDTH = 7.5
_FRAME_STEPS = (1, 2, 5, 10, 20, 50, 100)


# --- SVG -------------------------------------------------------------------------------------


def tag(name: str, *inside: object, **attributes: object) -> Markup:
    """An element. Text is escaped; floats are rounded to a tenth; an attribute that is None is left out.

    tag("text", "a & b", class_="axis", x=12.04) -> <text class="axis" x="12.0">a &amp; b</text>
    """
    told = {key: f"{value:.1f}" if isinstance(value, float) else value for key, value in attributes.items()}
    words = together(
        Markup(' {}="{}"').format(key.strip("_").replace("_", "-"), value)
        for key, value in told.items()
        if value is not None
    )
    return Markup("<{}{}>{}</{}>").format(name, words, together(inside), name)


def together(parts: Iterable[object]) -> Markup:
    """One behind the other; all but Markup is escaped."""
    return Markup("").join(escape(part) for part in parts)


def svg(width: float, height: float, label: str, *parts: Markup) -> Markup:
    """label: what the picture shows, for those who do not see it."""
    return tag("svg", *parts, class_="chart", viewBox=f"0 0 {width} {height}", role="img", aria_label=label)


def points_of(points: ArrayLike) -> str:
    """(N, 2) -> what SVG calls points, one a row: "12.0,40.5 13.1,40.2"."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in np.asarray(points))


# --- Axes ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plot:
    """A drawing with two axes: where values lie in it, and what every chart has.

    x, y: least and greatest value, to the right and upwards; the margins around them are in the drawing's units
    """

    width: int
    height: int
    x: tuple[float, float]
    y: tuple[float, float]
    left: float = 34
    top: float = 8
    right: float = 8
    bottom: float = 38

    @property
    def floor(self) -> float:
        """Where the least y is drawn."""
        return self.height - self.bottom

    @property
    def px_per_x(self) -> float:
        return (self.width - self.left - self.right) / (self.x[1] - self.x[0])

    @property
    def px_per_y(self) -> float:
        return (self.floor - self.top) / (self.y[1] - self.y[0])

    def x_of(self, value: float) -> float:
        return float(self.left + (value - self.x[0]) * self.px_per_x)

    def y_of(self, value: float) -> float:
        return float(self.floor - (value - self.y[0]) * self.px_per_y)

    def place(self, values: ArrayLike) -> np.ndarray:
        """(..., 2) values -> (..., 2) in the drawing, y down."""
        corner, scale = (self.left, self.floor), (self.px_per_x, -self.px_per_y)
        return (np.asarray(values, float) - (self.x[0], self.y[0])) * scale + corner

    def svg(self, label: str, *parts: Markup) -> Markup:
        return svg(self.width, self.height, label, *parts)

    def grid(self, labels: Mapping[float, str], classes: str = "grid") -> Markup:
        """Lines across, each with its label on the left."""
        return together(
            tag("path", class_=classes, d=f"M{self.left:g} {y:.1f}H{self.width - self.right:g}")
            + tag("text", label, class_="axis", x=self.left - 15, y=y + 4)
            for value, label in labels.items()
            for y in [self.y_of(value)]
        )

    def ticks(self, labels: Mapping[float, str]) -> Markup:
        """Labels below the floor."""
        return together(
            tag("text", label, class_="axis", x=self.x_of(value), y=self.floor + 15.5)
            for value, label in labels.items()
        )

    def title(self, words: str) -> Markup:
        """What goes across, at the foot of the drawing."""
        return tag("text", words, class_="axis", x=(self.left + self.width - self.right) / 2, y=self.height - 5)

    def rule(self) -> Markup:
        """The floor as a line."""
        return tag("path", class_="rule", d=f"M{self.left:g} {self.floor + 0.5:g}H{self.width - self.right:g}")

    def upright(self, value: float, classes: str) -> Markup:
        """A line from the top to the floor."""
        return tag("path", class_=classes, d=f"M{self.x_of(value):.1f} {self.top:.1f}V{self.floor:g}")

    def band(self, start: float, end: float, classes: str) -> Markup:
        """An area from the top to the floor."""
        return self.bar((start, end), self.y, classes, gap=0)

    def bar(
        self, x: tuple[float, float], y: tuple[float, float], classes: str, gap: float = 2, **more: object
    ) -> Markup:
        """x, y: from, to; gap: between it and its neighbour, in the drawing's units"""
        left, right, top, foot = self.x_of(x[0]), self.x_of(x[1]), self.y_of(y[1]), self.y_of(y[0])
        return tag("rect", class_=classes, x=left + gap / 2, y=top, width=right - left - gap, height=foot - top, **more)

    def line(self, values: ArrayLike, classes: str, *inside: Markup) -> Markup:
        """values: (N, 2)"""
        return tag("polyline", *inside, class_=classes, points=points_of(self.place(values)))

    def playhead(self) -> Markup:
        """A line that the page moves to the frame that the film shows. Only where x is the frame."""
        line = f"M{self.x_of(0):g} {self.top:.1f}V{self.floor:g}"
        return tag("path", class_="playhead", d=line, data_step=f"{self.px_per_x:.3f}")


def frame_ticks(n_frames: int, most: int) -> dict[float, str]:
    """Frames that an axis names, at most so many where steps of a hundred allow it."""
    step = next((step for step in _FRAME_STEPS if n_frames / step <= most), n_frames)
    return {frame: str(frame) for frame in range(0, n_frames, step)}


# --- Bars ------------------------------------------------------------------------------------


def columns(counts: Sequence[int], label: str, names: Sequence[str] | None = None, every: int = 1) -> Markup:
    """Rows that have 0, 1, 2, ... of something -> upright bars.

    names: of the bars, if not 0, 1, 2, ...; every: of how many bars one has its name below
    """
    names = names or [str(value) for value in range(len(counts))]
    most = max(counts, default=0) or 1
    n_bars = max(len(counts), 1)
    margin = (WIDTH - min(52, (WIDTH - 18) / n_bars) * n_bars) / 2
    plot = Plot(WIDTH, 200, (0, n_bars), (0, most), margin, 30, margin, 44)
    gap = min(8, plot.px_per_x / 4)
    has_room = (
        _DIGIT_WIDTH * len(str(most)) <= plot.px_per_x
    )  # else only the tallest tells its count, a touch the others
    tallest = counts.index(most) if most in counts else None

    def bar(place: int, name: str, n: int) -> Markup:
        shown = n if n and (has_room or place == tallest) else ""
        return tag(
            "g",
            tag("title", f"{name}: {n}"),
            plot.bar((place, place + 1), (0, n), "bar", gap, rx=min(3, gap / 2)),
            tag("text", shown, x=plot.x_of(place + 0.5), y=plot.y_of(n) - 6),
            tag("text", "" if place % every else name, class_="axis", x=plot.x_of(place + 0.5), y=176),
        )

    bars = (bar(place, name, n) for place, (name, n) in enumerate(zip(names, counts, strict=True)))
    floor = tag("path", class_="rule", d=f"M4 {plot.floor + 0.5:g}H{WIDTH - 4}")
    return plot.svg(label, *bars, floor, plot.title(label))


def word_bars(words: Sequence[Named], colours: Mapping[str, str] | None = None) -> Markup:
    """Words and how often they occur -> lying bars, in the given order; colours: of the bars of some, as CSS."""
    most = max((word.n for word in words), default=0) or 1
    colours = colours or {}

    def bar(place: int, word: Named) -> Markup:
        y, width = 22 * place, 170 * word.n / most
        style = f"--c: {colours[word.name]}" if word.name in colours else None
        return tag(
            "g",
            tag("title", f"{word.name}: {word.n}"),
            tag("text", shorten(word.name, 14), class_="word", x=100, y=y + 15),
            tag("rect", class_="bar", x=108, y=y + 4, width=width, height=14, rx=3, style=style),
            tag("text", word.n, class_="count", x=114 + width, y=y + 15),
        )

    return svg(
        WIDTH, 22 * len(words) + 6, "most frequent words", *(bar(place, word) for place, word in enumerate(words))
    )
