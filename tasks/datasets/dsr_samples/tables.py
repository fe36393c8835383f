"""dsr-samples' tables: what SpatialAlign's training reads of a video, one row of each table.

64 rows, all accepted -> samples, encodings, scores, videos, outcomes with 64 rows
"""

from __future__ import annotations

from schemas.encoded_sample import EncodedSample
from schemas.preparation import FittedClip, TakenScores
from schemas.record import Record
from schemas.training_samples import (
    EncodingRow,
    SampleOutcomeRow,
    SampleRow,
    SampleScoreRow,
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
    "scores": SampleScoreRow,
    "videos": SampleVideoRow,
    "outcomes": SampleOutcomeRow,
}


def row_tables(work: Work, row: Row[SnapshotRow]) -> dict[str, list[Record]]:
    """All table rows of one video; only its outcome if it did not become a sample."""
    clip_id = row.payload.clip_id
    taken, fitted = work.find_result(row, TakenScores), work.find_result(row, FittedClip)
    encoded = work.find_result(row, EncodedSample)
    tables: dict[str, list[Record]] = {name: [] for name in SHARD_TABLES}
    outcome = outcome_row(row)
    tables["outcomes"].append(outcome)
    if outcome.status != "accepted" or taken is None or fitted is None or encoded is None:
        return tables
    makers = [*taken.scores.made_by, *fitted.made_by, *encoded.made_by]
    tables["samples"].append(sample_row(row.payload, taken.prompt, fitted, makers))
    tables["encodings"].append(encoding_row(clip_id, encoded))
    tables["scores"].append(taken.scores)
    tables["videos"].append(SampleVideoRow(clip_id=clip_id, sha256=fitted.video_sha256, video=fitted.video))
    return tables
