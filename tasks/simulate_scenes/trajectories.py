"""A motion -> the stored poses and velocities at the frames, without the jitter of resting bodies.

The solver moves resting bodies by micrometres. That is removed: an untouched body stays exactly as drawn, a resting one
is frozen.
"""

from __future__ import annotations

import numpy as np

from schemas.scene import DIGITS, Scene, Trajectory
from tasks.backends.bullet import Motion

RESTING = 1e-3  # m/s and rad/s: slower counts as rest


def trajectories(scene: Scene, motion: Motion) -> list[Trajectory]:
    """One a body: its states at the frames, rounded to DIGITS."""
    return [_trajectory(scene, motion, place) for place in range(len(scene.bodies))]


def first_touch(motion: Motion, place: int) -> int | None:
    """The first sub-step in which another body pushes this one; None if there is none."""
    return next((contact.step for contact in motion.contacts if place in (contact.first, contact.second)), None)


def settled(velocities: np.ndarray) -> np.ndarray:
    """(..., 3): the velocities, with zeros where they count as rest."""
    return np.where(np.linalg.norm(velocities, axis=-1, keepdims=True) < RESTING, 0.0, velocities)


def _trajectory(scene: Scene, motion: Motion, place: int) -> Trajectory:
    body = scene.bodies[place]
    every = motion.substeps_per_s // scene.fps
    position, rotation = motion.position[::every, place].copy(), _continuous(motion.rotation[::every, place])
    velocity = settled(motion.velocity[::every, place])
    angular_velocity = settled(motion.angular_velocity[::every, place])
    as_drawn = 1  # frames; at least one, since Bullet normalises even the first rotation
    if not body.controlled:
        touch = first_touch(motion, place)
        as_drawn = scene.n_frames if touch is None else touch // every + 1
        velocity[:as_drawn] = angular_velocity[:as_drawn] = 0.0
    position[:as_drawn], rotation[:as_drawn] = body.position, body.rotation
    rests = (velocity == 0).all(axis=1) & (angular_velocity == 0).all(axis=1)
    for frame in range(1, scene.n_frames):
        if rests[frame - 1] and rests[frame]:
            position[frame], rotation[frame] = position[frame - 1], rotation[frame - 1]
    return Trajectory(
        instance_id=body.instance_id,
        position=_rows(position),
        rotation=_rows(rotation),
        velocity=_rows(velocity),
        angular_velocity=_rows(angular_velocity),
    )


def _continuous(rotation: np.ndarray) -> np.ndarray:
    """(T, 4): the same rotations; of the equivalent q and -q, the one nearer to the previous frame."""
    turned_over = (rotation[1:] * rotation[:-1]).sum(axis=1) < 0
    signs = np.where(np.cumsum(turned_over) % 2, -1.0, 1.0)
    return rotation * np.concatenate([[1.0], signs])[:, None]


def _rows(states: np.ndarray) -> list[tuple[float, ...]]:
    """(T, 3 or 4), rounded."""
    # As in `rounded`, without -0.0.
    return [tuple(row) for row in (states.round(DIGITS) + 0.0).tolist()]
