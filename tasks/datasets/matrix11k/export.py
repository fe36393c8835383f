"""Clips of matrix11k as the layouts that follow tracks have them.

    clip-81b2, in which a boy kicks a ball -> TrackedClip(instances=[boy, ball], interactions=[kick], ...)

The pictures are in the input videos: a snapshot is opened with inputs=, the folder of its manifest. A clip whose input
video is gone is left out and named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from schemas.matrix11k import ClipRow, InstanceRow, InteractionRow, MaskTrackRow
from tasks.engine.export import ExportOptions, Layout
from tasks.engine.snapshots import Snapshot, SnapshotError
from tasks.exports.clips import Tracked, TrackedClip, TrackedInstance


def read_tracked(snapshot: Snapshot, clip_ids: Sequence[str]) -> Iterator[TrackedClip]:
    """Accepted clips with their kept interactions; class and noun of an instance are the caption's."""
    instances, tracks = snapshot.rows_by_clip(InstanceRow, clip_ids), snapshot.rows_by_clip(MaskTrackRow, clip_ids)
    interactions = snapshot.rows_by_clip(InteractionRow, clip_ids)
    for clip in snapshot.rows(ClipRow, clip_ids):
        row_of = {row.instance_id: row for row in instances[clip.clip_id]}
        yield TrackedClip(
            clip_id=clip.clip_id,
            caption=clip.caption or "",
            fps=clip.fps.fraction,
            n_frames=clip.n_frames,
            width=clip.width,
            height=clip.height,
            instances=[
                TrackedInstance(row_of[track.instance_id].class_name, row_of[track.instance_id].noun, track)
                for track in tracks[clip.clip_id]
            ],
            interactions=[
                row.model_dump(exclude={"clip_id", "kept", "drop_reason"}) for row in interactions[clip.clip_id]
            ],
            find_video=partial(snapshot.cut, clip),
        )


def class_names(snapshot: Snapshot) -> set[str]:
    return {*snapshot.scan("instances").select("class_name").unique().collect()["class_name"]}


TRACKED = Tracked(read_tracked, class_names)


def with_inputs(layout: Layout) -> Layout:
    """The same, told before anything is written that the input videos are needed."""

    def write(snapshot: Snapshot, folder: Path, options: ExportOptions) -> str:
        if snapshot.inputs is None:
            raise SnapshotError(f"{snapshot.id} holds no videos: give the folder of its manifest, --inputs FOLDER")
        return layout.write(snapshot, folder, options)

    return Layout(layout.about, write, layout.takes)
