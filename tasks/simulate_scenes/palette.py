"""Colours of bodies: names with a region of HSV each; train and test share neither.

    draw_colour("train", "red", rng) -> (0.812, 0.094, 0.066)

The names are words that the colour detector of the first flow knows (tasks/backends/colour/palette.py), and
every colour drawn is one that it knows by its name and by no other name of the same split.
"""

from __future__ import annotations

import colorsys
from typing import NamedTuple, get_args

import cv2
import numpy as np

from schemas.scene import DIGITS, Shape, Split, Vector


class ColourRegion(NamedTuple):
    """Which colours a name is drawn from; hues beyond 360 are those past red."""

    hue_deg: tuple[float, float]
    saturation: tuple[float, float]  # 0..1
    value: tuple[float, float]  # 0..1


# "random colors", "disjoint colors" (KineMask 4.1); the hues between two regions are nobody's.
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
    """A colour of the name's region: sRGB, 0..1."""
    hue_deg, saturation, value = (rng.uniform(*limits) for limits in REGIONS[split][name])
    red, green, blue = colorsys.hsv_to_rgb(hue_deg / 360 % 1, saturation, value)
    return round(red, DIGITS), round(green, DIGITS), round(blue, DIGITS)


def colour_distance(first: Vector, second: Vector) -> float:
    """How different two sRGB colours look: the distance in CIE Lab; from about 2 on people can tell them apart."""
    lab = cv2.cvtColor(np.array([[first, second]], np.float32), cv2.COLOR_RGB2Lab)[0]
    return float(np.linalg.norm(lab[0] - lab[1]))
