"""Masks as arrays, (H, W) bool: their large pieces, their box, their overlap."""

from __future__ import annotations

import numpy as np

from tasks.backends.optical_flow.shapes import bounds, largest_piece, pieces_of


def without_crumbs(mask: np.ndarray, min_share: float = 0.1) -> np.ndarray:
    """(H, W) bool without pieces smaller than this share of the largest."""
    return pieces_of(mask, min_share * np.count_nonzero(largest_piece(mask)))


def bounding_box(mask: np.ndarray) -> np.ndarray:
    """(4,) float64 px, right and bottom exclusive; zeros if the mask is empty."""
    return np.array(bounds(mask), np.float64)


def mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union; 0 if both are empty."""
    return float(np.count_nonzero(a & b)) / max(int(np.count_nonzero(a | b)), 1)
