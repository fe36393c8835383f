"""Rejected and failed rows by the way they ended, and what was looked at in clips that could not be grounded.

EndedGroup(status="rejected", stage="ground_instances", reason="no_interaction_left", n=2,
           rows=[(OutcomeRow(row_id="clip-07aa...", ...), Case(shots=[(candidate, its picture), ...])), ...])
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from schemas.clip import Clip
from schemas.outcome import RowFailed
from schemas.snapshot import CandidateRow, Count, OutcomeRow, SnapshotManifest
from schemas.storage import AnyPath
from tasks.stage import Work
from tasks.write_report.pictures import draw_candidates
from tasks.write_report.rows import read_rows, scan

logger = logging.getLogger(__name__)

MAX_ROWS_PER_WAY = 20  # listed of the rows that ended in one way
MAX_CASES = 24  # clips rejected in ground_instances that are shown with pictures
MAX_BOXES_PER_CASE = 4

Way = tuple[str, str, str | None]  # status, stage, reason


@dataclass(frozen=True)
class Case:
    """A clip of which no interaction could be grounded: what was looked at."""

    shots: list[tuple[CandidateRow, str | None]]  # best candidate of each instance, its picture
    trouble: str | None


@dataclass(frozen=True)
class EndedGroup:
    """Rows that ended in one way; some of them."""

    status: str
    stage: str
    reason: str | None
    n: int
    rows: list[tuple[OutcomeRow, Case | None]]


def ended_groups(snapshot: AnyPath, manifest: SnapshotManifest, work: Work, folder: AnyPath) -> list[EndedGroup]:
    """Every way in which rows were rejected or failed, in the order of the stages, with its first rows."""
    order = [step.stage for step in manifest.funnel]

    def place(count: Count) -> tuple[int, str, str, str]:
        number = order.index(count.stage) if count.stage in order else len(order)
        return number, count.stage, count.status, count.reason or ""

    counts = sorted((count for count in manifest.outcomes if count.status != "accepted"), key=place)
    rows_of = first_rows(snapshot)
    ended = [rows_of[count.status, count.stage, count.reason] for count in counts]
    cases = make_cases(snapshot, [row for rows in ended for row in rows], work, folder)
    return [
        EndedGroup(
            status=count.status,
            stage=count.stage,
            reason=count.reason,
            n=count.n,
            rows=[(row, cases.get(row.row_id)) for row in rows],
        )
        for count, rows in zip(counts, ended, strict=True)
    ]


def first_rows(snapshot: AnyPath) -> dict[Way, list[OutcomeRow]]:
    """The first rows of each way to be rejected or to fail, by video and start."""
    frame = (
        scan(snapshot, "outcomes")
        .filter(pl.col("status") != "accepted")
        .sort(pl.col("video").fill_null(""), pl.col("start_s").fill_null(0.0), "row_id")
        .group_by("status", "stage", "reason", maintain_order=True)
        .head(MAX_ROWS_PER_WAY)
        .collect()
    )
    rows: dict[Way, list[OutcomeRow]] = defaultdict(list)
    for values in frame.iter_rows(named=True):
        row = OutcomeRow.model_validate(values)
        rows[row.status, row.stage, row.reason].append(row)
    return rows


def make_cases(snapshot: AnyPath, outcomes: Sequence[OutcomeRow], work: Work, folder: AnyPath) -> dict[str, Case]:
    """By clip, for the first of those rejected in ground_instances that had any candidate."""
    rejected = [row.row_id for row in outcomes if row.stage == "ground_instances" and row.status == "rejected"]
    candidates = read_rows(snapshot, "candidates", CandidateRow, rejected)
    shown = [clip_id for clip_id in rejected if candidates[clip_id]][:MAX_CASES]
    clips = read_rows(snapshot, "all_clips", Clip, shown)
    return {clip_id: make_case(clips[clip_id][0], candidates[clip_id], work, folder) for clip_id in shown}


def make_case(clip: Clip, candidates: Sequence[CandidateRow], work: Work, folder: AnyPath) -> Case:
    best = best_candidates(candidates)
    try:
        names = draw_candidates(clip, best, work.inputs.verified(clip.video, clip.video_sha256), folder)
    except RowFailed as error:
        logger.warning("%s: no pictures: %s", clip.clip_id, error)
        return Case(shots=[(candidate, None) for candidate in best], trouble=str(error))
    return Case(shots=list(zip(best, names, strict=True)), trouble=None)


def best_candidates(candidates: Sequence[CandidateRow]) -> list[CandidateRow]:
    """One an instance: the accepted one, else the one the detector was surest of."""
    best: dict[str, CandidateRow] = {}
    for candidate in sorted(candidates, key=lambda c: (c.verdict != "accepted", -c.score, c.frame, c.box_xyxy)):
        best.setdefault(candidate.instance_id, candidate)
    return [best[instance_id] for instance_id in sorted(best)][:MAX_BOXES_PER_CASE]
