"""A simulated scene: rigid bodies on a textured floor before a camera, their motions and collisions.

    Body(instance_id="id1", shape="cube", colour="red", velocity=(0.9, -0.4, 0.0), controlled=True, ...)
    Collision(time_s=0.79, frame=19, first_id="id1", second_id="id3", ...)

World axes, right-handed, metres: x to the right of the image, y away from the camera, z up; the floor is z = 0.
Image: x to the right, y down, the centre of the first pixel at (0.5, 0.5). Frame f shows the time f / fps.
Numbers are rounded to `DIGITS` decimals when they are made: stored and rendered scenes are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

import numpy as np

from schemas.outcome import Kind, Subject
from schemas.record import Record, column, content_hash

SceneSet = Literal["simple_motion", "interactions"]
Split = Literal["train", "test"]
Shape = Literal["cube", "cylinder"]
Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]  # w, x, y, z: from the body's axes to the world's
Matrix3 = tuple[Vector, Vector, Vector]  # rows

DIGITS = 6  # micrometres


def rounded(vector: Iterable[float]) -> Vector:
    """A vector rounded to DIGITS decimals, without -0.0, whose bytes differ from 0.0."""
    x, y, z = (round(float(value), DIGITS) + 0.0 for value in vector)
    return x, y, z


class SceneSeed(Subject):
    """What a clip is a function of, beside the config."""

    schema_version: ClassVar[int] = 1
    kind: ClassVar[Kind] = "clip"

    clip_id: str = column("Derived from set, split, seed and the scenes' config; it never moves")
    set: SceneSet = column("simple_motion: nothing collides; interactions: a controlled object collides")
    split: Split = column("train or test: no colour and no floor is in both")
    seed: int = column("The clip's number within its set and split", ge=0)

    @property
    def row_id(self) -> str:
        return self.clip_id

    @classmethod
    def of(cls, scenes: object, set_: SceneSet, split: Split, seed: int) -> SceneSeed:
        """scenes: the config that scenes are drawn with (SceneConfig)."""
        clip_id = "clip-" + content_hash("scene", scenes, set_, split, seed, length=16)
        return cls(clip_id=clip_id, set=set_, split=split, seed=seed)


class Camera(Record):
    """A pinhole camera, in the convention of OpenCV: x_image = intrinsics (rotation x_world + translation)."""

    width: int = column("Width of the picture", unit="px", ge=1)
    height: int = column("Height of the picture", unit="px", ge=1)
    intrinsics: Matrix3 = column("Focal lengths and principal point", unit="px")
    rotation: Matrix3 = column("From the world's axes to the camera's: x right, y down, z forward")
    translation: Vector = column("The world's origin in the camera's axes", unit="m")

    @classmethod
    def looking_at(cls, position: Vector, target: Vector, *, focal_px: float, width: int, height: int) -> Camera:
        """A level camera at `position` that has `target` in the middle of its picture.

        Raises ValueError if it looks straight up or down.
        """
        eye = np.asarray(position, float)
        forward = np.asarray(target, float) - eye
        right = np.cross(forward, (0.0, 0.0, 1.0))
        if np.linalg.norm(right) < 1e-9:
            raise ValueError(f"a camera at {position} that looks straight up or down at {target} has no horizon")
        down = np.cross(forward, right)
        rotation = np.stack([axis / np.linalg.norm(axis) for axis in (right, down, forward)])
        x, y, z = (tuple(row) for row in rotation.tolist())
        return cls(
            width=width,
            height=height,
            intrinsics=((focal_px, 0.0, width / 2), (0.0, focal_px, height / 2), (0.0, 0.0, 1.0)),
            rotation=(x, y, z),
            translation=tuple((-rotation @ eye).tolist()),
        )

    @property
    def position(self) -> np.ndarray:
        """(3,) float, m: where the camera is."""
        position: np.ndarray = -np.asarray(self.rotation).T @ np.asarray(self.translation)
        return position

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(..., 3) world points in m -> (..., 2) image points in px, (...) depth in m (behind the camera: <= 0)."""
        seen = points @ np.asarray(self.rotation).T + np.asarray(self.translation)
        depth = seen[..., 2]
        image = (seen @ np.asarray(self.intrinsics).T)[..., :2] / np.where(depth == 0, np.nan, depth)[..., None]
        return image, depth

    def rays(self, image: np.ndarray) -> np.ndarray:
        """(..., 2) image points in px -> (..., 3) directions in the world, of depth 1 (not of length 1)."""
        homogeneous = np.concatenate([image, np.ones_like(image[..., :1])], axis=-1)
        return homogeneous @ np.linalg.inv(np.asarray(self.intrinsics)).T @ np.asarray(self.rotation)


