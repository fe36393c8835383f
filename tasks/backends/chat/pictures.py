"""What a VLM gets to see of frames: JPEG files, a candidate cut out and boxed.

[jpeg(crop_with_context(frame, box)), jpeg(with_box(frame, box))]
"""

from __future__ import annotations

import cv2
import numpy as np

from schemas.candidate import Box
from schemas.outcome import RowFailed

MAX_SIDE_PX = 1024
JPEG_QUALITY = 90
CONTEXT = 0.2  # of the box's width or height, on each side
MIN_CONTEXT_PX = 16  # VLMs refuse pictures smaller than their patch size, about 28 px
BOX_RGB = (255, 0, 0)


def crop_with_context(frame: np.ndarray, box_xyxy: Box) -> np.ndarray:
    """The box's part of an (H, W, 3) frame with a margin, cut at the frame's edges.

    Raises RowFailed for a box that holds no pixel of the frame.
    """
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = _inside(box_xyxy, width, height)
    dx, dy = max(CONTEXT * (x1 - x0), MIN_CONTEXT_PX), max(CONTEXT * (y1 - y0), MIN_CONTEXT_PX)
    x0, y0, x1, y1 = _inside((x0 - dx, y0 - dy, x1 + dx, y1 + dy), width, height)
    return frame[y0:y1, x0:x1]


def with_box(frame: np.ndarray, box_xyxy: Box) -> np.ndarray:
    """A copy of an (H, W, 3) RGB frame with the box drawn just around its pixels."""
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = _inside(box_xyxy, width, height)
    thickness = max(2, round(max(height, width) / 300))
    return cv2.rectangle(frame.copy(), (x0 - 1, y0 - 1), (x1, y1), BOX_RGB, thickness)


def jpeg(picture: np.ndarray) -> bytes:
    """(H, W, 3) uint8 RGB -> JPEG, scaled down to MAX_SIDE_PX; the same picture gives the same bytes."""
    height, width = picture.shape[:2]
    scale = MAX_SIDE_PX / max(height, width)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[
        1
    ]
    return encoded.tobytes()


def _inside(box_xyxy: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """The box in whole pixels, cut at the frame's edges. Raises RowFailed if nothing is left."""
    x0, y0, x1, y1 = box_xyxy
    left, top = max(0, int(np.floor(x0))), max(0, int(np.floor(y0)))
    right, bottom = min(width, int(np.ceil(x1))), min(height, int(np.ceil(y1)))
    if right <= left or bottom <= top:
        raise RowFailed(
            "box_outside_frame",
            f"{box_xyxy} holds no pixel of {width}x{height}; was it scaled to the clip?",
            retryable=False,
        )
    return left, top, right, bottom
