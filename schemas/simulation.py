"""The results of the stages of simulated clips: a moving scene, its pictures, its caption.

Simulation(scene, trajectories, collisions) -> Rendering(frames, labels) -> Rendered -> Captioned
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from schemas.mask_track import MaskTrack
from schemas.provenance import MadeBy
from schemas.record import StageResult, column
from schemas.scene import Collision, RejectedDraw, Scene, Trajectory


class Simulation(StageResult):
    """A scene with its motion."""

    stage_name: ClassVar[str] = "simulate_scenes"

    scene: Scene = column("What is simulated")
    trajectories: list[Trajectory] = column("One a body, in the scene's order")
    collisions: list[Collision] = column("Between bodies, in order of time; contacts with the floor are none")
    rejected_draws: list[RejectedDraw] = column("The seed's earlier draws, which were no clips of the set")
    made_by: list[MadeBy] = column("The physics engine")


class Rendering(NamedTuple):
    """A rendered clip."""

    frames: np.ndarray  # (T, H, W, 3) uint8 RGB
    labels: np.ndarray  # (T, H, W) uint8: 0 the floor, k the visible pixels of bodies[k - 1]


class Rendered(StageResult):
    """A clip's pictures, as they are stored."""

    schema_version: ClassVar[int] = 1
    stage_name: ClassVar[str] = "render_clips"

    video: bytes = column("H.264 in MP4, exactly the scene's frames")
    video_sha256: str = column("SHA-256 of the video", unit="hex")
    tracks: list[MaskTrack] = column("One a body: its visible pixels in every frame")
    made_by: list[MadeBy] = column("The renderer")


class Captioned(StageResult):
    """A clip's caption."""

    schema_version: ClassVar[int] = 1
    stage_name: ClassVar[str] = "caption_clips"

    caption: str = column("What is to be seen, moves, collides and becomes of it")
    faults: list[str] = column("What the caption says that the simulation did not do; what cannot be read is none")
    made_by: list[MadeBy] = column("The captioner")
