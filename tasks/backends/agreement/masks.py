"""Masks as arrays, (H, W) bool: their largest piece, their box, their overlap."""

from __future__ import annotations

import cv2
import numpy as np


def largest_piece(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: the largest connected piece; empty if the mask is."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if len(stats) == 1:
        return mask
    largest: np.ndarray = labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return largest


def bounding_box(mask: np.ndarray) -> np.ndarray:
    """(4,) float64 px, right and bottom exclusive; zeros if the mask is empty."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return np.array([x, y, x + width, y + height], np.float64)


def mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union; 0 if both are empty."""
    return float(np.count_nonzero(a & b)) / max(int(np.count_nonzero(a | b)), 1)
