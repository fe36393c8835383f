"""schemas.mask_track: COCO run lengths, exactly, both ways."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from schemas.mask_track import MaskTrack, decode_mask, decode_masks, encode_mask, mask_iou, run_lengths

masks = hnp.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@given(masks)
def test_round_trip_gives_the_same_bits(mask: np.ndarray) -> None:
    assert np.array_equal(decode_mask(encode_mask(mask), *mask.shape), mask)


def test_runs_go_down_the_columns_as_in_coco() -> None:
    # Column by column: 0 0 1 1 -> two off, two on; compressed, each of these small counts is one character.
    assert encode_mask(np.array([[False, True], [False, True]])) == "22"


def test_only_boolean_pictures_are_masks() -> None:
    with pytest.raises(ValueError, match="bool"):
        encode_mask(np.ones((2, 2), np.uint8))


def test_boxes_areas_and_presence_are_derived() -> None:
    mask = np.zeros((20, 30), bool)
    mask[4:9, 10:25] = True
    empty = np.zeros_like(mask)
    counts = [encode_mask(mask), encode_mask(empty)]
    track = MaskTrack.of("id1", counts, height=20, width=30, anchor_frame=0)
    assert track.box_xyxy == [(10, 4, 25, 9), None]
    assert track.area == [75, 0]
    assert track.present == [True, False]
    assert np.array_equal(track.masks(), [mask, empty])
    assert decode_masks([], 20, 30).shape == (0, 20, 30)


@given(masks, st.integers(0, 2**32 - 1))
def test_iou_is_that_of_the_bits(mask: np.ndarray, seed: int) -> None:
    other = np.random.default_rng(seed).random(mask.shape) > 0.5
    union = (mask | other).sum()
    expected = (mask & other).sum() / union if union else 1.0
    assert mask_iou([encode_mask(mask)], [encode_mask(other)], *mask.shape)[0] == pytest.approx(expected)


def test_a_track_of_many_frames() -> None:
    """pycocotools cannot measure more than 255 masks at once."""
    counts = [encode_mask(np.ones((2, 3), bool))] * 300
    track = MaskTrack.of("id1", counts, height=2, width=3, anchor_frame=0)
    assert track.area == [6] * 300
    assert track.masks().shape == (300, 2, 3)
    assert mask_iou(counts, counts, 2, 3).shape == (300,)


@given(masks)
def test_decodes_what_pycocotools_decodes(mask: np.ndarray) -> None:
    counts = encode_mask(mask)
    theirs = coco.decode({"size": list(mask.shape), "counts": counts.encode()}).astype(bool)
    assert np.array_equal(decode_mask(counts, *mask.shape), theirs)


@pytest.mark.parametrize("runs", [[0, 12], [12], [5, 7], [3_000_000, 1, 4_000_000, 900_000, 2], [1, 1] * 50])
def test_run_lengths_of_many_digits_and_falling_differences(runs: list[int]) -> None:
    text = coco.frPyObjects({"size": [sum(runs), 1], "counts": runs}, sum(runs), 1)["counts"].decode()
    assert run_lengths(text).tolist() == runs


@pytest.mark.parametrize("counts", ["", "P", "22", "2244", "é", "24P", "o" * 20 + "O", "_O" * 3, "22\n"])
def test_what_is_no_mask_of_this_size_is_refused(counts: str) -> None:
    with pytest.raises(ValueError):
        decode_mask(counts, 4, 4)


@given(st.text(max_size=30))
def test_any_text_is_a_mask_or_is_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert decode_mask(text, 5, 7).shape == (5, 7)
