"""tasks/media/velocity_masks.py: exactly the velocities of what moves first, in its visible pixels and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from schemas.kinemask import ObjectRow
from schemas.mask_track import MaskTrack, encode_mask
from schemas.record import read_table, write_table
from schemas.scene import Trajectory, Vector
from tasks.media.velocity_masks import (
    V_MAX_MPS,
    Encoding,
    normalised,
    velocity_legend,
    velocity_masks,
    velocity_masks_of,
    velocity_picture,
)
from tests.support.scenes import make_body

T, H, W = 5, 12, 16
CONTROLLED = [True, False, True]


def make_labels(n_bodies: int = 3, seed: int = 0) -> np.ndarray:
    """(T, H, W) uint8: ragged, disjoint silhouettes; the first body is hidden in the last frame."""
    labels = np.random.default_rng([seed, 1]).integers(0, n_bodies + 1, (T, H, W), dtype=np.uint8)
    labels[-1][labels[-1] == 1] = 0
    return labels


def make_tracks(labels: np.ndarray, n_bodies: int = 3) -> list[MaskTrack]:
    return [
        MaskTrack.of(f"id{k}", [encode_mask(frame == k) for frame in labels], height=H, width=W, anchor_frame=0)
        for k in range(1, n_bodies + 1)
    ]


def make_trajectory(instance_id: str, velocity: np.ndarray) -> Trajectory:
    """velocity (T, 3), m/s; where it is does not matter here."""
    n_frames = len(velocity)
    still: list[Vector] = [(0.0, 0.0, 0.0)] * n_frames
    return Trajectory(
        instance_id=instance_id,
        position=still,
        rotation=[(1.0, 0.0, 0.0, 0.0)] * n_frames,
        velocity=[(x, y, z) for x, y, z in velocity.tolist()],
        angular_velocity=still,
    )


def make_trajectories(n_bodies: int = 3, seed: int = 0) -> list[Trajectory]:
    velocities = np.random.default_rng([seed, 2]).uniform(-1.5, 1.5, (n_bodies, T, 3)).round(6)
    return [make_trajectory(f"id{k}", velocity) for k, velocity in enumerate(velocities, start=1)]


def by_pixel(
    labels: np.ndarray, trajectories: list[Trajectory], controlled: list[bool], encoding: Encoding
) -> np.ndarray:
    """The definition, pixel by pixel."""
    masks = np.zeros((*labels.shape, 3), np.float32)
    for frame, y, x in np.ndindex(labels.shape):
        body = int(labels[frame, y, x]) - 1
        if body >= 0 and controlled[body]:
            masks[frame, y, x] = trajectories[body].velocity[frame if encoding == "v_t" else 0]
    return masks


def make_row(track: MaskTrack, trajectory: Trajectory, controlled: bool, clip_id: str = "clip-1") -> ObjectRow:
    body = make_body(track.instance_id)
    return ObjectRow(
        clip_id=clip_id,
        noun=body.noun,
        controlled=controlled,
        speed_mps=float(np.linalg.norm(trajectory.velocity[0])),
        **body.model_dump(include={"instance_id", "shape", "colour", "rgb", "size", "mass_kg"}),
        **trajectory.model_dump(exclude={"instance_id"}),
        **track.model_dump(include={"height", "width", "counts", "box_xyxy", "area"}),
    )


# --- The masks -------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["v_t", "v_0"])
@given(seed=st.integers(0, 2**32), controlled=st.lists(st.booleans(), min_size=3, max_size=3))
@settings(max_examples=20, deadline=None)
def test_every_pixel_has_the_velocity_of_the_controlled_body_that_is_seen_there(
    encoding: Encoding, seed: int, controlled: list[bool]
) -> None:
    labels, trajectories = make_labels(seed=seed), make_trajectories(seed=seed)
    masks = velocity_masks(make_tracks(labels), trajectories, controlled, encoding=encoding)
    assert masks.dtype == np.float32
    np.testing.assert_array_equal(masks, by_pixel(labels, trajectories, controlled, encoding))


def test_an_object_that_only_a_collision_moves_stays_blank() -> None:
    labels = make_labels(2)
    struck = np.zeros((T, 3))
    struck[2:, 0] = 0.8
    striker = make_trajectory("id1", np.full((T, 3), 0.5))
    masks = velocity_masks(make_tracks(labels, 2), [striker, make_trajectory("id2", struck)], [True, False])
    assert not masks[labels == 2].any()
    assert masks[labels == 1].all()


def test_v_0_shows_the_first_frames_velocity_in_every_frame() -> None:
    labels = make_labels(1)
    slowing = make_trajectory("id1", np.linspace(1.0, 0.0, T)[:, None] * (1.0, 0.5, 0.0))
    tracks = make_tracks(labels, 1)
    later = velocity_masks(tracks, [slowing], [True], encoding="v_0", frames=slice(2, None))
    assert (later[labels[2:] == 1] == (1.0, 0.5, 0.0)).all()
    assert (velocity_masks(tracks, [slowing], [True])[3][labels[3] == 1] == (0.25, 0.125, 0.0)).all()


@pytest.mark.parametrize("frames", [slice(0, 1), slice(1, 4), slice(None, None, 2), slice(-2, None), slice(3, 3)])
@pytest.mark.parametrize("encoding", ["v_t", "v_0"])
def test_asked_frames_are_those_of_the_whole(frames: slice, encoding: Encoding) -> None:
    tracks, trajectories = make_tracks(make_labels()), make_trajectories()
    whole = velocity_masks(tracks, trajectories, CONTROLLED, encoding=encoding)
    some = velocity_masks(tracks, trajectories, CONTROLLED, encoding=encoding, frames=frames)
    np.testing.assert_array_equal(some, whole[frames])


def test_objects_that_share_a_pixel_are_refused() -> None:
    labels = make_labels(2)
    first, second = make_tracks(labels, 2)
    shared = [encode_mask((frame == 2) | (frame == 1)) for frame in labels]
    overlapping = MaskTrack.of("id2", shared, height=H, width=W, anchor_frame=0)
    with pytest.raises(ValueError, match="id2: shares pixels with another in frame 0"):
        velocity_masks([first, overlapping], make_trajectories(2), [True, True])
    assert velocity_masks([first, second], make_trajectories(2), [True, True]).any()


def test_objects_that_do_not_belong_together_are_refused() -> None:
    tracks, trajectories = make_tracks(make_labels()), make_trajectories()
    short = make_trajectory("id3", np.zeros((T - 1, 3)))
    narrow = MaskTrack.of("id3", [encode_mask(np.ones((H, W - 1), bool))] * T, height=H, width=W - 1, anchor_frame=0)
    for wrong, told in (
        (([], [], []), "no object"),
        ((tracks[:2], trajectories, CONTROLLED), "give one each"),
        ((tracks, trajectories, CONTROLLED[:2]), "give one each"),
        ((tracks, trajectories[::-1], CONTROLLED), "give one each"),
        (([tracks[0]] * 2, [trajectories[0]] * 2, CONTROLLED[:2]), "comes twice"),
        ((tracks, [*trajectories[:2], short], CONTROLLED), "of one clip"),
        (([*tracks[:2], narrow], trajectories, CONTROLLED), "of one clip"),
    ):
        with pytest.raises(ValueError, match=told):
            velocity_masks(*wrong)


def test_the_stored_rows_give_the_same_bits(tmp_path: Path) -> None:
    labels, trajectories = make_labels(), make_trajectories()
    tracks = make_tracks(labels)
    rows = [make_row(*parts) for parts in zip(tracks, trajectories, CONTROLLED, strict=True)]
    write_table(ObjectRow, rows[::-1], tmp_path / "objects.parquet")
    stored = read_table(ObjectRow, tmp_path / "objects.parquet")
    for encoding in ("v_t", "v_0"):
        expected = velocity_masks(tracks, trajectories, CONTROLLED, encoding=encoding)
        np.testing.assert_array_equal(velocity_masks_of(stored, encoding=encoding), expected)
    np.testing.assert_array_equal(velocity_masks_of(stored, frames=slice(1, 3)).any(-1), np.isin(labels[1:3], [1, 3]))


def test_rows_of_two_clips_make_no_mask() -> None:
    parts = zip(make_tracks(make_labels()), make_trajectories(), CONTROLLED, strict=True)
    rows = [make_row(*each, clip_id=f"clip-{n}") for n, each in enumerate(parts)]
    with pytest.raises(ValueError, match="objects of 3 clips"):
        velocity_masks_of(rows)


# --- For a network, and to look at -----------------------------------------------------------

velocities = hnp.arrays(np.float32, (7, 3), elements=st.floats(-3, 3, width=32))


@given(velocities)
def test_normalised_velocities_are_bounded_and_proportional(masks: np.ndarray) -> None:
    scaled = normalised(masks, 1.5)
    assert scaled.dtype == np.float32
    assert (abs(scaled) <= 1).all()
    inside = abs(masks) <= 1.5
    np.testing.assert_allclose(scaled[inside] * 1.5, masks[inside], rtol=1e-6, atol=1e-30)
    assert (abs(scaled[~inside]) == 1).all()


def test_what_is_normalised_stays_as_it_was() -> None:
    masks = np.full((1, 2, 2, 3), 9.0, np.float32)
    normalised(masks)
    assert (masks == 9).all()


@pytest.mark.parametrize("v_max_mps", [0.0, -1.0, float("nan")])
def test_a_scale_is_positive(v_max_mps: float) -> None:
    with pytest.raises(ValueError, match="v_max_mps"):
        normalised(np.zeros((1, 1, 1, 3), np.float32), v_max_mps)


@given(velocities)
def test_a_picture_tells_sign_and_speed(masks: np.ndarray) -> None:
    picture = velocity_picture(masks, 1.5)
    moves = masks.any(axis=-1)
    assert picture.dtype == np.uint8
    assert not picture[~moves].any()
    read_back = (picture[moves].astype(float) - 127.5) / 127.5 * 1.5
    assert (abs(read_back - np.clip(masks[moves], -1.5, 1.5)) <= 1.5 / 255 + 1e-5).all()


def test_each_axis_has_its_colours() -> None:
    along = {"right": (1, 0, 0), "left": (-1, 0, 0), "away": (0, 1, 0), "nearer": (0, -1, 0)}
    shown = {name: velocity_picture(V_MAX_MPS * np.array(v, np.float32)).tolist() for name, v in along.items()}
    assert shown == {"right": [255, 128, 128], "left": [0, 128, 128], "away": [128, 255, 128], "nearer": [128, 0, 128]}


def test_the_legend_is_the_picture_of_motion_on_the_floor() -> None:
    legend = velocity_legend(64)
    assert legend.shape == (64, 64, 3)
    middle_right, top = legend[32, 62], legend[1, 32]
    assert middle_right[0] > 245
    assert top[1] > 245
    assert not legend[0, 0].any()
    assert (abs(legend[32, 32].astype(int) - 128) < 4).all(), "slow is grey, and not black"
