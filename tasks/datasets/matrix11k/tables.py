"""matrix11k's tables: who does what to whom in captioned videos, and every instance's masks.

64 clips, 41 of them accepted -> clips with 41 rows, mask_tracks with 97, ..., outcomes with 64
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.clip import Clip
from schemas.extraction import Extraction
from schemas.grounding import Grounding
from schemas.interaction import Interaction
from schemas.mask_track import Tracks
from schemas.matrix11k import (
    SHARD_TABLES,
    CandidateRow,
    ClipRow,
    InstanceRow,
    InteractionRow,
    MaskTrackRow,
    TrackCheckRow,
)
from schemas.outcome import Outcome
from schemas.record import Record
from schemas.track_check import Checked
from tasks.datasets.matrix11k.ledger import outcome_row
from tasks.engine.dataset import outcome_of
from tasks.engine.shards import Row
from tasks.engine.work import Work


def row_tables(work: Work, row: Row[Clip]) -> dict[str, list[Record]]:
    """All table rows of one clip, as far as it came."""
    clip = row.payload
    of_clip = {"clip_id": clip.clip_id}
    extraction = work.find_result(row, Extraction)
    grounding = work.find_result(row, Grounding)
    tracks = work.find_result(row, Tracks)
    checked = work.find_result(row, Checked)
    outcome = outcome_of(row)
    accepted = outcome.status == "accepted"
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


def _drop_reason(it: Interaction, outcome: Outcome, kept_ids: Sequence[str]) -> str:
    if outcome.status != "accepted":
        return f"clip {outcome.status} in {outcome.stage}: {outcome.reason}"
    lost = [i for i in (it.subject_id, it.object_id) if i not in kept_ids]
    return f"lost: {', '.join(lost)}"
