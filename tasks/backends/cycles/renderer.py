"""Cycles as a `Renderer` of render_clips. Importing this needs no Blender: it runs in its own process."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from schemas.scene import Scene, Trajectory
from schemas.simulation import Rendering
from tasks.backends.cycles import CyclesConfig
from tasks.backends.cycles.plan import RenderPlan, compose, plan_clip
from tasks.backends.cycles.process import draw, pinned_blender
from tasks.media.floors import texture_uv

logger = logging.getLogger(__name__)

VERSION = "1"  # increase when the same scene gets other pixels
PYTHON_VARIABLE = "TRIPTYCH_BLENDER_PYTHON"

_PROJECT = Path(__file__).parents[3]
_FLOOR_HEIGHTS = 100.0  # in camera heights, how far the floor reaches: to half a degree below the horizon


class CyclesRenderer:
    """The path tracer as a `Renderer`: one process and one thread a clip."""

    def __init__(self, config: CyclesConfig) -> None:
        self._config = config
        self.concurrency: int = config.workers or usable_cpus()
        self.identity: dict[str, str] = {
            "backend": "cycles",
            "model": f"Cycles of bpy {pinned_blender()}",
            "version": VERSION,
            "samples": str(config.samples),
            "denoiser": f"OpenImageDenoise {config.denoise_quality}" if config.denoise else "none",
            "sun_angle_deg": str(config.sun_angle_deg),
            "drawn": "whole frames"
            if config.whole_frames
            else f"moving parts, {config.surroundings} heights around, {config.feather_px} px feathered",
        }

    def render(self, scene: Scene, trajectories: list[Trajectory], floor: np.ndarray) -> Rendering:
        """floor (N, N, 3) uint8 RGB: the floor's texture.

        Raises RowFailed("renderer_died"), ("renderer_timeout"), ("renderer_wrote_nonsense"), all retryable;
        ServiceDown without Blender.
        """
        plan = plan_clip(scene, trajectories, self._config)
        job = blender_job(scene, trajectories, plan, self._config)
        start_s = time.monotonic()
        pixels = draw(interpreter(self._config), job, floor, self._config.timeout_s)
        logger.debug("%d parts, %d pixels in %.1f s", len(plan.parts), plan.n_pixels, time.monotonic() - start_s)
        return compose(plan, pixels)


def blender_job(scene: Scene, trajectories: list[Trajectory], plan: RenderPlan, config: CyclesConfig) -> dict[str, Any]:
    """The job file of worker.py."""
    return {
        "bpy": pinned_blender(),
        "scene": scene.model_dump(mode="json"),
        "trajectories": [trajectory.model_dump(mode="json") for trajectory in trajectories],
        "floor": _floor_corners(scene),
        "samples": config.samples,
        "denoise": config.denoise,
        "denoise_quality": config.denoise_quality,
        "sun_angle_deg": config.sun_angle_deg,
        "parts": [{"frame": p.frame, "box": p.box, "bodies": p.bodies} for p in plan.parts],
    }


def _floor_corners(scene: Scene) -> dict[str, Any]:
    """The floor as a square around the camera: corners in m, and u, v of the texture there."""
    x, y, height = scene.camera.position
    reach = _FLOOR_HEIGHTS * height
    corners = np.array([x, y]) + reach * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    return {"corners": corners.tolist(), "uv": texture_uv(scene.floor, corners).tolist()}


def interpreter(config: CyclesConfig) -> Path:
    """The Python that has bpy. Not checked here: starting it fails if it is missing."""
    named = config.python or os.environ.get(PYTHON_VARIABLE)
    return Path(named) if named else _PROJECT / ".venv-blender" / "bin" / "python"


def usable_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
