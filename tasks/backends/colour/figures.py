"""People, by what they wear: garments on a standing figure, and figures around garments or detected people.

    garment_shares(picture, box, [<blue jeans>])  ->  [GarmentShare(garment=<blue jeans>, share=0.7, surround=0.05)]
    figure_candidates(view, <"a boy in a red shirt">, {<red shirt>: [<patch>]}, blocked)
        ->  [ScoredBox(0.86, <head to shoes>), ScoredBox(0.31, <the figure around another red patch>), ...]

If a garment's colour continues beside its place, it is the background's. If it continues above a shirt or below
trousers, the box holds only part of the figure. A score adds two parts: how the box was found, and how well the
garments' colours lie in it. Boxes without a person's proportions score lower.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from schemas.candidate import box_iou
from tasks.backends.colour.boxes import Part, area, as_box, clip_to_picture, enclosing, part_share, shared_area
from tasks.backends.colour.foreground import ForegroundView
from tasks.backends.colour.palette import FULL_MEMBERSHIP, Picture
from tasks.backends.colour.patches import Patch, ScoredPatch, find_patches, grow, runs_out
from tasks.backends.colour.phrases import BodyRegion, Description, Garment
from tasks.backends.people import PersonBox

# Shares of a standing figure's box in which a garment is looked for.
ROWS: dict[BodyRegion, tuple[float, float]] = {"upper": (0.12, 0.62), "lower": (0.45, 0.95), "whole": (0.15, 0.9)}
LEFT, RIGHT = 0.15, 0.85
BEYOND_SHARE = 0.2  # of the figure's height: below a lower garment, above any other
BESIDE_SHARE = 0.5  # of the figure's width
FULL_SHARE = 0.4  # of its place: a garment that fills this much is complete

# How far a figure reaches beyond a garment, in heights of the garment: up, down, and to each side (arms).
Reach = dict[BodyRegion, tuple[float, float, float]]
# Upper bounds: a child's head is 1.5 times as high as its shirt.
MAX_REACH: Reach = {"upper": (1.6, 2.2, 0.9), "lower": (2.6, 1.0, 0.9), "whole": (1.1, 1.1, 0.5)}
# For a figure without a visible outline: an adult's head and legs.
ADULT_REACH: Reach = {"upper": (0.55, 1.4, 0.2), "lower": (1.1, 0.15, 0.15), "whole": (0.35, 0.35, 0.15)}
NECK_SHARE = 0.6  # of the garments' height: gap for a neck or half a face as pale as the wall
MIN_HEIGHT = 1.4  # of the garment's height: there must be a head or legs too
MIN_HEIGHT_OF_PAIR = 1.1  # of both garments' height: there must be a head too
MIN_CUT_GROWTH = 1.3  # of the garments' box area, if the picture's edge cuts off head or legs
MAX_SEEDS = 8
SINGLE_GARMENT_TRUST = 0.6  # if the phrase names several

# Share of the score that the box's origin gives; the garments' colours give the rest.
PROPORTIONS_EVIDENCE, DETECTED_EVIDENCE, OUTLINE_EVIDENCE, GROWN_EVIDENCE = 0.15, 0.2, 0.3, 0.35
GARMENTS_WEIGHT = 0.6
MATCH_WITHOUT_GARMENTS = 0.5
DETECTED_TRUST_IN_PLAIN = 0.85  # a figure cut out of a plain background is tighter than a detector's window
SAME_FIGURE_IOU = 0.5
MIN_WORN_SHARE = 0.7  # of a garment's box, inside a person's
MIN_PERSON_SCORE = 0.25  # of a detected person that takes pixels from others
MAX_CARRIED_SHARE = 0.6  # of a person's box: anything larger is not worn or carried
MAX_ON_PERSON = 0.7  # of an animal's box: with more, it is a patch of clothes


class GarmentShare(NamedTuple):
    """The share of a garment's place that has its colour, and the share of the place's surround."""

    garment: Garment
    share: float
    surround: float


def garment_place(region: BodyRegion) -> Part:
    """The part of a standing figure's box where a garment of a region belongs."""
    top, bottom = ROWS[region]
    return LEFT, top, RIGHT, bottom


def garment_shares(picture: Picture, box: np.ndarray, garments: Sequence[Garment]) -> list[GarmentShare]:
    """box (4,) of a standing figure, in pixels of the picture."""
    shares = []
    for garment in garments:
        has = picture.has(garment.tints)
        share = part_share(has, box, garment_place(garment.region))
        shares.append(GarmentShare(garment, share, _surround_share(has, box, garment.region)))
    return shares