class Body(Record):
    """A rigid body at the time of the first frame."""

    instance_id: str = column("id1, id2, ...: its number in the scene")
    shape: Shape = column("cube or cylinder; a cylinder stands on its round face")
    colour: str = column("Its colour's name")
    rgb: Vector = column("Its colour in sRGB", unit="0..1")
    size: Vector = column("Extents along its own axes; a cylinder's: diameter, diameter, height", unit="m")
    mass_kg: float = column("Mass", unit="kg", gt=0)
    friction: float = column("Coefficient of friction against the floor; between bodies it is the product", ge=0)
    restitution: float = column(
        "Coefficient of restitution; two bodies collide with the product of both", unit="0..1", ge=0, le=1
    )
    position: Vector = column("Centre", unit="m")
    rotation: Quaternion = column("Orientation: w, x, y, z")
    velocity: Vector = column("Velocity of the centre; zero unless it is controlled", unit="m/s")
    controlled: bool = column("Is it given a velocity: does it move in the first frame?")

    @property
    def noun(self) -> str:
        """'red cube': unique, since no two bodies of a scene share colour and shape."""
        return f"{self.colour} {self.shape}"


class Floor(Record):
    """The textured surface that everything stands on."""

    texture: str = column("Name of the texture")
    noun: str = column("What it looks like: 'wooden floor'")
    sha256: str | None = column("SHA-256 of the texture's file; null for one that is painted", unit="hex", default=None)
    tile_m: float = column("Edge of the texture's square on the floor", unit="m", gt=0)
    offset_m: tuple[float, float] = column("Where the texture's corner lies on the floor: x, y", unit="m")
    turn_deg: float = column("How far the texture is turned, counter-clockwise seen from above", unit="deg")


class Light(Record):
    """A sun and an even sky."""

    azimuth_deg: float = column("Where the sun stands, counter-clockwise from x seen from above", unit="deg")
    elevation_deg: float = column("Height of the sun over the floor", unit="deg", gt=0, le=90)
    sun: float = column("Irradiance of the sun", unit="W/m2", ge=0)
    sky: float = column("Radiance of the sky", unit="W/m2/sr", ge=0)


class Scene(Record):
    """Everything that a clip is simulated and rendered from."""

    schema_version: ClassVar[int] = 1

    set: SceneSet = column("The set it is drawn for")
    split: Split = column("The split it is drawn for")
    seed: int = column("The seed it is drawn from", ge=0)
    attempt: int = column("Which draw of this seed it is, from 0", ge=0)
    fps: int = column("Frames a second", unit="frames/s", ge=1)
    n_frames: int = column("Frames of the clip", ge=1)
    gravity: float = column("Acceleration downwards", unit="m/s2", ge=0)
    bodies: list[Body] = column("The bodies: id1, id2, ...")
    floor: Floor = column("The floor")
    light: Light = column("The light")
    camera: Camera = column("The camera; it does not move")

    @property
    def controlled(self) -> list[bool]:
        """One a body."""
        return [body.controlled for body in self.bodies]


class Trajectory(Record):
    """How a body moves: one pose and velocity a frame."""

    schema_version: ClassVar[int] = 1

    instance_id: str = column("Whose")
    position: list[Vector] = column("Centre", unit="m")
    rotation: list[Quaternion] = column("Orientation: w, x, y, z")
    velocity: list[Vector] = column("Instantaneous velocity of the centre", unit="m/s")
    angular_velocity: list[Vector] = column("Instantaneous angular velocity, world axes", unit="rad/s")


class Collision(Record):
    """Two bodies begin to push each other."""

    schema_version: ClassVar[int] = 1

    time_s: float = column("When the first force acts between them", unit="s", ge=0)
    frame: int = column("The first frame at or after that time", ge=0)
    first_id: str = column("The faster one of both just before")
    second_id: str = column("The slower one")
    point: Vector = column("Where they touch", unit="m")
    impulse_ns: float = column("Normal impulse until they part, at most over a frame's time", unit="N s", ge=0)
    closing_speed_mps: float = column("How fast they approached along the contact's normal", unit="m/s", ge=0)
    first_velocity_before: Vector = column("Velocity of the first just before", unit="m/s")
    first_velocity_after: Vector = column("Velocity of the first a frame's time later", unit="m/s")
    second_velocity_before: Vector = column("Velocity of the second just before", unit="m/s")
    second_velocity_after: Vector = column("Velocity of the second a frame's time later", unit="m/s")


class RejectedDraw(Record):
    """A draw that is no clip of its set."""

    schema_version: ClassVar[int] = 1

    attempt: int = column("Which draw of the seed it is, from 0", ge=0)
    reason: str = column("A short fixed word for counting")
    detail: str = column("What was seen or measured")
