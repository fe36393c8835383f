"""The clean plate: the background behind the instances, where a still camera has seen it.

    a man steps aside: the grass that he uncovers looks as before he stood there, so it is not part of him

Colours alone cannot separate a brown arm from the brown trunk behind it; the plate can, where the trunk was seen
without the arm. A moving camera resets the plate.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tasks.backends.optical_flow.colour import bins_of
from tasks.backends.optical_flow.frames import ScaledClip, View, difference, smoothed
from tasks.backends.optical_flow.shapes import disc

STILL_PX = 1.0  # drift of the camera, in total, that resets the plate
SAME, OTHER = 7, 24  # 8-bit levels of smoothed pictures: up to SAME it is the plate, from OTHER on it is not
N_SAMPLES, STABLE = 9, 0.6  # frames sampled for the first guess; share that must agree at a pixel
UNLIKE = 0.5  # colour posterior below which a guessed plate shows no instance
SLEW = 3  # levels a frame: slow, so that a passing thing is not learnt
MARGIN_PX = 12  # around an instance: a shoe or hand that its mask misses is not learnt as background
FOR_PLATE, FOR_OTHER = 0.1, 2.0  # factors on a pixel's odds of being an instance's: if it shows the plate, if not


@dataclass
class Scenery:
    """A frame compared with the plate; both False where the plate is unknown or the difference is unclear."""

    plate: np.ndarray  # (h, w) bool: here the frame shows the plate
    other: np.ndarray  # (h, w) bool: here it shows something else

    def weigh(self, posterior: np.ndarray) -> np.ndarray:
        """(h, w) float32, 0..1: an instance's colour posterior, weighted by the plate."""
        if not (self.plate.any() or self.other.any()):
            return posterior
        odds = np.ones_like(posterior)
        odds[self.plate] = FOR_PLATE
        odds[self.other] = FOR_OTHER
        odds *= posterior
        return odds / (odds + 1 - posterior)


@dataclass
class Guess:
    """The most frequent colour of each pixel; it may belong to an instance that stands still."""

    rgb: np.ndarray  # (h, w, 3) uint8
    stable: np.ndarray  # (h, w) bool: enough frames agree

    @classmethod
    def of(cls, clip: ScaledClip) -> Guess:
        frames = np.linspace(0, clip.n_frames - 1, min(N_SAMPLES, clip.n_frames)).round().astype(int)
        samples = np.stack([smoothed(clip.picture(int(t))) for t in frames])
        median = np.sort(samples, axis=0)[len(samples) // 2]
        n_same = np.sum([difference(sample, median) <= SAME for sample in samples], axis=0)
        return cls(median, n_same >= STABLE * len(samples))


class Plate:
    """The background behind the instances: a guess at first, certain where the walk saw it without them.

    Only certain pixels count against an instance; a difference from the guess may count for it.
    """

    def __init__(self, guess: Guess) -> None:
        self._rgb = guess.rgb.copy()
        self._guessed = guess.stable.copy()
        self._seen = np.zeros_like(guess.stable)
        self._drift = np.zeros(2)  # px: the camera's drift since the plate was reset

    @property
    def colours(self) -> np.ndarray:
        """(h, w) int32: each pixel's colour bin."""
        return bins_of(self._rgb)

    def doubt(self, instance: np.ndarray, posterior: np.ndarray) -> None:
        """A new instance starts: forget the pixels where it may have been learnt as background.

        instance:  (h, w) bool, its mask
        posterior: (h, w) float32 in 0..1, how likely the plate's colours are that instance's
        """
        self._guessed &= posterior < UNLIKE
        self._seen &= (posterior < UNLIKE) & ~_with_margin(instance)

    def follow(self, camera: np.ndarray) -> None:
        """Add the camera's motion (dx, dy) since the previous frame, px."""
        self._drift = self._drift + camera
        if np.hypot(*self._drift) > STILL_PX:
            self._guessed[:] = self._seen[:] = False
            self._drift = np.zeros(2)

    def learn(self, view: View, moving: np.ndarray, instances: np.ndarray) -> None:
        """Learn a frame, except moving pixels and the instances with a margin. moving, instances: (h, w) bool."""
        free = ~(_with_margin(instances) | moving)
        # Far from the guess, the pixel may be part of an instance that its mask misses.
        at_first_sight = free & ~self._seen & ~(self._guessed & (difference(view.smooth, self._rgb) >= OTHER))
        slew = np.full_like(view.smooth, SLEW)
        up = cv2.min(cv2.subtract(view.smooth, self._rgb), slew)
        down = cv2.min(cv2.subtract(self._rgb, view.smooth), slew)
        cv2.copyTo(cv2.subtract(cv2.add(self._rgb, up), down), free.view(np.uint8), self._rgb)
        cv2.copyTo(view.smooth, at_first_sight.view(np.uint8), self._rgb)
        self._seen |= free

    def compare(self, view: View) -> Scenery:
        """Where the view shows the plate, and where something else; a shadow on the plate is neither."""
        off = difference(view.smooth, self._rgb)
        same = ((off <= SAME) & self._seen).view(np.uint8)
        # Single pixels agree by chance; background comes in patches.
        plate = cv2.morphologyEx(same, cv2.MORPH_OPEN, disc(1)).view(bool)
        return Scenery(plate, (off >= OTHER) & (self._seen | self._guessed) & ~self._shadowed(view))

    def _shadowed(self, view: View) -> np.ndarray:
        """(h, w) bool: darker than the plate, by at most half and equally in all channels."""
        red, green, blue = cv2.split(cv2.subtract(self._rgb, view.smooth))
        most, least = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
        grey = cv2.cvtColor(self._rgb, cv2.COLOR_RGB2GRAY)
        return (least > 0) & (most < grey // 2) & (cv2.subtract(most, least) < OTHER)


def _with_margin(mask: np.ndarray) -> np.ndarray:
    square = np.ones((2 * MARGIN_PX + 1, 2 * MARGIN_PX + 1), np.uint8)  # separable and fast; a disc is neither
    return cv2.dilate(mask.view(np.uint8), square).view(bool)
