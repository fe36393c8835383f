"""Colour grounding as a whole: what the detector proposes and the verifier accepts."""

from __future__ import annotations

import cv2
import numpy as np

from schemas.candidate import box_iou
from tasks.backends.colour import AttributeVerifier, ColourDetector
from tests.support.drawn_room import BLUE_BALL, BOY, GREEN_BOX, room_with_push


def test_proposed_then_verified_the_first_accepted_box_is_the_right_one() -> None:
    scenes = [room_with_push(x) for x in (60, 100, 140, 180)]
    frames, verifier = np.stack([rgb for rgb, _ in scenes]), AttributeVerifier()
    found = ColourDetector().propose(frames, [BOY, GREEN_BOX, BLUE_BALL])
    for described in (BOY, GREEN_BOX, BLUE_BALL):
        ranked = sorted(found[described.instance_id], key=lambda p: -p.score)
        accepted = next(p for p in ranked if verifier.verify(frames[p.frame], p.box_xyxy, described, "").match)
        assert box_iou(accepted.box_xyxy, scenes[accepted.frame][1][described.instance_id]) > 0.75


def test_identities_name_backend_model_and_opencv() -> None:
    for backend in (ColourDetector(), AttributeVerifier()):
        assert set(backend.identity) == {"backend", "model", "opencv"}
        assert backend.identity["opencv"] == cv2.__version__
        assert backend.concurrency >= 1
