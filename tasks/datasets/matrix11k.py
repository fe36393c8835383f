"""matrix11k's tables: who does what to whom in captioned videos, and every instance's masks.

64 clips, 41 of them accepted -> clips with 41 rows, mask_tracks with 97, ..., outcomes with 64
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

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
    MatrixStatistics,
    OutcomeRow,
    TrackCheckRow,
)
from schemas.outcome import Outcome
from schemas.record import Record
from schemas.snapshot import FunnelStep
from schemas.source import Source
from schemas.split import SplitResult
from schemas.track_check import Checked
from tasks.datasets import Dataset, Ways, funnel_step, histogram, made_of, outcome_of, ranked, read_columns
from tasks.stage import Row, Work

TOP = 50  # verbs and nouns in figure 10
CLIP_STAGES = ("extract_triplets", "ground_instances", "propagate_masks", "check_tracks")


# --- The ledger ------------------------------------------------------------------------------


class VideoLedger(BaseModel):
    """Every line of the manifest, its source, and the clips that were cut from it."""

    n_lines: int
    sources: list[Source]
    line_outcomes: list[Outcome]  # lines that never became a source
    splits: dict[str, SplitResult]  # source_id -> what it was split into
    source_outcomes: list[Outcome]  # sources that gave no clip
    parts: dict[str, list[Clip]] = {}  # clip_id of a crowded clip -> the parts it was cut into

    @property
    def clips(self) -> list[Clip]:
        whole = [clip for split in self.splits.values() for clip in split.clips]
        return whole + [part for parts in self.parts.values() for part in parts]

    @property
    def n_given(self) -> int:
        return self.n_lines

    @property
    def clip_ids(self) -> list[str]:
        return [clip.clip_id for clip in self.clips]

    def problems(self) -> list[str]:
        found = []
        if self.n_lines != len(self.sources) + len(self.line_outcomes):
            found.append(
                f"{self.n_lines} lines, but {len(self.sources)} sources and {len(self.line_outcomes)} line outcomes"
            )
        sources = Counter(s.source_id for s in self.sources)
        ended = Counter([*self.splits, *(o.row_id for o in self.source_outcomes)])
        if sources != ended:
            lost_or_twice = sorted({*(sources - ended), *(ended - sources)})
            found.append(f"sources that ended nowhere or twice: {', '.join(lost_or_twice)}")
        return found

    def early_outcomes(self) -> list[OutcomeRow]:
        """Manifest lines, sources, and clips that splitting dropped."""
        of_source = {s.source_id: s for s in self.sources}
        rows = [OutcomeRow(**o.model_dump()) for o in self.line_outcomes]
        for outcome in self.source_outcomes:
            source = of_source[outcome.row_id]
            rows.append(
                OutcomeRow(
                    **outcome.model_dump(), source_id=source.source_id, video=source.video, caption=source.caption
                )
            )
        for split in self.splits.values():
            for dropped in split.dropped:
                outcome = Outcome(
                    row_id=dropped.clip.clip_id,
                    kind="clip",
                    status="rejected",
                    stage="split_scenes",
                    reason=dropped.reason,
                    detail=dropped.detail,
                    retryable=False,
                )
                rows.append(outcome_row(outcome, dropped.clip))
        return rows

    def tables(self) -> dict[str, tuple[type[Record], Sequence[Any]]]:
        dropped = [dropped.clip for split in self.splits.values() for dropped in split.dropped]
        return {"sources": (Source, self.sources), "all_clips": (Clip, self.clips + dropped)}

    def first_steps(self, ways: Ways) -> list[FunnelStep]:
        n_cut = sum(len(split.clips) + len(split.dropped) for split in self.splits.values())
        return [
            funnel_step(ways, "read_manifest", "lines", self.n_lines),
            funnel_step(ways, "split_scenes", "sources", len(self.sources), n_cut),
            funnel_step(ways, "split_scenes", "clips", n_cut),
        ]


# --- A clip's rows ---------------------------------------------------------------------------


def clip_tables(work: Work, row: Row[Clip]) -> dict[str, list[Record]]:
    """All table rows of one clip, as far as it came."""
    clip = row.payload
    of_clip = {"clip_id": clip.clip_id}
    extraction: Extraction | None = made_of(work, row, "extract_triplets", Extraction)
    grounding: Grounding | None = made_of(work, row, "ground_instances", Grounding)
    tracks: Tracks | None = made_of(work, row, "propagate_masks", Tracks)
    checked: Checked | None = made_of(work, row, "check_tracks", Checked)
    outcome = outcome_of(row, CLIP_STAGES[-1])
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


def outcome_row(outcome: Outcome, clip: Clip) -> OutcomeRow:
    return OutcomeRow(
        **outcome.model_dump(),
        source_id=clip.source_id,
        video=clip.video,
        start_s=clip.start_s,
        end_s=clip.end_s,
        caption=clip.caption,
    )


# --- Statistics ------------------------------------------------------------------------------


def statistics(folder: Path) -> MatrixStatistics:
    """Figure 10 of MATRIX: contact x dynamism, interactions and identities a clip, top verbs and nouns."""
    clip_ids: list[str] = read_columns(folder, "clips", "clip_id")["clip_id"].to_list()
    interactions = read_columns(folder, "interactions", "clip_id", "verb", "contactness", "dynamism")
    instances = read_columns(folder, "instances", "clip_id", "class_name")
    grid = [[0] * 5 for _ in range(5)]
    for contactness, dynamism in interactions.select("contactness", "dynamism").iter_rows():
        grid[contactness - 1][dynamism - 1] += 1

    def rows_per_clip(of_clips: list[str]) -> list[int]:
        n_rows = Counter(of_clips)
        return histogram([n_rows[clip_id] for clip_id in clip_ids])

    return MatrixStatistics(
        contact_dynamism=grid,
        interactions_per_clip=rows_per_clip(interactions["clip_id"].to_list()),
        instances_per_clip=rows_per_clip(instances["clip_id"].to_list()),
        top_verbs=ranked(interactions["verb"].to_list(), TOP),
        top_nouns=ranked(instances["class_name"].to_list(), TOP),
    )


MATRIX11K = Dataset(
    flow="curate-matrix11k",
    clip_stages=CLIP_STAGES,
    shard_tables=SHARD_TABLES,
    main_table="clips",
    clip_tables=clip_tables,
    statistics=statistics,
    about="Who does what to whom, and where, in every frame: interaction triplets, described instances and\n"
    "one mask track an instance, curated with Triptych after MATRIX (section 3, appendix A).",
    reading="`clips`, `interactions`, `instances` and `mask_tracks` hold accepted clips only and join on `clip_id`.\n"
    "The other tables tell how the dataset came about; `outcomes` has one row for every input.\n"
    "Masks are COCO run lengths: `{'size': [height, width], 'counts': counts[frame]}` for pycocotools.",
)
