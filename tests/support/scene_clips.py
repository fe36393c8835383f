"""Clips for tests of captions: simulations, written by hand or simulated, with their exact masks and without a video.

story(
    (make_body("id1", position=(-1.0, 0.0, 0.25)), [(1.0, (1.0, 0.0, 0.0))]),   1 m/s to the right for a second
    (make_body("id2", "cylinder"), []),                                         rests
    collisions=[make_collision(1.0, "id1", "id2")],
)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from schemas.mask_track import MaskTrack, encode_mask
from schemas.scene import Body, Collision, SceneSeed, SceneSet, Split, Trajectory, Vector
from schemas.simulation import Rendered, Simulation
from tasks.media.cast_rays import cast, poses_at
from tasks.media.floors import Floors
from tasks.simulate_scenes import SceneConfig, simulate
from tests.support.scenes import make_camera, tiny_scene

N_FRAMES, FPS = 49, 24
SMALL = SceneConfig(width=90, height=60)

Leg = tuple[float, Vector]  # until when in s, velocity in m/s


class SceneClip(NamedTuple):
    """What a captioner and a reader of captions get."""

    simulation: Simulation
    rendered: Rendered

    @property
    def tracks(self) -> list[MaskTrack]:
        return self.rendered.tracks


def clip_of(simulation: Simulation, video: bytes = b"") -> SceneClip:
    tracks = true_tracks(simulation)
    return SceneClip(simulation, Rendered(video=video, video_sha256="00" * 32, tracks=tracks, made_by=[]))


@cache
def simulated(set_: SceneSet, split: Split, seed: int) -> SceneClip:
    """A clip as the flow makes it, but for its size."""
    return clip_of(simulate(SceneSeed.of(SMALL, set_, split, seed), SMALL, Floors()))


def story(*parts: tuple[Body, Sequence[Leg]], collisions: Sequence[Collision] = (), **changes: Any) -> SceneClip:
    """Bodies that go their legs and rest behind the last one; changes: of the scene."""
    camera = make_camera(180, 120)
    bodies = [body.model_copy(update=_start(legs)) for body, legs in parts]
    scene = tiny_scene(N_FRAMES, **{"bodies": bodies, "camera": camera} | changes)
    trajectories = [travel(body, legs) for body, legs in parts]
    return clip_of(
        Simulation(scene=scene, trajectories=trajectories, collisions=list(collisions), rejected_draws=[], made_by=[])
    )


def _start(legs: Sequence[Leg]) -> dict[str, Any]:
    velocity = legs[0][1] if legs else (0.0, 0.0, 0.0)
    return {"velocity": velocity, "controlled": any(velocity)}


def travel(body: Body, legs: Sequence[Leg]) -> Trajectory:
    """A body's way, at a steady speed on each leg."""
    times_s = np.arange(N_FRAMES) / FPS
    velocity = np.zeros((N_FRAMES, 3))
    position = np.tile(np.array(body.position), (N_FRAMES, 1))
    begins_s = 0.0
    for until_s, mps in legs:
        velocity[(times_s >= begins_s - 1e-9) & (times_s < until_s - 1e-9)] = mps
        position += np.clip(times_s - begins_s, 0.0, until_s - begins_s)[:, None] * np.array(mps)
        begins_s = until_s
    return Trajectory(
        instance_id=body.instance_id,
        position=[(x, y, z) for x, y, z in position.round(6).tolist()],
        rotation=[body.rotation] * N_FRAMES,
        velocity=[(x, y, z) for x, y, z in velocity.tolist()],
        angular_velocity=[(0.0, 0.0, 0.0)] * N_FRAMES,
    )


def make_collision(time_s: float, first_id: str, second_id: str, **changes: Any) -> Collision:
    """The first runs into the second, which rests, at 1 m/s to the right."""
    values: dict[str, Any] = {
        "frame": int(np.ceil(time_s * FPS - 1e-9)),
        "point": (0.0, 0.0, 0.25),
        "impulse_ns": 1.0,
        "closing_speed_mps": 0.6,
        "first_velocity_before": (1.0, 0.0, 0.0),
        "first_velocity_after": (0.0, 0.0, 0.0),
        "second_velocity_before": (0.0, 0.0, 0.0),
        "second_velocity_after": (1.0, 0.0, 0.0),
    }
    return Collision(time_s=time_s, first_id=first_id, second_id=second_id, **values | changes)


def true_tracks(simulation: Simulation) -> list[MaskTrack]:
    """The exact masks, cast anew only where something has moved."""
    scene = simulation.scene
    labels: list[np.ndarray] = []
    before = None
    for frame in range(scene.n_frames):
        poses = poses_at(simulation.trajectories, frame)
        labels.append(labels[-1] if poses == before else cast(scene.camera, scene.bodies, poses).labels)
        before = poses
    return [
        MaskTrack.of(
            body.instance_id,
            [encode_mask(picture == number) for picture in labels],
            height=scene.camera.height,
            width=scene.camera.width,
            anchor_frame=0,
        )
        for number, body in enumerate(scene.bodies, start=1)
    ]
