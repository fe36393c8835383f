"""Building blocks of painted floors: single-channel pictures that tile seamlessly.

    cloud    noise of a chosen coarseness            cells     stones: the cells around scattered points
    wall     rows of bricks, planks or tiles         blades    short strokes
    relief   light and shade of a height map              mix       from one colour to another

Every picture is (SIDE, SIDE) float32, row 0 at the top.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from tasks.media.drawing.canvas import Colour

SIDE = 1024

_Y, _X = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE  # 0..1 over the tile


def cloud(rng: np.random.Generator, coarseness: float, stretch: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """Noise of mean 0 and deviation 1. coarseness: 0 is white noise, 2 clouds.

    stretch: how much its features are stretched along x and along y.
    """
    frequency_y = np.fft.fftfreq(SIDE)[:, None] * stretch[1]
    frequency_x = np.fft.rfftfreq(SIDE)[None] * stretch[0]
    frequency = np.hypot(frequency_y, frequency_x)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) * frequency**-coarseness
    noise = np.fft.irfft2(spectrum, (SIDE, SIDE))
    return (noise / noise.std()).astype(np.float32)


class Cells(NamedTuple):
    """The cells around points scattered over the tile."""

    number: np.ndarray  # int: which point is the nearest
    depth: np.ndarray  # how far from the nearest border: 0 at it, about 0.5 to 1 in a cell's middle
    n_parts: int


def cells(rng: np.random.Generator, across: int, jitter: float = 0.8, bend: np.ndarray | float = 0.0) -> Cells:
    """across * across cells. jitter: 0 gives squares, 1 any shape. bend: displacement of the borders, in cells."""
    points = np.mgrid[0:across, 0:across][::-1] + 0.5 + jitter * rng.uniform(-0.5, 0.5, (2, across, across))
    x, y = _X * across + bend, _Y * across + bend
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    nearest, second = (np.full((SIDE, SIDE), np.inf, np.float32) for _ in range(2))
    number = np.zeros((SIDE, SIDE), int)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            turn_y, at_y = np.divmod(row + down, across)
            turn_x, at_x = np.divmod(column + right, across)
            point_x, point_y = points[:, at_y, at_x]
            distance = np.hypot(point_x + turn_x * across - x, point_y + turn_y * across - y).astype(np.float32)
            closer = distance < nearest
            second = np.where(closer, nearest, np.minimum(second, distance))
            nearest = np.where(closer, distance, nearest)
            number = np.where(closer, at_y * across + at_x, number)
    return Cells(number, second - nearest, across * across)


def wall(rng: np.random.Generator, rows: int, columns: int, shift: str, bend: np.ndarray | float = 0.0) -> Cells:
    """Bricks in rows. shift: none (tiles), half (bricks) or any (planks). Their depth is in heights of a row."""
    y = _Y * rows + bend
    row = np.floor(y).astype(int)
    offsets = {
        "none": np.zeros(rows),
        "half": np.arange(rows) % 2 / 2,
        "any": rng.permutation(rows) / rows + rng.uniform(-0.2, 0.2, rows) / rows,
    }[shift]
    x = _X * columns + offsets[row % rows] + (bend if shift != "any" else 0.0)
    column = np.floor(x).astype(int)
    across, along = np.abs(y - row - 0.5), np.abs(x - column - 0.5)
    length = rows / columns  # of a brick, in heights of a row
    depth = np.minimum(0.5 - across, (0.5 - along) * length)
    return Cells((row % rows) * columns + column % columns, depth.astype(np.float32), rows * columns)


def blades(rng: np.random.Generator, count: int, length_px: float, tones: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE) picture of strokes in all directions, in the order of the tones: the last tone is on top."""
    margin = int(2 * length_px)
    canvas = np.full((SIDE + 2 * margin,) * 2, tones[0], np.float32)
    start = rng.uniform(0, SIDE, (count, 2)) + margin
    angle = rng.uniform(0, 2 * np.pi, count)
    reach = length_px * rng.uniform(0.5, 1.5, (count, 1)) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    steps = np.linspace(0, len(tones) - 1, count).astype(int)
    for (x, y), (dx, dy), tone in zip(start, reach, tones[steps].tolist(), strict=True):
        for along in _shifts(x, margin):
            for down in _shifts(y, margin):
                ends = [(int(8 * (x + along + s * dx)), int(8 * (y + down + s * dy))) for s in (0, 1)]
                cv2.line(canvas, ends[0], ends[1], tone, thickness=2, lineType=cv2.LINE_8, shift=3)
    return canvas[margin:-margin, margin:-margin]


def _shifts(place: float, margin: int) -> tuple[int, ...]:
    """Offsets at which a stroke is repeated, so that it continues at the opposite edge."""
    if place < 2 * margin:
        return (0, SIDE)
    return (0, -SIDE) if place > SIDE else (0,)


def relief(height: np.ndarray, strength: float) -> np.ndarray:
    """Relative brightness of a surface lit from the upper left: 1 where it is level."""
    slope = (np.roll(height, -1, 0) - np.roll(height, 1, 0)) + (np.roll(height, -1, 1) - np.roll(height, 1, 1))
    return np.clip(1 + strength * slope, 0.4, 1.6)


def ramp(value: np.ndarray, start: float, end: float) -> np.ndarray:
    """0 up to `start`, 1 from `end` on, smooth between them."""
    t = np.clip((value - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


def mix(dark: Colour | np.ndarray, light: Colour | np.ndarray, amount: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE, 3) float: from `dark` where amount is 0 to `light` where it is 1."""
    t = np.clip(amount, 0, 1)[..., None]
    return np.asarray(dark, np.float32) * (1 - t) + np.asarray(light, np.float32) * t


def waves(count: int, bend: np.ndarray) -> np.ndarray:
    """-1..1: `count` waves down the tile. bend: in waves."""
    return np.sin(2 * np.pi * (count * _Y + bend)).astype(np.float32)


def weave(count: int) -> tuple[np.ndarray, np.ndarray]:
    """A fabric of count x count threads: (0..1 height of the uppermost thread, True where that runs along x)."""
    x, y = _X * count, _Y * count
    along_x = (np.floor(x) + np.floor(y)) % 2 == 0
    across, along = np.where(along_x, y % 1, x % 1) - 0.5, np.where(along_x, x % 1, y % 1) - 0.5
    return np.cos(np.pi * across) * (0.6 + 0.4 * np.cos(np.pi * along)), along_x
