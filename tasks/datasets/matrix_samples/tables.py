"""matrix-samples' tables: what MATRIX's training reads of a clip, one row of each table or one a role or instance.

64 rows, 60 accepted -> samples, videos, encodings with 60 rows, masks with 131, roles with 194, outcomes with 64
"""

from __future__ import annotations

from schemas.preparation import FittedClip, PlacedRoles
from schemas.record import Record
from schemas.training_samples import (
    RoleRow,
    SampleMaskRow,
    SampleOutcomeRow,
    SampleRow,
    SampleVideoRow,
    SnapshotRow,
)
from tasks.datasets.samples.ledger import outcome_row
from tasks.datasets.samples.rows import sample_row
from tasks.engine.shards import Row
from tasks.engine.work import Work

SHARD_TABLES: dict[str, type[Record]] = {
    "samples": SampleRow,
    "roles": RoleRow,
    "masks": SampleMaskRow,
    "videos": SampleVideoRow,
    "outcomes": SampleOutcomeRow,
}


def row_tables(work: Work, row: Row[SnapshotRow]) -> dict[str, list[Record]]:
    """All table rows of one clip; only its outcome if it did not become a sample."""
    clip_id = row.payload.clip_id
    placed, fitted = work.find_result(row, PlacedRoles), work.find_result(row, FittedClip)
    tables: dict[str, list[Record]] = {name: [] for name in SHARD_TABLES}
    outcome = outcome_row(row)
    tables["outcomes"].append(outcome)
    if outcome.status != "accepted" or placed is None or fitted is None:
        return tables
    tables["samples"].append(sample_row(row.payload, placed.prompt, fitted, [*placed.made_by, *fitted.made_by]))
    tables["roles"] = [RoleRow(clip_id=clip_id, **role.model_dump(), tokens=[]) for role in placed.roles]
    tables["masks"] = [SampleMaskRow(clip_id=clip_id, **track.model_dump()) for track in fitted.tracks]
    tables["videos"].append(
        SampleVideoRow(clip_id=clip_id, sha256=fitted.video_sha256, video=fitted.video, id_map=fitted.id_map)
    )
    return tables
