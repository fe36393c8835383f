"""A clip's frames scaled down for propagation, and its masks scaled back.

    ScaledClip(frames).view(3)          frame 3, 1280x720  ->  854x480, with its colours indexed
    ScaledClip(frames).full_size(rle)   a mask of 854x480  ->  1280x720

Views are made one by one: all together would take ten times the memory of the frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from schemas.mask_track import decode_mask, encode_mask
from tasks.backends.optical_flow.colour import bins_of, colour_histogram

SHORT_SIDE_PX = 480
"""Frames with a longer short side are scaled to this; masks are returned at the clip's own size."""


@dataclass
class View:
    """One frame at the working scale, with the data that all instances share."""

    rgb: np.ndarray  # (h, w, 3) uint8
    smooth: np.ndarray  # the same, smoothed against pixel noise
    grey: np.ndarray  # (h, w) uint8
    colours: np.ndarray  # (h, w) int32: each pixel's Lab histogram bin
    histogram: np.ndarray  # (N_COLOURS,) pixel counts

    @classmethod
    def of(cls, rgb: np.ndarray) -> View:
        colours = bins_of(rgb)
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        return cls(rgb, smoothed(rgb), grey, colours, colour_histogram(colours))


class ScaledClip:
    """A clip's frames, scaled one by one to the working size, and its masks scaled back."""

    def __init__(self, frames: np.ndarray) -> None:
        self._frames = frames
        self.n_frames, self.full_height, self.full_width = frames.shape[:3]
        scale = min(1.0, SHORT_SIDE_PX / min(self.full_height, self.full_width))
        self.height = max(1, round(self.full_height * scale))
        self.width = max(1, round(self.full_width * scale))

    @property
    def _scaled(self) -> bool:
        return (self.height, self.width) != (self.full_height, self.full_width)

    def view(self, t: int) -> View:
        return View.of(self.picture(t))

    def picture(self, t: int) -> np.ndarray:
        """Frame t, (h, w, 3) uint8."""
        frame = np.ascontiguousarray(self._frames[t])
        if self._scaled:
            frame = cv2.resize(frame, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return frame

    def scale_box(self, box: Iterable[float]) -> tuple[int, int, int, int]:
        """A box of the full-size frame at the working scale, clipped to it, at least one pixel wide and high."""
        x0, y0, x1, y1 = box
        sx, sy = self.width / self.full_width, self.height / self.full_height
        left = int(np.clip(np.floor(x0 * sx), 0, self.width - 1))
        top = int(np.clip(np.floor(y0 * sy), 0, self.height - 1))
        right = int(np.clip(np.ceil(x1 * sx), left + 1, self.width))
        bottom = int(np.clip(np.ceil(y1 * sy), top + 1, self.height))
        return left, top, right, bottom

    def full_size(self, counts: str) -> str:
        """A mask's run lengths at the working scale -> at the clip's own size."""
        if not self._scaled:
            return counts
        mask = decode_mask(counts, self.height, self.width).astype(np.float32)
        # Linear: disjoint masks stay disjoint, as their weights add up to at most one.
        grown = cv2.resize(mask, (self.full_width, self.full_height), interpolation=cv2.INTER_LINEAR)
        return encode_mask(grown > 0.5)


def smoothed(rgb: np.ndarray) -> np.ndarray:
    """A picture smoothed against pixel noise."""
    return cv2.blur(rgb, (3, 3))


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(h, w) uint8: the largest difference of a channel."""
    red, green, blue = cv2.split(cv2.absdiff(a, b))  # far faster than a maximum over the last axis
    return cv2.max(cv2.max(red, green), blue)
