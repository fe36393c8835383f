"""MediaPipe's single-shot detectors: a grid of cells, each with a box and points relative to its centre.

    detect = CellDetector(POSE_DETECTION, size_px=224, levels=((8, 2), (16, 2), (32, 6)), signed=True)
    detect(rgb)  ->  [Cells(score=0.93, box_xyxy=(118, 41, 203, 281), points=(4, 2)), ...], best first

Sources: BlazeFace, BlazePalm and BlazePose (Bazarevsky et al., 2019 and 2020); MediaPipe's graphs for sizes and grids.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from tasks.backends.packaged.files import PackagedFile
from tasks.backends.packaged.litert import LiteRt
from tasks.backends.people import iou_with

MIN_SCORE = 0.5
SAME_BOX_IOU = 0.3


class Cells(NamedTuple):
    """What neighbouring cells agree on: their mean, weighted by score."""

    score: float  # 0..1, of the best one
    box_xyxy: np.ndarray  # (4,) px of the picture, may reach beyond it
    points: np.ndarray  # (N, 2) px


class CellDetector:
    """A detector that sees the picture in a square of size_px. Loads at the first call.

    levels: (stride in px, boxes a cell) of each grid, in the order of the network's output
    signed: whether pixels go from -1 to 1 rather than from 0 to 1
    """

    def __init__(
        self, file: PackagedFile, size_px: int, levels: tuple[tuple[int, int], ...], *, signed: bool = False
    ) -> None:
        self.identity = file.identity
        self._network, self._size_px, self._signed = LiteRt(file), size_px, signed
        self._centres = _centres(size_px, levels)

    def __call__(self, rgb: np.ndarray) -> list[Cells]:
        """rgb (H, W, 3) uint8 -> what is seen, best first."""
        height, width = rgb.shape[:2]
        side = max(height, width)
        x, y = (side - width) // 2, (side - height) // 2
        square = cv2.copyMakeBorder(rgb, y, side - height - y, x, side - width - x, cv2.BORDER_CONSTANT)
        small = cv2.resize(square, (self._size_px, self._size_px), interpolation=cv2.INTER_AREA)
        pixels = small[None].astype(np.float32) / (127.5 if self._signed else 255) - self._signed
        logits, raw = sorted(self._network(pixels).values(), key=lambda out: out.shape[-1])
        scores = sigmoid(logits[0, :, 0])
        kept = np.flatnonzero(scores > MIN_SCORE)
        kept = kept[np.argsort(-scores[kept], kind="stable")]
        told, centres = raw[0][kept] / self._size_px, self._centres[kept]
        middles, halves = told[:, :2] + centres, told[:, 2:4] / 2
        boxes = np.hstack([middles - halves, middles + halves]) * side - (x, y, x, y)
        points = (told[:, 4:].reshape(len(kept), told.shape[1] // 2 - 2, 2) + centres[:, None]) * side - (x, y)
        return _merged(boxes, points, scores[kept])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -80, 80, dtype=np.float32)))


def _centres(size_px: int, levels: tuple[tuple[int, int], ...]) -> np.ndarray:
    """(N, 2): the cells' centres in 0..1, one for each of a cell's boxes."""
    centres = []
    for stride, per_cell in levels:
        n = size_px // stride
        y, x = np.mgrid[:n, :n]
        centres.append(np.repeat((np.stack([x, y], -1).reshape(-1, 2) + 0.5) / n, per_cell, axis=0))
    return np.concatenate(centres)


def _merged(boxes: np.ndarray, points: np.ndarray, scores: np.ndarray) -> list[Cells]:
    """(N, 4) boxes, (N, P, 2) points, (N,) scores, best first -> one for each group of boxes."""
    free, merged = np.ones(len(boxes), bool), []
    for i in range(len(boxes)):
        if not free[i]:
            continue
        group = free & (iou_with(boxes[i], boxes) > SAME_BOX_IOU)
        group[i] = True
        free &= ~group
        box, mean_points = (np.average(values[group], axis=0, weights=scores[group]) for values in (boxes, points))
        merged.append(Cells(float(scores[i]), box, mean_points))
    return merged
