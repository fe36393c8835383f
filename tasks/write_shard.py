"""a shard's rows after all stages -> its Parquet tables: the last step of every shard.

    64 clips, 41 of them accepted -> clips.parquet with 41 rows, mask_tracks.parquet with 97, ...,
                                     outcomes.parquet with 64

The tables lie in the work folder until `publish_snapshot` links them into a snapshot; a refresh links
the tables of an untouched shard again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from schemas.clip import Clip
from schemas.interaction import Interaction
from schemas.outcome import Outcome
from schemas.record import Record, content_hash, write_table
from schemas.snapshot import (
    SHARD_TABLES,
    CandidateRow,
    ClipRow,
    InstanceRow,
    InteractionRow,
    MaskTrackRow,
    OutcomeRow,
    TrackCheckRow,
)
from schemas.storage import at_once, write_atomic
from tasks.check_tracks import Checked
from tasks.extract_triplets import Extraction
from tasks.ground_instances import Grounding
from tasks.propagate_masks import Tracks
from tasks.stage import Row, Shard, Work


class ShardDone(BaseModel):
    """What a shard leaves behind when all its stages are through."""

    shard_id: str
    tables: str  # folder beside this file
    retryable: int  # failed rows that may end otherwise when the shard is run again


def find_done(work: Work, shard_id: str, chain: str) -> ShardDone | None:
    """What the shard left after this chain of stages, if its tables are all there."""
    path = work.shard_path(shard_id, _done_name(chain))
    try:
        done = ShardDone.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    there = {table.name for table in (path.parent / done.tables).glob("*.parquet")}
    return done if there.issuperset(f"{name}.parquet" for name in SHARD_TABLES) else None


def require_done(work: Work, shard_id: str, chain: str) -> ShardDone:
    done = find_done(work, shard_id, chain)
    if done is None:
        raise FileNotFoundError(f"{shard_id} ended, but its tables are not in {work.root}; do all workers share it?")
    return done


def write_shard(work: Work, shard: Shard[Clip]) -> ShardDone:
    """Write a finished shard's tables. Same rows, same bytes."""
    tables: dict[str, list[Any]] = {name: [] for name in SHARD_TABLES}
    for of_clip in at_once(work.root, lambda row: clip_tables(work, row), shard.rows):
        for name, rows in of_clip.items():
            tables[name] += rows
    folder = "tables-" + content_hash([r.model_dump(mode="json") for r in shard.rows], length=12)
    for name, record in SHARD_TABLES.items():
        write_table(record, tables[name], work.shard_path(shard.shard_id, f"{folder}/{name}.parquet"))
    done = ShardDone(
        shard_id=shard.shard_id,
        tables=folder,
        retryable=shard.retryable,
    )
    write_atomic(work.shard_path(shard.shard_id, _done_name(shard.chain)), done.model_dump_json().encode())
    return done


def _done_name(chain: str) -> str:
    return f"done-{chain}.json"


def clip_tables(work: Work, row: Row[Clip]) -> dict[str, list[Record]]:
    """All table rows of one clip, as far as it came."""
    clip = row.payload
    of_clip = {"clip_id": clip.clip_id}
    extraction = _made(work, row, "extract_triplets", Extraction)
    grounding = _made(work, row, "ground_instances", Grounding)
    tracks = _made(work, row, "propagate_masks", Tracks)
    checked = _made(work, row, "check_tracks", Checked)
    outcome = row.outcome or Outcome(
        row_id=clip.clip_id, kind="clip", status="accepted", stage="check_tracks", retryable=False
    )
    accepted = outcome.status == "accepted" and extraction and grounding and tracks and checked
    kept_ids = checked.kept_ids if accepted and checked else []

    tables: dict[str, list[Record]] = {name: [] for name in SHARD_TABLES}
    tables["outcomes"].append(outcome_row(outcome, clip))
    for it in extraction.interactions if extraction else []:
        kept = it.kept and it.subject_id in kept_ids and it.object_id in kept_ids
        name = "interactions" if kept else "dropped_interactions"
        reason = None if kept else it.drop_reason or _drop_reason(it, outcome, kept_ids)
        values = it.model_dump() | of_clip | {"kept": kept, "drop_reason": reason}
        tables[name].append(InteractionRow(**values))
    if grounding:
        tables["candidates"] = [CandidateRow(**of_clip, **c.model_dump()) for c in grounding.candidates]
    if checked:
        tables["track_checks"] = [TrackCheckRow(**of_clip, **c.model_dump()) for c in checked.checks]
    if accepted and extraction and grounding and tracks and checked:
        made_by = extraction.made_by + grounding.made_by + tracks.made_by
        tables["clips"].append(
            ClipRow(**clip.model_dump(), review_frames=checked.review_frames, made_by=[m.model_dump() for m in made_by])
        )
        anchor_of = {c.instance_id: c for c in grounding.candidates if c.verdict == "accepted"}
        for instance in extraction.instances:
            if instance.instance_id in kept_ids:
                anchor = anchor_of[instance.instance_id]
                tables["instances"].append(
                    InstanceRow(
                        **of_clip,
                        **instance.model_dump(),
                        anchor_frame=anchor.frame,
                        anchor_box_xyxy=anchor.box_xyxy,
                        anchor_score=anchor.score,
                        verifier_confidence=anchor.confidence,
                    )
                )
        tables["mask_tracks"] = [
            MaskTrackRow(**of_clip, **t.model_dump()) for t in tracks.tracks if t.instance_id in kept_ids
        ]
    return tables


def _made(work: Work, row: Row[Clip], stage: str, record: type[Any]) -> Any:
    """The stage's result, its evidence if it ended the row, or None if the row never came there."""
    if stage not in row.made:
        return None
    made = work.load(stage, row.made[stage], record)
    if made is None:
        raise FileNotFoundError(f"{work.result_path(stage, row.made[stage])} is gone; run the shard again")
    return made.result


def _drop_reason(it: Interaction, outcome: Outcome, kept_ids: Sequence[str]) -> str:
    if outcome.status != "accepted":
        return f"clip {outcome.status} in {outcome.stage}: {outcome.reason}"
    lost = [i for i in (it.subject_id, it.object_id) if i not in kept_ids]
    return f"lost: {', '.join(lost)}"


def outcome_row(outcome: Outcome, clip: Clip) -> OutcomeRow:
    return OutcomeRow(
        **outcome.model_dump(),
        source_id=clip.source_id,
        video=clip.video,
        start_s=clip.start_s,
        end_s=clip.end_s,
        caption=clip.caption,
    )
