"""Connected components of a colour, how much each looks like a thing, and the whole thing that one is part of.

    find_patches(picture.membership([Tint("red")]))
        ->  [Patch(box=(120, 80, 152, 112), purity=0.97, roundness=0.94, ...), ...]
    whole_thing(<patch of a red frame>, view, blocked, living=False)  ->  the bicycle's box, wheels included

Things of one colour that touch are one patch at one scale and two at another: all are kept and scored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from tasks.backends.colour.boxes import PixelBox, area, clip_to_picture, disc, ring_share
from tasks.backends.colour.foreground import ForegroundView
from tasks.backends.colour.palette import FULL_MEMBERSHIP, STRONG_MEMBERSHIP, WEAK_MEMBERSHIP

OPENINGS = (0.0, 0.012, 0.035)  # of the long side: cut bridges between things that touch
MIN_PATCH_SHARE = 1.5e-4  # of the picture
MIN_PATCH_AREA_PX = 12.0
MAX_PATCHES = 10  # the largest, per level and opening
RING_WIDTH_SHARE = 0.25  # of the patch's sides
SCORE_AT_EDGES = (1, 0.8, 0.4, 0.1, 0.1)  # by the number of the picture's edges that a patch touches
PART_REACH, ANIMAL_REACH = 0.4, 1.0  # of the patch's sides: wheels and handles; heads, legs and tails
PART_MAX_GROWTH, ANIMAL_MAX_GROWTH = 2.1, 4.0  # of the patch's box area; beyond, it includes a thing that touches it
MIN_TOUCHED_SHARE = 0.1  # of the patches' pixels: a region with fewer belongs to another thing
ANY_SIDE, BOTTOM = slice(None), slice(3, 4)  # of a box


@dataclass(frozen=True)
class Patch:
    """A connected patch of a colour. `mask` covers `box` only."""

    box: PixelBox
    mask: np.ndarray  # (h, w) uint8, 0 or 1
    purity: float  # mean membership, 0..1
    solidity: float  # area over its convex hull's, 0..1
    roundness: float  # area over its enclosing circle's, 0..1
    ring_share: float  # share of the surround with the same colour, 0..1

    @property
    def area(self) -> int:
        """px^2 of the mask"""
        return int(np.count_nonzero(self.mask))

    @property
    def box_xyxy(self) -> np.ndarray:
        """(4,) float64"""
        return np.array(self.box, np.float64)

    @property
    def crop(self) -> tuple[slice, slice]:
        """Cuts the box out of an (H, W) picture."""
        x0, y0, x1, y1 = self.box
        return slice(y0, y1), slice(x0, x1)


class ScoredPatch(NamedTuple):
    """A patch, and how much it looks like the instance, 0..1."""

    score: float
    patch: Patch


def find_patches(membership: np.ndarray) -> list[Patch]:
    """(H, W) uint8 membership -> patches over all levels and scales, without repeated boxes."""
    long_side = max(membership.shape)
    has = membership >= WEAK_MEMBERSHIP
    patches: dict[PixelBox, Patch] = {}
    for level in (WEAK_MEMBERSHIP, STRONG_MEMBERSHIP):
        coloured = (membership >= level).astype(np.uint8)
        mask = cv2.morphologyEx(coloured, cv2.MORPH_CLOSE, disc(3))  # seams, compression
        for opening in OPENINGS:
            diameter = round(opening * long_side) | 1
            opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc(diameter)) if diameter > 1 else mask
            for box, inside in _components(opened):
                if box not in patches:
                    patches[box] = _measure(box, inside, membership, has)
    return list(patches.values())


def _components(mask: np.ndarray) -> list[tuple[PixelBox, np.ndarray]]:
    """The largest connected components: (box, (h, w) uint8 mask of the box)."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    areas = stats[1:, cv2.CC_STAT_AREA]  # label 0 is the background
    min_area = max(MIN_PATCH_AREA_PX, MIN_PATCH_SHARE * mask.size)
    large = [int(i) + 1 for i in np.argsort(-areas, kind="stable")[:MAX_PATCHES] if areas[i] >= min_area]
    components = []
    for label in large:
        x, y, w, h = (int(v) for v in stats[label, :4])
        components.append(((x, y, x + w, y + h), (labels[y : y + h, x : x + w] == label).astype(np.uint8)))
    return components


def _measure(box: PixelBox, mask: np.ndarray, membership: np.ndarray, has: np.ndarray) -> Patch:
    """mask (h, w) uint8 of the box; membership (H, W) uint8 and has (H, W) bool of the picture."""
    x0, y0, x1, y1 = box
    contours = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    contour = max(contours, key=lambda c: float(cv2.contourArea(c)))
    filled, hull = np.zeros_like(mask), np.zeros_like(mask)
    cv2.drawContours(filled, [contour], -1, 1, cv2.FILLED)
    cv2.fillConvexPoly(hull, cv2.convexHull(contour), 1)
    area = int(np.count_nonzero(filled))
    radius = cv2.minEnclosingCircle(contour)[1] + 0.5  # contours run through pixel centres
    return Patch(
        box=box,
        mask=mask,
        purity=cv2.mean(membership[y0:y1, x0:x1], mask)[0] / FULL_MEMBERSHIP,
        solidity=area / max(int(np.count_nonzero(hull)), 1),
        roundness=min(area / (math.pi * radius**2), 1.0),
        ring_share=ring_share(has, box, RING_WIDTH_SHARE),
    )


def patch_score(
    patch: Patch, shape: tuple[int, int], moving: np.ndarray | None, *, is_round: bool, limbed: bool
) -> float:
    """0..1: how likely it is a thing of that colour, not a wall, a speck or part of something larger.

    shape: (H, W) of the picture; moving: (H, W) bool; limbed: its outline may be ragged (people, animals).
    """
    height, width = shape
    x0, y0, x1, y1 = patch.box
    share = patch.area / (height * width)
    large_enough = np.clip(np.log10(share / 1e-4) / 1.8, 0.15, 1)
    small_enough = np.clip((0.5 - (x1 - x0) * (y1 - y0) / (height * width)) / 0.3, 0.02, 1)
    n_edges = (x0 == 0) + (y0 == 0) + (x1 == width) + (y1 == height)
    apart = np.clip(1 - 1.2 * patch.ring_share, 0.05, 1)
    solidity = patch.solidity ** (0.25 if limbed else 1.0)
    score = patch.purity * solidity * large_enough * small_enough * apart * SCORE_AT_EDGES[n_edges]
    if moving is not None:
        score *= 0.75 + 0.25 * cv2.mean(moving[patch.crop].astype(np.uint8), patch.mask)[0]
    if is_round:
        score *= np.clip((patch.roundness - 0.45) / 0.35, 0.05, 1)
    return float(np.clip(score, 0, 1))


def union_mask(patches: Iterable[Patch], shape: tuple[int, ...]) -> np.ndarray:
    """(H, W) uint8, 1 on the pixels of any of the patches."""
    mask = np.zeros(shape, np.uint8)
    for patch in patches:
        mask[patch.crop] |= patch.mask
    return mask


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


def whole_thing(patch: Patch, view: ForegroundView, blocked: np.ndarray, living: bool) -> np.ndarray:
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
