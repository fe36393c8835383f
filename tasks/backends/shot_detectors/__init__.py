"""Where shots change: how that is found, and which libraries find it.

pyscenedetect.py   content, adaptive: PySceneDetect's own detectors
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.config import StageConfig


class ShotDetectorConfig(StageConfig):
    """How changes of shots are found. The defaults are those of PySceneDetect 0.7.2's command line."""

    detector: Literal["content", "adaptive"] = Field(
        "content", description="PySceneDetect's detect-content or detect-adaptive"
    )
    threshold: float = Field(27.0, gt=0, le=255, description="content: a frame that differs by this much is a cut")
    adaptive_threshold: float = Field(
        3.0, gt=0, le=255, description="adaptive: a cut differs this many times as much as the frames around it"
    )
    min_content_val: float = Field(15.0, ge=0, le=255, description="adaptive: and at least by this much")
    min_scene_len_s: float = Field(
        0.6, ge=0, description="Cuts closer than this are merged; rounded to frames at the average rate, as there"
    )
