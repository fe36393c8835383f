"""The attribute verifier on drawn frames whose boxes are known: what is believed, and why not."""

from __future__ import annotations

import numpy as np
import pytest

from schemas.candidate import Box
from schemas.instance import Instance
from tasks.backends.colour import AttributeVerifier
from tests.support.drawn_room import BLUE_BALL, BOY, GREEN, GREEN_BOX, instance, room, room_with_push


def test_true_boxes_are_accepted_with_measured_reasons() -> None:
    rgb, truth = room_with_push(120)
    verifier = AttributeVerifier()
    for described in (BOY, GREEN_BOX, BLUE_BALL):
        answer = verifier.verify(rgb, truth[described.instance_id], described, "")
        assert answer.match, answer.rationale
        assert answer.confidence >= 0.5
        assert "%" in answer.rationale
    assert "roundness" in verifier.verify(rgb, truth["id3"], BLUE_BALL, "").rationale


@pytest.mark.parametrize(
    ("noun", "class_name", "living", "box_of", "reason"),
    [
        ("a red box", "box", False, "id2", "0% of the box's middle is red"),
        ("a boy in a blue shirt", "boy", True, "id1", "of where the blue shirt belongs has its colour"),
        ("a boy in a green shirt", "boy", True, "id2", "fill"),
        ("a green ball", "ball", False, "id2", "roundness"),
    ],
)
def test_another_colour_or_shape_is_refused(noun: str, class_name: str, living: bool, box_of: str, reason: str) -> None:
    rgb, truth = room_with_push(120)
    answer = AttributeVerifier().verify(rgb, truth[box_of], instance(noun, class_name, living=living), "")
    assert not answer.match
    assert reason in answer.rationale


@pytest.mark.parametrize("described", [BOY, GREEN_BOX, BLUE_BALL, instance("a man", "man", living=True)])
def test_empty_background_is_refused(described: Instance) -> None:
    answer = AttributeVerifier().verify(room(), (100.0, 60.0, 150.0, 170.0), described, "")
    assert not answer.match


def test_a_part_of_a_wall_is_no_thing() -> None:
    rgb = np.full((240, 320, 3), GREEN, np.uint8)
    answer = AttributeVerifier().verify(rgb, (100.0, 80.0, 150.0, 130.0), GREEN_BOX, "")
    assert not answer.match
    assert "around it" in answer.rationale


def test_what_cannot_be_checked_is_an_unsure_no_that_says_so() -> None:
    rgb, truth = room_with_push(120)
    answer = AttributeVerifier().verify(rgb, truth["id2"], instance("a box", "box"), "")
    assert not answer.match
    assert answer.confidence < 0.5
    assert "nothing here can be checked" in answer.rationale


@pytest.mark.parametrize("box", [(10.0, 10.0, 11.0, 11.0), (0.0, 0.0, 320.0, 240.0), (400.0, 300.0, 420.0, 320.0)])
def test_absurd_boxes_are_refused(box: Box) -> None:
    rgb = np.full((240, 320, 3), GREEN, np.uint8)
    assert not AttributeVerifier().verify(rgb, box, GREEN_BOX, "").match
