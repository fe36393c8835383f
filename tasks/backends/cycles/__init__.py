"""Clips rendered by Blender's path tracer, Cycles, in an environment and a process of its own (KineMask 3.3).

A clip is planned here, drawn there and put together here:

    plan.py      a scene -> what is drawn: the floor with all that rests, then boxes around what moves
    process.py   a job -> pixels, by a process that may crash, hang or be killed
    worker.py    that process: Blender, and nothing of this project
    renderer.py  the `Renderer`

Blender wants another NumPy than the rest, and its module `bpy` is GPL: worker.py, which imports it, is a program apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from schemas.config import StageConfig


class CyclesConfig(StageConfig):
    """How Cycles draws. KineMask states nothing of it; the defaults are where more work shows no more."""

    samples: int = Field(4, ge=1, description="Paths a pixel")
    denoise: bool = Field(True, description="OpenImageDenoise after the last path")
    denoise_quality: Literal["FAST", "BALANCED", "HIGH"] = Field("FAST", description="Of OpenImageDenoise")
    sun_angle_deg: float = Field(2.0, ge=0, le=90, description="Width of the sun: how soft its shadows' edges are")
    whole_frames: bool = Field(
        False, description="Draw every frame whole, instead of what moves over a picture of what rests"
    )
    surroundings: float = Field(
        0.25,
        ge=0,
        description="How far around a moving body and its shadow the picture is drawn anew, over the body's height",
    )
    feather_px: int = Field(8, ge=0, description="Within this distance of its edges such a part blends into the rest")

    python: Path | None = Field(
        None,
        description="Python that has bpy; unset: TRIPTYCH_BLENDER_PYTHON, else .venv-blender, as `make blender` makes "
        "it. No part of any key, like all that follows",
    )
    timeout_s: float = Field(1800.0, gt=0, description="A clip that takes longer fails; it takes some 15 s of a core")
    workers: int | None = Field(
        None, ge=1, description="Clips drawn at once, each by one thread in 0.5 GB; unset: one a CPU"
    )
