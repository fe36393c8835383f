"""A yes or a no from measured colours, shape and size, with the measurements as reasons.

    AttributeVerifier().verify(frame, box, <"a red ball">, caption)
        ->  Answer(match=False, confidence=0.9, rationale="roundness 0.31 (needs 0.7)")

Each check compares one measurement with a limit; all must pass. The limits apply to candidates of any detector.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from schemas.candidate import Box, box_iou
from schemas.grounding import Answer
from schemas.instance import Instance
from tasks.backends.colour.boxes import WHOLE, Part, area, as_box, clip_to_picture, expand, part_share, ring_share
from tasks.backends.colour.figures import MAX_ON_PERSON, garment_place, garment_shares, share_on_people
from tasks.backends.colour.palette import SKIN, STRONG_MEMBERSHIP, Picture, Tint, shrink
from tasks.backends.colour.patches import find_patches
from tasks.backends.colour.phrases import Description, Garment, describe
from tasks.backends.people import PeopleDetector, PersonBox

SURROUND_SHARE = 0.6  # of the box's sides: width of the surround
CROP_LONG_SIDE_PX = 320
MIDDLE: Part = (0.15, 0.15, 0.85, 0.85)
INSIDE: Part = (0.02, 0.02, 0.98, 0.98)
MIN_BODY_SHARE = 0.35  # of the box's middle
MIN_EACH_SHARE = 0.06  # of the box, for each of several colours
MIN_GARMENT_SHARE = 0.18  # of where the garment belongs
MAX_SURROUND_RATIO = 0.6  # the colour in the surround over that in the box: with more, it is a wall
MIN_ROUNDNESS = 0.7  # a square's is 0.64
MAX_PICTURE_SHARE = 0.5
MIN_LIVING_SHARE = 0.003
MIN_SIDE_PX = 4.0
MIN_PERSON_IOU = 0.35
PERSON_RATIOS, ANIMAL_RATIOS = (0.5, 6), (0.25, 1.8)  # height over width
MIN_SKIN_SHARE = 0.03  # of the box
MIRRORS = frozenset({"silver"})  # mirrors the colours around it: a patch of it proves nothing
MAX_RECTANGLE_SHARE = 0.9  # a figure leaves the corners of its box free
CONFIDENCE_UNCHECKED = 0.3  # of a no because nothing could be measured


class AttributeVerifier:
    """Accepts a box whose measured colours, shape and size are the described ones (`Verifier`)."""

    def __init__(self) -> None:
        self.identity = {"backend": "rules", "model": "attribute-check-1", "opencv": cv2.__version__}
        self.concurrency = os.cpu_count() or 1
        self._people = PeopleDetector()

    def verify(self, frame: np.ndarray, box_xyxy: Box, instance: Instance, caption: str) -> Answer:
        """frame (H, W, 3) uint8 RGB. A yes needs evidence: if nothing can be checked, the answer is no and says so."""
        description = describe(instance)
        size = _size_check(frame, box_xyxy, description.living)
        if not size.passed:
            return _answer([size])
        checkable = [tint for tint in description.tints if tint.colour not in MIRRORS]
        if not checkable and not description.person:
            reason = f"'{instance.noun}' names no colour that can be measured: nothing here can be checked"
            return Answer(match=False, confidence=CONFIDENCE_UNCHECKED, rationale=reason)
        crop, box = _crop_around(frame, box_xyxy)
        picture = Picture(crop)
        checks = [size, *_colour_checks(picture, box, description)]
        if description.person:
            checks += _person_checks(self._people.detect(crop), picture, box, description.tints)
        elif description.living:
            checks += [_animal_check(box), _apart_from_people_check(self._people.detect(frame), np.array(box_xyxy))]
        return _answer(checks)


def _crop_around(frame: np.ndarray, box_xyxy: Box) -> tuple[np.ndarray, np.ndarray]:
    """The box with its surround, scaled to at most CROP_LONG_SIDE_PX, and the (4,) box in it."""
    x0, y0, x1, y1 = expand(box_xyxy, SURROUND_SHARE, frame.shape)
    crop = np.ascontiguousarray(frame[y0:y1, x0:x1])
    small = shrink(crop, CROP_LONG_SIDE_PX)
    factor = np.array([small.shape[1] / crop.shape[1], small.shape[0] / crop.shape[0]] * 2)
    box = (np.array(box_xyxy) - (x0, y0, x0, y0)) * factor
    return small, clip_to_picture(box, small.shape)


# --- Checks ------------------------------------------------------------------------------------


class Check(NamedTuple):
    """A measured value that must reach a limit, or stay below it."""

    text: str
    passed: bool
    margin: float  # 0 at the limit, 1 as far from it as possible


def _answer(checks: Sequence[Check]) -> Answer:
    """Yes if all pass. Confidence: from the check closest to failing, or from the one that fails most."""
    failed = [check for check in checks if not check.passed]
    margin = max(c.margin for c in failed) if failed else min(c.margin for c in checks)
    rationale = "; ".join(check.text for check in (failed or checks))
    return Answer(match=not failed, confidence=round(0.5 + 0.5 * float(margin), 3), rationale=rationale)


def _at_least(value: float, limit: float, text: str) -> Check:
    passed = value >= limit
    margin = (value - limit) / (1 - limit) if passed else (limit - value) / limit
    return Check(text, passed, float(np.clip(margin, 0, 1)))


def _at_most(value: float, limit: float, text: str) -> Check:
    passed = value <= limit
    margin = (limit - value) / limit if passed else (value - limit) / (1 - limit)
    return Check(text, passed, float(np.clip(margin, 0, 1)))


def _size_check(frame: np.ndarray, box_xyxy: Box, living: bool) -> Check:
    height, width = frame.shape[:2]
    box = clip_to_picture(np.array(box_xyxy, np.float64), frame.shape)
    side = min(box[2] - box[0], box[3] - box[1])
    if side < MIN_SIDE_PX:
        return Check(f"the box is {side:.0f} px thin (needs {MIN_SIDE_PX:.0f} px)", False, 1.0)
    share = area(box) / (height * width)
    if living and share < MIN_LIVING_SHARE:
        return Check(f"{share:.2%} of the picture (someone who acts: {MIN_LIVING_SHARE:.1%} or more)", False, 0.8)
    return _at_most(share, MAX_PICTURE_SHARE, f"{share:.1%} of the picture (at most {MAX_PICTURE_SHARE:.0%})")


# --- Colours -----------------------------------------------------------------------------------


def _colour_checks(picture: Picture, box: np.ndarray, description: Description) -> list[Check]:
    checks = _body_checks(picture, box, description.body) if description.body else []
    for garment, share, surround in garment_shares(picture, box, description.large_garments):
        checks += _garment_checks(picture, box, garment, share, surround)
    if description.round and description.body:
        checks.append(_roundness_check(picture, box, description.body))
    return checks


def _body_checks(picture: Picture, box: np.ndarray, tints: Sequence[Tint]) -> list[Check]:
    name, has = _name(tints), picture.has(tints)
    middle, whole = part_share(has, box, MIDDLE), part_share(has, box, WHOLE)
    ring = ring_share(has, box, SURROUND_SHARE)
    return [
        _at_least(middle, MIN_BODY_SHARE, f"{middle:.0%} of the box's middle is {name} (needs {MIN_BODY_SHARE:.0%})"),
        _surround_check(whole, ring, f"{name} is {whole:.0%} of the box and {ring:.0%} around it"),
        *_each_colour_checks(picture, box, tints, WHOLE),
    ]


def _garment_checks(picture: Picture, box: np.ndarray, garment: Garment, share: float, surround: float) -> list[Check]:
    name = f"{_name(garment.tints)} {garment.word}"
    text = f"{share:.0%} of where the {name} belongs has its colour (needs {MIN_GARMENT_SHARE:.0%})"
    return [
        _at_least(share, MIN_GARMENT_SHARE, text),
        _surround_check(share, surround, f"beside it {surround:.0%}"),
        *_each_colour_checks(picture, box, garment.tints, garment_place(garment.region)),
    ]


def _name(tints: Sequence[Tint]) -> str:
    return " and ".join(map(str, tints))


def _surround_check(inside: float, around: float, text: str) -> Check:
    """Fails if the colour continues around its place: a wall's. inside, around: its shares there, 0..1."""
    ratio = min(around / max(inside, 1e-3), 1.0)
    return _at_most(ratio, MAX_SURROUND_RATIO, f"{text} (at most {MAX_SURROUND_RATIO:.0%} of that)")


