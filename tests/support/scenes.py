"""Small scenes for tests, with motion written by hand; keyword arguments change what a test is about."""

from __future__ import annotations

from typing import Any

import numpy as np

from schemas.scene import Body, Camera, Floor, Light, Scene, Trajectory, Vector

RED, BLUE = (0.8, 0.06, 0.05), (0.05, 0.12, 0.7)


def make_body(instance_id: str = "id1", shape: str = "cube", **changes: Any) -> Body:
    values: dict[str, Any] = {
        "colour": "red",
        "rgb": RED,
        "size": (0.5, 0.5, 0.5),
        "mass_kg": 1.0,
        "friction": 0.1,
        "restitution": 0.2,
        "position": (0.0, 0.0, 0.25),
        "rotation": (1.0, 0.0, 0.0, 0.0),
        "velocity": (0.0, 0.0, 0.0),
        "controlled": False,
    }
    return Body(instance_id=instance_id, shape=shape, **values | changes)


def make_camera(width: int = 120, height: int = 80, **changes: Any) -> Camera:
    values: dict[str, Any] = {"position": (0.0, -4.0, 3.0), "target": (0.0, 0.0, 0.0), "focal_px": width * 1.0}
    return Camera.looking_at(width=width, height=height, **values | changes)


def tiny_scene(n_frames: int = 4, **changes: Any) -> Scene:
    """A red cube that moves to the right in front of a blue cylinder that rests."""
    cube = make_body("id1", position=(-0.8, -0.2, 0.25), velocity=(1.2, 0.0, 0.0), controlled=True)
    cylinder = make_body("id2", "cylinder", colour="blue", rgb=BLUE, position=(0.5, 0.6, 0.25))
    values: dict[str, Any] = {
        "set": "simple_motion",
        "split": "train",
        "seed": 0,
        "attempt": 0,
        "fps": 24,
        "n_frames": n_frames,
        "gravity": 9.81,
        "bodies": [cube, cylinder],
        "floor": Floor(texture="tiles", noun="tiled floor", tile_m=1.0, offset_m=(0.0, 0.0), turn_deg=0.0),
        "light": Light(azimuth_deg=30.0, elevation_deg=50.0, sun=3.0, sky=0.4),
        "camera": make_camera(),
    }
    return Scene(**values | changes)


def glide(scene: Scene) -> list[Trajectory]:
    """Every body goes on with the velocity that it has, through whatever is in its way."""
    return [_glide(body, scene.n_frames, scene.fps) for body in scene.bodies]


def _glide(body: Body, n_frames: int, fps: int) -> Trajectory:
    still: Vector = (0.0, 0.0, 0.0)
    path = np.array(body.position) + np.arange(n_frames)[:, None] / fps * np.array(body.velocity)
    return Trajectory(
        instance_id=body.instance_id,
        position=[(x, y, z) for x, y, z in path.round(6).tolist()],
        rotation=[body.rotation] * n_frames,
        velocity=[body.velocity] * n_frames,
        angular_velocity=[still] * n_frames,
    )


def checkerboard(side: int = 64) -> np.ndarray:
    """(side, side, 3) uint8: a floor of four tiles, dark at its upper left."""
    tone = np.array([[60, 190], [190, 60]], np.uint8).repeat(side // 2, 0).repeat(side // 2, 1)
    return np.stack([tone, tone, tone // 2 + 40], axis=-1)
