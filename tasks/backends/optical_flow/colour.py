"""The colours of an instance: histograms in CIE Lab, one bin per pixel.

    a red ball on grass:  posterior_of_bins(...)[bin of red] = 0.98, [bin of green] = 0.01

Each instance is judged against its own surroundings.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

L_BINS, AB_BINS = 16, 32
N_COLOURS = L_BINS * AB_BINS * AB_BINS
UNSEEN = 5e-5  # background mass given to every colour: an unseen colour is background


def bins_of(rgb: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8 -> (h, w) int32: each pixel's Lab histogram bin, 0..N_COLOURS-1."""
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).astype(np.int32)
    return ((lab[..., 0] >> 4) * AB_BINS + (lab[..., 1] >> 3)) * AB_BINS + (lab[..., 2] >> 3)


def colour_histogram(colours: np.ndarray) -> np.ndarray:
    return np.bincount(colours.ravel(), minlength=N_COLOURS).astype(np.float32)


def colour_density(histogram: np.ndarray) -> np.ndarray:
    """Counts -> (N_COLOURS,) probabilities, blurred by one bin: neighbouring colours are alike."""
    cube = histogram.reshape(L_BINS, AB_BINS, AB_BINS)
    for axis in range(3):
        bins = np.arange(cube.shape[axis])
        below = np.take(cube, np.maximum(bins - 1, 0), axis)
        above = np.take(cube, np.minimum(bins + 1, bins[-1]), axis)
        cube = 0.25 * below + 0.5 * cube + 0.25 * above
    flat = cube.ravel()
    return flat / max(float(flat.sum()), 1.0)


@dataclass
class Appearance:
    """An instance's colours: in the anchor's frame, and recently."""

    anchored: np.ndarray
    recent: np.ndarray

    @property
    def density(self) -> np.ndarray:
        return 0.5 * self.anchored + 0.5 * self.recent

    def learn(self, histogram: np.ndarray) -> None:
        self.recent = 0.9 * self.recent + 0.1 * colour_density(histogram)

    def posterior_of_bins(self, background: np.ndarray) -> np.ndarray:
        """(N_COLOURS,) float32: probability that a pixel of this colour is the instance's, given its surroundings."""
        mine = self.density
        return (mine / (mine + background + UNSEEN)).astype(np.float32)
