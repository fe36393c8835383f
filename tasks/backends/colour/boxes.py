"""Boxes as arrays: (4,) float64, left, top, right, bottom in px, right and bottom exclusive.

    enclosing(shirt, trousers)  ->  the box of both
    non_maximum_suppression([a, almost_a, b], [0.7, 0.9, 0.4], limit=8)  ->  [1, 2]

Boxes are in pixels of one picture. Records hold them as tuples: `as_box`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from schemas.candidate import Box
from tasks.backends.people import iou_with

SAME_BOX_IOU = 0.8

PixelBox = tuple[int, int, int, int]  # x0, y0, x1, y1: for slicing


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


def non_maximum_suppression(boxes: Sequence[np.ndarray], scores: Sequence[float], limit: int) -> list[int]:
    """(N, 4), (N,) -> the indices of at most `limit` boxes, best first, none nearly equal to a better one.

    Ties are broken by place: the order of the input does not matter.
    """
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], tuple(boxes[i]))):
        better = np.array([boxes[k] for k in kept], np.float64).reshape(-1, 4)
        if len(kept) < limit and not (iou_with(boxes[i], better) > SAME_BOX_IOU).any():
            kept.append(i)
    return kept
