"""Colour grounding on drawn frames whose boxes are known: what is proposed first, and what is believed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from schemas.candidate import Box
from schemas.instance import Instance
from tasks.backends.colour import (
    AttributeVerifier,
    ColourDetector,
    Garment,
    Picture,
    Tint,
    describe,
)
from tasks.backends.people import iou_with
from tasks.ground_instances import Proposal

WALL, FLOOR = (226, 222, 208), (206, 190, 170)
RED, BLUE, GREEN, YELLOW, WHITE = (205, 35, 40), (35, 80, 200), (30, 140, 60), (245, 205, 30), (245, 245, 245)
SKIN, HAIR, TROUSERS = (222, 174, 138), (60, 44, 36), (74, 80, 96)


def instance(noun: str, class_name: str, *, living: bool = False, appearance: str = "", number: int = 1) -> Instance:
    return Instance(
        instance_id=f"id{number}", class_name=class_name, noun=noun, appearance=appearance, spatial="", living=living
    )


BOY = instance("a boy in a red shirt", "boy", living=True)
GREEN_BOX = instance("a green box", "box", number=2)
BLUE_BALL = instance("a blue ball", "ball", number=3)


# --- Drawing -----------------------------------------------------------------------------------


def room(height: int = 240, width: int = 320) -> np.ndarray:
    rgb = np.full((height, width, 3), WALL, np.uint8)
    rgb[round(height * 0.75) :] = FLOOR
    return rgb


def ball(rgb: np.ndarray, centre: tuple[int, int], radius: int, colour: tuple[int, int, int]) -> Box:
    cv2.circle(rgb, centre, radius, colour, -1, cv2.LINE_AA)
    return (centre[0] - radius, centre[1] - radius, centre[0] + radius + 1, centre[1] + radius + 1)


def crate(rgb: np.ndarray, left: int, top: int, side: int, colour: tuple[int, int, int]) -> Box:
    rgb[top : top + side, left : left + side] = colour
    return (left, top, left + side, top + side)


def child(rgb: np.ndarray, x: int, top: int, shirt: tuple[int, int, int]) -> Box:
    """A figure 44 px wide and 96 px high: hair, face, shirt with sleeves, trousers, shoes."""
    cv2.rectangle(rgb, (x - 12, top + 58), (x + 12, top + 90), TROUSERS, -1)
    cv2.rectangle(rgb, (x - 14, top + 90), (x + 14, top + 95), (70, 50, 44), -1)
    cv2.rectangle(rgb, (x - 14, top + 30), (x + 14, top + 58), shirt, -1)
    for side in (-1, 1):
        cv2.line(rgb, (x + side * 13, top + 34), (x + side * 18, top + 56), SKIN, 7)
    cv2.circle(rgb, (x, top + 17), 15, SKIN, -1)
    cv2.ellipse(rgb, (x, top + 14), (15, 14), 0, 180, 360, HAIR, -1)
    return (x - 22, top, x + 22, top + 96)


def room_with_push(x: int) -> tuple[np.ndarray, dict[str, Box]]:
    """A boy in red whose hand touches a green box, and a blue ball."""
    rgb = room()
    boy, green = child(rgb, x, 110, RED), crate(rgb, x + 21, 164, 40, GREEN)
    return rgb, {"id1": boy, "id2": green, "id3": ball(rgb, (280, 60), 14, BLUE)}


def iou(a: Box, b: Box) -> float:
    return float(iou_with(np.array(a, float), np.array([b], float))[0])


def best(proposals: list[Proposal]) -> Proposal:
    return max(proposals, key=lambda p: p.score)


# --- Words -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("noun", "class_name", "living", "body", "garments"),
    [
        ("a white ball", "ball", False, (Tint("white"),), ()),
        ("a dark green box", "box", False, (Tint("green", "dark"),), ()),
        ("a blue mug on a white table", "mug", False, (Tint("blue"),), ()),
        ("a red plastic cup with a white lid", "cup", False, (Tint("red"),), ()),
        ("a blue bag", "bag", False, (Tint("blue"),), ()),
        ("a brown and white dog", "dog", True, (Tint("brown"), Tint("white")), ()),
        (
            "a man in a dark blue shirt and dark trousers",
            "man",
            True,
            (),
            (
                Garment("shirt", "upper", (Tint("blue", "dark"),)),
                Garment("trousers", "lower", (Tint("", "dark"),)),
            ),
        ),
        (
            "a woman in a cream T-shirt and jeans",
            "woman",
            True,
            (),
            (Garment("tshirt", "upper", (Tint("cream"),)), Garment("jeans", "lower", (Tint("blue"),))),
        ),
        ("a woman in white", "woman", True, (), (Garment("clothes", "whole", (Tint("white"),)),)),
        ("a man holding a red cup", "man", True, (), ()),
        ("a box", "box", False, (), ()),
    ],
)
def test_description_gives_each_colour_to_its_noun(
    noun: str, class_name: str, living: bool, body: tuple[Tint, ...], garments: tuple[Garment, ...]
) -> None:
    found = describe(instance(noun, class_name, living=living))
    assert found.body == body
    assert found.large_garments == garments


def test_the_appearance_speaks_where_the_noun_is_silent() -> None:
    assert describe(instance("the ball", "ball", appearance="The ball is red.")).body == (Tint("red"),)
    assert describe(instance("a white ball", "ball", appearance="It rolls on red sand.")).body == (Tint("white"),)


# --- Colours -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((214, 34, 38), "red"),
        ((246, 122, 14), "orange"),
        ((250, 212, 24), "yellow"),
        ((28, 146, 62), "green"),
        ((30, 84, 206), "blue"),
        ((128, 48, 172), "purple"),
        ((240, 70, 150), "pink"),
        ((110, 70, 40), "brown"),
        ((20, 20, 22), "black"),
        ((120, 122, 120), "grey"),
        ((246, 246, 244), "white"),
        ((236, 226, 200), "cream"),
    ],
)
def test_a_plain_colour_has_its_own_name_and_no_distant_one(rgb: tuple[int, int, int], name: str) -> None:
    picture = Picture(np.full((2, 2, 3), rgb, np.uint8))
    assert picture.membership([Tint(name)])[0, 0] == 255
    neighbours = {"grey": {"silver"}, "white": {"silver", "cream"}, "cream": {"white"}, "brown": {"orange", "tan"}}
    others = {"red", "orange", "yellow", "green", "blue", "purple", "black", "white", "brown"} - {name}
    for other in sorted(others - neighbours.get(name, set())):
        assert picture.membership([Tint(other)])[0, 0] < 128, other


def test_dark_and_light_divide_a_colour() -> None:
    picture = Picture(np.array([[(20, 30, 80), (150, 190, 250)]], np.uint8))
    assert list(picture.has([Tint("blue", "dark")])[0]) == [True, False]
    assert list(picture.has([Tint("blue", "light")])[0]) == [False, True]


# --- Detector ----------------------------------------------------------------------------------


def test_things_and_a_person_that_touches_one_are_found_tightly() -> None:
    scenes = [room_with_push(x) for x in (60, 90, 120, 150, 180)]
    found = ColourDetector().propose(np.stack([rgb for rgb, _ in scenes]), [BOY, GREEN_BOX, BLUE_BALL])
    for instance_id, least in (("id1", 0.8), ("id2", 0.8), ("id3", 0.85)):
        top = best(found[instance_id])
        assert iou(top.box_xyxy, scenes[top.frame][1][instance_id]) >= least, instance_id


def test_each_frame_has_the_thing_among_its_first_proposals() -> None:
    scenes = [room_with_push(x) for x in (60, 120, 180)]
    found = ColourDetector().propose(np.stack([rgb for rgb, _ in scenes]), [BOY, GREEN_BOX])
    for frame, (_, truth) in enumerate(scenes):
        for instance_id in ("id1", "id2"):
            top = best([p for p in found[instance_id] if p.frame == frame])
            assert iou(top.box_xyxy, truth[instance_id]) > 0.7, (frame, instance_id)


def test_a_white_wall_is_no_white_ball() -> None:
    rgb = np.full((240, 320, 3), (90, 130, 80), np.uint8)
    rgb[:110] = WHITE
    truth = ball(rgb, (200, 180), 16, WHITE)
    top = best(ColourDetector().propose(rgb[None], [instance("a white ball", "ball")])["id1"])
    assert iou(top.box_xyxy, truth) > 0.8


def test_a_ball_is_rather_round_than_square() -> None:
    rgb = room()
    crate(rgb, 40, 60, 40, RED)
    truth = ball(rgb, (220, 90), 16, RED)
    top = best(ColourDetector().propose(rgb[None], [instance("a red ball", "ball")])["id1"])
    assert iou(top.box_xyxy, truth) > 0.8


def test_things_of_one_class_are_told_apart_by_colour() -> None:
    rgb = room()
    truth = {"id1": ball(rgb, (80, 100), 18, RED), "id2": ball(rgb, (220, 100), 18, BLUE)}
    found = ColourDetector().propose(
        rgb[None], [instance("a red ball", "ball"), instance("a blue ball", "ball", number=2)]
    )
    for instance_id, box in truth.items():
        assert iou(best(found[instance_id]).box_xyxy, box) > 0.85


@pytest.mark.parametrize("size", [(64, 64), (480, 854), (2160, 3840)])
def test_boxes_are_in_pixels_of_the_frames_given(size: tuple[int, int]) -> None:
    height, width = size
    rgb = room(height, width)
    truth = ball(rgb, (width // 3, height // 3), height // 9, RED)
    top = best(ColourDetector().propose(rgb[None], [instance("a red ball", "ball")])["id1"])
    assert iou(top.box_xyxy, truth) > 0.75
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


# --- Verifier ----------------------------------------------------------------------------------


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


def test_proposed_then_verified_the_first_accepted_box_is_the_right_one() -> None:
    scenes = [room_with_push(x) for x in (60, 100, 140, 180)]
    frames, verifier = np.stack([rgb for rgb, _ in scenes]), AttributeVerifier()
    found = ColourDetector().propose(frames, [BOY, GREEN_BOX, BLUE_BALL])
    for described in (BOY, GREEN_BOX, BLUE_BALL):
        ranked = sorted(found[described.instance_id], key=lambda p: -p.score)
        accepted = next(p for p in ranked if verifier.verify(frames[p.frame], p.box_xyxy, described, "").match)
        assert iou(accepted.box_xyxy, scenes[accepted.frame][1][described.instance_id]) > 0.75


def test_identities_name_backend_model_and_opencv() -> None:
    for backend in (ColourDetector(), AttributeVerifier()):
        assert set(backend.identity) == {"backend", "model", "opencv"}
        assert backend.identity["opencv"] == cv2.__version__
        assert backend.concurrency >= 1
