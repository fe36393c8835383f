"""simulated scenes -> videos with the visible pixels of every body (KineMask 3.3).

    49 poses of a red cube and a blue cylinder -> 49 frames of H.264, 49 masks each

A renderer gives frames and labels; what is stored are the encoded video and the masks' run lengths.
Velocities are no picture: they are painted into the masks when they are needed (tasks/media/velocity_masks.py).
"""

from __future__ import annotations

import hashlib
from typing import Literal, NamedTuple, Protocol

import numpy as np
from pydantic import Field

from schemas.config import StageConfig
from schemas.mask_track import MaskTrack, encode_mask
from schemas.provenance import MadeBy
from schemas.scene import Scene, SceneSeed, Trajectory
from schemas.simulation import Rendered, Rendering
from tasks import simulate_scenes
from tasks.backends.cycles import CyclesConfig
from tasks.engine.shards import Row
from tasks.engine.stage import Stage
from tasks.engine.work import Work
from tasks.media.encoding import encode_video
from tasks.media.floors import Floors


class RenderConfig(StageConfig):
    """How scenes become pictures."""

    renderer: Literal["raster", "cycles"] = Field(
        "raster",
        description="raster: a ray caster without shadows' penumbras, embedded; cycles: Blender's path tracer, in an "
        "environment of its own",
    )
    crf: int = Field(16, ge=0, le=51, description="H.264 quality: 0 is lossless, 51 the worst")


class Renderer(Protocol):
    """Draws a scene's frames."""

    identity: dict[str, str]
    concurrency: int

    def render(self, scene: Scene, trajectories: list[Trajectory], floor: np.ndarray) -> Rendering:
        """floor (N, N, 3) uint8 RGB: the floor's texture.

        A pixel is a body's if its centre is. Raises RowFailed if this clip cannot be rendered, ServiceDown if
        none can.
        """


def store_pictures(pictures: Rendering, scene: Scene, crf: int, made_by: list[MadeBy]) -> Rendered:
    """Encode frames and labels. Raises ValueError if they are not those of such a scene."""
    size = (scene.n_frames, scene.camera.height, scene.camera.width)
    for what, picture, shape in (("frames", pictures.frames, (*size, 3)), ("labels", pictures.labels, size)):
        if picture.shape != shape or picture.dtype != np.uint8:
            raise ValueError(f"asked for {what} of {shape} uint8, got {picture.shape} {picture.dtype}")
    if pictures.labels.max() > len(scene.bodies):
        raise ValueError(f"label {pictures.labels.max()} in a scene of {len(scene.bodies)} bodies")
    video = encode_video(pictures.frames, scene.fps, crf)
    tracks = [
        MaskTrack.of(
            body.instance_id,
            [encode_mask(labels == number) for labels in pictures.labels],
            height=scene.camera.height,
            width=scene.camera.width,
            anchor_frame=0,
        )
        for number, body in enumerate(scene.bodies, start=1)
    ]
    return Rendered(video=video, video_sha256=hashlib.sha256(video).hexdigest(), tracks=tracks, made_by=made_by)


def load_backend(config: RenderConfig, cycles: CyclesConfig) -> Renderer:
    match config.renderer:
        case "raster":
            from tasks.backends.raster import RasterRenderer

            return RasterRenderer()
        case "cycles":
            from tasks.backends.cycles.renderer import CyclesRenderer

            return CyclesRenderer(cycles)


class Moving(NamedTuple):
    """What is read of a simulated clip."""

    scene: Scene
    trajectories: list[Trajectory]
    floor: str  # what the floor's picture is known by


def stage(work: Work, config: RenderConfig, floors: Floors, cycles: CyclesConfig) -> Stage[SceneSeed, Moving, Rendered]:
    renderer = load_backend(config, cycles)
    made_by = [MadeBy.of(Rendered.stage_name, renderer.identity)]

    def read(row: Row[SceneSeed]) -> Moving:
        simulation = simulate_scenes.result_of(work, row)
        return Moving(simulation.scene, simulation.trajectories, floors.identity(simulation.scene.floor))

    def compute(seen: Moving) -> Rendered:
        pictures = renderer.render(seen.scene, seen.trajectories, floors.picture(seen.scene.floor))
        return store_pictures(pictures, seen.scene, config.crf, made_by)

    return Stage(
        version=1,
        result=Rendered,
        config=config,
        made_by=made_by,
        read=read,
        compute=compute,
        concurrency=renderer.concurrency,
    )


def result_of(work: Work, row: Row[SceneSeed]) -> Rendered:
    return work.result(row, Rendered)
