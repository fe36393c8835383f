"""The backdrop: a grey and brown world of any size, without any colour that detectors look for.

    world = World(832, 480)                     400 x 231 units, 2.08 px each
    paint_scene(world, "Inside a gallery with white walls", rng)

Figures are drawn in units: every picture shows at least 400 units across and 230 down.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tasks.media.drawing.backdrops import textured
from tasks.media.drawing.canvas import Canvas, Colour, Point, disc, rectangle

LEAST_WIDTH, LEAST_HEIGHT = 400.0, 230.0  # units that every picture shows
BELOW_GROUND = 62.0  # units between the object's foot and the picture's lower edge
SUPERSAMPLING = 2
OUTLINE_SHADE = 0.62  # a darker outline would lose the thing's colour


@dataclass(frozen=True)
class World:
    """What a picture shows of the world, in units."""

    width_px: int
    height_px: int

    @property
    def zoom(self) -> float:
        """px a unit"""
        return min(self.width_px / LEAST_WIDTH, self.height_px / LEAST_HEIGHT)

    @property
    def width(self) -> float:
        return self.width_px / self.zoom

    @property
    def height(self) -> float:
        return self.height_px / self.zoom

    @property
    def ground(self) -> float:
        """y of what the object stands on"""
        return self.height - BELOW_GROUND

    @property
    def horizon(self) -> float:
        """y at which the ground begins"""
        return self.ground - 34.0

    @property
    def middle(self) -> Point:
        return self.width / 2, self.height / 2

    def canvas(self, *names: str) -> Canvas:
        return Canvas(names, self.width_px, self.height_px, SUPERSAMPLING, OUTLINE_SHADE)


# --- Backdrops ---------------------------------------------------------------------------------


def paint_scene(world: World, scene: str, rng: np.random.Generator) -> np.ndarray:
    """(H * S, W * S, 3) uint8: a landscape, a town or a room, by the words of a prompt's scene; rng varies it."""
    canvas = world.canvas()
    blank = np.zeros((world.height_px * SUPERSAMPLING, world.width_px * SUPERSAMPLING, 3), np.uint8)
    canvas.begin(blank, world.zoom, world.middle)
    _painter_for(scene)(canvas, world, rng)
    return textured(canvas.supersampled(), rng, SUPERSAMPLING)


def _tone(lightness: float, warmth: float = 5.0) -> Colour:
    """A grey, or a brown if warm."""
    red, green, blue = (int(np.clip(lightness + w * warmth, 0, 255)) for w in (1.0, 0.3, -1.0))
    return red, green, blue


def _band(world: World, top: float, bottom: float) -> np.ndarray:
    return rectangle(-4, top, world.width + 4, bottom)


def _sky(canvas: Canvas, world: World, lightness: float) -> None:
    edges = np.linspace(-4, world.horizon + 4, 25)
    for top, bottom in pairwise(edges):
        canvas.detail(_tone(lightness + 14 * top / world.height, 0.0), _band(world, top, bottom + 1))


def _hills(world: World, base: float, rise: float, rng: np.random.Generator) -> np.ndarray:
    x = np.linspace(-4, world.width + 4, 70)
    waves = np.sin(x / rng.uniform(45, 75) + rng.uniform(0, 6)) + 0.5 * np.sin(
        x / rng.uniform(18, 28) + rng.uniform(0, 6)
    )
    skyline = np.stack([x, base - rise * waves / 1.5], 1)
    return np.concatenate([skyline, [(world.width + 4, world.height + 4), (-4, world.height + 4)]])


def _ground(canvas: Canvas, world: World, lightness: float, warmth: float, rng: np.random.Generator) -> None:
    """Flat ground below the horizon, with tufts and pebbles."""
    canvas.detail(_tone(lightness, warmth), _band(world, world.horizon, world.height + 4))
    for x, y in rng.uniform((0, world.horizon + 4), (world.width, world.height), (70, 2)):
        near = (y - world.horizon) / (world.height - world.horizon)
        canvas.detail(_tone(lightness - 9, warmth), disc((x, y), 1.2 + 3 * near, 0.5 + near))


