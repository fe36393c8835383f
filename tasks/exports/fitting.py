"""A clip -> so many frames, at a rate and of a size: the same frames and pixels of its pictures and its masks.

fitting = fit(240, Fraction(24), 1280, 720, to_frames=81, to_fps=16, to_width=832, to_height=480)
fitting.frames              (60, 62, 63, ...): 81 of the clip's frames, from its middle
fitting.box                 (16, 0, 1264, 720): the middle of its picture, of 832:480
fitting.picture(frame)      (480, 832, 3) uint8
fitting.mask(mask)          (480, 832) bool: a pixel is the instance's if at least half of it is
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np

from schemas.outcome import RowRejected


@dataclass(frozen=True)
class Fitting:
    """Which part of a clip is shown, and how large."""

    frames: tuple[int, ...]  # of the clip, one for each that is shown; they repeat where the clip has fewer a second
    box: tuple[int, int, int, int]  # of its picture, px: left, top, right, bottom
    size: tuple[int, int]  # (width, height) in px of what is shown

    def picture(self, frame: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 of the clip's size -> (height, width, 3) uint8."""
        return self._scaled(frame)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """(H, W) bool of the clip's size -> (height, width) bool."""
        return self._scaled(mask.astype(np.float32)) >= 0.5

    def _scaled(self, picture: np.ndarray) -> np.ndarray:
        left, top, right, bottom = self.box
        smaller = right - left >= self.size[0]
        # The same way for pictures and masks, so that an edge is where it is seen.
        return cv2.resize(
            np.ascontiguousarray(picture[top:bottom, left:right]),
            self.size,
            interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR,
        )


def fit(
    n_frames: int, fps: Fraction, width: int, height: int, *, to_frames: int, to_fps: int, to_width: int, to_height: int
) -> Fitting:
    """The middle of a clip, in time and in its picture; nothing is stretched or padded.

    Frame k is the clip's frame that is shown at k / to_fps s of that part. Raises RowRejected("too_short").
    """
    steps = [int(k * fps / to_fps) for k in range(to_frames)]
    if (spare := n_frames - 1 - steps[-1]) < 0:
        raise RowRejected(
            "too_short", f"{n_frames} frames at {float(fps):g} frames/s; {to_frames} at {to_fps} need {steps[-1] + 1}"
        )
    scale = min(Fraction(width, to_width), Fraction(height, to_height))
    shown_width, shown_height = round(to_width * scale), round(to_height * scale)
    left, top = (width - shown_width) // 2, (height - shown_height) // 2
    frames = tuple(spare // 2 + step for step in steps)
    return Fitting(frames, (left, top, left + shown_width, top + shown_height), (to_width, to_height))