def _surround_share(has: np.ndarray, box: np.ndarray, region: BodyRegion) -> float:
    top, bottom = ROWS[region]
    left_of_it = part_share(has, box, (-BESIDE_SHARE, top, 0.0, bottom))
    right_of_it = part_share(has, box, (1.0, top, 1 + BESIDE_SHARE, bottom))
    # Trousers continue below the box, or a shirt above it: the box holds only part of the figure.
    below, above = (LEFT, 1.0, RIGHT, 1 + BEYOND_SHARE), (LEFT, -BEYOND_SHARE, RIGHT, 0.0)
    beyond = part_share(has, box, below if region == "lower" else above)
    return max((left_of_it + right_of_it) / 2, beyond)


def garments_match(picture: Picture, box: np.ndarray, garments: Sequence[Garment]) -> float:
    """0..1: do the garments' colours lie in their places and not around them? garments: one or more."""
    values = [
        min(found.share / FULL_SHARE, 1.0) * float(np.clip(1.2 - found.surround / (found.share + 1e-6), 0, 1))
        for found in garment_shares(picture, box, garments)
    ]
    return float(np.mean(values))


class ScoredBox(NamedTuple):
    """A box, (4,) in px of the view, and how likely it is the instance's, 0..1."""

    score: float
    box: np.ndarray


class GarmentSeed(NamedTuple):
    """Garments that may belong to one figure, with the patches of their colours."""

    score: float
    box: np.ndarray  # (4,) around the patches
    patches: tuple[Patch, ...]
    garments: tuple[Garment, ...]


def figure_candidates(
    view: ForegroundView, description: Description, patches_of: dict[Garment, list[ScoredPatch]], blocked: np.ndarray
) -> list[ScoredBox]:
    """Boxes of whole figures, in any order. blocked: (H, W) bool, pixels of other instances."""
    garments = description.large_garments
    candidates = _dressed_figures(view, garments, patches_of, blocked)
    if description.person:
        candidates += _detected_figures(view, garments, patches_of)
    if not garments and view.plain:  # only their outlines tell these people from the scenery
        outlines = find_patches(view.foregrounds[0].astype(np.uint8) * FULL_MEMBERSHIP)
        boxes = [patch.box_xyxy for patch in outlines]
        candidates += [ScoredBox(_figure_score(view, box, garments, OUTLINE_EVIDENCE), box) for box in boxes]
    return candidates


def share_on_people(box: np.ndarray, people: Sequence[PersonBox]) -> float:
    """0..1: the share of a box that lies on one detected person, if the person is clearly larger."""
    shares = [0.0]
    for found in people:
        person = np.array(found.box_xyxy)
        if found.score >= MIN_PERSON_SCORE and area(box) < MAX_CARRIED_SHARE * area(person):
            shares.append(shared_area(box, person) / max(area(box), 1.0))
    return max(shares)


# --- Detected people ---------------------------------------------------------------------------


def _detected_figures(
    view: ForegroundView, garments: Sequence[Garment], patches_of: dict[Garment, list[ScoredPatch]]
) -> list[ScoredBox]:
    trust = DETECTED_TRUST_IN_PLAIN if view.plain else 1.0
    boxes = [_with_garments(np.array(person.box_xyxy), patches_of) for person in view.people]
    return [ScoredBox(trust * _figure_score(view, box, garments, DETECTED_EVIDENCE), box) for box in boxes]


def _with_garments(box: np.ndarray, patches_of: dict[Garment, list[ScoredPatch]]) -> np.ndarray:
    """A detected person's box, widened to the garments mostly inside it: the detector's windows are loose."""
    for scored in patches_of.values():
        for patch in (patch.box_xyxy for _, patch in scored):
            if shared_area(box, patch) > MIN_WORN_SHARE * area(patch):
                box = enclosing(box, patch)
                break
    return box


# --- Figures around garments -------------------------------------------------------------------


def _dressed_figures(
    view: ForegroundView, garments: Sequence[Garment], patches_of: dict[Garment, list[ScoredPatch]], blocked: np.ndarray
) -> list[ScoredBox]:
    """Garments grown over the foreground, or, if that fails, completed by an adult's proportions."""
    candidates = []
    for seed in _garment_seeds(patches_of)[:MAX_SEEDS]:
        box, evidence = _grown_figure(seed, view, blocked), GROWN_EVIDENCE
        if box is None:
            box, evidence = _reach_window(seed, ADULT_REACH, view.shape), PROPORTIONS_EVIDENCE
        if not view.plain:
            box = _with_person(box, view.people)
        score = _figure_score(view, box, garments, evidence * min(2 * seed.score, 1.0))
        candidates.append(ScoredBox(score, box))
    return candidates


