"""The colour detector on drawn frames whose boxes are known: what is proposed first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from schemas.candidate import box_iou
from tasks.backends.colour import ColourDetector
from tests.support.drawn_room import (
    BLUE,
    BLUE_BALL,
    BOY,
    GREEN_BOX,
    RED,
    WHITE,
    ball,
    best,
    crate,
    instance,
    room,
    room_with_push,
)


def test_things_and_a_person_that_touches_one_are_found_tightly() -> None:
    scenes = [room_with_push(x) for x in (60, 90, 120, 150, 180)]
    found = ColourDetector().propose(np.stack([rgb for rgb, _ in scenes]), [BOY, GREEN_BOX, BLUE_BALL])
    for instance_id, least in (("id1", 0.8), ("id2", 0.8), ("id3", 0.85)):
        top = best(found[instance_id])
        assert box_iou(top.box_xyxy, scenes[top.frame][1][instance_id]) >= least, instance_id


def test_each_frame_has_the_thing_among_its_first_proposals() -> None:
    scenes = [room_with_push(x) for x in (60, 120, 180)]
    found = ColourDetector().propose(np.stack([rgb for rgb, _ in scenes]), [BOY, GREEN_BOX])
    for frame, (_, truth) in enumerate(scenes):
        for instance_id in ("id1", "id2"):
            top = best([p for p in found[instance_id] if p.frame == frame])
            assert box_iou(top.box_xyxy, truth[instance_id]) > 0.7, (frame, instance_id)


def test_a_white_wall_is_no_white_ball() -> None:
    rgb = np.full((240, 320, 3), (90, 130, 80), np.uint8)
    rgb[:110] = WHITE
    truth = ball(rgb, (200, 180), 16, WHITE)
    top = best(ColourDetector().propose(rgb[None], [instance("a white ball", "ball")])["id1"])
    assert box_iou(top.box_xyxy, truth) > 0.8


def test_a_ball_is_rather_round_than_square() -> None:
    rgb = room()
    crate(rgb, 40, 60, 40, RED)
    truth = ball(rgb, (220, 90), 16, RED)
    top = best(ColourDetector().propose(rgb[None], [instance("a red ball", "ball")])["id1"])
    assert box_iou(top.box_xyxy, truth) > 0.8


def test_things_of_one_class_are_told_apart_by_colour() -> None:
    rgb = room()
    truth = {"id1": ball(rgb, (80, 100), 18, RED), "id2": ball(rgb, (220, 100), 18, BLUE)}
    found = ColourDetector().propose(
        rgb[None], [instance("a red ball", "ball"), instance("a blue ball", "ball", number=2)]
    )
    for instance_id, box in truth.items():
        assert box_iou(best(found[instance_id]).box_xyxy, box) > 0.85


@pytest.mark.parametrize("size", [(64, 64), (480, 854), (2160, 3840)])
def test_boxes_are_in_pixels_of_the_frames_given(size: tuple[int, int]) -> None:
    height, width = size
    rgb = room(height, width)
    truth = ball(rgb, (width // 3, height // 3), height // 9, RED)
    top = best(ColourDetector().propose(rgb[None], [instance("a red ball", "ball")])["id1"])
    assert box_iou(top.box_xyxy, truth) > 0.75
    x0, y0, x1, y1 = top.box_xyxy
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height


def test_every_instance_gets_a_list_and_an_absent_colour_an_empty_one() -> None:
    rgb = room()
    assert ColourDetector().propose(rgb[None], [BLUE_BALL, BOY]) == {"id3": [], "id1": []}


def test_same_frames_same_proposals_in_any_thread() -> None:
    frames = np.stack([room_with_push(x)[0] for x in (60, 120)])
    detector = ColourDetector()
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: detector.propose(frames, [BOY, GREEN_BOX]), range(3)))
    assert found[0] == found[1] == found[2] == ColourDetector().propose(frames, [BOY, GREEN_BOX])
    assert found[0]["id1"]
