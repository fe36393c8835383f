"""A motion -> what is stored of it: poses and velocities at the frames, and collisions.

    250 contacts of a red cube and a blue cylinder that slide on together -> 1 collision at 0.79 s

The solver moves resting bodies by micrometres. That is removed: an untouched body stays exactly as drawn, a resting one
is frozen. Touching bodies lose and regain contact for moments: a new collision begins only if they were apart for a
while and approach faster than the solver's jitter.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import takewhile

import numpy as np

from schemas.scene import DIGITS, Collision, Scene, Trajectory, rounded
from tasks.backends.bullet import Contact, RigidMotion

RESTING = 1e-3  # m/s and rad/s: slower counts as rest
APART_S = 0.1  # a new collision needs this time without contact
MIN_CLOSING_SPEED_MPS = 0.01


def trajectories(scene: Scene, motion: RigidMotion) -> list[Trajectory]:
    """One a body: its states at the frames, rounded to DIGITS."""
    return [_trajectory(scene, motion, place) for place in range(len(scene.bodies))]


def first_touch(motion: RigidMotion, place: int) -> int | None:
    """The first sub-step in which another body pushes this one; None if there is none."""
    return next((contact.step for contact in motion.contacts if place in (contact.first, contact.second)), None)


def settled(velocities: np.ndarray) -> np.ndarray:
    """(..., 3): the velocities, with zeros where they count as rest."""
    return np.where(np.linalg.norm(velocities, axis=-1, keepdims=True) < RESTING, 0.0, velocities)


def _trajectory(scene: Scene, motion: RigidMotion, place: int) -> Trajectory:
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


def collisions(scene: Scene, motion: RigidMotion) -> list[Collision]:
    """Collisions in order of time, then of the scene's bodies."""
    by_pair: dict[tuple[int, int], list[Contact]] = defaultdict(list)
    for contact in motion.contacts:
        by_pair[contact.first, contact.second].append(contact)
    found = [
        (start.step, pair, collision)
        for pair, contacts in sorted(by_pair.items())
        for start in _starts(contacts, APART_S * motion.substeps_per_s)
        if (collision := _collision(scene, motion, start, contacts)).closing_speed_mps >= MIN_CLOSING_SPEED_MPS
    ]
    return [collision for _, _, collision in sorted(found, key=lambda item: item[:2])]


def closing_speed(motion: RigidMotion, contact: Contact) -> float:
    """Speed in m/s at which the contact points of both bodies approach along the normal just before the contact."""
    first, second = (
        _velocity_at(motion, contact.step, place, contact.point) for place in (contact.first, contact.second)
    )
    return float((second - first) @ contact.normal)


def _starts(contacts: Sequence[Contact], apart_steps: float) -> list[Contact]:
    """The contacts of a pair that follow a time apart."""
    before = [-math.inf, *(contact.step for contact in contacts)]
    return [contact for contact, last in zip(contacts, before, strict=False) if contact.step - last > apart_steps]


def _collision(scene: Scene, motion: RigidMotion, start: Contact, contacts: Sequence[Contact]) -> Collision:
    """contacts: all contacts of the pair."""
    every = motion.substeps_per_s // scene.fps
    first, second = start.first, start.second
    velocity = settled(motion.velocity)
    speeds = np.linalg.norm(velocity[start.step], axis=1)
    if speeds[second] > speeds[first]:
        first, second = second, first
    after = min(start.step + every, len(motion.velocity) - 1)
    return Collision(
        time_s=round(start.step / motion.substeps_per_s, DIGITS),
        frame=math.ceil(start.step / every),
        first_id=scene.bodies[first].instance_id,
        second_id=scene.bodies[second].instance_id,
        point=rounded(start.point),
        impulse_ns=round(_impulse_ns(start, contacts, every, motion.substeps_per_s), DIGITS),
        closing_speed_mps=round(max(closing_speed(motion, start), 0.0), DIGITS),
        first_velocity_before=rounded(velocity[start.step, first]),
        first_velocity_after=rounded(velocity[after, first]),
        second_velocity_before=rounded(velocity[start.step, second]),
        second_velocity_after=rounded(velocity[after, second]),
    )


def _impulse_ns(start: Contact, contacts: Sequence[Contact], n_steps: int, substeps_per_s: int) -> float:
    """The normal impulse from the start until the bodies part, within n_steps."""
    forces = {contact.step: contact.force_n for contact in contacts}
    pushing = takewhile(forces.__contains__, range(start.step, start.step + n_steps))
    return math.fsum(forces[step] for step in pushing) / substeps_per_s


def _velocity_at(motion: RigidMotion, step: int, place: int, point: np.ndarray) -> np.ndarray:
    """(3,) m/s: velocity of the body's material at a point, from its translation and rotation."""
    arm = point - motion.position[step, place]
    velocity: np.ndarray = motion.velocity[step, place] + np.cross(motion.angular_velocity[step, place], arm)
    return velocity
