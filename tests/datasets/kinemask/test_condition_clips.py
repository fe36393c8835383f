"""condition_clips: the masks of the second stage keep what they say, and are drawn as they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.kinemask import CollisionRow
from tasks.datasets.kinemask.condition_clips import (
    ConditioningConfig,
    draw_kept_frames,
    drop_masks,
    frame_weights,
    kept_frames,
    training_collisions,
)
from tasks.engine.snapshots import Snapshot, SnapshotError
from tests.datasets.kinemask.test_examples import make_clip_row, write_clips
from tests.support.snapshots import write_snapshot

F = 49
CONFIG = ConditioningConfig()
UNIFORM = ConditioningConfig(sampling="uniform")


# --- Which frames are kept -------------------------------------------------------------------


@given(
    n_frames=st.integers(1, 80),
    bounds=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
    collisions=st.none() | st.lists(st.integers(0, 9), max_size=80),
    seed=st.integers(0, 2**32),
)
def test_kept_frames_are_some_of_the_clip_and_the_first_among_them(
    n_frames: int, bounds: list[float], collisions: list[int] | None, seed: int
) -> None:
    config = ConditioningConfig(min_dropout=bounds[0], max_dropout=bounds[1])
    weights = frame_weights(n_frames, config, collisions and collisions[:n_frames])
    kept = draw_kept_frames(n_frames, config, weights, np.random.default_rng([seed]))
    assert kept[0] == 0
    assert (np.diff(kept) > 0).all()
    assert kept[-1] < n_frames
    dropped = n_frames - len(kept)
    assert round(bounds[0] * (n_frames - 1)) <= dropped <= round(bounds[1] * (n_frames - 1))


def test_a_seed_is_a_draw() -> None:
    weights = frame_weights(F, CONFIG)

    def draw(*seed: int) -> list[int]:
        return draw_kept_frames(F, CONFIG, weights, np.random.default_rng(seed)).tolist()

    assert draw(0, 3, 17) == draw(0, 3, 17)
    assert len({tuple(draw(0, epoch, 17)) for epoch in range(20)}) == 20


def test_a_single_kept_frame_is_drawn_by_its_weight() -> None:
    """Chi-square against the weights: 4.6 standard deviations of its distribution, fixed seed."""
    weights = frame_weights(F, CONFIG, [0] * 10 + [5, 30, 12] + [0] * 20 + [3])
    rng, n_draws = np.random.default_rng([1]), 6000
    drawn = np.bincount([kept_frames(F, 2, rng, weights=weights)[1] for _ in range(n_draws)], minlength=F)[1:]
    expected = n_draws * weights[1:] / weights[1:].sum()
    assert expected.min() > 5, "fewer are no chi-square"
    freedom = F - 2
    assert abs(((drawn - expected) ** 2 / expected).sum() - freedom) < 4.6 * np.sqrt(2 * freedom)


def test_two_kept_frames_are_drawn_one_after_the_other() -> None:
    weights = np.array([9.0, 1.0, 2.0, 7.0])
    rng, n_draws = np.random.default_rng([2]), 6000
    pairs = [tuple(kept_frames(4, 3, rng, weights=weights)[1:]) for _ in range(n_draws)]
    for (a, b), share in {(1, 2): 0.1 * 2 / 9 + 0.2 * 1 / 8, (2, 3): 0.2 * 7 / 8 + 0.7 * 2 / 3}.items():
        assert pairs.count((a, b)) / n_draws == pytest.approx(share, abs=4 * np.sqrt(share / n_draws))


def test_wrong_numbers_are_refused() -> None:
    rng = np.random.default_rng([0])
    for n_kept in (0, 6):
        with pytest.raises(ValueError, match="at least the first"):
            kept_frames(5, n_kept, rng, weights=np.ones(5))
    for weights in (np.ones(4), np.array([1.0, 1, 1, 0, 1]), np.full(5, np.nan)):
        with pytest.raises(ValueError, match="a positive one"):
            kept_frames(5, 2, rng, weights=weights)
    with pytest.raises(ValidationError, match="exceeds"):
        ConditioningConfig(min_dropout=0.8, max_dropout=0.2)


# --- Weights ---------------------------------------------------------------------------------


@given(
    collisions=st.lists(st.integers(0, 10**6), min_size=F, max_size=F),
    sampling=st.sampled_from(["collisions", "uniform"]),
)
def test_weights_are_a_distribution_that_forgets_no_frame(collisions: list[int], sampling: str) -> None:
    weights = frame_weights(F, ConditioningConfig(sampling=sampling), collisions)
    assert weights.shape == (F,)
    assert weights.sum() == pytest.approx(1)
    assert weights.min() >= 0.99 * CONFIG.uniform_share / F


def test_frames_around_collisions_weigh_most() -> None:
    weights = frame_weights(F, CONFIG, [0] * 20 + [1])
    assert weights.argmax() == 20
    assert weights[19] == pytest.approx(weights[21])
    assert weights[18:23].sum() > 0.6
    assert frame_weights(F, CONFIG, np.bincount([8] * 9 + [30] * 1, minlength=F))[8] > weights[8]


def test_without_collisions_early_frames_weigh_most() -> None:
    for collisions in (None, [], [0] * F):
        weights = frame_weights(F, CONFIG, collisions)
        assert (np.diff(weights) < 0).all()
        assert weights[: F // 2].sum() > 0.75


def test_the_ablation_is_uniform_whatever_collides() -> None:
    assert set(frame_weights(F, UNIFORM, [0, 7]).tolist()) == {1 / F}


def test_collisions_after_the_clips_end_are_none_of_its() -> None:
    with pytest.raises(ValueError, match="clip of 10"):
        frame_weights(10, CONFIG, [0] * 10 + [1])
    assert frame_weights(10, CONFIG, [1] + [0] * 40).argmax() == 0


def test_collisions_are_counted_over_the_training_clips_of_a_set(tmp_path: Path) -> None:
    rows = [
        make_clip_row(0, set="interactions"),
        make_clip_row(1, set="interactions"),
        make_clip_row(2, set="interactions", split="test"),
        make_clip_row(3, set="simple_motion"),
    ]
    hits = [(rows[0], 1), (rows[1], 1), (rows[1], 2), (rows[2], 0), (rows[3], 3)]
    collisions = [
        CollisionRow(
            clip_id=row.clip_id, time_s=frame / 24, frame=frame, first_id="id1", second_id="id2", point=(0, 0, 0),
            impulse_ns=1, closing_speed_mps=1, first_velocity_before=(1, 0, 0), first_velocity_after=(0, 0, 0),
            second_velocity_before=(0, 0, 0), second_velocity_after=(1, 0, 0),
        )
        for row, frame in hits
    ]  # fmt: skip
    snapshot = write_clips(tmp_path, rows, collisions)
    assert training_collisions(snapshot) == [0, 2, 1, 0]
    assert training_collisions(snapshot, "simple_motion") == [0, 0, 0, 1]


def test_collisions_are_counted_in_snapshots_that_have_clips(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="is no snapshot: give its folder"):
        training_collisions(Snapshot(tmp_path))
    with pytest.raises(SnapshotError, match="made by curate-dsr; give a snapshot of curate-kinemask"):
        training_collisions(write_snapshot(tmp_path / "dsr-1", "curate-dsr", {}))
    snapshot = write_clips(tmp_path, [make_clip_row(0, set="interactions")])
    assert training_collisions(snapshot) == [0, 0, 0, 0]
    with pytest.raises(SnapshotError, match="no training clips of simple_motion"):
        training_collisions(snapshot, "simple_motion")


# --- Masks -----------------------------------------------------------------------------------


@given(kept=st.sets(st.integers(0, 6)), seed=st.integers(0, 99))
def test_dropout_keeps_what_it_says_and_blanks_the_rest(kept: set[int], seed: int) -> None:
    masks = np.random.default_rng([seed]).normal(size=(7, 3, 4, 3)).astype(np.float32)
    before = masks.copy()
    dropped = drop_masks(masks, sorted(kept))
    np.testing.assert_array_equal(masks, before)
    assert dropped.dtype == np.float32
    for frame in range(7):
        assert np.array_equal(dropped[frame], masks[frame]) if frame in kept else not dropped[frame].any()
