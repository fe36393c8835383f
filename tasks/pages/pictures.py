"""Frames as JPEG files, and labelled boxes on them."""

from __future__ import annotations

import cv2
import numpy as np

from schemas.candidate import Box
from schemas.storage import AnyPath, write_atomic
from tasks.pages.colours import Colour

JPEG_QUALITY = 85


def write_jpeg(path: AnyPath, picture: np.ndarray) -> None:
    """picture: (H, W, 3) uint8 RGB."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    write_atomic(path, data.tobytes())


def draw_box(picture: np.ndarray, box_xyxy: Box, scale: float, text: str, colour: Colour) -> None:
    """Draw a labelled box, given in px of the unscaled picture, in place."""
    left, top, right, bottom = (round(edge * scale) for edge in box_xyxy)
    cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), colour, 2)
    draw_label(picture, text, (left, top), colour)


def draw_label(picture: np.ndarray, text: str, corner: tuple[int, int], colour: Colour) -> None:
    """Write a few ASCII letters above a corner (x, y), inside the picture (H, W, 3), in place."""
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.38
    (text_width, text_height), _ = cv2.getTextSize(text, font, size, 1)
    x = max(0, min(corner[0], picture.shape[1] - text_width - 4))
    y = max(0, corner[1] - text_height - 5)
    cv2.rectangle(picture, (x, y), (x + text_width + 3, y + text_height + 4), colour, cv2.FILLED)
    cv2.putText(picture, text, (x + 2, y + text_height + 2), font, size, (20, 20, 20), 1, cv2.LINE_AA)
