"""People: a pose detector, its landmarks, and a mask of people (MediaPipe's networks).

    region = PoseReader().regions(rgb)[0]         where a body is, and which way up
    pose = PoseReader().pose(rgb, region)         33 points in px, how visible each one is, the body's mask
    PersonMask()(rgb)                             (H, W) float32: how likely each pixel is a person's

A pose is found in pictures without a person, too: only points that are visible, and bones of constant length, tell.
Sources: BlazePose (Bazarevsky et al., 2020); MediaPipe's graphs for the sizes, anchors and crops.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from tasks.backends.packaged.files import (
    POSE_DETECTION,
    POSE_LANDMARKS,
    SELFIE_SEGMENTATION,
)
from tasks.backends.packaged.litert import LiteRt
from tasks.backends.packaged.ssd import CellDetector, sigmoid

LANDMARK_PX, MASK_PX = 256, 256
N_POINTS = 33  # BlazePose's: 0 nose, 11/12 shoulders, 13/14 elbows, 15/16 wrists, 23/24 hips, 25/26 knees, 27/28 ankles
REGION_MARGIN = 1.25  # of the circle around the body


class PersonRegion(NamedTuple):
    """A body, as the detector sees it."""

    score: float  # 0..1
    centre: np.ndarray  # (2,) px, between the hips
    top: np.ndarray  # (2,) px: a point on the circle around the whole body, above the head

    @property
    def side_px(self) -> float:
        """Of the square around the body."""
        return float(2 * np.hypot(*(self.top - self.centre)) * REGION_MARGIN)

    def moved(self, x: float, y: float) -> PersonRegion:
        """The same, x px further right and y px further down."""
        by = np.array([x, y])
        return self._replace(centre=self.centre + by, top=self.top + by)


class Pose(NamedTuple):
    """A body's points."""

    presence: float  # 0..1: how sure the network is that it sees a body
    points: np.ndarray  # (33, 2) float32 px, x and y, also outside the picture
    visibility: np.ndarray  # (33,) float32 0..1
    mask: np.ndarray  # (H, W) float32 0..1, of the whole picture


class PoseReader:
    """Finds bodies and their points; about 30 ms for a picture and 50 ms for each body."""

    def __init__(self) -> None:
        self.identity = f"{POSE_DETECTION.identity}, {POSE_LANDMARKS.identity}"
        self._detector = CellDetector(POSE_DETECTION, 224, ((8, 2), (16, 2), (32, 6)), signed=True)
        self._landmarks = LiteRt(POSE_LANDMARKS)

    def regions(self, rgb: np.ndarray) -> list[PersonRegion]:
        """rgb (H, W, 3) uint8 -> bodies, best first."""
        return [PersonRegion(seen.score, *seen.points[:2]) for seen in self._detector(rgb)]

    def pose(self, rgb: np.ndarray, region: PersonRegion) -> Pose:
        """rgb (H, W, 3) uint8 -> the points of the body in a region."""
        upright, scale = region.top - region.centre, region.side_px / LANDMARK_PX
        angle = np.pi / 2 - np.arctan2(-upright[1], upright[0])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
        to_picture = np.hstack([turn, (region.centre - turn @ ([LANDMARK_PX / 2] * 2))[:, None]])
        size = (LANDMARK_PX, LANDMARK_PX)
        crop = cv2.warpAffine(rgb, to_picture, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        out = self._landmarks(crop[None].astype(np.float32) / 255)
        read = out["Identity"].reshape(-1, 5)[:N_POINTS]
        inside = sigmoid(out["Identity_2"].reshape(LANDMARK_PX, LANDMARK_PX))
        return Pose(
            presence=float(out["Identity_1"].ravel()[0]),
            points=(read[:, :2] @ to_picture[:, :2].T + to_picture[:, 2]).astype(np.float32),
            visibility=sigmoid(read[:, 3]),
            mask=cv2.warpAffine(inside, to_picture, rgb.shape[1::-1], flags=cv2.INTER_LINEAR),
        )


class PersonMask:
    """Which pixels are a person's; about 10 ms. Made for people near the camera: give it a crop around a person."""

    def __init__(self) -> None:
        self.identity = SELFIE_SEGMENTATION.identity
        self._network = LiteRt(SELFIE_SEGMENTATION)

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        """rgb (H, W, 3) uint8 -> (H, W) float32, 0..1."""
        small = cv2.resize(rgb, (MASK_PX, MASK_PX), interpolation=cv2.INTER_AREA)
        (mask,) = self._network(small[None].astype(np.float32) / 255).values()
        return cv2.resize(mask.reshape(MASK_PX, MASK_PX), rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR)
