"""Place the bodies of a scene: in the picture, clear of each other and, for collisions, in each other's way.

    place_bodies(rng, bodies, camera, config, aimed=True)  ->  the same bodies at their places

A controlled body keeps the direction of its seed; its target is placed on its path.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from schemas.scene import DIGITS, Body, Camera, rounded
from tasks.simulate_scenes.config import SceneConfig

FloorPoint = np.ndarray  # (2,) m on the floor: x, y

N_TRIES = 200  # places tried per body or pair before a scene counts as crowded
SPREAD = 0.45  # largest x and y offset from the camera's target, as a share of the camera's distance

# Share of the time to a standstill: a body that arrives later pushes nothing.
MAX_REACH_TIME = 0.7
MIN_REACH_S = 0.1  # some motion is visible before the collision


class Crowded(Exception):
    """The bodies of a scene do not all fit."""


class Stand(NamedTuple):
    """The circle that a body takes on the floor."""

    place: FloorPoint
    radius_m: float


def place_bodies(
    rng: np.random.Generator, bodies: Sequence[Body], camera: Camera, config: SceneConfig, *, aimed: bool
) -> list[Body]:
    """Stand the bodies on the floor, in the picture and clear of each other.

    aimed: each controlled body gets a target on its path, if there are enough others; the first always does.

    Raises Crowded if they do not fit.
    """
    n_controlled = sum(body.controlled for body in bodies)
    n_targets = min(n_controlled, len(bodies) - n_controlled) if aimed else 0
    stands: dict[str, Stand] = {}
    for body, target in zip(bodies[:n_targets], bodies[n_controlled:], strict=False):
        _place_pair(rng, body, target, stands, camera, config)
    for body in bodies:
        if body.instance_id not in stands:
            _place_alone(rng, body, stands, camera, config)
    return [_at(body, stands[body.instance_id].place) for body in bodies]


def _place_alone(
    rng: np.random.Generator, body: Body, stands: dict[str, Stand], camera: Camera, config: SceneConfig
) -> None:
    for _ in range(N_TRIES):
        place = _draw_place(rng, camera)
        if _fits(body, place, stands, camera, config):
            stands[body.instance_id] = Stand(place, _radius_m(body))
            return
    raise Crowded(f"no room for body {len(stands) + 1}")


def _place_pair(
    rng: np.random.Generator, body: Body, target: Body, stands: dict[str, Stand], camera: Camera, config: SceneConfig
) -> None:
    """Place a controlled body and, on its path, its target."""
    for _ in range(N_TRIES):
        place = _draw_place(rng, camera)
        if not _fits(body, place, stands, camera, config):
            continue
        miss = math.radians(rng.uniform(-config.aim_deg, config.aim_deg))
        heading = math.atan2(body.velocity[1], body.velocity[0]) + miss
        away_m = _radius_m(body) + _radius_m(target) + _draw_gap_m(rng, body, config)
        beyond = place + away_m * np.array([math.cos(heading), math.sin(heading)])
        stand = Stand(place, _radius_m(body))
        if _fits(target, beyond, {**stands, body.instance_id: stand}, camera, config):
            stands[body.instance_id] = stand
            stands[target.instance_id] = Stand(beyond, _radius_m(target))
            return
    raise Crowded(f"no room for bodies {len(stands) + 1} and {len(stands) + 2}, one on the way of the other")


def _draw_gap_m(rng: np.random.Generator, body: Body, config: SceneConfig) -> float:
    """A random distance that the body covers early enough for a collision."""
    in_time_s = config.latest_collision * (config.n_frames - 1) / config.fps
    latest_s = min(in_time_s, MAX_REACH_TIME * _standstill_s(body, config))
    return max(_travel_m(body, rng.uniform(min(MIN_REACH_S, latest_s), latest_s), config), config.clearance_m)


def _fits(body: Body, place: FloorPoint, stands: dict[str, Stand], camera: Camera, config: SceneConfig) -> bool:
    apart_m = config.clearance_m + _radius_m(body)
    if any(math.dist(place, other.place) < apart_m + other.radius_m for other in stands.values()):
        return False
    if not _in_picture(_corners(_at(body, place)), camera, config.margin):
        return False
    if not body.controlled:
        return True
    needed_s = config.min_visible_frames * (config.n_frames - 1) / config.fps
    direction = np.array(body.velocity) / np.linalg.norm(body.velocity)
    later = np.array([*place, body.position[2]]) + _travel_m(body, needed_s, config) * direction
    return _in_picture(later[None], camera, 0.0)


def _draw_place(rng: np.random.Generator, camera: Camera) -> FloorPoint:
    eye = camera.position
    ahead = camera.rays(np.array([camera.width / 2, camera.height / 2]))
    to_target = -eye[2] / ahead[2] * ahead
    reach_m = SPREAD * float(np.linalg.norm(to_target))
    return np.round((eye + to_target)[:2] + rng.uniform(-reach_m, reach_m, 2), DIGITS)


def _in_picture(points: np.ndarray, camera: Camera, margin: float) -> bool:
    """Do all (N, 3) points project into the picture, `margin` of its width inside its edges?"""
    image, depth = camera.project(points)
    edge = margin * camera.width
    inside = (image >= edge) & (image <= np.array([camera.width, camera.height]) - edge)
    return bool((depth > 0).all() and inside.all())


def _corners(body: Body) -> np.ndarray:
    """(4 * 2, 3) m: the square around its circle, on the floor and at its top."""
    radius_m, height = _radius_m(body), body.size[2]
    x, y, _ = body.position
    return np.array([(x + i * radius_m, y + j * radius_m, z) for i in (-1, 1) for j in (-1, 1) for z in (0.0, height)])


def _at(body: Body, place: FloorPoint) -> Body:
    x, y = place.tolist()
    return body.model_copy(update={"position": rounded((x, y, body.position[2]))})


def _travel_m(body: Body, time_s: float, config: SceneConfig) -> float:
    """How far it slides in that time, if nothing is in its way."""
    time_s = min(time_s, _standstill_s(body, config))
    return math.hypot(*body.velocity) * time_s - body.friction * config.gravity * time_s**2 / 2


def _standstill_s(body: Body, config: SceneConfig) -> float:
    braking = body.friction * config.gravity
    return math.hypot(*body.velocity) / braking if braking else math.inf


def _radius_m(body: Body) -> float:
    """Radius of its circle on the floor, for any orientation."""
    return body.size[0] / 2 * (math.sqrt(2) if body.shape == "cube" else 1.0)