def _wood(canvas: Canvas, world: World, rng: np.random.Generator) -> None:
    _sky(canvas, world, 178)
    for base, rise, lightness in ((60, 14, 172), (32, 9, 163)):
        canvas.detail(_tone(lightness, 3), _hills(world, world.horizon - base, rise, rng))
    for x in np.arange(rng.uniform(0, 20), world.width, 30):
        x, half = x + rng.uniform(-9, 9), rng.uniform(3, 6)
        canvas.detail(_tone(156, 6), rectangle(x - half, -4, x + half, world.horizon + rng.uniform(0, 5)))
    _ground(canvas, world, 150, 9, rng)


def _open_land(canvas: Canvas, world: World, rng: np.random.Generator) -> None:
    _sky(canvas, world, 186)
    for base, rise, lightness in ((30, 18, 174), (12, 8, 164)):
        canvas.detail(_tone(lightness, 4), _hills(world, world.horizon - base, rise, rng))
    _ground(canvas, world, 156, 9, rng)


def _town(canvas: Canvas, world: World, rng: np.random.Generator) -> None:
    _sky(canvas, world, 186)
    for left in np.arange(-rng.uniform(10, 50), world.width, 62):
        top, lightness = world.horizon - rng.uniform(60, 130), 164 + rng.uniform(-4, 6)
        canvas.detail(_tone(lightness), rectangle(left, top, left + 60, world.horizon + 4))
        for x in (left + 9, left + 35):
            for y in np.arange(top + 12, world.horizon - 16, 28):
                canvas.detail(_tone(lightness - 12), rectangle(x, y, x + 15, y + 16))
    _ground(canvas, world, 154, 3, rng)
    for y in (world.horizon + 6, world.horizon + 22, world.horizon + 48):
        canvas.stroke(_tone(144, 3), [(-4, y), (world.width + 4, y)], 1.2)


def _room(canvas: Canvas, world: World, rng: np.random.Generator) -> None:
    canvas.detail(_tone(182, 4), _band(world, -4, world.horizon))
    for x in np.arange(-rng.uniform(0, 20), world.width, 26):
        canvas.detail(_tone(177, 4), rectangle(x, -4, x + 11, world.horizon))
    left = rng.uniform(0.08, 0.6) * world.width
    canvas.shape(_tone(172), rectangle(left, world.horizon - 118, left + 86, world.horizon - 44), line=0.6)
    canvas.detail(_tone(188, 0), rectangle(left + 6, world.horizon - 112, left + 80, world.horizon - 50))
    canvas.detail(_tone(156, 9), _band(world, world.horizon, world.height + 4))
    canvas.detail(_tone(170, 5), _band(world, world.horizon - 5, world.horizon + 1))
    for y in world.horizon + np.array([12, 27, 46, 70]):
        canvas.stroke(_tone(146, 9), [(-4, y), (world.width + 4, y)], 1.1)


BackdropPainter = Callable[[Canvas, World, np.random.Generator], None]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PAINTERS: tuple[tuple[frozenset[str], BackdropPainter], ...] = (
    (
        _words(
            "inside room bedroom sunroom workroom gallery kitchen hall hallway library museum attic shed workshop "
            "garage cabin cottage nursery parlour office lobby foyer studio conservatory cellar barn"
        ),
        _room,
    ),
    (
        _words(
            "street alley plaza square city town village market courtyard terrace canal bridge rooftop promenade "
            "colonnade pavement sidewalk corner lane cafe fountain patio cloister station avenue"
        ),
        _town,
    ),
    (_words("wood woods woodland forest grove glade jungle rainforest thicket orchard park trail"), _wood),
)


def _painter_for(scene: str) -> BackdropPainter:
    """The painter of the first kind of place that the scene names; open land if none."""
    words = set(re.findall(r"[a-z]+", scene.lower()))
    return next((painter for names, painter in _PAINTERS if words & names), _open_land)
