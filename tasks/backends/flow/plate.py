"""The clean plate: what a still camera sees behind the instances, wherever it has been seen.

    a man steps aside:  plate.shows(view) at the grass that he uncovers = the plate's grass, so it is not his

Colours alone cannot tell a brown arm from a brown trunk behind it; where the trunk has been seen without
the arm, the plate can. It is forgotten when the camera moves.
"""

from __future__ import annotations

import cv2
import numpy as np

from tasks.backends.flow.frames import View, difference
from tasks.backends.flow.shapes import disc

STILL_PX = 1.0  # the camera may have drifted so far in all before what was learnt is no longer in its place
SAME, OTHER = 7, 24  # 8-bit levels of a smoothed picture: up to SAME is the plate, from OTHER on is not
SLEW = 3  # levels a frame: slow, so that what passes by, or stands a moment, is not learnt
FOR_PLATE, FOR_INSTANCE = 0.1, 3.0  # the odds that a pixel is an instance's change so, when it is the plate or is not


class Plate:
    """What is behind the instances; unknown where an instance has been in all frames so far."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._rgb = np.zeros((*shape, 3), np.uint8)
        self._known = np.zeros(shape, bool)
        self._drift = np.zeros(2)

    def follow(self, camera: np.ndarray) -> None:
        """Take note of the camera's motion (dx, dy) since the frame before, px."""
        self._drift = self._drift + camera
        if np.hypot(*self._drift) > STILL_PX:
            self._known[:] = False
            self._drift = np.zeros(2)

    def learn(self, view: View, instances: np.ndarray) -> None:
        """Learn a frame but for the pixels of the instances, (h, w) bool, with a margin."""
        smooth = _smooth(view)
        step = np.full_like(smooth, SLEW)
        up = cv2.min(cv2.subtract(smooth, self._rgb), step)
        down = cv2.min(cv2.subtract(self._rgb, smooth), step)
        slewed = cv2.subtract(cv2.add(self._rgb, up), down)
        free = (~instances).view(np.uint8)
        cv2.copyTo(slewed, free, self._rgb)
        cv2.copyTo(smooth, free & (~self._known).view(np.uint8), self._rgb)
        self._known |= ~instances

    def compare(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """(h, w) bool each: where the view shows the plate, and where it shows something else."""
        off = difference(_smooth(view), self._rgb)
        same = ((off <= SAME) & self._known).view(np.uint8)
        # Single pixels agree by chance; background comes in patches.
        same = cv2.morphologyEx(same, cv2.MORPH_OPEN, disc(1)).view(bool)
        return same, (off >= OTHER) & self._known


def _smooth(view: View) -> np.ndarray:
    return cv2.blur(view.rgb, (3, 3))
