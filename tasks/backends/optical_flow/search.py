"""Find where a known shape covers its colours best, for motion that is too fast for the flow.

    search_shape(evidence, ball, around=[40, 60], radius=50)  ->  ([71.3, 38.0], 0.86): the middle and how well it fits

Places are px at the working scale.
"""

from __future__ import annotations

import cv2
import numpy as np

from tasks.backends.optical_flow.shapes import MIN_AREA_PX, InstanceShape, bounds, centroid, dilate, disc, window_around


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
