"""Things and animals in a picture, each seen by two sources that agree: where its class is, and what stands out there.

    maps = ClassMaps(classifier, rgb)
    maps.mass(classes_of("dog"))         ->  (H, W) float32: how likely each place shows a dog
    sightings(maps, picture, description, classes)
        ->  [Sighting(box, inside=0.97, overlap=0.8), ...]: patches of its colour, and segments, that lie where it is

The classifier looks at each place with its surroundings, so its map is coarse; a patch of colour has sharp borders and
may be anything. Only a box that both support is a sighting.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from schemas.candidate import box_iou
from tasks.backends.agreement.masks import bounding_box, without_crumbs
from tasks.backends.colour.boxes import WHOLE, as_box, expand, part_share
from tasks.backends.colour.palette import Picture
from tasks.backends.colour.patches import find_patches
from tasks.backends.colour.phrases import Description
from tasks.backends.optical_flow.shapes import largest_piece
from tasks.backends.packaged.things import STRIDE_PX, Classifier

PLACES_LONG_SIDE_PX = 640
SURE, LIKELY = 0.9, 0.5
BLUR_PX = STRIDE_PX  # a place's neighbours see the thing, too
MIN_INSIDE = 0.5  # mean likelihood in the box
MIN_OVERLAP = 0.3  # IoU of the box, widened by the blur, and of the likely places
MIN_TINT_SHARE = 0.1  # of the box
GOOD_OVERLAP, GOOD_TINT_SHARE = 0.5, 0.3  # more adds nothing to the score
MAX_PATCHES, MAX_SEGMENTS = 24, 2  # per frame
NEAR_PX, REACH_PX = 8, 48  # around the likely places: where an outline may lie; where its ground is looked at
GRABCUT_ROUNDS = 3

# Furniture: its class in the mean of all frames, in this share of them, over this share of the picture.
STANDING_LIKELY, STANDING_FRAMES = 0.35, 0.75
MIN_STANDING_SHARE, MAX_STANDING_SHARE = 0.04, 0.7
MIN_STANDING_TINT = 0.4  # of its pixels


class ClassMaps:
    """What is where in one picture."""

    def __init__(self, classifier: Classifier, rgb: np.ndarray) -> None:
        self.rgb = rgb
        self._places = classifier.places(rgb, PLACES_LONG_SIDE_PX)

    def mass(self, classes: np.ndarray) -> np.ndarray:
        """(H, W) float32 0..1."""
        coarse = self._places[..., classes].sum(axis=-1)
        (height, width), (rows, columns) = self.rgb.shape[:2], coarse.shape
        # Place i sees best what lies at the border to place i + 1: its convolutions pad right and bottom.
        step_x, step_y = columns / width, rows / height
        to_places = np.array([[step_x, 0, step_x / 2 - 1], [0, step_y, step_y / 2 - 1]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(coarse, to_places, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)


@dataclass(frozen=True)
class Sighting:
    """A box that class and colour or outline support."""

    box_xyxy: np.ndarray  # (4,) px
    inside: float  # 0..1: mean likelihood of the class in the box
    overlap: float  # 0..1: IoU of the box and the places where the class is likely
    tint_share: float  # 0..1: of the box; 1 without a colour

    @property
    def is_one(self) -> bool:
        """Whether both sources support it."""
        return self.inside >= MIN_INSIDE and self.overlap >= MIN_OVERLAP and self.tint_share >= MIN_TINT_SHARE

    @property
    def score(self) -> float:
        """0..1"""
        likely, tinted = min(self.overlap / GOOD_OVERLAP, 1.0), min(self.tint_share / GOOD_TINT_SHARE, 1.0)
        return self.inside * likely * tinted


def sightings(maps: ClassMaps, picture: Picture, description: Description, classes: np.ndarray) -> list[Sighting]:
    """The boxes that both support, the best first."""
    mass = maps.mass(classes)
    _, labels, stats, _ = cv2.connectedComponentsWithStats((mass >= LIKELY).astype(np.uint8))
    has_tint = tinted(picture, description)
    # Of a thing with a colour, only a patch of it counts: an outline may hold a white table around a yellow ball. An
    # animal's coat is no single patch.
    by_outline = description.living or not description.body
    boxes = _segments(maps.rgb, mass, labels, stats) if by_outline else _patches(picture, description)
    found = [
        Sighting(
            box_xyxy=box,
            inside=part_share(mass, box, WHOLE),
            overlap=_overlap(box, labels, stats),
            tint_share=part_share(has_tint, box, WHOLE),
        )
        for box in boxes
    ]
    return sorted((s for s in found if s.is_one), key=lambda s: (-s.score, tuple(s.box_xyxy)))


def _overlap(box: np.ndarray, labels: np.ndarray, stats: np.ndarray) -> float:
    """0..1: the best IoU of the box, as wide as a map of places shows it, and a group of likely places."""
    height, width = labels.shape
    blur = BLUR_PX * max(labels.shape) / PLACES_LONG_SIDE_PX
    wide = np.clip(box + np.array([-blur, -blur, blur, blur]), 0, (width, height, width, height))
    x0, y0, x1, y1 = expand(box, 0.0, labels.shape)
    touched = [label for label in np.unique(labels[y0:y1, x0:x1]) if label]
    groups = [np.array([x, y, x + w, y + h], np.float64) for x, y, w, h, _ in stats[touched]]
    return max((box_iou(as_box(group), as_box(wide)) for group in groups), default=0.0)


def tinted(picture: Picture, description: Description) -> np.ndarray:
    """(H, W) bool: pixels of the thing's colours; all, if none is named."""
    if description.body:
        return picture.has(description.body)
    return np.ones((picture.height, picture.width), bool)


