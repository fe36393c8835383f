"""People in a picture, each seen by two networks that agree: the body that carries the pose, and the mask of people.

    BodyFinder().find(rgb)    ->  [Body(mask, points, visibility, agreement=0.93, n_seen=12), ...]
    why_no_person(body)       ->  a reason against it, or None
    BodyFinder().people(rgb)  ->  (H, W) bool: the mask of people, for those without a head in the picture

A pose network also finds bodies in dogs, hands and shirts without a head. There it sees few of the points, they hang
upside down, or the mask of people is another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np

from tasks.backends.agreement.faces import FaceFinder
from tasks.backends.agreement.masks import bounding_box, mask_iou
from tasks.backends.colour.boxes import expand
from tasks.backends.optical_flow.shapes import largest_piece
from tasks.backends.packaged.people import PersonMask, Pose, PoseReader

MIN_PRESENCE, MIN_REGION = 0.9, 0.55
MASK_LEVEL = 0.5
ARMS = ((0, 7), (0, 8), (0, 11), (0, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16))  # with head and shoulders
BONES = (*ARMS, (11, 23), (12, 24), (23, 24), (23, 25), (25, 27), (24, 26), (26, 28))
BONE_PX = 3
VISIBLE = 0.8
NOSE, SHOULDERS, HIPS = 0, (11, 12), (23, 24)
MAIN_POINTS = (NOSE, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)  # nose, and the ends of arms and legs
MIN_SEEN, MIN_SEEN_SHARE = 7, 0.6  # of the main points in the picture
MIN_AGREEMENT = 0.75  # IoU of both masks
MAX_SHARED = 0.2  # of a portrait: two people side by side run into one mask
MIN_SEEN_WITH_FACE = 3  # nose and shoulders, if a face is found where the nose is
FACE_POINTS = slice(0, 11)
CROP_MARGIN = 0.25  # of the body's box, around it
SAME_BODY_IOU = 0.5
TILE_OVERLAP = 3  # squares along the long side


@dataclass(frozen=True)
class Body:
    """A body that the pose network sees, and how far the mask of people agrees."""

    mask: np.ndarray  # (H, W) bool: what both say
    points: np.ndarray  # (33, 2) px
    visibility: np.ndarray  # (33,) 0..1
    presence: float  # 0..1
    region: float  # 0..1: the detector's score
    agreement: float  # IoU of the two masks
    box_xyxy: np.ndarray  # (4,) px
    has_face: bool = False  # whether a face was looked for where little is seen, and found
    shared: float = 0.0  # 0..1: IoU with the mask of another body in the picture

    def inside(self) -> np.ndarray:
        """(33,) bool: the points that lie in the picture."""
        height, width = self.mask.shape
        x, y = self.points.T
        return (x >= 0) & (y >= 0) & (x < width) & (y < height)

    @property
    def seen(self) -> np.ndarray:
        """(33,) bool: points that are visible, in the picture"""
        return self.inside() & (self.visibility >= VISIBLE)

    @property
    def n_seen(self) -> int:
        """Main points that are seen."""
        return int(self.seen[list(MAIN_POINTS)].sum())

    @property
    def seen_share(self) -> float:
        """Of the main points in the picture."""
        return self.n_seen / max(int(self.inside()[list(MAIN_POINTS)].sum()), 1)

    @property
    def upright(self) -> float:
        """How far the nose is above the shoulders, in shares of the box's height; below 0: under them."""
        shoulders = self.points[list(SHOULDERS), 1].mean()
        return float(shoulders - self.points[NOSE, 1]) / max(float(self.box_xyxy[3] - self.box_xyxy[1]), 1.0)

    @property
    def quality(self) -> float:
        return self.agreement * self.seen_share * self.region


def why_no_person(body: Body) -> str | None:
    """What speaks against a body, or None."""
    if body.presence < MIN_PRESENCE:
        return f"the pose network is {body.presence:.0%} sure of a body (needs {MIN_PRESENCE:.0%})"
    portrait = body.has_face and body.n_seen >= MIN_SEEN_WITH_FACE and bool(body.seen[list(SHOULDERS)].all())
    if not portrait and (body.n_seen < MIN_SEEN or body.seen_share < MIN_SEEN_SHARE):
        return (
            f"{body.n_seen} points of a body are visible (needs {MIN_SEEN}, and {MIN_SEEN_SHARE:.0%} of those in view)"
        )
    if portrait and body.shared > MAX_SHARED:
        return f"its mask is another body's, too, to IoU {body.shared:.2f} (at most {MAX_SHARED})"
    if not body.seen[NOSE] or body.upright < 0:
        return "no head above shoulders"
    if body.agreement < MIN_AGREEMENT:
        return f"pose and mask of people agree to IoU {body.agreement:.2f} (needs {MIN_AGREEMENT})"
    return None


