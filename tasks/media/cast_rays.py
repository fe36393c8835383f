"""What a pinhole camera sees of bodies on a floor, by exact intersection of rays with convex solids.

    hits = cast(camera, bodies, poses_at(trajectories, frame))
    hits.labels      (H, W): 2 where the middle of the pixel shows bodies[1], 0 where it shows the floor
    hits.points      (3, H, W): where the ray through the middle of each pixel ends

A solid is the intersection of slabs, or of a slab and an infinite cylinder: a ray enters it where it has entered all of
them and leaves it where it leaves the first. All is elementwise NumPy: a pixel's result depends on no other pixel and
on no thread. The vector axis comes first in arrays, (3, ...): components are contiguous.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import NamedTuple

import numpy as np

from schemas.scene import Body, Camera, Quaternion, Shape, Trajectory, Vector

Pose = tuple[Vector, Quaternion]  # centre in m, orientation w, x, y, z

_PARALLEL = 1e-12  # replaces zero components of a direction, to avoid 0 / 0


class Window(NamedTuple):
    """A part of a picture, in px; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def area(self) -> int:
        return (self.right - self.left) * (self.bottom - self.top)

    def overlaps(self, other: Window) -> bool:
        sideways = self.left < other.right and other.left < self.right
        return sideways and self.top < other.bottom and other.top < self.bottom

    def union(self, other: Window) -> Window:
        """The smallest window around both."""
        return Window(*map(min, self[:2], other[:2]), *map(max, self[2:], other[2:]))


def poses_at(trajectories: Sequence[Trajectory], frame: int) -> list[Pose]:
    """Where every body is in a frame."""
    return [(trajectory.position[frame], trajectory.rotation[frame]) for trajectory in trajectories]


def rotation_matrix(quaternion: Quaternion) -> np.ndarray:
    """w, x, y, z of length 1 -> (3, 3): its columns are the turned axes."""
    w, x, y, z = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def zoom(camera: Camera, scale: float, window: Window | None = None) -> Camera:
    """The same camera on a window of its picture, with `scale` pixels in place of one along each axis.

    scale below 1: a smaller picture, cut to whole pixels; above 1: for supersampling.
    """
    left, top, right, bottom = window or Window(0, 0, camera.width, camera.height)
    shift = np.array([[scale, 0, -scale * left], [0, scale, -scale * top], [0, 0, 1]])
    rows = [tuple(row) for row in (shift @ np.array(camera.intrinsics)).tolist()]
    width, height = (max(1, int(scale * px + 1e-9)) for px in (right - left, bottom - top))
    return camera.model_copy(update={"width": width, "height": height, "intrinsics": tuple(rows)})


def window_of(camera: Camera, points: np.ndarray) -> Window | None:
    """A window that holds the image of the hull of (N, 3) points in m; None if it is outside the picture."""
    image, depth = camera.project(points)
    if (depth <= 0).all():
        return None
    if (depth <= 0).any():  # points behind the camera have no image
        return Window(0, 0, camera.width, camera.height)
    left, top = np.floor(image.min(axis=0)).clip(0, (camera.width, camera.height)).astype(int).tolist()
    right, bottom = np.ceil(image.max(axis=0)).clip(0, (camera.width, camera.height)).astype(int).tolist()
    return Window(left, top, right, bottom) if left < right and top < bottom else None


