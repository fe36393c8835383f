"""Where garments lie on a standing figure, and how much of that place has their colour.

    garment_shares(picture, box, [<blue jeans>])  ->  [GarmentShare(garment=<blue jeans>, share=0.7, surround=0.05)]

If the colour continues beside the place, it is the background's. If it continues above a shirt or below trousers, the
box holds only part of the figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tasks.backends.colour.masks import Part, part_share
from tasks.backends.colour.palette import Picture
from tasks.backends.colour.phrases import BodyRegion, Garment

# Shares of a standing figure's box in which a garment is looked for.
ROWS: dict[BodyRegion, tuple[float, float]] = {"upper": (0.12, 0.62), "lower": (0.45, 0.95), "whole": (0.15, 0.9)}
LEFT, RIGHT = 0.15, 0.85
BEYOND_SHARE = 0.2  # of the figure's height: below a lower garment, above any other
BESIDE_SHARE = 0.5  # of the figure's width
FULL_SHARE = 0.4  # of its place: a garment that fills this much is complete


class GarmentShare(NamedTuple):
    """The share of a garment's place that has its colour, and the share of the place's surround."""

    garment: Garment
    share: float
    surround: float


def garment_place(region: BodyRegion) -> Part:
    """The part of a standing figure's box where a garment of a region belongs."""
    top, bottom = ROWS[region]
    return LEFT, top, RIGHT, bottom


def garment_shares(picture: Picture, box: np.ndarray, garments: Sequence[Garment]) -> list[GarmentShare]:
    """box (4,) of a standing figure, in pixels of the picture."""
    shares = []
    for garment in garments:
        has = picture.has(garment.tints)
        share = part_share(has, box, garment_place(garment.region))
        shares.append(GarmentShare(garment, share, _surround_share(has, box, garment.region)))
    return shares


def _surround_share(has: np.ndarray, box: np.ndarray, region: BodyRegion) -> float:
    top, bottom = ROWS[region]
    left_of_it = part_share(has, box, (-BESIDE_SHARE, top, 0.0, bottom))
    right_of_it = part_share(has, box, (1.0, top, 1 + BESIDE_SHARE, bottom))
    # Trousers continue below the box, or a shirt above it: the box holds only part of the figure.
    below, above = (LEFT, 1.0, RIGHT, 1 + BEYOND_SHARE), (LEFT, -BEYOND_SHARE, RIGHT, 0.0)
    beyond = part_share(has, box, below if region == "lower" else above)
    return max((left_of_it + right_of_it) / 2, beyond)


def garments_match(picture: Picture, box: np.ndarray, garments: Sequence[Garment]) -> float:
    """0..1: do the garments' colours lie in their places and not around them? garments: one or more."""
    values = [
        min(found.share / FULL_SHARE, 1.0) * float(np.clip(1.2 - found.surround / (found.share + 1e-6), 0, 1))
        for found in garment_shares(picture, box, garments)
    ]
    return float(np.mean(values))
