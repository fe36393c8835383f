"""Binary masks: windows, rims, pieces, outlines, and where an outline covers its colours best. Places are px.

    InstanceShape.of(mask).placed(mask.shape, centre=[80, 45])  ->  the same outline, moved to x 80, y 45
    search_shape(evidence, ball, around=[40, 60], radius=50)    ->  ([71.3, 38.0], 0.86): its middle, how well it fits

All masks are (h, w) bool of the whole frame. An outline may reach beyond the frame; placing it clips it. The search is
for motion that is too fast for the flow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np

MIN_AREA_PX = 8  # fewer visible pixels are noise

Window = tuple[slice, slice]


def bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a mask that is not empty; right and bottom exclusive."""
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    return x, y, x + w, y + h


def window_around(box: tuple[int, int, int, int], margin: int, shape: tuple[int, ...]) -> Window:
    x0, y0, x1, y1 = box
    return (
        slice(max(0, y0 - margin), min(shape[0], y1 + margin)),
        slice(max(0, x0 - margin), min(shape[1], x1 + margin)),
    )


def disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def dilate(mask: np.ndarray, radius: int) -> np.ndarray:
    return _around(mask, radius, lambda part: cv2.dilate(part, disc(radius)))


def erode(mask: np.ndarray, radius: int) -> np.ndarray:
    # Outside the picture counts as mask: an object cut off by the edge has no rim there.
    return _around(mask, radius, lambda part: cv2.erode(part, disc(radius), borderType=cv2.BORDER_REPLICATE))


def _around(mask: np.ndarray, radius: int, morph: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A morphological operation inside the mask's window only: most masks are small in their frame."""
    window = window_around(bounds(mask), radius, mask.shape)
    result = np.zeros_like(mask)
    if mask.any():
        result[window] = morph(np.ascontiguousarray(mask[window]).view(np.uint8)).view(bool)
    return result


def pieces_of(mask: np.ndarray, min_area: float) -> np.ndarray:
    """The connected pieces of a mask that have at least min_area pixels."""
    n, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= min_area
    keep[0] = False
    return keep[labels] if n > 1 else np.zeros_like(mask)


def largest_piece(mask: np.ndarray) -> np.ndarray:
    n, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if n < 2:
        return np.zeros_like(mask)
    return labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))


def mostly_within(mask: np.ndarray, region: np.ndarray) -> np.ndarray:
    """The connected pieces of a mask that lie mostly inside a region; the whole mask if none does."""
    n, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    total = np.bincount(labels.ravel(), minlength=n)
    inside = np.bincount(labels[region], minlength=n)
    keep = 2 * inside > total
    keep[0] = False
    return keep[labels] if keep.any() else mask


def union(masks: Iterable[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """(h, w) bool: where any of the masks is; all False without masks."""
    together = np.zeros(shape, bool)
    for mask in masks:
        together |= mask
    return together


def solidity(mask: np.ndarray) -> float:
    """Area over the area of the convex hull, 0..1; 0 for an empty mask."""
    points = cv2.findNonZero(mask.astype(np.uint8))
    if points is None:
        return 0.0
    hull = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
    return float(len(points) / np.count_nonzero(hull))


def centroid(weights: np.ndarray) -> np.ndarray:
    """(h, w) weights, not all zero -> (x, y) of their mean, px."""
    moments = cv2.moments(weights.astype(np.float32))
    return np.array([moments["m10"], moments["m01"]]) / moments["m00"]


@dataclass
class InstanceShape:
    """An instance's whole outline, as last seen, and where its middle is in the current frame."""

    mask: np.ndarray  # (h, w) bool, cropped
    centre: np.ndarray  # (2,) float: x, y of the crop's middle, px

    @classmethod
    def of(cls, mask: np.ndarray) -> InstanceShape:
        x0, y0, x1, y1 = bounds(mask)
        return cls(mask[y0:y1, x0:x1].copy(), np.array([(x0 + x1) / 2, (y0 + y1) / 2]))

    @property
    def area(self) -> int:
        return int(np.count_nonzero(self.mask))

    @property
    def radius(self) -> float:
        """Half of the longer side, px."""
        return max(self.mask.shape) / 2

    def placed(self, shape: tuple[int, int], centre: np.ndarray | None = None) -> np.ndarray:
        """(h, w) bool: the outline in an empty frame of this shape, clipped to it."""
        height, width = self.mask.shape
        at = self.centre if centre is None else centre
        left, top = round(float(at[0]) - width / 2), round(float(at[1]) - height / 2)
        frame = np.zeros(shape, bool)
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + width, shape[1]), min(top + height, shape[0])
        if x0 < x1 and y0 < y1:
            frame[y0:y1, x0:x1] = self.mask[y0 - top : y1 - top, x0 - left : x1 - left]
        return frame


def colour_fit(posterior: np.ndarray, mask: np.ndarray) -> float:
    """How well a mask fits the colours, -1..1: mean posterior inside less that of a rim around it."""
    if not mask.any():
        return -1.0
    width = int(np.clip(0.15 * np.sqrt(mask.sum()), 2, 12))
    window = window_around(bounds(mask), width + 1, mask.shape)
    inside, colour = mask[window], posterior[window]
    rim = dilate(inside, width) & ~inside
    return float(colour[inside].mean() - (colour[rim].mean() if rim.any() else 0.0))


def search_shape(
    evidence: np.ndarray, shape: InstanceShape, around: np.ndarray, radius: float
) -> tuple[np.ndarray, float]:
    """The place within radius px of `around` where the shape best covers the evidence: (x, y) and its fit, -1..1."""
    scale = min(1.0, 14 / max(shape.mask.shape))
    reach = round(radius + shape.radius)
    x, y = (int(v) for v in np.round(around))
    window = window_around((x, y, x + 1, y + 1), reach, evidence.shape)
    region = evidence[window]
    if not region.size or not region.any():
        return around, -1.0
    small = cv2.resize(region, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    fits = cv2.filter2D(small, -1, shape_kernel(shape.mask, scale), borderType=cv2.BORDER_CONSTANT)
    rows, columns = np.ogrid[: small.shape[0], : small.shape[1]]
    px = (columns + 0.5) / scale + window[1].start
    py = (rows + 0.5) / scale + window[0].start
    distance = np.hypot(px - around[0], py - around[1])
    fits = np.where(distance <= radius, fits, -1.0)
    row, column = np.unravel_index(np.argmax(fits - 0.2 * distance / radius), fits.shape)
    centre = np.array([px[0, column], py[row, 0]])
    return centred(evidence, shape, centre), float(fits[row, column])


def shape_kernel(mask: np.ndarray, scale: float) -> np.ndarray:
    """Correlation kernel, odd-sized: mean inside the shape less mean in a rim around it."""
    height, width = (max(1, round(side * scale)) for side in mask.shape)
    inside = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    inside = cv2.copyMakeBorder(inside, 3, 3 + (height + 1) % 2, 3, 3 + (width + 1) % 2, cv2.BORDER_CONSTANT)
    rim = np.clip(cv2.dilate(inside, disc(2)) - inside, 0, 1)
    return inside / max(float(inside.sum()), 1e-6) - rim / max(float(rim.sum()), 1e-6)


def centred(evidence: np.ndarray, shape: InstanceShape, centre: np.ndarray) -> np.ndarray:
    """Mean shift: move the shape onto the evidence that it covers."""
    for _ in range(3):
        weights = evidence * shape.placed(evidence.shape, centre)
        if weights.sum() < MIN_AREA_PX:
            break
        outline = centroid(shape.placed(evidence.shape, centre))
        centre = centre + centroid(weights) - outline
    return centre
