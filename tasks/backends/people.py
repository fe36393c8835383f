"""People in a picture: the HOG detector whose weights ship with OpenCV 4 (5.0 dropped it).

    PeopleDetector().detect(rgb)  ->  [PersonBox(box_xyxy=(212.0, 31.5, 291.0, 338.2), score=0.8)]

It was trained on standing pedestrians and also fires on doors and cups. Its boxes are only proposals: colours or
another check must confirm them.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

import cv2
import numpy as np

from schemas.candidate import Box

LONG_SIDE_PX = 400  # a person in a caption fills 100 px or more of it
MARGIN_SHARE = 0.15  # of the long side: windows need room around a body at the picture's edge
PYRAMID_STEP = 1.06
WINDOW_PX, WINDOW_STRIDE_PX = (64, 128), (8, 8)
MERGE_IOU = 0.4
CERTAIN_MARGIN = 2.0  # SVM margin from which the score is 1

# A training window holds a body about 36 px wide and 98 px high in its middle.
BODY_WIDTH_SHARE, BODY_HEIGHT_SHARE = 36 / WINDOW_PX[0], 98 / WINDOW_PX[1]


class PersonBox(NamedTuple):
    """A person's box in pixels of the picture it was found in, right and bottom exclusive."""

    box_xyxy: Box
    score: float  # 0..1, from the SVM's margin


class PeopleDetector:
    """HOG + linear SVM over an image pyramid; about 40 ms a frame."""

    def __init__(self) -> None:
        # OpenCV does not promise that descriptors are thread-safe.
        self._local = threading.local()

    def detect(self, rgb: np.ndarray) -> list[PersonBox]:
        """rgb (H, W, 3) uint8 -> people, best first. The same picture gives the same boxes in any thread."""
        height, width = rgb.shape[:2]
        scale = LONG_SIDE_PX / max(height, width)
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        margin = round(LONG_SIDE_PX * MARGIN_SHARE)
        padded = cv2.copyMakeBorder(small, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
        windows, margins = _detect_windows(self._descriptor(), padded)
        if len(windows) == 0:
            return []
        bodies = _bodies(windows) - margin
        factor = np.array([width / small.shape[1], height / small.shape[0]] * 2)
        merged = merge_boxes(bodies * factor, margins)
        return [_inside(box, score, width, height) for box, score in merged]

    def _descriptor(self) -> cv2.HOGDescriptor:
        if not hasattr(self._local, "hog"):
            self._local.hog = cv2.HOGDescriptor()
            self._local.hog.setSVMDetector(cv2.HOGDescriptor.getDefaultPeopleDetector())
        return self._local.hog


def _detect_windows(hog: cv2.HOGDescriptor, rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) uint8 -> (N, 4) windows x, y, w, h in its pixels, and their (N,) SVM margins.

    HOGDescriptor.detectMultiScale is not used: its threads append windows and margins under separate locks, so in one
    of a few hundred calls two scales swap their margins.
    """
    height, width = rgb.shape[:2]
    windows: list[tuple[int, int, int, int]] = []
    margins: list[float] = []
    scale, size = 1.0, (width, height)
    while size[0] >= WINDOW_PX[0] and size[1] >= WINDOW_PX[1]:
        level = cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR_EXACT)
        points, weights = hog.detect(level, hitThreshold=0.0, winStride=WINDOW_STRIDE_PX)
        window = (round(WINDOW_PX[0] * scale), round(WINDOW_PX[1] * scale))
        windows += [(round(x * scale), round(y * scale), *window) for x, y in np.reshape(points, (-1, 2))]
        margins += [float(weight) for weight in np.ravel(weights)]
        scale *= PYRAMID_STEP
        size = (round(width / scale), round(height / scale))
    return np.array(windows, np.float64).reshape(-1, 4), np.array(margins)


def _bodies(windows: np.ndarray) -> np.ndarray:
    """(N, 4) windows x, y, w, h -> (N, 4) boxes x0, y0, x1, y1 of the bodies inside them."""
    centre = windows[:, :2] + windows[:, 2:] / 2
    half = windows[:, 2:] * (BODY_WIDTH_SHARE / 2, BODY_HEIGHT_SHARE / 2)
    return np.hstack([centre - half, centre + half])


def merge_boxes(boxes: np.ndarray, margins: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """(N, 4) boxes, (N,) SVM margins -> groups around the strongest boxes: (margin-weighted mean box, best margin).

    A lone hit counts half as much as one that several scales and places agree on.
    """
    order = np.lexsort((*boxes.T[::-1], -margins))  # ties are broken by place, not by the order of finding
    boxes, margins = boxes[order], margins[order]
    free = np.ones(len(boxes), bool)
    groups = []
    for i in range(len(boxes)):
        if not free[i]:
            continue
        group = free & (iou_with(boxes[i], boxes) >= MERGE_IOU)
        free &= ~group
        mean = np.average(boxes[group], axis=0, weights=margins[group] + 1e-3)
        groups.append((mean, float(margins[i]) * (1.0 if group.sum() > 1 else 0.5)))
    return sorted(groups, key=lambda group: -group[1])


def iou_with(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(4,) and (N, 4) boxes -> (N,) intersection over union."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return shared / np.maximum(np.prod(box[2:] - box[:2]) + areas - shared, 1e-9)


def non_maximum_suppression(boxes: np.ndarray, scores: np.ndarray, max_iou: float, limit: int) -> list[int]:
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


def _inside(box: np.ndarray, margin: float, width: int, height: int) -> PersonBox:
    x0, y0, x1, y1 = (float(v) for v in np.clip(box, 0, (width, height, width, height)))
    return PersonBox((x0, y0, x1, y1), min(margin / CERTAIN_MARGIN, 1.0))
