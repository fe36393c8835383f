"""The painted floors: kinds of surface, each in a few variants, one kind in one split only.

    paint("bricks-2")  ->  (1024, 1024, 3) uint8 RGB that continues at the opposite edge

A picture is a function of its name; increase VERSION when any of them changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from schemas.scene import Split
from tasks.media.drawing.canvas import Colour
from tasks.media.floors.patterns import SIDE, Cells, blades, cells, cloud, mix, ramp, relief, wall, waves, weave
from tasks.media.floors.texture import FloorTexture

VERSION = "1"

FloorPainter = Callable[[np.random.Generator, Colour, Colour], np.ndarray]


class SurfaceKind(NamedTuple):
    """A kind of surface."""

    name: str
    noun: str
    split: Split
    painter: FloorPainter
    palette: list[tuple[Colour, Colour]]  # one pair of colours a variant


def listing(split: Split) -> list[FloorTexture]:
    return [
        FloorTexture(f"{kind.name}-{variant}", kind.noun)
        for kind in SURFACE_KINDS
        if kind.split == split
        for variant in range(1, len(kind.palette) + 1)
    ]


def paint(name: str) -> np.ndarray:
    """(SIDE, SIDE, 3) uint8 RGB. Raises KeyError for a name that is in no listing."""
    number, variant = NAMES[name]
    kind = SURFACE_KINDS[number]
    rng = np.random.default_rng([number, variant])
    picture = kind.painter(rng, *kind.palette[variant])
    return np.clip(picture + rng.normal(0, 1.0, (SIDE, SIDE, 1)), 0, 255).astype(np.uint8)


# --- Of the train split ----------------------------------------------------------------------


def _wood(rng: np.random.Generator, dark: Colour, light: Colour) -> np.ndarray:
    boards = wall(rng, rows=8, columns=2, shift="any")
    grain = _each_elsewhere(rng, cloud(rng, 1.1, stretch=(24, 1)), boards)
    streaks = _each_elsewhere(rng, cloud(rng, 1.7, stretch=(7, 1)), boards)
    tint = rng.normal(0, 0.13, boards.n_parts)[boards.number]
    wood = mix(dark, light, 0.55 + tint + 0.10 * grain + 0.13 * streaks)
    return wood * _joints(boards, 0.012, 0.035, 0.35)


def _grass(rng: np.random.Generator, dark: Colour, light: Colour) -> np.ndarray:
    blade = blades(rng, 60_000, 14.0, np.linspace(0.0, 0.85, 24) + rng.normal(0, 0.12, 24))
    patches = cloud(rng, 1.8)
    dry = mix(light, (178, 168, 92), 0.25 + 0.2 * cloud(rng, 1.6))
    return mix(np.asarray(dark, np.float32), dry, 0.85 * blade + 0.06 * patches)


def _bricks(rng: np.random.Generator, dark: Colour, light: Colour) -> np.ndarray:
    bricks = wall(rng, rows=12, columns=6, shift="half", bend=0.025 * cloud(rng, 1.6))
    grit = cloud(rng, 0.9)
    tint = rng.normal(0.5, 0.24, bricks.n_parts)[bricks.number]
    stone = mix(dark, light, tint + 0.10 * grit)
    mortar = mix((136, 130, 120), (176, 170, 158), 0.5 + 0.2 * cloud(rng, 0.6))
    height = ramp(bricks.depth + 0.012 * grit, 0.03, 0.13)
    return mix(mortar, stone, height) * relief(height + 0.05 * grit, 0.35)[..., None]


def _concrete(rng: np.random.Generator, dark: Colour, light: Colour) -> np.ndarray:
    blotches, grit = cloud(rng, 1.5), cloud(rng, 0.35)
    pores = ramp(cloud(rng, 0.9), 2.6, 3.2)
    surface = mix(dark, light, 0.55 + 0.16 * blotches + 0.05 * grit)
    return surface * (1 - 0.45 * pores[..., None]) * relief(grit, 0.012)[..., None]


def _tiles(rng: np.random.Generator, dark: Colour, light: Colour) -> np.ndarray:
    tiles = wall(rng, rows=4, columns=4, shift="none")
    second = (tiles.number // 4 + tiles.number % 4) % 2
    tint = rng.normal(0, 0.05, tiles.n_parts)[tiles.number]
    glaze = mix(dark, light, second * 0.85 + tint + 0.03 * cloud(rng, 1.4))
    grout = mix((150, 146, 140), (176, 172, 164), 0.5 + 0.2 * cloud(rng, 0.5))
    height = ramp(tiles.depth, 0.018, 0.034)
    return mix(grout, glaze, height) * relief(height, 0.25)[..., None]


def _sand(rng: np.random.Generator, dark: Colour, light: Colour) -> np.ndarray:
    ripples = waves(14, 0.45 * cloud(rng, 2.0) + 0.08 * cloud(rng, 1.5))
    dunes, grains = cloud(rng, 1.9), cloud(rng, 0.25)
    height = 6.0 * (ripples + 0.25 * ripples**2) + 6.0 * dunes
    sand = mix(dark, light, 0.5 + 0.10 * ripples + 0.08 * dunes + 0.10 * grains)
    return sand * relief(height, 0.10)[..., None]


def _carpet(rng: np.random.Generator, dark: Colour, light: Colour) -> np.ndarray:
    thread, along_x = weave(128)
    lozenges = wall(rng, rows=4, columns=4, shift="half")
    figure = ramp(lozenges.depth, 0.16, 0.17) - ramp(lozenges.depth, 0.26, 0.27) + ramp(lozenges.depth, 0.36, 0.37)
    pile = mix(dark, light, 0.15 + 0.7 * figure + 0.10 * cloud(rng, 0.3) + 0.04 * cloud(rng, 1.4))
    return pile * (0.62 + 0.38 * thread + 0.05 * along_x)[..., None]


# --- Of the test split -----------------------------------------------------------------------


def _marble(rng: np.random.Generator, dark: Colour, light: Colour) -> np.ndarray:
    slabs = wall(rng, rows=2, columns=2, shift="none")
    broad, fine = (_each_elsewhere(rng, np.abs(cloud(rng, c)), slabs) for c in (1.75, 1.45))
    haze = _each_elsewhere(rng, cloud(rng, 1.9), slabs)
    veins = 0.75 * (1 - ramp(broad, 0.0, 0.10)) + 0.35 * (1 - ramp(fine, 0.0, 0.12))
    return mix(light, dark, veins + 0.10 * haze + 0.05) * _joints(slabs, 0.003, 0.007, 0.6)


def _cobbles(rng: np.random.Generator, dark: Colour, light: Colour) -> np.ndarray:
    stones = cells(rng, 10, jitter=0.55, bend=0.05 * cloud(rng, 1.5))
    grit = cloud(rng, 0.8)
    height = ramp(stones.depth, 0.02, 0.55)
    tint = rng.normal(0.5, 0.2, stones.n_parts)[stones.number]
    stone = mix(dark, light, tint + 0.10 * grit)
    gaps = mix((44, 40, 34), (78, 72, 60), 0.5 + 0.25 * cloud(rng, 0.6))
    lit = relief(14 * height + 0.25 * grit, 0.12)
    return mix(gaps, stone, ramp(stones.depth, 0.05, 0.14)) * lit[..., None]


def _asphalt(rng: np.random.Generator, dark: Colour, light: Colour) -> np.ndarray:
    chips = cells(rng, 150, jitter=1.0)
    bright = rng.beta(1.2, 3.0, chips.n_parts)[chips.number] * ramp(chips.depth, 0.05, 0.35)
    worn = cloud(rng, 1.7)
    surface = mix(dark, light, 0.10 + 0.8 * bright + 0.06 * worn + 0.05 * cloud(rng, 0.3))
    return surface * relief(chips.depth, 0.12)[..., None]


def _gravel(rng: np.random.Generator, dark: Colour, light: Colour) -> np.ndarray:
    stones = cells(rng, 44, jitter=1.0, bend=0.10 * cloud(rng, 1.3))
    tint = rng.uniform(0, 1, stones.n_parts)[stones.number]
    warm = rng.normal(0, 5, (stones.n_parts, 1))[stones.number] * np.array([1.0, 0.2, -1.0])
    stone = mix(dark, light, tint + 0.07 * cloud(rng, 0.7)) + warm
    height = ramp(stones.depth, 0.0, 0.6)
    return stone * (0.35 + 0.65 * ramp(stones.depth, 0.0, 0.22)[..., None]) * relief(6 * height, 0.14)[..., None]


def _terrazzo(rng: np.random.Generator, dark: Colour, light: Colour) -> np.ndarray:
    chips = cells(rng, 30, jitter=1.0, bend=0.12 * cloud(rng, 1.2))
    shown = (rng.uniform(0, 1, chips.n_parts) < 0.6)[chips.number]
    # Each chip ends before its cell's border, at its own distance.
    edge = rng.uniform(0.12, 0.4, chips.n_parts)[chips.number]
    chip = ramp(chips.depth - edge, 0.0, 0.03) * shown
    hues = np.array([dark, (196, 178, 150), (120, 112, 106), (168, 108, 88)], np.float32)
    stone = hues[rng.integers(0, len(hues), chips.n_parts)][chips.number]
    binder = mix(light, (240, 240, 236), 0.15 + 0.10 * cloud(rng, 1.2))
    return mix(binder, stone + 5 * cloud(rng, 0.8)[..., None], chip)


def _each_elsewhere(rng: np.random.Generator, picture: np.ndarray, parts: Cells) -> np.ndarray:
    """Shift the picture in every part differently: boards are not sawn from one piece."""
    down, right = rng.integers(0, SIDE, (2, parts.n_parts))
    y, x = np.indices(picture.shape)
    return picture[(y + down[parts.number]) % SIDE, (x + right[parts.number]) % SIDE]


def _joints(parts: Cells, start: float, end: float, darkness: float) -> np.ndarray:
    """(SIDE, SIDE, 1): `darkness` in the joints, 1 elsewhere."""
    return (darkness + (1 - darkness) * ramp(parts.depth, start, end))[..., None]


SURFACE_KINDS = [
    SurfaceKind(
        "wood",
        "wooden floor",
        "train",
        _wood,
        [((84, 50, 26), (198, 146, 92)), ((62, 42, 30), (140, 102, 72)), ((150, 116, 80), (226, 196, 156))],
    ),
    SurfaceKind(
        "grass", "grassy ground", "train", _grass, [((22, 40, 14), (110, 150, 56)), ((30, 44, 18), (138, 158, 72))]
    ),
    SurfaceKind(
        "bricks",
        "brick ground",
        "train",
        _bricks,
        [((112, 48, 36), (178, 96, 70)), ((122, 86, 62), (190, 150, 112)), ((84, 72, 70), (140, 122, 116))],
    ),
    SurfaceKind(
        "concrete",
        "concrete floor",
        "train",
        _concrete,
        [((112, 110, 106), (168, 166, 160)), ((140, 134, 124), (196, 190, 178))],
    ),
    SurfaceKind(
        "tiles",
        "tiled floor",
        "train",
        _tiles,
        [((196, 186, 170), (214, 206, 192)), ((70, 76, 84), (206, 208, 206)), ((150, 84, 56), (182, 112, 80))],
    ),
    SurfaceKind(
        "sand", "sandy ground", "train", _sand, [((164, 132, 92), (222, 196, 152)), ((184, 168, 140), (232, 220, 196))]
    ),
    SurfaceKind(
        "carpet",
        "carpeted floor",
        "train",
        _carpet,
        [((92, 30, 34), (186, 150, 110)), ((42, 58, 84), (150, 160, 170)), ((104, 94, 80), (176, 164, 146))],
    ),
    SurfaceKind(
        "marble", "marble floor", "test", _marble, [((112, 112, 120), (220, 218, 214)), ((206, 200, 186), (40, 44, 46))]
    ),
    SurfaceKind(
        "cobbles",
        "cobblestone ground",
        "test",
        _cobbles,
        [((92, 90, 90), (160, 158, 156)), ((110, 88, 70), (176, 154, 128))],
    ),
    SurfaceKind(
        "asphalt",
        "asphalt ground",
        "test",
        _asphalt,
        [((46, 46, 48), (150, 148, 144)), ((70, 68, 66), (176, 172, 164))],
    ),
    SurfaceKind(
        "gravel",
        "gravel ground",
        "test",
        _gravel,
        [((104, 100, 96), (206, 202, 194)), ((120, 98, 78), (214, 190, 160))],
    ),
    SurfaceKind(
        "terrazzo",
        "terrazzo floor",
        "test",
        _terrazzo,
        [((70, 72, 76), (210, 206, 196)), ((96, 60, 48), (188, 194, 190))],
    ),
]

# A floor is seeded by the index of its kind and of its variant.
NAMES = {
    f"{kind.name}-{variant + 1}": (number, variant)
    for number, kind in enumerate(SURFACE_KINDS)
    for variant in range(len(kind.palette))
}
