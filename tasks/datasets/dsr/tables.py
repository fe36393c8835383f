"""dsr's tables: prompts, valid samples with their scores and videos, and the pairs that they make.

64 samples, 41 of them valid -> samples and videos with 41 rows, tracks with 82, outcomes with 64
"""

from __future__ import annotations

from schemas.dsr import ROLES, SHARD_TABLES, DsrSample, SampleRow, TrackRow, VideoRow
from schemas.generation import Generated
from schemas.grounding import Grounding
from schemas.mask_track import Tracks
from schemas.record import Record
from schemas.scores import Answers, Scored
from schemas.tables import CandidateRow
from tasks.datasets.dsr.ledger import outcome_row
from tasks.engine.dataset import outcome_of
from tasks.engine.shards import Row
from tasks.engine.work import Work


def row_tables(work: Work, row: Row[DsrSample]) -> dict[str, list[Record]]:
    """All table rows of one sample, as far as it came."""
    sample = row.payload
    of_clip = {"clip_id": sample.clip_id}
    generated = work.find_result(row, Generated)
    grounding = work.find_result(row, Grounding)
    tracks = work.find_result(row, Tracks)
    scored = work.find_result(row, Scored)
    answers = work.find_result(row, Answers)
    outcome = outcome_of(row)

    tables: dict[str, list[Record]] = {name: [] for name in SHARD_TABLES}
    drawn = generated.drawn if generated else None
    tables["outcomes"].append(outcome_row(outcome, sample, seed=sample.seed, drawn=drawn))
    if grounding:
        tables["candidates"] = [CandidateRow(**of_clip, **c.model_dump()) for c in grounding.candidates]
    if outcome.status == "accepted" and generated and grounding and tracks and scored and answers:
        made_by = generated.made_by + grounding.made_by + tracks.made_by + answers.made_by
        tables["samples"].append(
            SampleRow(
                **sample.model_dump(),
                **generated.model_dump(include={"n_frames", "fps", "width", "height", "drawn"}),
                **scored.model_dump(include=set(Scored.model_fields) & set(SampleRow.model_fields)),
                **answers.model_dump(include={"initial_yes", "final_yes"}),
                type=sample.dsr_type,
                sha256=generated.video_sha256,
                made_by=made_by,
            )
        )
        tables["videos"].append(VideoRow(**of_clip, sha256=generated.video_sha256, video=generated.video))
        tables["tracks"] = [
            TrackRow(**of_clip, **track.model_dump(), role=ROLES[track.instance_id]) for track in tracks.tracks
        ]
    return tables
