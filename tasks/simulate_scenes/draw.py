"""A scene from a seed: a camera, a floor, light, and bodies that stand apart on it.

    draw_scene(seed, attempt=0, config, floors) -> Scene(bodies=[red cube at (-0.61, 0.24, 0.17), ...], ...)

The seed alone decides the number of bodies and the speeds and directions of the controlled ones; the attempt decides
the rest. So rejections do not skew the speeds and directions of accepted scenes.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple, get_args

import cv2
import numpy as np

from schemas.scene import DIGITS, Body, Camera, Floor, Light, Scene, SceneSeed, SceneSet, Shape, Split, Vector, rounded
from tasks.media.floors import Floors, FloorTexture
from tasks.simulate_scenes.config import CountRange, Range, SceneConfig
from tasks.simulate_scenes.layout import place_bodies
from tasks.simulate_scenes.palette import SHAPES, colour_distance, colour_names, draw_colour

SETS: tuple[SceneSet, ...] = get_args(SceneSet)
SPLITS: tuple[Split, ...] = get_args(Split)

MIN_FLOOR_DISTANCE = 30.0  # in CIE Lab: nearer colours are used only if no other is left

SUN_AZIMUTH_DEG, SUN_ELEVATION_DEG = (0.0, 360.0), (40.0, 75.0)
SUN_WM2, SKY_WM2SR = (2.0, 3.0), (0.3, 0.5)  # a white floor renders just below white
TARGET_M = 0.2  # largest x and y of the point that the camera looks at


class MotionPlan(NamedTuple):
    """What a seed decides, for all its attempts."""

    n_bodies: int
    velocities: list[Vector]  # of the controlled bodies, which come first


def draw_scene(seed: SceneSeed, attempt: int, config: SceneConfig, floors: Floors) -> Scene:
    """Draw one scene. Raises Crowded if its bodies do not fit into the picture."""
    plan = draw_plan(seed, config)
    rng = _stream(seed, attempt + 1)  # 0 is the plan's
    camera = _draw_camera(rng, config)
    floor = _draw_floor(rng, seed.split, config, floors)
    floor_rgb = _mean_rgb(floors, FloorTexture(floor.texture, floor.noun, floor.sha256))
    bodies = _draw_bodies(rng, seed.split, plan, floor_rgb, config)
    return Scene(
        set=seed.set,
        split=seed.split,
        seed=seed.seed,
        attempt=attempt,
        fps=config.fps,
        n_frames=config.n_frames,
        gravity=config.gravity,
        bodies=place_bodies(rng, bodies, camera, config, aimed=seed.set == "interactions"),
        floor=floor,
        light=_draw_light(rng),
        camera=camera,
    )


def draw_plan(seed: SceneSeed, config: SceneConfig) -> MotionPlan:
    rng = _stream(seed, 0)
    bodies = config.n_bodies_interactions if seed.set == "interactions" else config.n_bodies_simple
    n_bodies = _count(rng, bodies)
    n_controlled = _count(rng, config.n_controlled)
    velocities = []
    for _ in range(n_controlled):
        speed_mps, heading = _within(rng, config.speed_mps), rng.uniform(0, 2 * math.pi)
        velocities.append(rounded((speed_mps * math.cos(heading), speed_mps * math.sin(heading), 0.0)))
    return MotionPlan(n_bodies, velocities)


def _stream(seed: SceneSeed, number: int) -> np.random.Generator:
    # The seed comes last: NumPy pads seeds with zeros, so [1, 0, 7] and [1, 0, 7, 0] would be the same stream.
    return np.random.default_rng([SETS.index(seed.set), SPLITS.index(seed.split), number, seed.seed])


# --- Surroundings ----------------------------------------------------------------------------


def _draw_camera(rng: np.random.Generator, config: SceneConfig) -> Camera:
    """A camera behind y = 0 that looks along y and down: the picture's x axis is the world's."""
    x, y = (_within(rng, (-TARGET_M, TARGET_M)) for _ in range(2))
    pitch = math.radians(_within(rng, config.camera_pitch_deg))
    distance_m = _within(rng, config.camera_distance_m)
    position = rounded((x, y - distance_m * math.cos(pitch), distance_m * math.sin(pitch)))
    return Camera.looking_at(
        position,
        (x, y, 0.0),
        focal_px=round(config.width * _within(rng, config.focal), DIGITS),
        width=config.width,
        height=config.height,
    )


def lay(
    texture: FloorTexture, tile_m: float, offset_m: tuple[float, float] = (0.0, 0.0), turn_deg: float = 0.0
) -> Floor:
    """A floor with this texture."""
    return Floor(**texture._asdict(), tile_m=tile_m, offset_m=offset_m, turn_deg=turn_deg)


def _draw_floor(rng: np.random.Generator, split: Split, config: SceneConfig, floors: Floors) -> Floor:
    textures = floors.listing(split)
    texture = textures[rng.integers(len(textures))]
    tile_m = _within(rng, config.tile_m)
    offset_m = _within(rng, (0.0, tile_m)), _within(rng, (0.0, tile_m))
    return lay(texture, tile_m, offset_m, turn_deg=_within(rng, (0.0, 360.0)))


@lru_cache(maxsize=256)
def _mean_rgb(floors: Floors, texture: FloorTexture) -> Vector:
    """Mean sRGB colour, 0..1. Cached: painting or reading a texture takes longer than a simulation."""
    red, green, blue, _ = cv2.mean(floors.picture(lay(texture, tile_m=1.0)))
    return red / 255, green / 255, blue / 255


def _draw_light(rng: np.random.Generator) -> Light:
    return Light(
        azimuth_deg=_within(rng, SUN_AZIMUTH_DEG),
        elevation_deg=_within(rng, SUN_ELEVATION_DEG),
        sun=_within(rng, SUN_WM2),
        sky=_within(rng, SKY_WM2SR),
    )


# --- Bodies ----------------------------------------------------------------------------------


def _draw_bodies(
    rng: np.random.Generator, split: Split, plan: MotionPlan, floor_rgb: Vector, config: SceneConfig
) -> list[Body]:
    """The plan's bodies, not yet placed: controlled ones first, no two with the same noun."""
    looks = [(colour, shape, draw_colour(split, colour, rng)) for colour in colour_names(split) for shape in SHAPES]
    shuffled = [looks[place] for place in rng.permutation(len(looks))]
    shuffled.sort(key=lambda look: colour_distance(look[2], floor_rgb) < MIN_FLOOR_DISTANCE)
    bodies = []
    for number, (colour, shape, rgb) in enumerate(shuffled[: plan.n_bodies]):
        controlled = number < len(plan.velocities)
        size = _draw_size(rng, shape, config)
        turn = rng.uniform(-math.pi, math.pi)  # keeps w >= 0, as in Bullet
        bodies.append(
            Body(
                instance_id=f"id{number + 1}",
                shape=shape,
                colour=colour,
                rgb=rgb,
                size=size,
                mass_kg=round(_within(rng, config.density_kgm3) * _volume_m3(shape, size), DIGITS),
                friction=_within(rng, config.friction),
                restitution=_within(rng, config.restitution),
                position=(0.0, 0.0, round(size[2] / 2, DIGITS)),
                rotation=(round(math.cos(turn / 2), DIGITS), 0.0, 0.0, round(math.sin(turn / 2), DIGITS)),
                velocity=plan.velocities[number] if controlled else (0.0, 0.0, 0.0),
                controlled=controlled,
            )
        )
    return bodies


def _draw_size(rng: np.random.Generator, shape: Shape, config: SceneConfig) -> Vector:
    width = _within(rng, config.size_m)
    height = width if shape == "cube" else round(width * _within(rng, config.slenderness), DIGITS)
    return width, width, height


def _volume_m3(shape: Shape, size: Vector) -> float:
    box = size[0] * size[1] * size[2]
    return box if shape == "cube" else box * math.pi / 4


# --- Numbers ---------------------------------------------------------------------------------


def _within(rng: np.random.Generator, limits: Range) -> float:
    return round(float(rng.uniform(*limits)), DIGITS)


def _count(rng: np.random.Generator, limits: CountRange) -> int:
    return int(rng.integers(limits[0], limits[1] + 1))
