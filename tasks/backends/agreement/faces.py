"""Faces: the boosted cascades that ship with OpenCV 4, as a third source where little of a body is in the picture.

    FaceFinder().sees_face(rgb, box)  ->  True: a face looks out of this box, or shows its side

Their training has nothing in common with the pose network's, which draws faces onto hands and shirts, too.
"""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np

from tasks.backends.colour.boxes import expand

CROP_PX = 160  # the box with its surround is scaled to this
SURROUND_SHARE = 0.6  # of the box's sides: hair and chin
MIN_FACE_SHARE = 0.25  # of the crop's side
MIN_NEIGHBOURS = 3
FOLDER = Path(cv2.__file__).parent / "data"
CASCADES = ("haarcascade_frontalface_alt2.xml", "haarcascade_profileface.xml")


class FaceFinder:
    """Says whether a box around eyes, nose and mouth holds a face; about 5 ms."""

    def __init__(self) -> None:
        self._local = threading.local()  # a cascade keeps its pyramid

    def sees_face(self, rgb: np.ndarray, box: np.ndarray) -> bool:
        """rgb (H, W, 3) uint8, box (4,) px."""
        x0, y0, x1, y1 = expand(_square(box), SURROUND_SHARE, rgb.shape)
        if min(x1 - x0, y1 - y0) < 12:
            return False
        grey = cv2.cvtColor(np.ascontiguousarray(rgb[y0:y1, x0:x1]), cv2.COLOR_RGB2GRAY)
        scale = CROP_PX / max(grey.shape)
        grey = cv2.equalizeHist(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR))
        size = (round(CROP_PX * MIN_FACE_SHARE),) * 2
        front, side = self._cascades()
        looks = ((front, grey), (side, grey), (side, np.ascontiguousarray(grey[:, ::-1])))
        return any(
            len(cascade.detectMultiScale(look, 1.1, MIN_NEIGHBOURS, minSize=size)) > 0 for cascade, look in looks
        )

    def _cascades(self) -> list[cv2.CascadeClassifier]:
        if not hasattr(self._local, "cascades"):
            self._local.cascades = [cv2.CascadeClassifier(str(FOLDER / name)) for name in CASCADES]
        found: list[cv2.CascadeClassifier] = self._local.cascades
        return found


def _square(box: np.ndarray) -> np.ndarray:
    middle, half = (box[:2] + box[2:]) / 2, max(box[2:] - box[:2]) / 2
    return np.concatenate([middle - half, middle + half])
