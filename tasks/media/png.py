"""Pictures as PNG: exactly the pixels, and the same bytes for the same picture.

decode_png(encode_png(picture))    (H, W, 3) uint8 RGB
"""

from __future__ import annotations

import cv2
import numpy as np


def encode_png(picture: np.ndarray) -> bytes:
    """(H, W, 3) uint8 RGB, exactly."""
    _, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return data.tobytes()


def decode_png(data: bytes) -> np.ndarray:
    """(H, W, 3) uint8 RGB. Raises ValueError for what is no picture."""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise ValueError(f"{len(data)} bytes that are no picture")
    return picture
