"""simulated clips -> what trains KineMask: videos, velocity masks and captions in a folder for each split.

    out/train/videos/clip-3f9c.mp4
    out/train/masks/clip-3f9c.npz      `velocity_mps` (T, H, W, 3) float32: m/s along x, y, z, in the pixels of what
                                       moves in the first frame (KineMask 3.2), zero elsewhere
                                       `instances` (T, H, W) uint8: k in the pixels of object idk, 0 elsewhere
    out/train/captions/clip-3f9c.txt
    out/train/metadata.jsonl           {"video": "videos/clip-3f9c.mp4", "mask": "masks/clip-3f9c.npz",
                                        "caption": "...", "fps": 24, "n_frames": 49, "collision_frames": [17]}

The authors publish no layout; this one is ours. `collision_frames` are where stage 2 drops masks out most often.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from schemas.kinemask import CollisionRow, ObjectRow, SceneClipRow, VideoRow
from tasks.engine.export import (
    ExportFolder,
    ExportOptions,
    Layout,
    PlannedClip,
    Skipped,
    by_shard,
    open_export,
    plan_clips,
)
from tasks.engine.progress import advance
from tasks.engine.snapshots import Snapshot
from tasks.media.velocity_masks import velocity_masks_of

NAME = "kinemask"


def write_kinemask(snapshot: Snapshot, folder: Path, options: ExportOptions) -> str:
    planned = plan_clips(snapshot, options)
    lines: dict[str, list[dict[str, Any]]] = {}
    with open_export(folder, NAME) as export:
        for plans in by_shard(planned):
            ids = [plan.clip_id for plan in plans]
            clips, videos = snapshot.rows_by_clip(SceneClipRow, ids), snapshot.rows_by_clip(VideoRow, ids)
            objects, collisions = snapshot.rows_by_clip(ObjectRow, ids), snapshot.rows_by_clip(CollisionRow, ids)
            for plan in plans:
                (clip,), (video,) = clips[plan.clip_id], videos[plan.clip_id]
                write_clip(export, plan, clip, video.video, objects[plan.clip_id])
                frames = sorted({collision.frame for collision in collisions[plan.clip_id]})
                lines.setdefault(plan.split, []).append(_line_of(clip) | {"collision_frames": frames})
                advance(plan.number, len(planned), "clips")
        told = Skipped().told(len(planned), f"{folder}/SPLIT/metadata.jsonl")
        with export.lists([f"{split}/metadata.jsonl" for split in lines]) as aside:
            for split, of_split in lines.items():
                (aside / split / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in of_split))
    return told


def write_clip(
    export: ExportFolder, plan: PlannedClip, clip: SceneClipRow, video: bytes, objects: Sequence[ObjectRow]
) -> None:
    """A clip's three files, unless they are there."""
    if export.known(plan.clip_id, plan.key) is not None:
        return
    line = _line_of(clip)
    files = {
        f"{plan.split}/{line['video']}": video,
        f"{plan.split}/{line['mask']}": masks_npz(objects),
        f"{plan.split}/captions/{clip.clip_id}.txt": f"{clip.caption}\n".encode(),
    }
    with export.unit(plan.clip_id, plan.key, [*files]) as aside:
        for path, data in files.items():
            (aside / path).write_bytes(data)


def masks_npz(objects: Sequence[ObjectRow]) -> bytes:
    """`velocity_mps` (T, H, W, 3) float32 and `instances` (T, H, W) uint8 of a clip's objects."""
    velocity = velocity_masks_of(objects)
    instances = np.zeros(velocity.shape[:3], np.uint8)
    for row in objects:
        instances[row.track.masks()] = int(row.instance_id.removeprefix("id"))
    sink = io.BytesIO()
    np.savez_compressed(sink, velocity_mps=velocity, instances=instances)
    return sink.getvalue()


def _line_of(clip: SceneClipRow) -> dict[str, Any]:
    return {
        "video": f"videos/{clip.clip_id}.mp4",
        "mask": f"masks/{clip.clip_id}.npz",
        "caption": clip.caption,
        "fps": clip.fps,
        "n_frames": clip.n_frames,
    }


KINEMASK_TRAINER = Layout("videos, velocity masks (npz) and captions, split by split", write_kinemask)
