"""The whole thing that a patch of colour is part of: region growing over the foreground.

    whole_thing(<patch of a red frame>, view, blocked, living=False)  ->  the bicycle's box, wheels included

Growth stops at a window around the patch and at other instances' pixels. A region that reaches the window's edge has
grown into something else (a hand, the floor) and is discarded.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from tasks.backends.colour.boxes import area, clip_to_picture
from tasks.backends.colour.foreground import View
from tasks.backends.colour.masks import disc
from tasks.backends.colour.patches import Patch, union_mask

PART_REACH, ANIMAL_REACH = 0.4, 1.0  # of the patch's sides: wheels and handles; heads, legs and tails
PART_MAX_GROWTH, ANIMAL_MAX_GROWTH = 2.1, 4.0  # of the patch's box area; beyond, it includes a thing that touches it
MIN_TOUCHED_SHARE = 0.1  # of the patches' pixels: a region with fewer belongs to another thing
ANY_SIDE, BOTTOM = slice(None), slice(3, 4)  # of a box


def grow(
    patches: Sequence[Patch], window: np.ndarray, foreground: np.ndarray, blocked: np.ndarray, gap_px: int = 3
) -> np.ndarray:
    """(4,) the box of the patches with the foreground that is connected to them inside the window.

    foreground, blocked: (H, W) bool; blocked pixels are other instances'. gap_px: vertical gaps up to this
    size are bridged, such as a neck as pale as the wall.
    """
    x0, y0, x1, y1 = (int(v) for v in (*np.floor(window[:2]), *np.ceil(window[2:])))
    crop = (slice(y0, y1), slice(x0, x1))
    seed = union_mask(patches, foreground.shape)[crop]
    free = (foreground & ~blocked)[crop].astype(np.uint8)
    opened = np.maximum(cv2.morphologyEx(free, cv2.MORPH_OPEN, disc(3)), seed)
    region = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, np.ones((gap_px | 1, 3), np.uint8))
    labels = cv2.connectedComponents(region, connectivity=4)[1]
    touched = np.bincount(labels[seed > 0], minlength=labels.max() + 1)
    touched[0] = 0  # label 0: the background
    belongs = (touched > 0) & (touched >= MIN_TOUCHED_SHARE * touched.sum())
    left, top, width, height = cv2.boundingRect(belongs[labels].astype(np.uint8))
    return np.array([left + x0, top + y0, left + width + x0, top + height + y0], np.float64)


def runs_out(box: np.ndarray, window: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(4,) bool: the sides at which a grown box reaches the window's edge but not the picture's."""
    at_window = np.abs(box - window) <= 1
    at_picture = np.abs(box - (0, 0, shape[1], shape[0])) <= 1
    return at_window & ~at_picture


def whole_thing(patch: Patch, view: View, blocked: np.ndarray, living: bool) -> np.ndarray:
    """(4,) the box of a thing with parts of other colours (wheels, lids, an animal's head), else its patch's box."""
    reach, max_growth = (ANIMAL_REACH, ANIMAL_MAX_GROWTH) if living and view.plain else (PART_REACH, PART_MAX_GROWTH)
    x0, y0, x1, y1 = patch.box
    far = reach * (x1 - x0 + y1 - y0) / 2
    around = clip_to_picture(np.array([x0 - far, y0 - far, x1 + far, y1 + far]), view.shape)
    attempts = [(around, ANY_SIDE)]
    if view.plain:  # on other backgrounds, the part below would be its shadow
        # If a hand holds it, the foreground continues to the sides: only the part below belongs to it.
        attempts.append((np.array([x0, y0, x1, around[3]], np.float64), BOTTOM))
    for foreground in view.foregrounds:
        for window, sides in attempts:
            box = grow([patch], window, foreground, blocked)
            stays = not runs_out(box, window, view.shape)[sides].any()
            if stays and area(box) < max_growth * area(patch.box_xyxy):
                return box
    return patch.box_xyxy
