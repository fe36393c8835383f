"""Clips of any dataset -> tar files for WebDataset: a clip's video and what is known of it, side by side.

    out/train-000000.tar    clip-81b2.mp4, clip-81b2.json, clip-9c40.mp4, clip-9c40.json, ...
    out/test-000000.tar
    out/shards.json         [{"name": "train-000000.tar", "split": "train", "n_clips": 41, "n_bytes": 531087360}, ...]

    clip-81b2.json: {"caption": "A boy kicks a ball.", "fps": 24.0, "n_frames": 49, "width": 1280, "height": 720,
                     "instances": [{"instance_id": "id1", "class_name": "boy", "noun": "a boy",
                                    "segmentations": [{"size": [720, 1280], "counts": "..."}, null, ...],
                                    "bboxes": [[x, y, w, h], null, ...]}, ...],
                     "interactions": [{"subject_id": "id1", "verb": "kick", "object_id": "id2", ...}]}

A tar file holds clips of one split and at most --shard-mb, unless a single clip is larger. A dataset's own video files
go in as they are; a clip that was cut from a source is encoded anew (H.264, CRF 18, the source's average frame rate),
so that frame i of the video is frame i of the masks.
"""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from schemas.record import content_hash
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
from tasks.engine.progress import advance
from tasks.engine.snapshots import Snapshot
from tasks.exports.clips import Tracked, TrackedClip, frames_of, read_planned
from tasks.media.encoding import encode_video

NAME = "webdataset"
MEGABYTE = 2**20

Files = list[tuple[str, bytes]]  # of a clip: their names and contents


def webdataset(tracked: Tracked) -> Layout:
    """The layout of a dataset whose clips are read so."""
    about = "tar files for WebDataset: videos with captions, tracks and interactions as JSON"
    return Layout(about, partial(write_webdataset, tracked), frozenset({"limit", "shard_mb"}))


def write_webdataset(tracked: Tracked, snapshot: Snapshot, folder: Path, options: ExportOptions) -> str:
    planned, skipped = plan_clips(snapshot, options), Skipped()
    shards: list[dict[str, Any]] = []
    with open_export(folder, NAME) as export:
        for split in sorted({plan.split for plan in planned}):
            of_split = [plan for plan in planned if plan.split == split]
            for shard in _Split(
                export, tracked, snapshot, split, of_split, options.shard_mb * MEGABYTE, skipped
            ).write():
                shards.append(shard)
                advance(sum(one["n_planned"] for one in shards), len(planned), "clips")
        told = skipped.told(sum(shard["n_clips"] for shard in shards), f"{folder}/SPLIT-000000.tar")
        with export.lists(["shards.json", SKIPPED]) as aside:
            listed = [{name: shard[name] for name in ("name", "split", "n_clips", "n_bytes")} for shard in shards]
            (aside / "shards.json").write_text(json.dumps(listed, indent=1) + "\n")
            (aside / SKIPPED).write_bytes(skipped.csv)
    return told


@dataclass
class _Split:
    """The tar files of a split. Where one ends depends on how large the next clip's files are."""

    export: ExportFolder
    tracked: Tracked
    snapshot: Snapshot
    split: str
    planned: Sequence[PlannedClip]
    max_bytes: int
    skipped: Skipped

    def write(self) -> Iterator[dict[str, Any]]:
        """A note of each tar file; those that are finished and would come out the same are kept."""
        at = number = 0
        files: Iterator[Files | None] | None = None  # of the clips from `at` on
        while at < len(self.planned):
            name = f"{self.split}-{number:06d}.tar"
            note = self.export.known(name, self._key(at))
            if (
                note
                and note["clips"] == self._clips_key(at, note["n_planned"])
                and note["n_clips"] == note["n_planned"]
            ):
                files = None
            else:
                files = files or self._files(self.planned[at:])
                first = next(files)
                if first is None:  # left out
                    at += 1
                    continue
                note = {}
                with self.export.unit(name, self._key(at), [name], note) as aside:
                    n_clips, n_planned, held = self._write_tar(aside / name, first, files)
                    n_bytes = (aside / name).stat().st_size
                    note |= {"name": name, "split": self.split, "n_clips": n_clips, "n_bytes": n_bytes}
                    note |= {"n_planned": n_planned, "clips": self._clips_key(at, n_planned)}
                files = itertools.chain([held], files) if held else files
            yield note
            at += note["n_planned"]
            number += 1

    def _key(self, at: int) -> str:
        return content_hash(self.planned[at].key, self.max_bytes, length=16)

    def _clips_key(self, at: int, n: int) -> str:
        """Of a tar file's clips, and the one behind them, which was too large for it."""
        return content_hash([plan.key for plan in self.planned[at : at + n + 1]], length=16)

    def _files(self, planned: Sequence[PlannedClip]) -> Iterator[Files | None]:
        """Of each clip, in order; None for one that is left out."""
        for plan, clip in read_planned(self.snapshot, self.tracked, planned):
            files = None
            with self.skipped.judged(plan.clip_id):
                files = clip_files(plan, clip)
            yield files

    def _write_tar(self, path: Path, first: Files, others: Iterator[Files | None]) -> tuple[int, int, Files | None]:
        """Returns how many clips are in it, how many were read for it, and the files that did not fit any more."""
        n_clips = n_planned = 0
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
            for files in itertools.chain([first], others):
                if files is not None:
                    if n_clips and _size_with(tar.offset, files) > self.max_bytes:
                        return n_clips, n_planned, files
                    for name, data in files:
                        member = tarfile.TarInfo(name)  # no time, no owner: the same clips, the same bytes
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))
                    n_clips += 1
                n_planned += 1
        return n_clips, n_planned, None


def _size_with(offset: int, files: Files) -> int:
    """Bytes of a tar file that ends behind these: members fill blocks, two empty blocks follow, files fill records."""
    blocks = offset // tarfile.BLOCKSIZE + sum(1 - -len(data) // tarfile.BLOCKSIZE for _, data in files) + 2
    return -(-blocks * tarfile.BLOCKSIZE // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def clip_files(plan: PlannedClip, clip: TrackedClip) -> Files:
    """Raises RowFailed if the video cannot be read."""
    known = {
        "clip_id": clip.clip_id,
        "split": plan.split,
        "caption": clip.caption,
        "fps": float(clip.fps),
        "n_frames": clip.n_frames,
        "width": clip.width,
        "height": clip.height,
        "instances": [
            {
                "instance_id": instance.track.instance_id,
                "class_name": instance.class_name,
                "noun": instance.noun,
                "segmentations": instance.segmentations,
                "bboxes": instance.boxes_xywh,
                "areas": instance.areas,
            }
            for instance in clip.instances
        ],
        "interactions": list(clip.interactions),
    }
    video = clip.file or encode_video(frames_of(clip), clip.fps)
    return [(f"{clip.clip_id}.mp4", video), (f"{clip.clip_id}.json", json.dumps(known).encode())]
