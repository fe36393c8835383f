"""A canvas that paints the same polygons twice: in colour, and as labels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

WIDTH, HEIGHT, FPS = 320, 240, 24
SHOT_FRAMES = 48
SUPERSAMPLING = 3
FLOOR = 208.0  # where the figures stand, px from the top

# --- Colours and movement ---------------------------------------------------------------------

Colour = tuple[int, int, int]  # RGB, 0..255
Point = tuple[float, float]  # x to the right, y down, px of the video
Polygon = np.ndarray | Sequence[Point]  # (N, 2), or N points

# The colours of the captions' colour words: saturated, to stand out from the pale backdrops.
COLOURS: dict[str, Colour] = {
    "red": (214, 34, 38),
    "orange": (246, 122, 14),
    "yellow": (250, 212, 24),
    "green": (28, 146, 62),
    "blue": (30, 84, 206),
    "purple": (128, 48, 172),
    "pink": (240, 70, 150),
    "black": (36, 35, 40),
}
LOOKS: tuple[tuple[Colour, Colour], ...] = (  # skin and hair
    ((242, 204, 174), (72, 50, 40)),
    ((226, 180, 144), (44, 36, 34)),
    ((236, 194, 160), (112, 76, 50)),
    ((156, 110, 82), (38, 32, 32)),
)
TROUSERS: tuple[Colour, ...] = ((74, 80, 96), (88, 82, 78), (66, 72, 80))
OUTLINE_SHADE = 0.45


def shade(colour: Colour, factor: float) -> Colour:
    """A darker (factor < 1) or lighter (> 1) tone of the same hue, within 0..255."""
    red, green, blue = (int(np.clip(round(channel * factor), 0, 255)) for channel in colour)
    return red, green, blue


def ease(t: float, start: float = 0.0, end: float = 1.0) -> float:
    """0 before start, 1 after end, smooth in between."""
    u = float(np.clip((t - start) / (end - start), 0.0, 1.0))
    return u * u * (3 - 2 * u)


def between(a: Point, b: Point, u: float) -> Point:
    """The point at fraction u of the way from a to b."""
    return a[0] + (b[0] - a[0]) * u, a[1] + (b[1] - a[1]) * u


def along(t: float, *keys: tuple[float, Point]) -> Point:
    """Where a hand is at time t: (time, point) keys in order, eased from one to the next."""
    point = keys[0][1]
    for (t0, _), (t1, target) in pairwise(keys):
        point = between(point, target, ease(t, t0, t1))
    return point


def flight(a: Point, b: Point, u: float, rise: float) -> Point:
    """A thrown thing's place on its parabola from a (u = 0) to b (u = 1), `rise` px above the chord halfway."""
    x, y = between(a, b, u)
    return x, y - 4 * rise * u * (1 - u)


# --- The canvas -------------------------------------------------------------------------------

_SUBPIXEL_BITS = 4  # cv2 draws at 1/16 px