class BodyFinder:
    """Bodies in a picture; about 150 ms."""

    def __init__(self) -> None:
        self._poses, self._masks, self._faces = PoseReader(), PersonMask(), FaceFinder()
        self.identity = f"{self._poses.identity}, {self._masks.identity}"

    def find(self, rgb: np.ndarray) -> list[Body]:
        """rgb (H, W, 3) uint8 -> bodies, the best first, also those that are none (`why_no_person`)."""
        seen = []
        for x, y, side_x, side_y in _tiles(rgb.shape[0], rgb.shape[1]):
            tile = np.ascontiguousarray(rgb[y : y + side_y, x : x + side_x])
            for region in self._poses.regions(tile):
                if region.score < MIN_REGION:
                    continue
                pose = self._poses.pose(rgb, region.moved(x, y))
                mask = largest_piece(pose.mask > MASK_LEVEL)
                if pose.presence >= MIN_PRESENCE and mask.any():
                    seen.append((region.score * float(pose.visibility.mean()), region.score, pose, mask))
        seen.sort(key=lambda item: -item[0])
        distinct: list = []
        for item in seen:
            if all(mask_iou(item[3], other[3]) < SAME_BODY_IOU for other in distinct):
                distinct.append(item)
        bodies = []
        apart = told_apart([item[3] for item in distinct], [item[2] for item in distinct])
        for (_, score, pose, _), mask in zip(distinct, apart, strict=True):
            others = [other for other in apart if other is not mask]
            people = self._people(rgb, mask) & ~(np.any(others, axis=0) & ~mask if others else False)
            both = largest_piece(mask & people)
            box = bounding_box(both if both.any() else mask)
            body = Body(both, pose.points, pose.visibility, pose.presence, score, mask_iou(mask, people), box)
            if why_no_person(body) is not None:
                low, high = (of(pose.points[FACE_POINTS], axis=0) for of in (np.min, np.max))
                body = replace(body, has_face=self._faces.sees_face(rgb, np.concatenate([low, high])))
            bodies.append(body)
        for place, body in enumerate(bodies):
            rest = bodies[:place] + bodies[place + 1 :]
            shared = max((mask_iou(body.mask, other.mask) for other in rest), default=0.0)
            bodies[place] = replace(body, shared=shared)
        return sorted(bodies, key=lambda body: -body.quality)

    def people(self, rgb: np.ndarray) -> np.ndarray:
        """(H, W) bool: the largest piece of the mask of people, in the whole picture."""
        return largest_piece(self._masks(rgb) > MASK_LEVEL)

    def _people(self, rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """(H, W) bool: the mask of people, looked for around a body."""
        x0, y0, x1, y1 = expand(bounding_box(mask), CROP_MARGIN, rgb.shape)
        people = np.zeros(mask.shape, bool)
        people[y0:y1, x0:x1] = self._masks(np.ascontiguousarray(rgb[y0:y1, x0:x1])) > MASK_LEVEL
        # Another person in the crop is no doubt about this one.
        count, labels = cv2.connectedComponents(people.astype(np.uint8))
        touched = np.bincount(labels[mask], minlength=count) > 0
        touched[0] = False
        return touched[labels]


def told_apart(masks: Sequence[np.ndarray], poses: Sequence[Pose]) -> list[np.ndarray]:
    """(H, W) bool each: masks of people side by side run into each other; a pixel of several is the nearest one's.

    Near is measured to the lines between a body's visible points.
    """
    if len(masks) < 2:
        return list(masks)
    distances = []
    for pose in poses:
        clear = np.full(masks[0].shape, 255, np.uint8)
        sure = pose.visibility >= VISIBLE
        points = np.clip(np.round(pose.points), -(2**14), 2**14).astype(int)
        for start, end in BONES:
            if sure[start] and sure[end]:
                cv2.line(clear, tuple(map(int, points[start])), tuple(map(int, points[end])), 0, BONE_PX)
        distances.append(cv2.distanceTransform(clear, cv2.DIST_L2, 3))
    away = np.where(np.stack(masks), np.stack(distances), np.inf)
    nearest = away.argmin(axis=0)
    return [largest_piece(mask & (nearest == place)) for place, mask in enumerate(masks)]


@cache
def body_finder() -> BodyFinder:
    """The one of this process: detector and verifier, of every stage and shard, share what it has loaded."""
    return BodyFinder()


def _tiles(height: int, width: int) -> list[tuple[int, int, int, int]]:
    """x, y, width, height: the whole picture, and squares along its long side in which people are larger."""
    side, long_side = min(height, width), max(height, width)
    tiles = [(0, 0, width, height)]
    if long_side > 1.2 * side:
        for n in range(TILE_OVERLAP):
            at = round((long_side - side) * n / (TILE_OVERLAP - 1))
            tiles.append((at, 0, side, side) if width > height else (0, at, side, side))
    return tiles
