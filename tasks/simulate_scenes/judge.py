"""Decide whether a simulated scene is a valid clip of its set.

    SceneFault("late_collision", "the first is at 1.62 s, after 1.20 s")

Reasons, in the order of the checks:

    energy_grew             the solver added energy: the motion is unphysical
    toppled                 a body leans too far: captions cannot describe falling
    collision               simple_motion: two bodies touch
    no_collision            interactions: no controlled body collides fast enough
    late_collision          ... or none early enough to show the effects
    collision_out_of_view   ... or none in view
    left_view               a controlled body is outside the picture for too long
    hidden                  a body stands behind others in the first frame
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from schemas.scene import Body, Collision, Scene, Trajectory
from tasks.backends.bullet import RigidMotion
from tasks.media.cast_rays import cast, poses_at, zoom
from tasks.simulate_scenes.config import SceneConfig

CAST_WIDTH_PX = 180  # of the small picture in which visible pixels are counted


class SceneFault(NamedTuple):
    """Why a scene is no clip of its set."""

    reason: str  # a fixed word, for counting
    detail: str


class Simulated(NamedTuple):
    """A simulated draw, to be judged."""

    scene: Scene
    motion: RigidMotion
    trajectories: list[Trajectory]
    collisions: list[Collision]


def find_fault(simulated: Simulated, config: SceneConfig) -> SceneFault | None:
    """The first fault found; None if the scene is a valid clip of its set."""
    return next(_faults(simulated, config), None)


def mechanical_energy_j(scene: Scene, motion: RigidMotion) -> np.ndarray:
    """(S + 1,) J: energy of all bodies in every state: translation, rotation, and height above the start."""
    mass_kg = np.array([body.mass_kg for body in scene.bodies])
    inertia = np.array([_inertia(body) for body in scene.bodies])
    moving = 0.5 * mass_kg * (motion.velocity**2).sum(axis=-1)
    turning = 0.5 * (inertia * _in_body_axes(motion.rotation, motion.angular_velocity) ** 2).sum(axis=-1)
    lifted = mass_kg * scene.gravity * (motion.position - motion.position[0])[..., 2]
    energy_j: np.ndarray = (moving + turning + lifted).sum(axis=-1)
    return energy_j


def _faults(simulated: Simulated, config: SceneConfig) -> Iterator[SceneFault]:
    yield from _unphysical(simulated, config)
    if simulated.scene.set == "simple_motion":
        yield from _touching(simulated)
    else:
        yield from _without_collision(simulated, config)
    yield from _unseen(simulated, config)


# --- Physics ---------------------------------------------------------------------------------


def _unphysical(simulated: Simulated, config: SceneConfig) -> Iterator[SceneFault]:
    scene, motion = simulated.scene, simulated.motion
    energy_j = mechanical_energy_j(scene, motion)
    gain = float((energy_j - np.minimum.accumulate(energy_j)).max() / energy_j[0])
    if gain > config.max_energy_gain:
        yield SceneFault("energy_grew", f"by {gain:.4f} of that of the first frame, over {config.max_energy_gain:g}")
    up = 1 - 2 * (motion.rotation[..., 1] ** 2 + motion.rotation[..., 2] ** 2)  # z of the body's own z axis
    tilt_deg = np.degrees(np.arccos(up.clip(-1, 1))).max(axis=0)
    worst = int(tilt_deg.argmax())
    if tilt_deg[worst] > config.max_tilt_deg:
        body = scene.bodies[worst]
        yield SceneFault("toppled", f"{body.instance_id} leans {tilt_deg[worst]:.1f} deg, over {config.max_tilt_deg:g}")


def _inertia(body: Body) -> tuple[float, float, float]:
    """Moments of inertia, kg m2, about the body's own axes through its centre."""
    x, y, z = body.size
    if body.shape == "cylinder":
        across = body.mass_kg * (3 * (x / 2) ** 2 + z**2) / 12
        return across, across, body.mass_kg * (x / 2) ** 2 / 2
    return (body.mass_kg * (y**2 + z**2) / 12, body.mass_kg * (x**2 + z**2) / 12, body.mass_kg * (x**2 + y**2) / 12)