def rectangle(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """(4, 2) outline."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def disc(centre: Point, radius: float, radius_y: float | None = None, tilt: float = 0.0) -> np.ndarray:
    """(24, 2) outline of a circle, or of an ellipse tilted by `tilt` radians."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    x, y = radius * np.cos(angle), (radius if radius_y is None else radius_y) * np.sin(angle)
    return np.stack([x * np.cos(tilt) - y * np.sin(tilt), x * np.sin(tilt) + y * np.cos(tilt)], 1) + centre


def hull(*circles: tuple[Point, float]) -> np.ndarray:
    """(N, 2) outline stretched around circles (centre, radius): limbs, trunks, dresses."""
    points = np.concatenate([disc(centre, radius) for centre, radius in circles]).astype(np.float32)
    return cv2.convexHull(points)[:, 0]


class Canvas:
    """A picture and its labels, painted back to front with the same polygons."""

    def __init__(
        self,
        names: Sequence[str],
        width: int = WIDTH,
        height: int = HEIGHT,
        supersampling: int = SUPERSAMPLING,
        outline_shade: float = OUTLINE_SHADE,
    ) -> None:
        """names: the instances with labels of their own; everything else is labelled 0.

        width, height: px of the video; outline_shade: factor on a shape's colour, 1 for an invisible outline
        """
        self._width, self._height, self._supersampling = width, height, supersampling
        self._outline_shade = outline_shade
        size = (height * supersampling, width * supersampling)
        self._label_of = {name: number for number, name in enumerate(names, start=1)}
        self._picture = np.zeros((*size, 3), np.uint8)
        self._labels = np.zeros(size, np.uint8)
        self._label = 0
        self._zoom, self._centre = 1.0, self._middle

    @property
    def _middle(self) -> Point:
        return self._width / 2, self._height / 2

    def begin(self, backdrop: np.ndarray, zoom: float = 1.0, centre: Point | None = None) -> None:
        """Start a frame on a backdrop (H * S, W * S, 3); figures are drawn `zoom` times larger.

        centre: what the picture's middle shows, px of an unzoomed picture; by default its own middle.
        """
        np.copyto(self._picture, backdrop)
        self._labels.fill(0)
        self._label, self._zoom, self._centre = 0, zoom, self._middle if centre is None else centre

    def draw_as(self, name: str | None) -> None:
        """Label the next shapes as this instance's. None or an unknown name: scenery, which hides what is behind it."""
        self._label = self._label_of.get(name or "", 0)

    def shape(self, colour: Colour, *polygons: Polygon, line: float = 0.9) -> None:
        """Fill polygons as one shape with a dark outline `line` px wide on either side of its rim."""
        points = [self._fixed(polygon) for polygon in polygons]
        thickness = max(1, round(2 * line * self._zoom * self._supersampling))
        rim = shade(colour, self._outline_shade)
        for target, ink in ((self._picture, rim), (self._labels, self._label)):
            cv2.polylines(target, points, True, ink, thickness, cv2.LINE_8, _SUBPIXEL_BITS)
        self.detail(colour, *polygons)

    def detail(self, colour: Colour, *polygons: Polygon) -> None:
        """Fill polygons without an outline: an eye, a highlight."""
        for polygon in polygons:  # one by one: fillPoly would leave holes where polygons overlap
            points = [self._fixed(polygon)]
            cv2.fillPoly(self._picture, points, colour, cv2.LINE_8, _SUBPIXEL_BITS)
            cv2.fillPoly(self._labels, points, self._label, cv2.LINE_8, _SUBPIXEL_BITS)

    def stroke(self, colour: Colour, points: Sequence[Point], width: float) -> None:
        """An open line: a mouth, a seam, a handle."""
        fixed = [self._fixed(points)]
        thickness = max(1, round(width * self._zoom * self._supersampling))
        cv2.polylines(self._picture, fixed, False, colour, thickness, cv2.LINE_8, _SUBPIXEL_BITS)
        cv2.polylines(self._labels, fixed, False, self._label, thickness, cv2.LINE_8, _SUBPIXEL_BITS)

    def shadow(self, x: float, y: float, radius: float, light: float = 0.82) -> None:
        """Darken a flat ellipse of the floor by the factor `light`; it enters no mask."""
        outline = self._fixed(disc((x, y), radius, min(radius * 0.17, 7.0)))
        left, top, width, height = cv2.boundingRect(outline >> _SUBPIXEL_BITS)
        rows = slice(max(top, 0), max(top + height + 1, 0))
        columns = slice(max(left, 0), max(left + width + 1, 0))
        patch = self._picture[rows, columns]
        if patch.size == 0:
            return
        inside = np.zeros(patch.shape[:2], np.uint8)
        offset = np.array([columns.start, rows.start], np.int32) << _SUBPIXEL_BITS
        cv2.fillPoly(inside, [outline - offset], 1, cv2.LINE_8, _SUBPIXEL_BITS)
        cv2.copyTo(cv2.convertScaleAbs(patch, alpha=light), inside, patch)

    def supersampled(self) -> np.ndarray:
        """(H * S, W * S, 3) uint8 RGB: the picture as painted."""
        return self._picture.copy()

    def picture(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB: the frame, anti-aliased."""
        return cv2.resize(self._picture, (self._width, self._height), interpolation=cv2.INTER_AREA)

    def mask(self, name: str) -> np.ndarray:
        """(H, W) bool: pixels of which the visible instance covers at least half."""
        covered = (self._labels == self._label_of[name]).astype(np.float32)
        return cv2.resize(covered, (self._width, self._height), interpolation=cv2.INTER_AREA) >= 0.5 - 1e-4

    def _fixed(self, polygon: Polygon) -> np.ndarray:
        """px of the video -> cv2's fixed-point px of the supersampled picture, whose centres are integers."""
        zoomed = (np.asarray(polygon, np.float64) - self._centre) * self._zoom + self._middle
        return np.round((zoomed * self._supersampling - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
