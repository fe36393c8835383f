"""Whether a class is seen because of a box: it is likely in the box's surroundings, and goes when the box is painted over.

    Covering(classifier).measure(rgb, box)  ->  Effect: what the classifier sees with the box, and without it

The surroundings help: a ball of 40 px is a blur by itself and a ball before a man's knee.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from tasks.backends.colour.boxes import expand
from tasks.backends.packaged.things import Classifier

CONTEXTS = (1.3, 1.8, 2.5)  # sides of the squares around a box, in its longer side
COVER_MARGIN = 0.12  # of the box's sides: its soft edge goes, too


class Effect(NamedTuple):
    """What squares around a box show: (N, 1000) probabilities, with it and with it painted over."""

    shown: np.ndarray
    covered: np.ndarray

    def mass(self, classes: np.ndarray) -> float:
        """0..1: how likely one of the classes is; of the two squares that show it best."""
        return float(np.mean(np.sort(self.shown[:, classes].sum(axis=1))[-2:]))

    def left(self, classes: np.ndarray) -> float:
        """0..1: the same without the box, in all squares."""
        return float(self.covered[:, classes].sum(axis=1).mean())


def effect_of(classifier: Classifier, rgb: np.ndarray, box: np.ndarray) -> Effect:
    """rgb (H, W, 3) uint8, box (4,) px."""
    covered = paint_over(rgb, box)
    squares = [square_around(box, context, rgb.shape) for context in CONTEXTS]
    shown, hidden = (classifier([picture[y0:y1, x0:x1] for x0, y0, x1, y1 in squares]) for picture in (rgb, covered))
    return Effect(shown, hidden)


def square_around(box: np.ndarray, context: float, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1: a square around the box's middle, moved into the picture, cut to it where it is larger."""
    height, width = shape[:2]
    side = max(box[2] - box[0], box[3] - box[1], 8.0) * context
    x, y = (box[:2] + box[2:] - side) / 2
    x, y = (float(np.clip(at, 0, max(room - side, 0))) for at, room in ((x, width), (y, height)))
    return int(x), int(y), min(int(np.ceil(x + side)), width), min(int(np.ceil(y + side)), height)


def paint_over(rgb: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The picture with the box filled with the colours around it."""
    x0, y0, x1, y1 = expand(box, COVER_MARGIN, rgb.shape)
    reach = max(x1 - x0, y1 - y0)
    left, top = max(x0 - reach, 0), max(y0 - reach, 0)
    around = rgb[top : y1 + reach, left : x1 + reach].astype(np.float32)
    open_ = np.ones(around.shape[:2], np.float32)
    open_[y0 - top : y1 - top, x0 - left : x1 - left] = 0
    size = (2 * reach + 1, 2 * reach + 1)
    colours = cv2.blur(around * open_[..., None], size, borderType=cv2.BORDER_CONSTANT)
    weights = cv2.blur(open_, size, borderType=cv2.BORDER_CONSTANT)
    filled = colours / np.maximum(weights, 1e-6)[..., None]
    painted = rgb.copy()
    painted[y0:y1, x0:x1] = np.clip(filled[y0 - top : y1 - top, x0 - left : x1 - left], 0, 255).astype(np.uint8)
    return painted
