"""Balls too small for the classifier: the one spot of a strong colour in the picture, round, and it travels.

    small_ball(picture, <"a red ball">)   ->  (4,) px, or None
    travelling(boxes)                     ->  whether the spot goes from place to place

Colour alone proves nothing, but a colour that is nowhere else is what a caption's "red ball" can mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.backends.agreement.nouns import classes_of
from tasks.backends.colour.palette import Picture
from tasks.backends.colour.patches import find_patches
from tasks.backends.colour.phrases import Description

STRONG_COLOURS = frozenset({"red", "orange", "yellow", "green", "blue", "pink", "purple"})
MIN_SIDE_PX, MAX_SIDE_PX = 7, 30  # at the working size; larger ones the classifier sees
MIN_ONLY_SHARE = 0.8  # of the picture's pixels of that colour
MIN_PURITY, MIN_ROUNDNESS, MIN_SOLIDITY = 0.8, 0.55, 0.8
MIN_TRAVEL = 3.0  # of its size, between the two places that lie furthest apart


def is_ball(class_name: str) -> bool:
    """Whether every class that a noun means is a ball's."""
    classes, balls = classes_of(class_name), classes_of("ball")
    return classes is not None and balls is not None and bool(np.isin(classes, balls).all())


def small_ball(picture: Picture, description: Description) -> np.ndarray | None:
    """(4,) px: the only spot of its one colour, if it is small and round."""
    tints = description.body
    if len(tints) != 1 or tints[0].colour not in STRONG_COLOURS:
        return None
    n_pixels = max(int(np.count_nonzero(picture.has(tints))), 1)
    spots = [
        patch
        for patch in find_patches(picture.membership(tints))
        if MIN_SIDE_PX <= max(patch.box[2] - patch.box[0], patch.box[3] - patch.box[1]) <= MAX_SIDE_PX
        and patch.purity >= MIN_PURITY
        and patch.solidity >= MIN_SOLIDITY
    ]
    if not spots:
        return None
    whole = max(spots, key=lambda patch: (patch.area, patch.box))
    # A highlight or a finger cuts a piece off: some level of the same spot must be round.
    inside = [patch for patch in spots if _covers(whole.box_xyxy, patch.box_xyxy)]
    is_round = max(patch.roundness for patch in inside) >= MIN_ROUNDNESS
    return whole.box_xyxy if is_round and whole.area >= MIN_ONLY_SHARE * n_pixels else None


def _covers(outer: np.ndarray, inner: np.ndarray) -> bool:
    return bool((outer[:2] <= inner[:2]).all() and (inner[2:] <= outer[2:]).all())


def travelling(boxes: Sequence[np.ndarray]) -> bool:
    """Whether the two boxes that lie furthest apart lie MIN_TRAVEL times their usual size apart."""
    centres = np.array([(box[:2] + box[2:]) / 2 for box in boxes])
    usual_px = float(np.median([max(box[2] - box[0], box[3] - box[1]) for box in boxes]))
    apart = np.hypot(*(centres[:, None] - centres[None]).transpose(2, 0, 1))
    return float(apart.max()) >= MIN_TRAVEL * usual_px