def _garment_seeds(patches_of: dict[Garment, list[ScoredPatch]]) -> list[GarmentSeed]:
    """Each garment's patches alone, and each upper with each lower one that hangs below it; best first."""
    trust = SINGLE_GARMENT_TRUST if len(patches_of) > 1 else 1.0
    singles = [
        GarmentSeed(score * trust, patch.box_xyxy, (patch,), (garment,))
        for garment, scored in patches_of.items()
        for score, patch in scored
    ]
    uppers, lowers = ([s for s in singles if s.garments[0].region == region] for region in ("upper", "lower"))
    pairs = [
        GarmentSeed(
            (up.score + low.score) / 1.2,
            enclosing(up.box, low.box),
            up.patches + low.patches,
            up.garments + low.garments,
        )
        for up in uppers
        for low in lowers
        if _hangs_below(up.box, low.box)
    ]
    return sorted(pairs + singles, key=lambda s: (-s.score, tuple(s.box)))


def _hangs_below(upper: np.ndarray, lower: np.ndarray) -> bool:
    overlap = min(upper[2], lower[2]) - max(upper[0], lower[0])
    narrow = min(upper[2] - upper[0], lower[2] - lower[0])
    height = upper[3] - upper[1]
    similar = 0.3 < (lower[3] - lower[1]) / height < 3
    return bool(similar and overlap > 0.5 * narrow and -0.4 * height < lower[1] - upper[3] < 0.4 * height)


def _reach_window(seed: GarmentSeed, reach: Reach, shape: tuple[int, int]) -> np.ndarray:
    """(4,) the box of a figure that reaches that far beyond the seed's garments, inside the picture."""
    boxes = [seed.box]
    for patch, garment in zip(seed.patches, seed.garments, strict=True):
        up, down, aside = reach[garment.region]
        if len(seed.patches) > 1:  # the other garment covers the other half of the figure
            up, down = (up, 0.0) if garment.region == "upper" else (0.0, down)
        x0, y0, x1, y1 = patch.box_xyxy
        height = y1 - y0
        side = aside * max(height, x1 - x0)
        boxes.append(np.array([x0 - side, y0 - up * height, x1 + side, y1 + down * height]))
    return clip_to_picture(enclosing(*boxes), shape)


def _grown_figure(seed: GarmentSeed, view: ForegroundView, blocked: np.ndarray) -> np.ndarray | None:
    window = _reach_window(seed, MAX_REACH, view.shape)
    gap_px = round(NECK_SHARE * float(seed.box[3] - seed.box[1]))
    for foreground in view.foregrounds:
        box = grow(seed.patches, window, foreground, blocked, gap_px)
        if runs_out(box, window, view.shape).sum() <= 1 and _has_more_than_garments(box, seed, view.shape):
            return box
    return None


def _has_more_than_garments(box: np.ndarray, seed: GarmentSeed, shape: tuple[int, int]) -> bool:
    cut = seed.box[1] <= 1 or seed.box[3] >= shape[0] - 1  # head or legs lie outside the picture
    min_height = MIN_HEIGHT_OF_PAIR if len(seed.patches) > 1 else MIN_HEIGHT
    taller = (box[3] - box[1]) >= min_height * (seed.box[3] - seed.box[1])
    return bool(taller or (cut and area(box) > MIN_CUT_GROWTH * area(seed.box)))


def _with_person(box: np.ndarray, people: Sequence[PersonBox]) -> np.ndarray:
    """A grown box, widened to the person detected there: the moving part may be only part of the figure."""
    for person in people:
        if box_iou(as_box(box), person.box_xyxy) > SAME_FIGURE_IOU:
            return enclosing(box, np.array(person.box_xyxy))
    return box


# --- Scores ------------------------------------------------------------------------------------


def _figure_score(view: ForegroundView, box: np.ndarray, garments: Sequence[Garment], evidence: float) -> float:
    """0..1 from where the box came from (evidence 0..0.4), people detected there, and the garments."""
    agreeing = [p.score for p in view.people if box_iou(as_box(box), p.box_xyxy) > SAME_FIGURE_IOU]
    if agreeing:
        evidence = max(evidence, DETECTED_EVIDENCE + 0.2 * max(agreeing))
    match = garments_match(view.picture, box, garments) if garments else MATCH_WITHOUT_GARMENTS
    return (evidence + GARMENTS_WEIGHT * match) * _figure_prior(box, view.shape)


def _figure_prior(box: np.ndarray, shape: tuple[int, int]) -> float:
    """0..1: does the box have a person's proportions and size? A box cut by the picture's edge may be wider."""
    height, width = shape
    ratio = float(box[3] - box[1]) / float(box[2] - box[0])
    is_cut = bool((np.abs(box - (0, 0, width, height)) < 2).any())
    slimmest, widest = 4.5, 0.6 if is_cut else 1.3
    off = max(ratio / slimmest - 1, 1 - ratio / widest, 0.0)
    proportion = np.clip(1 - 1.5 * off, 0.1, 1)
    size = np.clip(area(box) / (height * width) / 0.01, 0.2, 1)
    return float(proportion * size)
