"""Tracks of any dataset -> the layout of YouTube-VIS: JPEG frames, and one JSON file with every track's masks.

    out/train/JPEGImages/clip-81b2/00000.jpg
    out/train/instances.json
        {"videos": [{"id": 1, "file_names": ["clip-81b2/00000.jpg", ...], "width": 1280, "height": 720, "length": 49}],
         "categories": [{"id": 1, "name": "ball"}, ...],
         "annotations": [{"id": 1, "video_id": 1, "category_id": 1,
                          "segmentations": [{"size": [720, 1280], "counts": "..."}, null, ...],
                          "bboxes": [[x, y, w, h], null, ...], "areas": [412, null, ...], "iscrowd": 0}]}

One folder and one file a split; categories have the same ids in both, whatever is left out. Masks are COCO's
compressed run lengths. `caption` and `clip_id` of a video, `noun` of an annotation are ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from tasks.engine.export import (
    SKIPPED,
    ExportFolder,
    ExportOptions,
    Layout,
    PlannedClip,
    Skipped,
    open_export,
    plan_clips,
)
from tasks.engine.progress import counted
from tasks.engine.snapshots import Snapshot
from tasks.exports.clips import Tracked, TrackedClip, frames_of, read_planned

NAME = "youtube-vis"
JPEG_QUALITY = 95


def youtube_vis(tracked: Tracked) -> Layout:
    """The layout of a dataset whose clips are read so."""
    return Layout("frames as JPEG, tracks as YouTube-VIS JSON", partial(write_youtube_vis, tracked))


def write_youtube_vis(tracked: Tracked, snapshot: Snapshot, folder: Path, options: ExportOptions) -> str:
    planned, skipped = plan_clips(snapshot, options), Skipped()
    with open_export(folder, NAME) as export:
        for plan, clip in counted(read_planned(snapshot, tracked, planned), "clips", len(planned)):
            with skipped.judged(plan.clip_id):
                write_frames(export, plan, clip)
        written = [plan for plan in planned if plan.clip_id not in skipped.ids]
        told = skipped.told(len(written), f"{folder}/SPLIT/instances.json")
        categories = {name: id_ for id_, name in enumerate(sorted(tracked.class_names(snapshot)), start=1)}
        splits = sorted({plan.split for plan in written})
        with export.lists([*(f"{split}/instances.json" for split in splits), SKIPPED]) as aside:
            for split in splits:
                clips = read_planned(snapshot, tracked, [plan for plan in written if plan.split == split])
                write_json(aside / split / "instances.json", snapshot.id, (clip for _, clip in clips), categories)
            (aside / SKIPPED).write_bytes(skipped.csv)
    return told


def write_frames(export: ExportFolder, plan: PlannedClip, clip: TrackedClip) -> None:
    """A clip's frames as JPEG, unless they are there. Raises RowFailed if its video cannot be read."""
    if export.known(plan.clip_id, plan.key) is not None:
        return
    path = f"{plan.split}/JPEGImages/{plan.clip_id}"
    with export.unit(plan.clip_id, plan.key, [path]) as aside:
        (aside / path).mkdir()
        for number, frame in enumerate(frames_of(clip)):
            quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
            _, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), quality)
            (aside / path / _frame_name(number)).write_bytes(data.tobytes())


def write_json(path: Path, description: str, clips: Iterable[TrackedClip], categories: Mapping[str, int]) -> None:
    """Tracks go to the file as they come: those of a whole dataset are not in memory at once."""
    videos: list[dict[str, Any]] = []
    n_annotations = 0
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{"info": {json.dumps({"description": description})}, "annotations": [')
        for clip in clips:
            videos.append(_video(clip, len(videos) + 1))
            for instance in clip.instances:
                annotation = {
                    "id": n_annotations + 1,
                    "video_id": len(videos),
                    "category_id": categories[instance.class_name],
                    "noun": instance.noun,
                    "iscrowd": 0,
                    "width": clip.width,
                    "height": clip.height,
                    "length": clip.n_frames,
                    "segmentations": instance.segmentations,
                    "bboxes": instance.boxes_xywh,
                    "areas": instance.areas,
                }
                file.write(("," if n_annotations else "") + "\n" + json.dumps(annotation))
                n_annotations += 1
        file.write('],\n"videos": [')
        for number, video in enumerate(videos):
            names = [f"{video['clip_id']}/{_frame_name(frame)}" for frame in range(video["length"])]
            file.write(("," if number else "") + "\n" + json.dumps(video | {"file_names": names}))
        named = [{"id": id_, "name": name, "supercategory": "object"} for name, id_ in categories.items()]
        file.write(f'],\n"categories": {json.dumps(named)}}}\n')


def _video(clip: TrackedClip, id_: int) -> dict[str, Any]:
    return {
        "id": id_,
        "clip_id": clip.clip_id,
        "caption": clip.caption,
        "width": clip.width,
        "height": clip.height,
        "length": clip.n_frames,
        "fps": float(clip.fps),
    }


def _frame_name(number: int) -> str:
    return f"{number:05d}.jpg"
