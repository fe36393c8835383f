"""The foreground: what moved against the median frame, and what has no colour of a plain background.

    background = BackgroundModel(frames)
    background.view(frames[3], people)  ->  ForegroundView(foregrounds=(<whole figures>, <moving parts>, ...), ...)

A drawn room or a studio has a plain background, a street has none; a hand-held camera has no median frame. Either mask
may be missing, so callers try them in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from tasks.backends.colour.boxes import disc
from tasks.backends.colour.palette import Picture
from tasks.backends.people import PersonBox

MIN_FRAMES_FOR_MEDIAN = 4
MIN_RGB_CHANGE = 26  # of the channel that changes most; compression noise stays below
SHADOW_RATIO, SHADOW_TINT = (0.7, 1.0), 0.08  # a shadow darkens all channels alike, by little
SHADOW_SCALE = 100.0  # ratios as 8-bit numbers
STEADY_CAMERA_SHARE = 0.4  # if more moves at once, the camera moves
BORDER_WIDTH_SHARE = 0.02  # of the short side
MAX_PLAIN_BORDER_BINS = 48  # of 4096 colours, cover the border of a plain picture
BORDER_COVER = 0.95
MIN_BORDER_BIN_SHARE = 0.004  # of the border's pixels
MIN_LAB_DISTANCE = 15.0  # from all of the background's colours
MAX_HOLE_SHARE = 0.02  # of the picture


@dataclass(frozen=True)
class ForegroundView:
    """A frame with everything that is computed before the search."""

    picture: Picture
    moving: np.ndarray | None  # (H, W) bool
    foregrounds: tuple[np.ndarray, ...]  # (H, W) bool each, the most trusted first
    plain: bool  # the first foreground holds whole figures, including those that stand still
    people: tuple[PersonBox, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return self.picture.height, self.picture.width


class BackgroundModel:
    """The background of T frames (T, H, W, 3): their median over time and the few colours of their border."""

    def __init__(self, frames: np.ndarray) -> None:
        self._median = steady_median(frames)
        self._is_foreign = _foreign_colours(frames)

    def view(self, rgb: np.ndarray, people: tuple[PersonBox, ...]) -> ForegroundView:
        """One of the frames, with its foreground and the people detected in it."""
        moving, standing_out = self._moving(rgb), self._standing_out(rgb)
        both = moving & standing_out if moving is not None and standing_out is not None else None
        foregrounds = tuple(mask for mask in (standing_out, both, moving) if mask is not None)
        return ForegroundView(Picture(rgb), moving, foregrounds, standing_out is not None, people)

    def _moving(self, rgb: np.ndarray) -> np.ndarray | None:
        """(H, W) bool: differs from the median by more than a shadow; None if the camera moves or frames are few."""
        return None if self._median is None else _differs(rgb, self._median)

    def _standing_out(self, rgb: np.ndarray) -> np.ndarray | None:
        """(H, W) bool: not a background colour, or enclosed by such pixels; None if the background is not plain."""
        if self._is_foreign is None:
            return None
        r, g, b = (rgb[..., i].astype(np.int32) >> 3 for i in range(3))
        return _without_holes(self._is_foreign[(r << 10) | (g << 5) | b])


def steady_median(frames: np.ndarray) -> np.ndarray | None:
    """(H, W, 3) the median of T frames; None if they are few, or the camera moves."""
    if len(frames) < MIN_FRAMES_FOR_MEDIAN:
        return None
    median = np.sort(frames, axis=0)[len(frames) // 2]
    shares = [_differs(frame, median).mean() for frame in frames]
    return median if max(shares) < STEADY_CAMERA_SHARE else None


def _differs(rgb: np.ndarray, median: np.ndarray) -> np.ndarray:
    """(H, W) bool: another colour, not just a shadow on the same one."""
    moved = _over_channels(cv2.max, cv2.absdiff(rgb, median)) > MIN_RGB_CHANGE
    ratio = cv2.divide(rgb, median, scale=SHADOW_SCALE)  # in a shadow, the ratios of the channels are alike and near 1
    darkest, brightest = _over_channels(cv2.min, ratio), _over_channels(cv2.max, ratio)
    low, high = (SHADOW_SCALE * limit for limit in SHADOW_RATIO)
    shadow = (darkest > low) & (brightest <= high) & (cv2.subtract(brightest, darkest) < SHADOW_SCALE * SHADOW_TINT)
    return moved & ~shadow


def _over_channels(reduce: Callable[[np.ndarray, np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> (H, W); numpy's own reduction over a last axis of three is ten times slower."""
    r, g, b = cv2.split(image)
    return reduce(reduce(r, g), b)


def _foreign_colours(frames: np.ndarray) -> np.ndarray | None:
    """(32768,) bool over 5-bit RGB: is the colour far from every border colour? None if the border has many."""
    background = _border_colours(frames)
    if background is None:
        return None
    cells = np.arange(32768)
    every = _lab(np.stack([cells >> 10, (cells >> 5) & 31, cells & 31], 1) * 8 + 4)
    nearest = np.full(len(every), np.inf, np.float32)
    for colour in background:
        nearest = np.minimum(nearest, np.linalg.norm(every - colour, axis=1))
    return nearest > MIN_LAB_DISTANCE


def _border_colours(frames: np.ndarray) -> np.ndarray | None:
    """(N, 3) CIE Lab: the colours of the frames' borders; None if there are too many for a plain background."""
    band = max(2, round(BORDER_WIDTH_SHARE * min(frames.shape[1:3])))
    strips = (frames[:, :band], frames[:, -band:], frames[:, :, :band], frames[:, :, -band:])
    border = np.concatenate([strip.reshape(-1, 3) for strip in strips]).astype(np.int32) >> 4
    counts = np.bincount((border[:, 0] << 8) | (border[:, 1] << 4) | border[:, 2], minlength=4096)
    order = np.argsort(-counts, kind="stable")
    n_bins = int(np.searchsorted(np.cumsum(counts[order]), BORDER_COVER * len(border))) + 1
    if n_bins > MAX_PLAIN_BORDER_BINS:
        return None
    # A thing that leaves the picture covers a small part of all borders: its colours are too rare for scenery.
    common = order[:n_bins][counts[order[:n_bins]] > MIN_BORDER_BIN_SHARE * len(border)]
    return _lab(np.stack([common >> 8, (common >> 4) & 15, common & 15], 1) * 16 + 8)


def _without_holes(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool with small holes filled, such as a face as pale as the wall."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, disc(3))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(1 - closed, connectivity=4)
    is_hole = stats[:, cv2.CC_STAT_AREA] < MAX_HOLE_SHARE * mask.size
    is_hole[0] = True  # label 0: the mask itself
    return is_hole[labels]


def _lab(rgb: np.ndarray) -> np.ndarray:
    """(N, 3) 0..255 -> (N, 3) CIE Lab."""
    return cv2.cvtColor((rgb[None] / 255).astype(np.float32), cv2.COLOR_RGB2Lab)[0]