@dataclass(frozen=True)
class Solid:
    """A placed body: a box, or a cylinder with flat caps around its own z axis."""

    shape: Shape
    half: np.ndarray  # (3,) m: half its extents
    centre: np.ndarray  # (3,) m
    axes: np.ndarray  # (3, 3): its own axes in the world, as columns

    @classmethod
    def of(cls, body: Body, pose: Pose) -> Solid:
        position, quaternion = pose
        return cls(body.shape, np.array(body.size) / 2, np.array(position), rotation_matrix(quaternion))

    @property
    def corners(self) -> np.ndarray:
        """(8, 3) m: the corners of the box around it."""
        signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8)
        corners: np.ndarray = (self.centre[:, None] + self.axes @ (self.half[:, None] * signs)).T
        return corners

    def span(self, origin: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where rays enter and leave: near, far in multiples of their directions; missed where near > far.

        origin, direction: (3, ...); either may be one vector for all rays, (3,).
        """
        o = _along(self.axes, [origin[k] - self.centre[k] for k in range(3)])
        d = _along(self.axes, list(direction))
        slabs = [_slab(o[k], d[k], self.half[k]) for k in range(3)]
        if self.shape == "cylinder":
            slabs = [_round(o, d, self.half[0]), slabs[2]]
        near = reduce(np.maximum, [slab[0] for slab in slabs])
        far = reduce(np.minimum, [slab[1] for slab in slabs])
        return near, far

    def normals(self, points: np.ndarray) -> np.ndarray:
        """(3, N) points on its surface -> (3, N) unit vectors outwards."""
        local = np.stack(_along(self.axes, [points[k] - self.centre[k] for k in range(3)]))
        relative = local / self.half[:, None]
        if self.shape == "cylinder":
            radius = np.hypot(relative[0], relative[1])
            on_cap = np.abs(relative[2]) > radius
            side = relative / np.maximum(radius, _PARALLEL)
            outwards = np.where(on_cap, 0.0, side)
            outwards[2] = np.where(on_cap, np.sign(relative[2]), 0.0)
        else:
            face = np.abs(relative).argmax(axis=0)
            outwards = np.where(np.arange(3)[:, None] == face, np.sign(relative), 0.0)
        return np.stack(_along(self.axes.T, list(outwards)))


@dataclass(frozen=True)
class RayHits:
    """What the rays through the pixel centres of a camera hit."""

    camera: Camera
    solids: list[Solid]
    labels: np.ndarray  # (H, W) uint8: 0 the floor or the sky, k = solids[k - 1]
    body_depth: np.ndarray  # (H, W) float, m along the camera's axis; infinite where labels is 0
    silhouette_px: list[int]  # one a solid: its pixels if it stood alone on the floor

    @property
    def visible_px(self) -> list[int]:
        """One a solid: pixels that show it."""
        counts: list[int] = np.bincount(self.labels.ravel(), minlength=len(self.solids) + 1)[1:].tolist()
        return counts

    @cached_property
    def depth(self) -> np.ndarray:
        """(H, W) float m: of bodies and floor; infinite in the sky."""
        directions = _directions(self.camera)
        return np.minimum(self.body_depth, _floor_depth(self.camera, directions[2]))

    @cached_property
    def points(self) -> np.ndarray:
        """(3, H, W) float m, world; not finite in the sky."""
        eye = self.camera.position
        return eye[:, None, None] + self.depth * _directions(self.camera)

    @cached_property
    def normals(self) -> np.ndarray:
        """(3, H, W) unit vectors, world: of the surfaces; up in the sky."""
        normals = np.zeros((3, *self.labels.shape))
        normals[2] = 1.0
        for label, solid in enumerate(self.solids, start=1):
            seen = self.labels == label
            normals[:, seen] = solid.normals(self.points[:, seen])
        return normals


def cast(camera: Camera, bodies: Sequence[Body], poses: Sequence[Pose]) -> RayHits:
    """Cast one ray through the centre of every pixel, inside the windows that may hold bodies.

    A surface around the camera is not visible. Raises ValueError if poses and bodies differ in number, or above 255
    bodies.
    """
    if len(bodies) > np.iinfo(np.uint8).max:
        raise ValueError(f"{len(bodies)} bodies; a label is one byte, so at most 255 can be drawn")
    solids = [Solid.of(body, pose) for body, pose in zip(bodies, poses, strict=True)]
    labels = np.zeros((camera.height, camera.width), np.uint8)
    depth = np.full(labels.shape, np.inf)
    silhouette_px = []
    eye = camera.position
    for label, solid in enumerate(solids, start=1):
        window = window_of(camera, solid.corners)
        if window is None:
            silhouette_px.append(0)
            continue
        part = slice(window.top, window.bottom), slice(window.left, window.right)
        directions = _directions(camera, window)
        near, far = solid.span(eye, directions)
        met = (near <= far) & (near > 0) & (near <= _floor_depth(camera, directions[2]))
        silhouette_px.append(int(met.sum()))
        nearest = met & (near < depth[part])
        labels[part][nearest] = label
        depth[part][nearest] = near[nearest]
    return RayHits(camera, solids, labels, depth, silhouette_px)


# --- Rays ------------------------------------------------------------------------------------


def _directions(camera: Camera, window: Window | None = None) -> np.ndarray:
    """(3, H, W): rays through the pixel centres, world axes, of depth 1."""
    left, top, right, bottom = window or Window(0, 0, camera.width, camera.height)
    x = np.arange(left, right) + 0.5
    y = (np.arange(top, bottom) + 0.5)[:, None]
    back = np.array(camera.rotation).T @ np.linalg.inv(np.array(camera.intrinsics))
    return np.stack([row[0] * x + row[1] * y + row[2] for row in back])


def _floor_depth(camera: Camera, direction_z: np.ndarray) -> np.ndarray:
    """Where rays from the camera meet the floor; infinite for those that do not go down."""
    height = camera.position[2]
    down = direction_z < -_PARALLEL
    return np.where(down, height / np.where(down, -direction_z, 1.0), np.inf)


def _along(axes: np.ndarray, vector: Sequence[np.ndarray]) -> list[np.ndarray]:
    """A vector's components along the columns of `axes`."""
    return [axes[0, k] * vector[0] + axes[1, k] * vector[1] + axes[2, k] * vector[2] for k in range(3)]


def _slab(o: np.ndarray, d: np.ndarray, half: float) -> tuple[np.ndarray, np.ndarray]:
    """Where rays are between -half and half along one axis."""
    inverse = 1.0 / np.where(np.abs(d) < _PARALLEL, _PARALLEL, d)
    one, other = (-half - o) * inverse, (half - o) * inverse
    return np.minimum(one, other), np.maximum(one, other)


def _round(o: Sequence[np.ndarray], d: Sequence[np.ndarray], radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Where rays are within the radius around z: the roots of |o + t d|^2 = radius^2 in x and y."""
    a = np.maximum(d[0] ** 2 + d[1] ** 2, _PARALLEL**2)
    b = o[0] * d[0] + o[1] * d[1]
    c = o[0] ** 2 + o[1] ** 2 - radius**2
    square = b**2 - a * c
    root = np.sqrt(np.maximum(square, 0.0))
    missed = square < 0
    return np.where(missed, np.inf, (-b - root) / a), np.where(missed, -np.inf, (-b + root) / a)
