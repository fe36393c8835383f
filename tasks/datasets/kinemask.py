"""kinemask's tables: simulated clips, their videos, every object frame by frame, and what collides.

64 seeds, 63 of them accepted -> clips and videos with 63 rows, objects with 260, draws with 31, outcomes with 64
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from schemas.kinemask import (
    SHARD_TABLES,
    SPEED_STEP_MPS,
    CollisionRow,
    DrawRow,
    KinemaskStatistics,
    ObjectRow,
    SceneClipRow,
    SceneOutcomeRow,
    VideoRow,
)
from schemas.mask_track import MaskTrack
from schemas.record import Record
from schemas.scene import DIGITS, Body, SceneSeed, Trajectory
from schemas.simulation import Captioned, Rendered, Simulation
from schemas.snapshot import FunnelStep
from tasks.datasets import Dataset, Ways, histogram, made_of, outcome_of, ranked, read_columns
from tasks.stage import Row, Work

CLIP_STAGES = ("simulate_scenes", "render_clips", "caption_clips")
N_SECTORS = 12


# --- The ledger ------------------------------------------------------------------------------


@dataclass(frozen=True)
class SeedLedger:
    """The seeds that were asked for: every one is a clip, and nothing ends before its shard."""

    seeds: Sequence[SceneSeed]

    @property
    def n_given(self) -> int:
        return len(self.seeds)

    @property
    def clip_ids(self) -> list[str]:
        return [seed.clip_id for seed in self.seeds]

    def problems(self) -> list[str]:
        n_twice = len(self.seeds) - len(set(self.clip_ids))
        return [f"{n_twice} seeds are asked for twice"] if n_twice else []

    def early_outcomes(self) -> list[SceneOutcomeRow]:
        return []

    def tables(self) -> dict[str, tuple[type[Record], Sequence[Any]]]:
        return {}

    def first_steps(self, ways: Ways) -> list[FunnelStep]:
        return []


# --- A clip's rows ---------------------------------------------------------------------------


def clip_tables(work: Work, row: Row[SceneSeed]) -> dict[str, list[Record]]:
    """All table rows of one seed, as far as it came."""
    seed = row.payload
    of_clip = {"clip_id": seed.clip_id}
    simulation: Simulation | None = made_of(work, row, "simulate_scenes", Simulation)
    rendered: Rendered | None = made_of(work, row, "render_clips", Rendered)
    captioned: Captioned | None = made_of(work, row, "caption_clips", Captioned)
    outcome = outcome_of(row, CLIP_STAGES[-1])

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


# --- Statistics ------------------------------------------------------------------------------


def statistics(folder: Path) -> KinemaskStatistics:
    """What a snapshot's folder holds, counted."""
    clips = read_columns(folder, "clips", "clip_id", "set", "split", "n_frames", "n_collisions", "scene")
    objects = read_columns(folder, "objects", "clip_id", "colour", "shape", "controlled", "speed_mps", "velocity")
    collisions = read_columns(folder, "collisions", "frame")
    draws = read_columns(folder, "draws", "set", "reason")
    controlled = objects.filter("controlled")
    n_objects = dict(objects.group_by("clip_id").len().iter_rows())
    longest = max(clips["n_frames"].to_list(), default=0)
    return KinemaskStatistics(
        clips=ranked([f"{set_}/{split}" for set_, split in clips.select("set", "split").iter_rows()]),
        rejected_draws=ranked([f"{set_}/{reason}" for set_, reason in draws.iter_rows()]),
        objects_per_clip=histogram([n_objects.get(clip_id, 0) for clip_id in clips["clip_id"].to_list()]),
        collisions_per_clip=histogram(clips["n_collisions"].to_list()),
        collisions_per_frame=np.bincount(collisions["frame"].to_numpy(), minlength=longest).tolist(),
        speeds=histogram(_steps(controlled["speed_mps"].to_numpy())),
        directions=_sectors(controlled["velocity"].list.first().to_list()),
        colours=ranked(objects["colour"].to_list()),
        shapes=ranked(objects["shape"].to_list()),
        floors=ranked(clips["scene"].struct.field("floor").struct.field("texture").to_list()),
    )


def _steps(speeds_mps: np.ndarray) -> list[int]:
    """Which step of SPEED_STEP_MPS each speed falls into."""
    # 1.2 is less than twelve times the float 0.1; speeds have DIGITS decimals.
    steps: list[int] = np.floor(speeds_mps / SPEED_STEP_MPS + 0.1**DIGITS).astype(int).tolist()
    return steps


def _sectors(velocities: Sequence[Sequence[float]]) -> list[int]:
    """How many velocities point into each of N_SECTORS equal sectors, from x counter-clockwise."""
    xy = np.array([velocity[:2] for velocity in velocities], float).reshape(-1, 2)
    turns = np.arctan2(xy[:, 1], xy[:, 0]) / (2 * np.pi) % 1
    counts: list[int] = np.bincount((turns * N_SECTORS).astype(int) % N_SECTORS, minlength=N_SECTORS).tolist()
    return counts


KINEMASK = Dataset(
    flow="curate-kinemask",
    clip_stages=CLIP_STAGES,
    shard_tables=SHARD_TABLES,
    main_table="clips",
    clip_tables=clip_tables,
    statistics=statistics,
    about="Rigid bodies that are pushed across textured floors and what they hit: rendered clips with exact masks\n"
    "and velocities of every object in every frame, simulated with Triptych after KineMask (sections 3.2, 3.3, 4.1).",
    reading="All tables join on `clip_id`; all but `outcomes` and `draws` hold accepted clips only. `outcomes` has a\n"
    "row for every seed, `draws` one for every draw that was no clip of its set.\n"
    "World axes in metres: x to the right of the image, y away from the camera, z up. Frame f shows the time f / fps.\n"
    "Masks are COCO run lengths: `{'size': [height, width], 'counts': counts[frame]}` for pycocotools. The velocity\n"
    "mask (frames, height, width, 3), in m/s along x, y, z, carries `velocity[frame]` in the mask of each object that\n"
    "is `controlled`, and zero elsewhere: `velocity_masks_of` of tasks/velocity_masks.py rebuilds it.",
)
