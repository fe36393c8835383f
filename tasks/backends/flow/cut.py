"""GrabCut in a window, and an instance's mask from its anchor's box.

segment_box(view, (12, 40, 88, 130), others)  ->  Seed: the ball's pixels in the box, and its colours
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tasks.backends.flow.colour import colour_density, colour_histogram
from tasks.backends.flow.frames import View
from tasks.backends.flow.shapes import MIN_AREA_PX, Window, pieces_of, window_around

NO_RECT = (0, 0, 0, 0)  # cv2.grabCut's rectangle: unused, the labels say it all


@dataclass
class Seed:
    """What the anchor's frame says of an instance; both walks start from it."""

    mask: np.ndarray  # (h, w) bool
    background_model: np.ndarray  # GrabCut's colour mixtures
    foreground_model: np.ndarray
    density: np.ndarray  # (COLOURS,)


def segment_box(view: View, box: tuple[int, int, int, int], others: np.ndarray) -> Seed:
    """GrabCut inside a box. `others` (h, w) bool: pixels known to be another instance's."""
    x0, y0, x1, y1 = box
    inside = np.zeros(view.grey.shape, bool)
    inside[y0:y1, x0:x1] = True
    window = window_around(box, max(16, max(x1 - x0, y1 - y0) // 2), view.grey.shape)
    trimap = np.where(inside & ~others, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    mask, models = grabcut(view, trimap, window, (np.zeros((1, 65)), np.zeros((1, 65))), iterations=5)
    mask &= inside & ~others
    if mask.sum() < max(MIN_AREA_PX, 0.05 * inside.sum()):
        # Nothing in the box stands out: the verified box itself is the best that is known.
        mask = inside & ~others if (inside & ~others).any() else inside
    mask = pieces_of(mask, 0.02 * mask.sum())
    return Seed(mask, *models, colour_density(colour_histogram(view.colours[mask])))


def grabcut(
    view: View, trimap: np.ndarray, window: Window, models: tuple[np.ndarray, np.ndarray], *, iterations: int = 0
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """GrabCut in a window: (h, w) trimap of GC_* labels -> (h, w) bool mask, and the colour mixtures.

    With `iterations` the mixtures are learnt from scratch; without, those given are adapted once.
    """
    labels = np.ascontiguousarray(trimap[window])
    background, foreground = (m.copy() for m in models)
    certain = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if certain.any() and not certain.all() and np.isin(labels, (cv2.GC_PR_FGD, cv2.GC_PR_BGD)).any():
        mode = cv2.GC_INIT_WITH_MASK if iterations else cv2.GC_EVAL
        cv2.setRNGSeed(0)  # per thread, so per call
        cv2.grabCut(
            np.ascontiguousarray(view.rgb[window]), labels, NO_RECT, background, foreground, max(1, iterations), mode
        )
    mask = np.zeros(trimap.shape, bool)
    mask[window] = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    return mask, (background, foreground)
