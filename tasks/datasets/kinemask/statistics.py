"""What a snapshot of simulated clips holds, counted: for its manifest and its page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from schemas.kinemask import SPEED_STEP_MPS, KinemaskStatistics
from schemas.scene import DIGITS
from tasks.engine.dataset import histogram, ranked, read_columns
from tasks.engine.snapshots import Snapshot

N_SECTORS = 12


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


def headline(snapshot: Snapshot, truth: Any = None) -> Iterator[str]:
    """What was made."""
    statistics = snapshot.statistics(KinemaskStatistics)
    n_objects = sum(n * clips for n, clips in enumerate(statistics.objects_per_clip))
    made = ", ".join(f"{part.n} {part.name}" for part in statistics.clips)
    rejected = ", ".join(f"{draw.n} {draw.name}" for draw in statistics.rejected_draws) or "none"
    yield f"clips: {made}; {n_objects} objects, {sum(statistics.collisions_per_frame)} collisions"
    yield f"draws that were no clip of their set: {rejected}"
