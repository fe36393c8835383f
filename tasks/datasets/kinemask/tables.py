"""kinemask's tables: simulated clips, their videos, every object frame by frame, and what collides.

64 seeds, 63 of them accepted -> clips and videos with 63 rows, objects with 260, draws with 31, outcomes with 64
"""

from __future__ import annotations

import numpy as np

from schemas.kinemask import SHARD_TABLES, CollisionRow, DrawRow, ObjectRow, SceneClipRow, SceneOutcomeRow, VideoRow
from schemas.mask_track import MaskTrack
from schemas.record import Record
from schemas.scene import DIGITS, Body, SceneSeed, Trajectory
from schemas.simulation import Captioned, Rendered, Simulation
from tasks.engine.dataset import outcome_of
from tasks.engine.shards import Row
from tasks.engine.work import Work


def row_tables(work: Work, row: Row[SceneSeed]) -> dict[str, list[Record]]:
    """All table rows of one seed, as far as it came."""
    seed = row.payload
    of_clip = {"clip_id": seed.clip_id}
    simulation = work.find_result(row, Simulation)
    rendered = work.find_result(row, Rendered)
    captioned = work.find_result(row, Captioned)
    outcome = outcome_of(row)

    tables: dict[str, list[Record]] = {name: [] for name in SHARD_TABLES}
    of_seed = seed.model_dump(include={"set", "split", "seed"})
    tables["outcomes"].append(SceneOutcomeRow(**outcome.model_dump(), **of_seed))
    if simulation:
        tables["draws"] = [DrawRow(**seed.model_dump(), **d.model_dump()) for d in simulation.rejected_draws]
    if outcome.status == "accepted" and simulation and rendered and captioned:
        tables["clips"].append(_clip_row(seed, simulation, rendered, captioned))
        tables["videos"].append(VideoRow(**of_clip, sha256=rendered.video_sha256, video=rendered.video))
        tables["objects"] = [
            _object_row(seed.clip_id, *parts)
            for parts in zip(simulation.scene.bodies, simulation.trajectories, rendered.tracks, strict=True)
        ]
        tables["collisions"] = [CollisionRow(**of_clip, **c.model_dump()) for c in simulation.collisions]
    return tables


def _clip_row(seed: SceneSeed, simulation: Simulation, rendered: Rendered, captioned: Captioned) -> SceneClipRow:
    scene = simulation.scene
    made_by = simulation.made_by + rendered.made_by + captioned.made_by
    return SceneClipRow(
        **seed.model_dump(),
        caption=captioned.caption,
        caption_faults=captioned.faults,
        fps=scene.fps,
        n_frames=scene.n_frames,
        width=scene.camera.width,
        height=scene.camera.height,
        n_collisions=len(simulation.collisions),
        video_sha256=rendered.video_sha256,
        scene=scene,
        made_by=made_by,
    )


def _object_row(clip_id: str, body: Body, trajectory: Trajectory, track: MaskTrack) -> ObjectRow:
    of_body = body.model_dump(include={"instance_id", "shape", "colour", "rgb", "size", "mass_kg", "controlled"})
    of_motion = trajectory.model_dump(exclude={"instance_id"})
    of_track = track.model_dump(include={"height", "width", "counts", "box_xyxy", "area"})
    speed_mps = round(float(np.linalg.norm(body.velocity)), DIGITS)
    return ObjectRow(clip_id=clip_id, noun=body.noun, speed_mps=speed_mps, **of_body, **of_motion, **of_track)
