"""Colours of bodies: names with an HSV region each; train and test share no name and no region.

    draw_colour("train", "red", rng) -> (0.812, 0.094, 0.066)

The colour detector of curate-matrix11k knows the names (tasks/backends/colour/palette.py): every colour drawn matches
its own name there, and no other name of the split.
"""

from __future__ import annotations

import colorsys
from typing import NamedTuple, get_args

import cv2
import numpy as np

from schemas.scene import DIGITS, Shape, Split, Vector


class ColourRegion(NamedTuple):
    """The HSV region of a name; hues above 360 continue past red."""

    hue_deg: tuple[float, float]
    saturation: tuple[float, float]  # 0..1
    value: tuple[float, float]  # 0..1


# "random colors", "disjoint colors" (KineMask 4.1); hues between two regions are unused.
REGIONS: dict[Split, dict[str, ColourRegion]] = {
    "train": {
        "red": ColourRegion((352, 364), (0.80, 0.95), (0.60, 0.85)),
        "yellow": ColourRegion((47, 57), (0.75, 0.95), (0.80, 0.95)),
        "green": ColourRegion((95, 145), (0.55, 0.85), (0.40, 0.70)),
        "blue": ColourRegion((208, 236), (0.70, 0.95), (0.45, 0.75)),
        "purple": ColourRegion((264, 288), (0.50, 0.80), (0.40, 0.65)),
        "white": ColourRegion((0, 360), (0.00, 0.03), (0.90, 0.97)),
    },
    "test": {
        "orange": ColourRegion((22, 34), (0.80, 0.95), (0.80, 0.95)),
        "teal": ColourRegion((174, 188), (0.60, 0.90), (0.50, 0.70)),
        "pink": ColourRegion((318, 336), (0.35, 0.60), (0.80, 0.95)),
        "black": ColourRegion((0, 360), (0.00, 0.15), (0.04, 0.12)),
        "grey": ColourRegion((0, 360), (0.00, 0.04), (0.40, 0.60)),
    },
}

SHAPES: tuple[Shape, ...] = get_args(Shape)
MAX_BODIES = len(SHAPES) * min(map(len, REGIONS.values()))  # no two of a scene share colour and shape


def colour_names(split: Split) -> list[str]:
    return list(REGIONS[split])


def draw_colour(split: Split, name: str, rng: np.random.Generator) -> Vector:
    """A random colour of the name's region: sRGB, 0..1."""
    hue_deg, saturation, value = (rng.uniform(*limits) for limits in REGIONS[split][name])
    red, green, blue = colorsys.hsv_to_rgb(hue_deg / 360 % 1, saturation, value)
    return round(red, DIGITS), round(green, DIGITS), round(blue, DIGITS)


def colour_distance(first: Vector, second: Vector) -> float:
    """Distance of two sRGB colours in CIE Lab; people can tell colours apart from about 2 on."""
    lab = cv2.cvtColor(np.array([[first, second]], np.float32), cv2.COLOR_RGB2Lab)[0]
    return float(np.linalg.norm(lab[0] - lab[1]))
