"""What every detector owes the stage, whatever its boxes are worth."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from schemas.instance import Instance
from schemas.outcome import RowFailed
from tasks.backends.colour import ColourDetector
from tasks.backends.torch_runtime import TorchConfig
from tasks.ground_instances import Detector
from tests.support.drawn_room import BLUE_BALL, BOY, GREEN_BOX, instance, room_with_push
from tests.support.tiny_dino import save_native, save_port
from tests.support.told import told_by

ROOM = np.stack([room_with_push(x)[0] for x in (60, 120, 180)])
INSTANCES = [BOY, GREEN_BOX, BLUE_BALL]


@pytest.fixture(
    scope="module",
    params=[
        "colour",
        pytest.param("groundingdino", marks=pytest.mark.models),
        pytest.param("transformers", marks=pytest.mark.models),
    ],
)
def detector(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Detector:
    match request.param:
        case "groundingdino":
            from tasks.backends.grounding_dino.native import NativeGroundingDino

            return NativeGroundingDino(save_native(tmp_path_factory.mktemp("native")), TorchConfig())
        case "transformers":
            from tasks.backends.grounding_dino.port import PortedGroundingDino

            return PortedGroundingDino(save_port(tmp_path_factory.mktemp("port")), TorchConfig())
    return ColourDetector()


def of_size(height: int, width: int) -> np.ndarray:
    """(2, H, W, 3): the room, stretched."""
    return np.stack([cv2.resize(frame, (width, height)) for frame in ROOM[:2]])


@pytest.mark.parametrize("shape", [(240, 320), (64, 64), (97, 131), (48, 201), (180, 101), (20, 30)])
def test_boxes_lie_in_the_frames_given(detector: Detector, shape: tuple[int, int]) -> None:
    height, width = shape
    found = detector.propose(of_size(height, width), INSTANCES)
    assert set(found) == {"id1", "id2", "id3"}
    for proposal in [p for proposals in found.values() for p in proposals]:
        x0, y0, x1, y1 = proposal.box_xyxy
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        assert 0 <= proposal.score <= 1
        assert proposal.frame in (0, 1)


def test_something_is_proposed_on_every_frame(detector: Detector) -> None:
    found = detector.propose(ROOM, INSTANCES)
    for proposals in found.values():
        assert {p.frame for p in proposals} == {0, 1, 2}
        assert len(proposals) <= 300


def test_a_class_and_description_that_two_instances_share(detector: Detector) -> None:
    twin = BLUE_BALL.model_copy(update={"instance_id": "id4"})
    found = detector.propose(ROOM, [BLUE_BALL, BOY, twin])
    assert found["id3"] == found["id4"] != []
    found["id3"].clear()
    assert found["id4"]


def test_one_frame(detector: Detector) -> None:
    assert {p.frame for p in detector.propose(ROOM[:1], INSTANCES)["id2"]} == {0}


def test_no_instances_no_proposals(detector: Detector) -> None:
    assert detector.propose(ROOM, []) == {}


@pytest.mark.parametrize("class_name", ["Wine glass", "  ball ", "t-shirt", "café au lait", "<b>ball</b>", "a" * 100])
def test_any_class_name_is_data(detector: Detector, class_name: str) -> None:
    odd = instance(f"a blue {class_name}", class_name, number=7)
    assert ended(detector, [BOY, odd]) in ({"id1", "id7"}, ("bad_class_name", False))


def ended(detector: Detector, instances: list[Instance]) -> object:
    try:
        return set(detector.propose(ROOM, instances))
    except RowFailed as failure:
        return failure.reason, failure.retryable


def test_same_frames_same_bytes_in_any_thread(detector: Detector) -> None:
    def propose(instances: list[Instance]) -> str:
        found = detector.propose(ROOM, instances)
        return json.dumps({i: [p.model_dump() for p in proposals] for i, proposals in found.items()})

    first = propose(INSTANCES)
    with ThreadPoolExecutor(3) as pool:
        assert {first} == set(pool.map(propose, [INSTANCES] * 4))


def test_it_tells_how_many_frames_are_searched(detector: Detector) -> None:
    assert told_by(detector.propose, ROOM, INSTANCES)[-1] == "3 of 3 frames searched"


def test_the_frames_are_left_alone(detector: Detector) -> None:
    frames = ROOM.copy()
    frames.setflags(write=False)
    detector.propose(frames, INSTANCES)
    assert np.array_equal(frames, ROOM)


def test_it_says_what_it_is(detector: Detector, request: pytest.FixtureRequest) -> None:
    assert detector.identity["backend"] == request.node.callspec.params["detector"]
    assert detector.identity["model"]
    assert all(isinstance(value, str) for value in detector.identity.values())
    assert detector.concurrency >= 1
