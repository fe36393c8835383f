"""Frames as JPEG files."""

from __future__ import annotations

import cv2
import numpy as np

from schemas.storage import AnyPath, write_atomic

JPEG_QUALITY = 85


def write_jpeg(path: AnyPath, picture: np.ndarray) -> None:
    """picture: (H, W, 3) uint8 RGB."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    write_atomic(path, data.tobytes())
