"""Plücker embeddings against rays computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.media.plucker import plucker_embeddings

# 4 x 2 px, focal lengths 2 and 1, principal point in the middle: the pixel (row 0, column 3) has its middle at
# (3.5, 0.5), so its ray goes through ((3.5 - 2) / 2, (0.5 - 1) / 1, 1) = (0.75, -0.5, 1).
INTRINSICS = np.array([2.0, 1.0, 2.0, 1.0])
CORNER = np.array([0.75, -0.5, 1.0]) / np.sqrt(0.75**2 + 0.5**2 + 1)
RIGHT = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # turned by 90 degrees: what was forward (z) is now right (x)


def pose(rotation: np.ndarray | None = None, at: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    made = np.eye(4)
    made[:3, :3] = np.eye(3) if rotation is None else rotation
    made[:3, 3] = at
    return made


def embed(*poses: np.ndarray, intrinsics: np.ndarray = INTRINSICS) -> np.ndarray:
    return plucker_embeddings(np.stack(poses), intrinsics, width=4, height=2)


def test_rays_of_the_first_camera_pass_through_the_origin() -> None:
    rays = embed(pose())
    assert rays.shape == (1, 6, 2, 4)
    assert rays.dtype == np.float32
    assert np.allclose(rays[0, :3], 0)
    assert np.allclose(rays[0, 3:, 0, 3], CORNER)
    assert np.allclose(np.linalg.norm(rays[0, 3:], axis=0), 1)


def test_a_step_to_the_right_gives_moments_and_leaves_directions() -> None:
    rays = embed(pose(), pose(at=(2, 0, 0)))
    assert np.allclose(rays[1, 3:], rays[0, 3:])
    x, y, z = CORNER
    assert np.allclose(rays[1, :3, 0, 3], [0, -2 * z, 2 * y])  # (2, 0, 0) x (x, y, z)
    assert x > 0


def test_a_turn_to_the_right_turns_directions() -> None:
    rays = embed(pose(), pose(RIGHT))
    x, y, z = CORNER
    assert np.allclose(rays[1, 3:, 0, 3], [z, y, -x], atol=1e-7)
    assert np.allclose(rays[1, :3], 0)


def test_the_first_camera_is_the_origin_wherever_it_stands() -> None:
    start = pose(RIGHT, at=(5, -3, 7))
    step = pose(RIGHT.T, at=(0.5, 0, 1))
    assert np.allclose(embed(start, start @ step), embed(pose(), step), atol=1e-6)


def test_intrinsics_may_differ_by_frame() -> None:
    zoomed = np.array([4.0, 2.0, 2.0, 1.0])
    rays = embed(pose(), pose(), intrinsics=np.stack([INTRINSICS, zoomed]))
    assert np.allclose(rays[0], embed(pose())[0])
    assert np.allclose(rays[1], embed(pose(), intrinsics=zoomed)[0])


@pytest.mark.parametrize(
    ("poses", "intrinsics", "said"),
    [
        (np.eye(4), INTRINSICS, r"poses of shape \(4, 4\)"),
        (np.stack([np.eye(4)] * 2), np.ones((3, 4)), r"intrinsics of shape \(3, 4\) for 2 frames"),
        (np.stack([np.eye(4)]), np.array([0.0, 1, 2, 1]), "positive focal lengths"),
        (np.stack([np.eye(4), 2 * np.eye(4)]), INTRINSICS, "pose of frame 1 is no rigid motion"),
        (np.stack([np.diag([1.0, -1, 1, 1])]), INTRINSICS, "pose of frame 0 is no rigid motion"),
        (np.full((1, 4, 4), np.nan), INTRINSICS, "pose of frame 0 is no rigid motion"),
    ],
)
def test_what_is_no_camera_is_refused(poses: np.ndarray, intrinsics: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        plucker_embeddings(poses, intrinsics, width=4, height=2)
