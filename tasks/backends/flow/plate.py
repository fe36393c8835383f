"""The clean plate: what a still camera sees behind the instances, wherever it has been seen.

    a man steps aside: the grass that he uncovers looks as it did before he stood there, so it is not his

Colours alone cannot tell a brown arm from the brown trunk behind it; where the trunk has been seen without
the arm, the plate can. The plate is forgotten when the camera moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tasks.backends.flow.colour import bins_of
from tasks.backends.flow.frames import Clip, View, difference
from tasks.backends.flow.shapes import disc

STILL_PX = 1.0  # the camera may have drifted so far in all before what was learnt is no longer in its place
SAME, OTHER = 7, 24  # 8-bit levels of smoothed pictures: up to SAME is the plate, from OTHER on is not
N_SAMPLES, STABLE = 9, 0.6  # frames sampled to begin with; share of them that must agree at a place
SLEW = 3  # levels a frame: slow, so that what stands a moment in the way is not learnt
MARGIN_PX = 12  # around an instance: a shoe or a hand that its mask has missed is not background
FOR_PLATE, FOR_OTHER = 0.1, 2.0  # what the plate, and something before it, do to the odds of being an instance's


@dataclass
class Scenery:
    """A frame compared with the plate; neither where the plate is not known, or where it is hard to tell."""

    plate: np.ndarray  # (h, w) bool: here the frame shows the plate
    other: np.ndarray  # (h, w) bool: here it shows something before it

    def weigh(self, posterior: np.ndarray) -> np.ndarray:
        """(h, w) float32, 0..1: an instance's colour posterior, with what the plate says."""
        odds = np.ones_like(posterior)
        odds[self.plate] = FOR_PLATE
        odds[self.other] = FOR_OTHER
        odds *= posterior
        return odds / (odds + 1 - posterior)


class Plate:
    """What is behind the instances; unknown where one of them has been in all frames so far."""

    def __init__(self, clip: Clip) -> None:
        """Begin with what shows at a place in most of some frames from all over the clip."""
        frames = np.linspace(0, clip.n_frames - 1, min(N_SAMPLES, clip.n_frames)).round().astype(int)
        samples = np.stack([clip.view(int(t)).smooth for t in frames])
        self._rgb = np.sort(samples, axis=0)[len(samples) // 2]
        n_same = np.sum([difference(sample, self._rgb) <= SAME for sample in samples], axis=0)
        self._known = n_same >= STABLE * len(samples)
        self._drift = np.zeros(2)  # px, the camera's since the plate was begun

    @property
    def colours(self) -> np.ndarray:
        """(h, w) int32: each pixel's colour bin."""
        return bins_of(self._rgb)

    def doubt(self, mask: np.ndarray) -> None:
        """Forget what may have been an instance that stood there; (h, w) bool."""
        self._known &= ~mask

    def follow(self, camera: np.ndarray) -> None:
        """Take note of the camera's motion (dx, dy) since the frame before, px."""
        self._drift = self._drift + camera
        if np.hypot(*self._drift) > STILL_PX:
            self._known[:] = False
            self._drift = np.zeros(2)

    def learn(self, view: View, moving: np.ndarray, instances: np.ndarray) -> None:
        """Learn a frame but for what moves in it, and for the instances with a margin; (h, w) bool both."""
        square = np.ones((2 * MARGIN_PX + 1, 2 * MARGIN_PX + 1), np.uint8)  # separable, a disc is not
        free = ~(cv2.dilate(instances.view(np.uint8), square).view(bool) | moving)
        slew = np.full_like(view.smooth, SLEW)
        up = cv2.min(cv2.subtract(view.smooth, self._rgb), slew)
        down = cv2.min(cv2.subtract(self._rgb, view.smooth), slew)
        cv2.copyTo(cv2.subtract(cv2.add(self._rgb, up), down), free.view(np.uint8), self._rgb)
        cv2.copyTo(view.smooth, (free & ~self._known).view(np.uint8), self._rgb)
        self._known |= free

    def compare(self, view: View) -> Scenery:
        off = difference(view.smooth, self._rgb)
        same = ((off <= SAME) & self._known).view(np.uint8)
        # Single pixels agree by chance; the background comes in patches.
        return Scenery(cv2.morphologyEx(same, cv2.MORPH_OPEN, disc(1)).view(bool), (off >= OTHER) & self._known)