def _in_body_axes(rotation: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(..., 4) w, x, y, z and (..., 3) along the world's axes -> (..., 3) along the body's."""
    w, axis = rotation[..., :1], -rotation[..., 1:]  # the inverse rotation
    turned: np.ndarray = vectors + 2 * np.cross(axis, np.cross(axis, vectors) + w * vectors)
    return turned


# --- The sets --------------------------------------------------------------------------------


def _touching(simulated: Simulated) -> Iterator[SceneFault]:
    """Faults of simple_motion: isolated objects, no collisions (KineMask 4.1)."""
    if simulated.motion.contacts:
        contact = simulated.motion.contacts[0]
        first, second = (simulated.scene.bodies[place].instance_id for place in (contact.first, contact.second))
        yield SceneFault(
            "collision", f"{first} and {second} touch at {contact.step / simulated.motion.substeps_per_s:.3f} s"
        )


def _without_collision(simulated: Simulated, config: SceneConfig) -> Iterator[SceneFault]:
    """Faults of interactions: a controlled object must collide in view, early enough to show the effects."""
    scene = simulated.scene
    controlled = {body.instance_id for body in scene.bodies if body.controlled}
    of_controlled = [
        collision
        for collision in simulated.collisions
        if controlled & {collision.first_id, collision.second_id}
        and collision.closing_speed_mps >= config.min_closing_mps
    ]
    if not of_controlled:
        yield SceneFault(
            "no_collision",
            f"{len(simulated.collisions)} collisions, none of a controlled body at {config.min_closing_mps:g} m/s",
        )
        return
    latest_s = config.latest_collision * (scene.n_frames - 1) / scene.fps
    early = [collision for collision in of_controlled if collision.time_s <= latest_s]
    if not early:
        yield SceneFault("late_collision", f"the first is at {of_controlled[0].time_s:.3f} s, after {latest_s:.3f} s")
        return
    shares = [_visible_collision(simulated, collision) for collision in early]
    if max(shares) < config.min_visible_collision:
        yield SceneFault(
            "collision_out_of_view", f"{max(shares):.2f} of a body is seen, under {config.min_visible_collision:g}"
        )


def _visible_collision(simulated: Simulated, collision: Collision) -> float:
    """The visible share of the less visible body; 0 if they touch outside the picture."""
    image, _ = simulated.scene.camera.project(np.array(collision.point))
    if not (0 <= image[0] <= simulated.scene.camera.width and 0 <= image[1] <= simulated.scene.camera.height):
        return 0.0
    shares = dict(zip(_ids(simulated.scene), _visible_shares(simulated, collision.frame), strict=True))
    return min(shares[collision.first_id], shares[collision.second_id])


# --- The picture -----------------------------------------------------------------------------


def _unseen(simulated: Simulated, config: SceneConfig) -> Iterator[SceneFault]:
    scene = simulated.scene
    for body, trajectory in zip(scene.bodies, simulated.trajectories, strict=True):
        inside = _frames_in_picture(scene, trajectory)
        if body.controlled and inside < config.min_visible_frames:
            yield SceneFault(
                "left_view",
                f"{body.instance_id} is in the picture in {inside:.2f} of the frames, "
                f"under {config.min_visible_frames:g}",
            )
    for instance_id, share in zip(_ids(scene), _visible_shares(simulated, 0), strict=True):
        if share < config.min_visible:
            yield SceneFault("hidden", f"{share:.2f} of {instance_id} is seen at first, under {config.min_visible:g}")


def _frames_in_picture(scene: Scene, trajectory: Trajectory) -> float:
    """The share of the frames in which a body's centre is in the picture."""
    image, depth = scene.camera.project(np.array(trajectory.position))
    inside = (depth > 0) & (image >= 0).all(axis=1) & (image <= (scene.camera.width, scene.camera.height)).all(axis=1)
    return float(inside.mean())


def _visible_shares(simulated: Simulated, frame: int) -> list[float]:
    """One a body: the share of its pixels that other bodies do not hide."""
    scene = simulated.scene
    camera = zoom(scene.camera, min(1.0, CAST_WIDTH_PX / scene.camera.width))
    hits = cast(camera, scene.bodies, poses_at(simulated.trajectories, frame))
    return [
        visible / alone if alone else 0.0 for visible, alone in zip(hits.visible_px, hits.silhouette_px, strict=True)
    ]


def _ids(scene: Scene) -> list[str]:
    return [body.instance_id for body in scene.bodies]
