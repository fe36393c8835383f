"""Scenes drawn without Blender: a ray caster with the sun, its shadows and an even sky.

    RasterRenderer().render(scene, trajectories, floor)  ->  Rendering(frames (T, H, W, 3), labels (T, H, W))

Surfaces are matt, shadows have hard edges and nothing mirrors. The floor reflects only its direct light onto the
bodies' sides. Brightness is that of Cycles with the Standard view transform: radiance in sRGB, clipped at 1. A pixel's
colour is the mean of SUPERSAMPLING x SUPERSAMPLING rays, its label that of the ray through its middle.

The camera stands still: a frame is the previous one with the surroundings of moving bodies redrawn.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property, reduce

import cv2
import numpy as np

from schemas.scene import Camera, Floor, Light, Scene, Trajectory
from schemas.simulation import Rendering
from tasks.engine.progress import counted
from tasks.media.cast_rays import Pose, RayHits, Solid, Window, cast, poses_at, window_of, zoom
from tasks.media.floors import texture_uv

SUPERSAMPLING = 2
_TOUCHING = 1e-6  # m: light that leaves a body within this distance falls on that same body


class RasterRenderer:
    """The embedded `Renderer`. Stateless: one object may serve several threads."""

    def __init__(self) -> None:
        self.identity: dict[str, str] = {
            "backend": "raster",
            "model": "ray caster 1",
            "supersampling": str(SUPERSAMPLING),
            "opencv": cv2.__version__,
        }
        self.concurrency: int = os.cpu_count() or 1

    def render(self, scene: Scene, trajectories: list[Trajectory], floor: np.ndarray) -> Rendering:
        """floor (N, N, 3) uint8 RGB: the floor's texture."""
        camera = scene.camera
        painter = _Painter(scene, floor)
        labels = np.empty((scene.n_frames, camera.height, camera.width), np.uint8)
        frames = np.empty((*labels.shape, 3), np.uint8)
        before: list[Pose] = []
        for t in counted(range(scene.n_frames)):
            poses = poses_at(trajectories, t)
            if t == 0:
                labels[t] = painter.label(poses)
                painter.paint(frames[t], Window(0, 0, camera.width, camera.height), poses)
            else:
                frames[t] = frames[t - 1]
                labels[t] = labels[t - 1] if poses == before else painter.label(poses)
                for window in painter.changed(before, poses):
                    painter.paint(frames[t], window, poses)
            before = poses
        return Rendering(frames, labels)


class _Painter:
    """One scene's light and surfaces."""

    def __init__(self, scene: Scene, texture: np.ndarray) -> None:
        self._scene = scene
        self._sun = sun_direction(scene.light)
        self._albedo = _floor_albedo(zoom(scene.camera, SUPERSAMPLING), scene.floor, texture)

    def label(self, poses: Sequence[Pose]) -> np.ndarray:
        """(H, W) uint8."""
        return cast(self._scene.camera, self._scene.bodies, poses).labels

    def changed(self, before: Sequence[Pose], after: Sequence[Pose]) -> list[Window]:
        """Windows, without overlaps, in which a frame may differ from the one before."""
        windows = []
        for body, old, new in zip(self._scene.bodies, before, after, strict=True):
            if old != new:
                windows += [self._reach(self._scene.camera, Solid.of(body, pose)) for pose in (old, new)]
        return _merge([window for window in windows if window is not None])

    def paint(self, frame: np.ndarray, window: Window, poses: Sequence[Pose]) -> None:
        """Draw a part of a frame, (H, W, 3) uint8 RGB."""
        left, top, right, bottom = (SUPERSAMPLING * edge for edge in window)
        hits = cast(zoom(self._scene.camera, SUPERSAMPLING, window), self._scene.bodies, poses)
        radiance = self._radiance(hits, self._albedo[top:bottom, left:right])
        size = window.right - window.left, window.bottom - window.top
        mean = cv2.resize(radiance, size, interpolation=cv2.INTER_AREA)
        frame[window.top : window.bottom, window.left : window.right] = encode_srgb(mean)

    def _radiance(self, hits: RayHits, floor_albedo: np.ndarray) -> np.ndarray:
        """(H, W, 3) float32 W/m2/sr: the radiance of the surfaces that the rays meet."""
        light = self._scene.light
        lit = self._lit(hits)
        level = light.sun / np.pi * self._sun[2] * lit + light.sky
        radiance = floor_albedo * level[..., None].astype(np.float32)
        radiance[np.isinf(hits.depth)] = light.sky
        for label, (body, solid) in enumerate(zip(self._scene.bodies, hits.solids, strict=True), start=1):
            seen = hits.labels == label
            if seen.any():
                normals = solid.normals(hits.points[:, seen])
                radiance[seen] = decode_srgb(np.array(body.rgb)) * self._incoming(normals, lit[seen])
        return radiance

    def _incoming(self, normals: np.ndarray, lit: np.ndarray) -> np.ndarray:
        """(3, N) normals, (N,) visible share of the sun -> (N, 3): radiance of a white surface there."""
        light = self._scene.light
        facing = np.maximum(sum(normals[k] * self._sun[k] for k in range(3)), 0.0)
        upwards = (0.5 + 0.5 * normals[2])[:, None]
        ambient = upwards * light.sky + (1 - upwards) * self._bounced
        return (light.sun / np.pi * facing * lit)[:, None] + ambient

    @cached_property
    def _bounced(self) -> np.ndarray:
        """(3,): mean radiance that the floor reflects upwards."""
        light = self._scene.light
        mean: np.ndarray = self._albedo.mean(axis=(0, 1), dtype=float)
        return mean * (light.sun / np.pi * self._sun[2] + light.sky)

    def _lit(self, hits: RayHits) -> np.ndarray:
        """(H, W) float: 0 where a body blocks the sun, 1 elsewhere."""
        lit = np.ones(hits.labels.shape)
        for solid in hits.solids:
            reach = self._reach(hits.camera, solid)
            if reach is None:
                continue
            part = slice(reach.top, reach.bottom), slice(reach.left, reach.right)
            with np.errstate(invalid="ignore"):  # in the sky
                near, far = solid.span(hits.points[:, *part], self._sun)
                shaded = (near <= far) & (far > _TOUCHING)
            lit[part][shaded] = 0.0
        return lit

    def _reach(self, camera: Camera, solid: Solid) -> Window | None:
        """The window in which a body or its shadow can be visible."""
        return window_of(camera, with_shadow(solid.corners, self._sun))