def _each_colour_checks(picture: Picture, box: np.ndarray, tints: Sequence[Tint], part: Part) -> list[Check]:
    """If there are several colours, each must be present."""
    checks = []
    for tint in tints if len(tints) > 1 else ():
        share = part_share(picture.has([tint]), box, part)
        checks.append(_at_least(share, MIN_EACH_SHARE, f"{share:.0%} is {tint} (needs {MIN_EACH_SHARE:.0%})"))
    return checks


def _roundness_check(picture: Picture, box: np.ndarray, tints: Sequence[Tint]) -> Check:
    membership = picture.membership(tints)
    x0, y0, x1, y1 = expand(box, 0.0, membership.shape)
    inside = np.zeros_like(membership)
    inside[y0:y1, x0:x1] = membership[y0:y1, x0:x1]
    patches = find_patches(inside)
    largest = max((patch.area for patch in patches), default=0)
    roundness = max((patch.roundness for patch in patches if patch.area > 0.6 * largest), default=0.0)
    return _at_least(roundness, MIN_ROUNDNESS, f"roundness {roundness:.2f} (needs {MIN_ROUNDNESS})")


# --- People and animals ------------------------------------------------------------------------


def _person_checks(
    people: Sequence[PersonBox], picture: Picture, box: np.ndarray, tints: Sequence[Tint]
) -> list[Check]:
    detected = _person_check(people, box)
    if not tints:
        return [detected, _skin_check(picture, box)]  # the detector alone also fires on boxes
    return [_figure_check(picture, box, tints), detected if detected.passed else _skin_check(picture, box)]


