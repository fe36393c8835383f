"""Clips rendered by Blender's path tracer, Cycles, in its own environment and process (KineMask 3.3).

A clip is planned in this process, drawn in another one, and composed here:

    plan.py      a scene -> the parts to draw: the floor with all resting bodies, then boxes around what moves
    process.py   a job -> pixels, by a process that may crash, hang or be killed
    worker.py    that process: Blender, without any code of this project
    renderer.py  the `Renderer`

worker.py is a separate program because `bpy` is GPL and needs another NumPy than the rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from schemas.config import StageConfig


class CyclesConfig(StageConfig):
    """How Cycles draws. KineMask gives no settings; beyond the defaults, more work makes no visible difference."""

    samples: int = Field(4, ge=1, description="Paths a pixel")
    denoise: bool = Field(True, description="OpenImageDenoise after the last path")
    denoise_quality: Literal["FAST", "BALANCED", "HIGH"] = Field(
        "FAST", description="Quality preset of OpenImageDenoise"
    )
    sun_angle_deg: float = Field(
        2.0, ge=0, le=90, description="Angular size of the sun: larger gives softer shadow edges"
    )
    whole_frames: bool = Field(
        False, description="Draw every frame whole, instead of moving parts over one picture of what rests"
    )
    surroundings: float = Field(
        0.25, ge=0, description="Margin that is redrawn around a moving body and its shadow, in heights of the body"
    )
    feather_px: int = Field(8, ge=0, description="Width of the edge in which such a part blends into the rest")

    python: Path | None = Field(
        None,
        description="Python that has bpy; unset: TRIPTYCH_BLENDER_PYTHON, else .venv-blender, as `make blender` makes "
        "it. Enters no key, like the options below",
    )
    timeout_s: float = Field(1800.0, gt=0, description="A clip that takes longer fails; usual: about 15 s of one core")
    workers: int | None = Field(
        None, ge=1, description="Clips drawn at once, each with one thread and 0.5 GB; unset: one per CPU"
    )