def with_shadow(corners: np.ndarray, sun: np.ndarray) -> np.ndarray:
    """(N, 3) points in m, (3,) direction of the sun -> (2N, 3): the points, and their shadows on the floor."""
    return np.concatenate([corners, corners - np.maximum(corners[:, 2:], 0.0) / sun[2] * sun])


def sun_direction(light: Light) -> np.ndarray:
    """(3,) unit vector towards the sun."""
    azimuth, elevation = np.deg2rad(light.azimuth_deg), np.deg2rad(light.elevation_deg)
    level = np.cos(elevation)
    return np.array([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)])


# --- Floor -----------------------------------------------------------------------------------


def _floor_albedo(camera: Camera, floor: Floor, texture: np.ndarray) -> np.ndarray:
    """(H, W, 3) float32 linear: the empty floor."""
    points = np.moveaxis(cast(camera, [], []).points[:2], 0, -1)
    uv = texture_uv(floor, np.where(np.isfinite(points), points, 0.0))
    texture = decode_srgb(_coarser(texture, uv))
    side = len(texture)
    column = (uv[..., 0] % 1.0 * side - 0.5).astype(np.float32)
    row = ((1.0 - uv[..., 1] % 1.0) * side - 0.5).astype(np.float32)
    albedo: np.ndarray = cv2.remap(texture, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return albedo


def _coarser(texture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """The texture at about one pixel per ray: finer ones would alias."""
    step = np.median(np.hypot(*np.diff(uv, axis=1).T))
    side = int(np.clip(1.0 / max(step, 1e-9), 1, len(texture)))
    return cv2.resize(texture, (side, side), interpolation=cv2.INTER_AREA)


# --- Colours ---------------------------------------------------------------------------------

_LEVELS = 1 << 14


def _srgb_of(linear: np.ndarray) -> np.ndarray:
    """0..1 -> 0..1 (IEC 61966-2-1)."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)


def _linear_of(srgb: np.ndarray) -> np.ndarray:
    """0..1 -> 0..1 (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


_ENCODED = (255 * _srgb_of(np.linspace(0, 1, _LEVELS))).round().astype(np.uint8)
_DECODED = _linear_of(np.arange(256) / 255).astype(np.float32)


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """Radiance -> uint8 sRGB, clipped at 1."""
    encoded: np.ndarray = _ENCODED[(np.clip(linear, 0, 1) * (_LEVELS - 1) + 0.5).astype(np.int32)]
    return encoded


def decode_srgb(srgb: np.ndarray) -> np.ndarray:
    """uint8, or float 0..1, sRGB -> float linear."""
    return _DECODED[srgb] if srgb.dtype == np.uint8 else _linear_of(srgb)


# --- Windows ---------------------------------------------------------------------------------


def _merge(windows: Sequence[Window]) -> list[Window]:
    """Replace overlapping windows by the one around them."""
    merged: list[Window] = []
    for window in windows:
        grown = window
        while overlapping := [other for other in merged if grown.overlaps(other)]:
            merged = [other for other in merged if other not in overlapping]
            grown = reduce(Window.union, overlapping, grown)
        merged.append(grown)
    return merged
