"""GrabCut in a window, and an instance's mask from its anchor's box.

    segment_box(view, (12, 40, 88, 130), others)  ->  TrackSeed: the ball's pixels in the box, and its colours

Both work in a window around the instance: the rest of the frame only costs time.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tasks.backends.optical_flow.colour import Appearance, colour_density, colour_histogram
from tasks.backends.optical_flow.frames import View
from tasks.backends.optical_flow.shapes import MIN_AREA_PX, Window, pieces_of, window_around

MIN_SHARE = 0.05  # of the box's area; anything smaller is not what the box was drawn around
STANDS_OUT = 0.6  # mean colour posterior of the box's middle, against its surroundings
NO_RECT = (0, 0, 0, 0)  # cv2.grabCut's rectangle: unused, the labels suffice


@dataclass
class TrackSeed:
    """What the anchor's frame tells about an instance; both walks start from it."""

    mask: np.ndarray  # (h, w) bool
    background_model: np.ndarray  # GrabCut's colour mixtures
    foreground_model: np.ndarray
    density: np.ndarray  # (N_COLOURS,)


def segment_box(view: View, box: tuple[int, int, int, int], others: np.ndarray) -> TrackSeed | None:
    """Segment what stands out in a box: the whole box against its surroundings, or else its middle against the rest.

    others: (h, w) bool, pixels known to be another instance's. None if nothing stands out: the box
    itself would be a wrong mask, and its colours would find wrong pixels in every other frame.
    """
    x0, y0, x1, y1 = box
    window = window_around(box, max(16, max(x1 - x0, y1 - y0) // 2), view.grey.shape)
    inside = np.zeros(view.grey.shape, bool)
    inside[y0:y1, x0:x1] = True
    free = inside & ~others
    for trimap in (_all_of(free), _middle_of(view, box, free, window)):
        mask, models = grabcut(view, trimap, window, (np.zeros((1, 65)), np.zeros((1, 65))), iterations=5)
        if mask.sum() >= max(MIN_AREA_PX, MIN_SHARE * inside.sum()):
            mask = pieces_of(mask, 0.02 * mask.sum())
            return TrackSeed(mask, *models, colour_density(colour_histogram(view.colours[mask])))
    return None


def _all_of(free: np.ndarray) -> np.ndarray:
    """GrabCut labels that expect the instance all over its box."""
    return np.where(free, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)


def _middle_of(view: View, box: tuple[int, int, int, int], free: np.ndarray, window: Window) -> np.ndarray:
    """GrabCut labels that expect it where the box has the colours of its middle: a red ball, small in its box.

    They expect nothing if the surroundings have the same colours as the middle.
    """
    trimap = np.full(free.shape, cv2.GC_BGD, np.uint8)
    middle = free & _ellipse(box, free.shape)
    around = np.zeros_like(free)
    around[window] = ~free[window]
    if not middle.any() or not around.any():
        return trimap
    inner, outer = (colour_density(colour_histogram(view.colours[region])) for region in (middle, around))
    posterior = Appearance(inner, inner).posterior_of_bins(outer)[view.colours]
    if posterior[middle].mean() < STANDS_OUT:
        return trimap
    trimap[free] = cv2.GC_PR_BGD
    trimap[free & (posterior > 0.5)] = cv2.GC_PR_FGD
    trimap[middle & (posterior > 0.5)] = cv2.GC_FGD
    return trimap


def _ellipse(box: tuple[int, int, int, int], shape: tuple[int, ...]) -> np.ndarray:
    """(h, w) bool: an ellipse in the middle of the box, half as wide and high."""
    x0, y0, x1, y1 = box
    ellipse = np.zeros(shape, np.uint8)
    axes = (max(1, (x1 - x0) // 4), max(1, (y1 - y0) // 4))
    cv2.ellipse(ellipse, ((x0 + x1) // 2, (y0 + y1) // 2), axes, 0, 0, 360, 1, cv2.FILLED)
    return ellipse.view(bool)


def grabcut(
    view: View, trimap: np.ndarray, window: Window, models: tuple[np.ndarray, np.ndarray], *, iterations: int = 0
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """GrabCut in a window: (h, w) trimap of GC_* labels -> (h, w) bool mask, and the colour mixtures.

    With `iterations` the mixtures are learnt from scratch; otherwise the given ones are adapted once.
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
