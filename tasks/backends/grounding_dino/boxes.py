"""A network's output for a frame -> proposals in pixels. Pure array functions.

to_pixels([[0.5, 0.5, 0.2, 0.4]], width=100, height=50)  ->  [[40, 15, 60, 35]]
"""

from __future__ import annotations

import numpy as np

from schemas.grounding import Proposal
from tasks.backends.people import iou_with

# Per frame and class. Far above any J: it bounds the output of an untrained network or a threshold of 0.
MAX_BOXES = 100
MIN_SIDE_PX = 1.0  # a smaller box holds no pixel to verify


def to_pixels(boxes_cxcywh: np.ndarray, width: int, height: int) -> np.ndarray:
    """(N, 4) centre x, centre y, width, height in shares of the frame -> (N, 4) left, top, right, bottom in px,
    clipped to the frame."""
    boxes = np.asarray(boxes_cxcywh, np.float64)
    half = boxes[:, 2:] / 2
    corners = np.hstack([boxes[:, :2] - half, boxes[:, :2] + half])
    return np.clip(corners, 0, 1) * (width, height, width, height)


def suppress(boxes: np.ndarray, scores: np.ndarray, max_iou: float, limit: int) -> list[int]:
    """(N, 4), (N,) -> indices of at most `limit` boxes, best first; none overlaps a better one by more than max_iou.

    Equal scores are ordered by place in the picture: the order of the input does not matter.
    """
    order = np.lexsort((*boxes.T[::-1], -scores))
    kept: list[int] = []
    while len(order) and len(kept) < limit:
        best, order = order[0], order[1:]
        kept.append(int(best))
        order = order[iou_with(boxes[best], boxes[order]) <= max_iou]
    return kept


def proposals_of(frame: int, boxes: np.ndarray, scores: np.ndarray, min_score: float, max_iou: float) -> list[Proposal]:
    """One class's proposals on one frame, best first.

    boxes: (N, 4) px, left, top, right, bottom; scores: (N,) 0..1
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    good = (scores >= min_score) & (sides >= MIN_SIDE_PX).all(axis=1)
    boxes, scores = boxes[good], scores[good]
    return [
        Proposal(frame=frame, box_xyxy=tuple(boxes[i].tolist()), score=float(scores[i]))
        for i in suppress(boxes, scores, max_iou, MAX_BOXES)
    ]
