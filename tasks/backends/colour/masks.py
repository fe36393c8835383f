"""How much of a place a mask fills: a part of a box, or the ring around it.

    part_share(red, box, (0.0, 0.0, 1.0, 0.5))  ->  0.9: nine tenths of the box's upper half are red
    ring_share(red, box, 0.25)                  ->  0.1: around the box, hardly anything is

A colour that fills its box and not the ring is a thing's; one that fills both is the wall's.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from tasks.backends.colour.boxes import clip_to_picture, expand

RING_GAP_SHARE = 0.04  # of the box's sides: skips a thing's soft edge

Part = tuple[float, float, float, float]  # x0, y0, x1, y1 in shares of a box; below 0 or above 1: outside it
WHOLE: Part = (0.0, 0.0, 1.0, 1.0)


def disc(diameter_px: int) -> np.ndarray:
    """(D, D) uint8 structuring element for morphology."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter_px, diameter_px))


def part_share(mask: np.ndarray, box: np.ndarray, part: Part) -> float:
    """mask (H, W) bool, box (4,) -> 0..1: the share of that part of the box; 0 if the part lies outside the picture."""
    size = np.tile(box[2:] - box[:2], 2)
    x0, y0, x1, y1 = np.round(clip_to_picture(np.tile(box[:2], 2) + size * part, mask.shape)).astype(int)
    inside = mask[y0:y1, x0:x1]
    return float(inside.mean()) if inside.size else 0.0


def ring_share(mask: np.ndarray, box: Sequence[float] | np.ndarray, width_share: float) -> float:
    """mask (H, W) bool -> 0..1: share of the ring around a box, width_share of its sides wide; 0 without room."""
    outer, inner = (
        mask[y0:y1, x0:x1] for x0, y0, x1, y1 in (expand(box, s, mask.shape) for s in (width_share, RING_GAP_SHARE))
    )
    n_filled = int(np.count_nonzero(outer)) - int(np.count_nonzero(inner))
    return n_filled / max(outer.size - inner.size, 1)