def _figure_check(picture: Picture, box: np.ndarray, tints: Sequence[Tint]) -> Check:
    """A box filled to the corners with its colours is a thing: people have heads and limbs."""
    proportions = _proportions_check(box, PERSON_RATIOS, "a person")
    if not proportions.passed:
        return proportions
    share = part_share(picture.has(tints), box, INSIDE)
    text = f"its colours fill {share:.0%} of the box (a figure: at most {MAX_RECTANGLE_SHARE:.0%})"
    return _at_most(share, MAX_RECTANGLE_SHARE, text)


def _person_check(people: Sequence[PersonBox], box: np.ndarray) -> Check:
    best = max((box_iou(as_box(box), person.box_xyxy) for person in people), default=0.0)
    return _at_least(best, MIN_PERSON_IOU, f"the people detector agrees to IoU {best:.2f} (needs {MIN_PERSON_IOU})")


def _skin_check(picture: Picture, box: np.ndarray) -> Check:
    """Look for faces and hands: the people detector misses drawn people and those cut off by the picture's edge."""
    skin = picture.within([SKIN]) >= STRONG_MEMBERSHIP
    share, around = part_share(skin, box, WHOLE), ring_share(skin, box, SURROUND_SHARE)
    text = f"skin colours {share:.0%}, around {around:.0%} (needs {MIN_SKIN_SHARE:.0%} more)"
    return _at_least(max(share - around, 0.0), MIN_SKIN_SHARE, text)


def _animal_check(box: np.ndarray) -> Check:
    return _proportions_check(box, ANIMAL_RATIOS, "an animal")


def _proportions_check(box: np.ndarray, ratios: tuple[float, float], name: str) -> Check:
    """ratios: least and greatest height over width."""
    low, high = ratios
    ratio = float(box[3] - box[1]) / float(box[2] - box[0])
    return Check(f"{ratio:.1f} times as high as wide ({name}: {low} to {high})", low <= ratio <= high, 0.5)


def _apart_from_people_check(people: Sequence[PersonBox], box: np.ndarray) -> Check:
    """An animal is not a patch of a person's clothes."""
    share = share_on_people(box, people)
    return _at_most(share, MAX_ON_PERSON, f"{share:.0%} of the box lies on a person (at most {MAX_ON_PERSON:.0%})")
