"""A yes or a no on one box, on a second look at its crop, with the measurements as reasons.

AgreementVerifier().verify(frame, box, <"a white ball">, caption)
    ->  Answer(match=True, confidence=0.9, rationale="'ball' 62% likely, 3% without the box; ...")
"""

from __future__ import annotations

import os

import cv2
import numpy as np

from schemas.candidate import Box, box_iou
from schemas.grounding import Answer
from schemas.instance import Instance
from tasks.backends.agreement.balls import is_ball, small_ball
from tasks.backends.agreement.bodies import body_finder, why_no_person
from tasks.backends.agreement.clothes import headless_box, outfit_of
from tasks.backends.agreement.covering import effect_of
from tasks.backends.agreement.nouns import classes_of, other_kinds
from tasks.backends.colour.boxes import as_box, clip_to_picture, expand, part_share
from tasks.backends.colour.palette import Picture, shrink
from tasks.backends.colour.phrases import Description, describe
from tasks.backends.packaged.things import classifier

WORKING_LONG_SIDE_PX = 640
SURROUND_SHARE = 0.4  # of a person's box, around it
MIN_SIDE_PX = 12.0
MIN_BODY_IOU = 0.6
MIN_MASS, MAX_LEFT_SHARE = 0.35, 0.35
UNSURE_MASS, CONFIDENCE_UNSURE = 0.12, 0.4
MIN_SPOT_IOU, CONFIDENCE_SMALL = 0.4, 0.6
MIN_TINT_SHARE = 0.1
MAX_PICTURE_SHARE = 0.8
CONFIDENCE_UNKNOWN = 0.3


class AgreementVerifier:
    """Accepts a box that two networks confirm on its own crop (`Verifier`)."""

    def __init__(self) -> None:
        self._bodies, self._classifier = body_finder(), classifier()
        model = f"agreement-1, {self._bodies.identity}, {self._classifier.identity}"
        self.identity = {"backend": "packaged", "model": model, "opencv": cv2.__version__}
        self.concurrency = os.cpu_count() or 1

    def verify(self, frame: np.ndarray, box_xyxy: Box, instance: Instance, caption: str) -> Answer:
        """frame (H, W, 3) uint8 RGB. A yes needs evidence: what no network here knows is a no that says so."""
        rgb = shrink(frame, WORKING_LONG_SIDE_PX)
        scale = rgb.shape[1] / frame.shape[1]
        box = clip_to_picture(np.array(box_xyxy, np.float64) * scale, rgb.shape)
        description = describe(instance)
        if is_ball(instance.class_name) and _is_small_ball(rgb, box, description):
            reason = f"small, round, and the only {description.body[0]} in the picture"
            return Answer(match=True, confidence=CONFIDENCE_SMALL, rationale=reason)
        sides = box[2:] - box[:2]
        if min(sides) < MIN_SIDE_PX:
            return _no(0.9, f"the box is {min(sides):.0f} px thin at working size (needs {MIN_SIDE_PX:.0f} px)")
        classes = classes_of(instance.class_name)
        if description.person:
            return self._person(rgb, box, description)
        if classes is None:
            return _no(CONFIDENCE_UNKNOWN, f"no classifier here knows {instance.class_name!r}; see --profile local")
        return self._thing(rgb, box, instance.class_name, description, classes)

    def _person(self, rgb: np.ndarray, box: np.ndarray, description: Description) -> Answer:
        x0, y0, x1, y1 = expand(box, SURROUND_SHARE, rgb.shape)
        crop = np.ascontiguousarray(rgb[y0:y1, x0:x1])
        at = as_box(box - (x0, y0, x0, y0))
        bodies = [(box_iou(as_box(body.box_xyxy), at), body) for body in self._bodies.find(crop)]
        real = [item for item in bodies if why_no_person(item[1]) is None]
        if not real:
            return self._headless(rgb, box, description, why_no_person(bodies[0][1]) if bodies else "no body is seen")
        iou, body = max(real, key=lambda item: item[0])
        if iou < MIN_BODY_IOU:
            return _no(0.8, f"the body in the crop has IoU {iou:.2f} with the box (needs {MIN_BODY_IOU})")
        outfit = outfit_of(Picture(crop), body, description)
        seen = f"{body.n_seen} points of a body, masks agree to IoU {body.agreement:.2f}; {outfit.reason}"
        if not outfit.fits:
            return _no(0.8, outfit.reason)
        return Answer(match=True, confidence=round(min(0.5 + body.agreement / 2, 1.0), 3), rationale=seen)

    def _headless(self, rgb: np.ndarray, box: np.ndarray, description: Description, doubt: str | None) -> Answer:
        seen = headless_box(Picture(rgb), self._bodies.people(rgb), description)
        if seen is None or box_iou(as_box(seen), as_box(box)) < MIN_BODY_IOU:
            return _no(0.8, doubt or "no body is seen")
        reason = "the mask of people holds skin and the clothes' colours, and reaches the picture's upper edge"
        return Answer(match=True, confidence=0.6, rationale=reason)

    def _thing(
        self, rgb: np.ndarray, box: np.ndarray, name: str, description: Description, classes: np.ndarray
    ) -> Answer:
        if description.body:
            share = part_share(Picture(rgb).has(description.body), box, (0.0, 0.0, 1.0, 1.0))
            colours = " or ".join(map(str, description.body))
            if share < MIN_TINT_SHARE:
                return _no(0.9, f"{share:.0%} of the box is {colours} (needs {MIN_TINT_SHARE:.0%})")
        effect = effect_of(self._classifier, rgb, box)
        mass, left = effect.mass(classes), effect.left(classes)
        rival = max(effect.mass(kind) for kind in other_kinds(classes))
        seen = f"{name!r} is {mass:.0%} likely, {left:.0%} with the box painted over"
        if mass < MIN_MASS:  # a thing seen from an odd side: too little for a yes, and no sure no
            return _no(0.8 if mass < UNSURE_MASS else CONFIDENCE_UNSURE, f"{seen} (needs {MIN_MASS:.0%})")
        if left > MAX_LEFT_SHARE * mass:
            return _no(0.8, f"{seen} (needs at most {MAX_LEFT_SHARE:.0%} of that)")
        if rival > mass:
            return _no(0.8, f"{seen}; another kind is {rival:.0%} likely")
        return Answer(match=True, confidence=round(0.5 + mass / 2, 3), rationale=seen)


def _is_small_ball(rgb: np.ndarray, box: np.ndarray, description: Description) -> bool:
    spot = small_ball(Picture(rgb), description)
    return spot is not None and box_iou(as_box(spot), as_box(box)) >= MIN_SPOT_IOU


def _no(confidence: float, rationale: str) -> Answer:
    return Answer(match=False, confidence=confidence, rationale=rationale)
