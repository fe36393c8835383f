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

from tasks.backends.agreement.masks import bounding_box
from tasks.backends.colour.boxes import area, expand, part_share, shared_area
from tasks.backends.colour.palette import Picture
from tasks.backends.colour.phrases import Description
from tasks.backends.colour.patches import find_patches
from tasks.backends.packaged.things import STRIDE_PX, Classifier

PLACES_LONG_SIDE_PX = 640
SURE, LIKELY = 0.9, 0.5
BLUR_PX = STRIDE_PX  # a place's neighbours see the thing, too
MIN_INSIDE = 0.5  # mean likelihood in the box
MIN_OVERLAP = 0.3  # IoU of the box, widened by the blur, and of the likely places
MAX_BOXES = 6  # patches of colour, per frame
MIN_TINT_SHARE = 0.1  # of the box
GRABCUT_ROUNDS = 3


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
    source: str

    @property
    def score(self) -> float:
        return float(np.clip(self.inside * min(self.overlap / 0.5, 1.0) * min(self.tint_share / 0.3, 1.0), 0, 1))


def sightings(maps: ClassMaps, picture: Picture, description: Description, classes: np.ndarray) -> list[Sighting]:
    """The boxes that both support, the best first."""
    mass = maps.mass(classes)
    likely = (mass >= LIKELY).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(likely)
    found = []
    for source, box in [*_patches(picture, description), *_segments(maps.rgb, mass, labels, stats)]:
        sighting = measure(mass, labels, stats, picture, description, box, source)
        if sighting.inside >= MIN_INSIDE and sighting.overlap >= MIN_OVERLAP and sighting.tint_share >= MIN_TINT_SHARE:
            found.append(sighting)
    return sorted(found, key=lambda s: (-s.score, tuple(s.box_xyxy)))


def measure(
    mass: np.ndarray,
    labels: np.ndarray,
    stats: np.ndarray,
    picture: Picture,
    description: Description,
    box: np.ndarray,
    source: str,
) -> Sighting:
    x0, y0, x1, y1 = expand(box, 0.0, mass.shape)
    inside = float(mass[y0:y1, x0:x1].mean())
    blur = BLUR_PX * max(mass.shape) / PLACES_LONG_SIDE_PX
    wide = np.clip(box + np.array([-blur, -blur, blur, blur]), 0, (mass.shape[1], mass.shape[0]) * 2)
    overlap = 0.0
    for label in np.unique(labels[y0:y1, x0:x1]):
        if label:
            x, y, w, h = (float(v) for v in stats[label, :4])
            piece = np.array([x, y, x + w, y + h])
            shared = shared_area(piece, wide)
            overlap = max(overlap, shared / (area(piece) + area(wide) - shared))
    tint_share = part_share(picture.has(description.body), box, (0, 0, 1, 1)) if description.body else 1.0
    return Sighting(box, inside, overlap, tint_share, source)


def _patches(picture: Picture, description: Description) -> list[tuple[str, np.ndarray]]:
    if not description.body:
        return []
    patches = sorted(find_patches(picture.membership(description.body)), key=lambda p: -p.area * p.purity)
    return [("patch", patch.box_xyxy) for patch in patches[:24]]


def _segments(rgb: np.ndarray, mass: np.ndarray, labels: np.ndarray, stats: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """What stands out around each group of likely places."""
    found = []
    order = np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")[:2] + 1
    for label in order:
        x, y, w, h = (int(v) for v in stats[label, :4])
        if max(w, h) < STRIDE_PX / 2:
            continue
        reach = BLUR_PX * 1.5
        x0, y0 = max(int(x - reach), 0), max(int(y - reach), 0)
        x1, y1 = min(int(x + w + reach), mass.shape[1]), min(int(y + h + reach), mass.shape[0])
        here = mass[y0:y1, x0:x1]
        trimap = np.full(here.shape, cv2.GC_BGD, np.uint8)
        own = cv2.dilate((labels[y0:y1, x0:x1] == label).astype(np.uint8), np.ones((17, 17), np.uint8)) > 0
        trimap[own] = cv2.GC_PR_BGD
        trimap[own & (here >= LIKELY)] = cv2.GC_PR_FGD
        sure = cv2.erode((own & (here >= SURE)).astype(np.uint8), np.ones((33, 33), np.uint8)) > 0
        trimap[sure] = cv2.GC_FGD
        models = np.zeros((1, 65)), np.zeros((1, 65))
        crop = np.ascontiguousarray(rgb[y0:y1, x0:x1])
        if not (trimap == cv2.GC_BGD).any() or not ((trimap == cv2.GC_PR_FGD) | (trimap == cv2.GC_FGD)).any():
            continue
        cv2.setRNGSeed(0)
        cv2.grabCut(crop, trimap, (0, 0, 0, 0), *models, GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
        mask = (trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)
        mask = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
        if mask.any():
            _, pieces, sizes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
            large = sizes[:, cv2.CC_STAT_AREA] >= 0.1 * sizes[1:, cv2.CC_STAT_AREA].max()
            large[0] = False
            found.append(("segment", bounding_box(large[pieces]) + np.array([x0, y0, x0, y0])))
        found.append(("places", np.array([x, y, x + w, y + h], np.float64)))
    return found
