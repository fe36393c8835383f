"""What every propagation backend owes the stage, whatever its masks are worth."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from schemas.candidate import Anchor, Box
from schemas.mask_track import decode_masks
from schemas.outcome import RowFailed
from tasks.backends.optical_flow import FlowPropagator
from tasks.propagate_masks import Propagator
from tests.support.tiny_sam2 import tiny_sam2
from tests.support.told import told_by

SAM2 = [
    pytest.param((library, precision), marks=pytest.mark.models, id=f"{library}-{precision}")
    for library in ("sam2", "transformers")
    for precision in ("float32", "bfloat16")
]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(params=["flow", *SAM2])
def propagator(request: pytest.FixtureRequest, checkpoints: Path) -> Propagator:
    if request.param == "flow":
        return FlowPropagator()
    library, precision = request.param
    return tiny_sam2(library, checkpoints, precision=precision)


def clip(n_frames: int, height: int, width: int) -> np.ndarray:
    """(N, H, W, 3): a red square and a blue one on noise, moving apart."""
    frames = np.random.default_rng(0).integers(90, 120, (1, height, width, 3), dtype=np.uint8).repeat(n_frames, axis=0)
    side = min(height, width) // 4
    for t in range(n_frames):
        x = min(2 * t, width // 4)
        frames[t, side : 2 * side, width // 2 - side - x : width // 2 - x] = (200, 30, 30)
        frames[t, 2 * side : 3 * side, width // 2 + x : width // 2 + x + side] = (30, 30, 200)
    return frames


def square(instance_id: str, height: int, width: int) -> Anchor:
    """The box of the clip's red square ("red") or blue square ("blue") on frame 0."""
    side = min(height, width) // 4
    left, top = (width // 2 - side, side) if instance_id == "red" else (width // 2, 2 * side)
    box: Box = (float(left), float(top), float(left + side), float(top + side))
    return Anchor(instance_id=instance_id, frame=0, box_xyxy=box)


@pytest.mark.parametrize("shape", [(64, 64), (97, 131), (48, 201), (180, 101), (20, 30)])
def test_one_mask_a_frame_at_the_clips_size(propagator, shape):
    frames = clip(4, *shape)
    tracks = propagator.propagate(frames, [square("red", *shape), square("blue", *shape)])
    assert list(tracks) == ["red", "blue"]
    for counts in tracks.values():
        assert len(counts) == 4
        assert decode_masks(counts, *shape).shape == (4, *shape)


def test_the_anchor_frame_shows_the_instance():
    """Of the flow only: random weights segment noise."""
    anchor = square("red", 96, 128)
    counts = FlowPropagator().propagate(clip(3, 96, 128), [anchor])["red"]
    mask = decode_masks(counts, 96, 128)[0]
    left, top, right, bottom = (int(v) for v in anchor.box_xyxy)
    assert mask[top:bottom, left:right].mean() > 0.9
    assert mask.sum() < 1.2 * (right - left) * (bottom - top)


def test_a_clip_of_one_frame(propagator):
    counts = propagator.propagate(clip(1, 64, 64), [square("red", 64, 64)])["red"]
    assert len(counts) == 1
    assert decode_masks(counts, 64, 64).any()


def test_no_anchors_no_tracks(propagator):
    assert propagator.propagate(clip(2, 64, 64), []) == {}


def test_instances_share_no_pixel(propagator):
    frames = clip(5, 96, 128)
    anchors = [square("red", 96, 128), Anchor(instance_id="scene", frame=3, box_xyxy=(10, 10, 120, 90))]
    red, scene = (decode_masks(counts, 96, 128) for counts in propagator.propagate(frames, anchors).values())
    assert not (red & scene).any()


def test_a_box_may_reach_beyond_the_frame(propagator):
    anchor = Anchor(instance_id="id1", frame=0, box_xyxy=(-10.5, -3.0, 200.0, 90.25))
    assert len(propagator.propagate(clip(2, 64, 64), [anchor])["id1"]) == 2


def test_same_input_same_bytes_in_any_thread(propagator):
    frames = clip(6, 96, 128)
    anchors = [square("red", 96, 128), square("blue", 96, 128)]
    first = propagator.propagate(frames, anchors)
    with ThreadPoolExecutor(2) as pool:
        others = list(pool.map(lambda _: propagator.propagate(frames, anchors), range(2)))
    assert [first, first] == others


def test_it_tells_how_far_it_is_both_ways(propagator):
    anchors = [square("red", 64, 64), Anchor(instance_id="scene", frame=3, box_xyxy=(10, 10, 60, 50))]
    told = told_by(propagator.propagate, clip(5, 64, 64), anchors)
    assert "5 of 5 frames forward" in told
    backward = [text for text in told if text.endswith("frames backward")]
    assert re.fullmatch(r"(\d) of \1 frames backward", backward[-1])


def test_the_frames_are_left_alone(propagator):
    frames = clip(3, 64, 64)
    before = frames.copy()
    propagator.propagate(frames, [square("red", 64, 64)])
    assert np.array_equal(frames, before)


@pytest.mark.parametrize(
    ("frame", "box"),
    [
        (0, (10, 10, 10, 40)),
        (0, (10, 40, 30, 40)),
        (0, (30, 10, 10, 40)),
        (0, (64, 10, 90, 40)),
        (0, (-30, 10, -1, 40)),
        (2, (10, 10, 30, 30)),
    ],
    ids=["no width", "no height", "inverted", "right of the frame", "left of the frame", "after the clip"],
)
def test_an_anchor_it_cannot_start_from_fails_the_row(propagator, frame, box):
    with pytest.raises(RowFailed) as failure:
        propagator.propagate(clip(2, 64, 64), [Anchor(instance_id="id7", frame=frame, box_xyxy=box)])
    assert failure.value.reason == "bad_anchor"
    assert not failure.value.retryable
    assert "id7" in failure.value.detail


def test_it_says_what_it_is(propagator):
    assert propagator.identity["backend"] in ("flow", "sam2", "transformers")
    assert all(isinstance(value, str) for value in propagator.identity.values())
    assert propagator.concurrency >= 1