def standing_box(masses: np.ndarray, in_colour: np.ndarray) -> np.ndarray | None:
    """(4,) px: where a piece of furniture stands before a camera that does not move; None if it is not seen well.

    masses: (T, H, W) float32, its class in each frame; in_colour: (T, H, W) bool, pixels of its colours. People hide
    parts of it in single frames: the mean shows it whole.
    """
    likely = largest_piece(masses.mean(axis=0) >= STANDING_LIKELY)
    size = float(likely.mean())
    if not MIN_STANDING_SHARE <= size <= MAX_STANDING_SHARE:
        return None
    in_frames = masses[:, likely].mean(axis=1) >= STANDING_LIKELY
    if in_frames.mean() < STANDING_FRAMES or in_colour[:, likely].mean() < MIN_STANDING_TINT:
        return None
    return bounding_box(likely)


def _patches(picture: Picture, description: Description) -> list[np.ndarray]:
    """The boxes of the largest and purest patches of the thing's colours."""
    patches = sorted(find_patches(picture.membership(description.body)), key=lambda p: -p.area * p.purity)
    return [patch.box_xyxy for patch in patches[:MAX_PATCHES]]


def _segments(rgb: np.ndarray, mass: np.ndarray, labels: np.ndarray, stats: np.ndarray) -> list[np.ndarray]:
    """The boxes of what has an outline of its own among the largest groups of likely places."""
    found = []
    for label in np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")[:MAX_SEGMENTS] + 1:
        x, y, width, height = (int(v) for v in stats[label, :4])
        if max(width, height) < STRIDE_PX / 2:
            continue
        x0, y0, x1, y1 = max(x - REACH_PX, 0), max(y - REACH_PX, 0), x + width + REACH_PX, y + height + REACH_PX
        window = slice(y0, y1), slice(x0, x1)
        mask = _cut_out(np.ascontiguousarray(rgb[window]), mass[window], labels[window] == label)
        if mask.any():
            found.append(bounding_box(mask) + np.array([x0, y0, x0, y0]))
    return found


def _cut_out(rgb: np.ndarray, mass: np.ndarray, likely: np.ndarray) -> np.ndarray:
    """(h, w) bool: GrabCut from the likely places, some of which are sure. Empty if there is no ground around them."""
    near = _dilated(likely, NEAR_PX)
    sure = cv2.erode((likely & (mass >= SURE)).astype(np.uint8), np.ones((STRIDE_PX + 1,) * 2, np.uint8)) > 0
    trimap = np.full(mass.shape, cv2.GC_BGD, np.uint8)
    trimap[near] = cv2.GC_PR_BGD
    trimap[likely] = cv2.GC_PR_FGD
    trimap[sure] = cv2.GC_FGD
    if near.all():
        return np.zeros(mass.shape, bool)
    cv2.setRNGSeed(0)  # its mixtures start at random: the same picture must give the same box
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(rgb, trimap, (0, 0, 0, 0), *models, GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    mask = (trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)
    return without_crumbs(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0)


def _dilated(mask: np.ndarray, by_px: int) -> np.ndarray:
    grown: np.ndarray = cv2.dilate(mask.astype(np.uint8), np.ones((2 * by_px + 1,) * 2, np.uint8)) > 0
    return grown
