"""Boxes as arrays, (4,) float64: left, top, right, bottom in px, right and bottom exclusive; masks inside them.

    enclosing(shirt, trousers)                  ->  the box of both
    part_share(red, box, (0.0, 0.0, 1.0, 0.5))  ->  0.9: nine tenths of the box's upper half are red
    ring_share(red, box, 0.25)                  ->  0.1: around the box, hardly anything is

Boxes are in pixels of one picture. Records hold them as tuples: `as_box`. A colour that fills its box and not the ring
is a thing's; one that fills both is the wall's.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from schemas.candidate import Box

PixelBox = tuple[int, int, int, int]  # x0, y0, x1, y1: for slicing
RING_GAP_SHARE = 0.04  # of the box's sides: skips a thing's soft edge
Part = tuple[float, float, float, float]  # x0, y0, x1, y1 in shares of a box; below 0 or above 1: outside it
WHOLE: Part = (0.0, 0.0, 1.0, 1.0)


def as_box(box: np.ndarray) -> Box:
    """(4,) -> the tuple that records hold."""
    x0, y0, x1, y1 = (float(v) for v in box)
    return x0, y0, x1, y1


def area(box: np.ndarray) -> float:
    """px^2"""
    return float((box[2] - box[0]) * (box[3] - box[1]))


def shared_area(a: np.ndarray, b: np.ndarray) -> float:
    """px^2 that lie in both boxes"""
    return float(np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)))


def enclosing(*boxes: np.ndarray) -> np.ndarray:
    """(4,) the smallest box around all."""
    stack = np.array(boxes, np.float64)
    return np.concatenate([stack[:, :2].min(axis=0), stack[:, 2:].max(axis=0)])


def clip_to_picture(box: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(4,) the part of a box that lies inside a picture of shape (H, W, ...)."""
    return np.clip(box, 0, (shape[1], shape[0], shape[1], shape[0]))


def expand(box: Sequence[float] | np.ndarray, share: float, shape: tuple[int, ...]) -> PixelBox:
    """A box grown by a share of its sides (2 px or more) on each side, kept inside a picture of shape (H, W, ...)."""
    x0, y0, x1, y1 = box
    dx, dy = max(share * (x1 - x0), 2), max(share * (y1 - y0), 2)
    return (
        max(int(x0 - dx), 0),
        max(int(y0 - dy), 0),
        min(int(np.ceil(x1 + dx)), shape[1]),
        min(int(np.ceil(y1 + dy)), shape[0]),
    )


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
