"""The settings with which scenes are drawn from seeds (KineMask 3.3, 4.1 and A.2)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from schemas.config import StageConfig
from tasks.simulate_scenes.palette import MAX_BODIES


def _ordered(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f"a range runs from low to high, got {limits}")
    return limits


Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
AtLeastOne = Annotated[int, Field(ge=1)]
Range = Annotated[tuple[Positive, Positive], AfterValidator(_ordered)]
RangeFromZero = Annotated[tuple[NotNegative, NotNegative], AfterValidator(_ordered)]
ShareRange = Annotated[tuple[Share, Share], AfterValidator(_ordered)]
CountRange = Annotated[tuple[AtLeastOne, AtLeastOne], AfterValidator(_ordered)]


class SceneConfig(StageConfig):
    """How scenes are drawn, simulated and judged. Ranges are sampled uniformly, both ends included."""

    width: int = Field(720, ge=32, multiple_of=2, description="Width of the picture in px (KineMask trains at 720x480)")
    height: int = Field(480, ge=32, multiple_of=2, description="Height of the picture in px; even, for H.264")
    fps: int = Field(24, ge=1, description="Frames a second; the paper gives none")
    n_frames: int = Field(49, ge=2, description="Frames of a clip (KineMask 4.1)")

    speed_mps: Range = Field((0.5, 1.5), description="Speed of a controlled body in the first frame (KineMask A.2)")
    n_controlled: CountRange = Field(
        (1, 2), title="Controlled bodies", description="Controlled bodies of a scene (KineMask A.2: one or two)"
    )
    n_bodies_simple: CountRange = Field(
        (2, 5), title="Bodies of simple_motion", description="Bodies of a simple_motion scene, controlled ones included"
    )
    n_bodies_interactions: CountRange = Field(
        (3, 6), title="Bodies of interactions", description="Bodies of an interactions scene; figures show 3 to 6"
    )

    size_m: Range = Field((0.3, 0.5), description="Edge of a cube, diameter of a cylinder")
    slenderness: Range = Field((0.8, 1.25), description="Height of a cylinder over its diameter")
    density_kgm3: Range = Field((300.0, 900.0), description="Density, as of wood")
    friction: RangeFromZero = Field(
        (0.03, 0.1), description="Coefficient against the floor: low, so that pushed bodies slide for some frames"
    )
    restitution: ShareRange = Field((0.3, 0.7), description="Restitution of each body; collisions have the product")
    gravity: float = Field(9.81, gt=0, description="Acceleration downwards in m/s2")

    camera_pitch_deg: Range = Field((30.0, 50.0), description="How far the camera looks down; below 90")
    camera_distance_m: Range = Field((4.0, 5.0), description="Distance from the camera to the point that it looks at")
    focal: Range = Field((1.1, 1.3), title="Focal length", description="Focal length over the picture's width")
    tile_m: Range = Field((1.5, 2.5), description="Edge of a texture tile on the floor")

    substeps_per_s: int = Field(
        480, ge=1, description="Simulation steps a second; a multiple of fps. With 240, cylinders rock on the floor"
    )
    margin: float = Field(0.02, ge=0, lt=0.5, description="Distance of bodies from the edges at first, over the width")
    clearance_m: float = Field(0.05, gt=0, description="Bodies start at least this far from each other")
    aim_deg: float = Field(
        10.0,
        ge=0,
        lt=90,
        title="Maximum aim error (°)",
        description="Largest angle by which an aimed body misses its target",
    )
    latest_collision: float = Field(
        0.6, gt=0, lt=1, description="Share of the clip by which a collision must begin: its effects must be visible"
    )
    min_closing_mps: float = Field(
        0.1,
        ge=0,
        title="Minimum closing speed (m/s)",
        description="Lowest closing speed of a controlled body's collision: slower ones show nothing",
    )
    min_visible: float = Field(
        0.5, gt=0, le=1, description="Lowest share of a body's pixels that no other hides in the first frame"
    )
    min_visible_collision: float = Field(
        0.2, ge=0, le=1, description="The same for both bodies of a controlled body's collision, in its frame"
    )
    min_visible_frames: float = Field(
        0.5, ge=0, le=1, description="Lowest share of frames in which a controlled body's centre is in the picture"
    )
    max_tilt_deg: float = Field(
        20.0, gt=0, le=90, description="A body that leans further counts as toppled; captions cannot describe falling"
    )
    max_energy_gain: float = Field(
        0.01, ge=0, description="Share of the first frame's motion by which energy may grow, for rounding errors"
    )
    max_draws: int = Field(50, ge=1, description="Most draws per seed; the first valid one is the clip")

    @model_validator(mode="after")
    def _fits(self) -> SceneConfig:
        if self.substeps_per_s % self.fps:
            raise ValueError(f"substeps_per_s is {self.substeps_per_s}; make it a multiple of fps, {self.fps}")
        if self.camera_pitch_deg[1] >= 90:
            raise ValueError("a camera that looks straight down has no horizon; keep camera_pitch_deg below 90")
        for n_bodies in (self.n_bodies_simple, self.n_bodies_interactions):
            if n_bodies[0] < self.n_controlled[1]:
                raise ValueError(
                    f"n_controlled goes up to {self.n_controlled[1]}, but scenes may have {n_bodies[0]} bodies"
                )
            if n_bodies[1] > MAX_BODIES:
                raise ValueError(f"{n_bodies[1]} bodies cannot all be told apart; allow at most {MAX_BODIES}")
        if self.n_bodies_interactions[0] < 2:
            raise ValueError("one body cannot collide; let n_bodies_interactions start at 2 or more")
        return self
