"""kinemask-samples' tables: what KineMask's training reads of a clip, one row of each table, or one an object.

64 rows, all accepted -> samples, encodings, scenes, videos, outcomes with 64 rows, objects with 260
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from schemas.encoded_sample import EncodedSample
from schemas.kinemask import ObjectRow
from schemas.mask_track import MaskTrack
from schemas.preparation import FittedClip, TakenScene
from schemas.record import Record
from schemas.training_samples import (
    EncodingRow,
    SampleObjectRow,
    SampleOutcomeRow,
    SampleRow,
    SampleSceneRow,
    SampleVideoRow,
    SnapshotRow,
)
from tasks.datasets.samples.ledger import outcome_row
from tasks.datasets.samples.rows import encoding_row, sample_row
from tasks.engine.shards import Row
from tasks.engine.work import Work

SHARD_TABLES: dict[str, type[Record]] = {
    "samples": SampleRow,
    "encodings": EncodingRow,
    "scenes": SampleSceneRow,
    "objects": SampleObjectRow,
    "videos": SampleVideoRow,
    "outcomes": SampleOutcomeRow,
}

MOTION = ("position", "rotation", "velocity", "angular_velocity")  # columns of ObjectRow with one entry a frame
MASKS = {"height", "width", "counts", "box_xyxy", "area"}


def row_tables(work: Work, row: Row[SnapshotRow]) -> dict[str, list[Record]]:
    """All table rows of one clip; only its outcome if it did not become a sample."""
    clip_id = row.payload.clip_id
    taken, fitted = work.find_result(row, TakenScene), work.find_result(row, FittedClip)
    encoded = work.find_result(row, EncodedSample)
    tables: dict[str, list[Record]] = {name: [] for name in SHARD_TABLES}
    outcome = outcome_row(row)
    tables["outcomes"].append(outcome)
    if outcome.status != "accepted" or taken is None or fitted is None or encoded is None:
        return tables
    makers = [*taken.made_by, *fitted.made_by, *encoded.made_by]
    tables["samples"].append(sample_row(row.payload, taken.prompt, fitted, makers))
    tables["encodings"].append(encoding_row(clip_id, encoded))
    collisions = frames_of(taken.collision_frames, fitted.source_frames)
    tables["scenes"].append(SampleSceneRow(**taken.scene.model_dump(), collision_frames=collisions))
    track_of = {track.instance_id: track for track in fitted.tracks}  # none of an object that is never seen
    tables["objects"] = [
        fitted_object(thing, track_of[thing.instance_id], fitted.source_frames)
        for thing in taken.objects
        if thing.instance_id in track_of
    ]
    tables["videos"].append(SampleVideoRow(clip_id=clip_id, sha256=fitted.video_sha256, video=fitted.video))
    return tables


def frames_of(clip_frames: Sequence[int], source_frames: Sequence[int]) -> list[int]:
    """Frames of a clip -> the first of the sample's at or after each; those before or behind the sample are left out.

    frames_of([1, 4, 9], [2, 4, 6, 8]) -> [1]
    """
    first, last = source_frames[0], source_frames[-1]
    return [bisect_left(source_frames, frame) for frame in clip_frames if first <= frame <= last]


def fitted_object(thing: ObjectRow, track: MaskTrack, source_frames: Sequence[int]) -> SampleObjectRow:
    """An object in the sample's frames and size. track: its fitted masks. Motion stays in m/s and metres."""
    motion = {name: [getattr(thing, name)[frame] for frame in source_frames] for name in MOTION}
    return SampleObjectRow(**thing.model_dump() | motion | track.model_dump(include=MASKS))
