"""Rejected and failed rows by the way they ended, and what was looked at in clips that could not be grounded.

    EndedGroup(status="rejected", stage="ground_instances", reason="no_interaction_left", n=2,
               rows=[(OutcomeRow(row_id="clip-07aa...", ...), Case(shots=[(candidate, its picture), ...])), ...])
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import polars as pl

from schemas.clip import Clip
from schemas.outcome import RowFailed
from schemas.snapshot import CandidateRow, OutcomeRow, SnapshotManifest
from tasks.stage import Work
from tasks.write_report.pictures import draw_candidates
from tasks.write_report.rows import read_rows, scan

logger = logging.getLogger(__name__)

MAX_ROWS_PER_WAY = 20  # listed of the rows that ended in one way
MAX_CASES = 24  # clips rejected in ground_instances that are shown with pictures
MAX_BOXES_PER_CASE = 4


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
    reason: str
    n: int
    rows: list[tuple[OutcomeRow, Case | None]]


XX


def best_candidates(candidates: Sequence[CandidateRow]) -> list[CandidateRow]:
    """One an instance: the accepted one, else the one the detector was surest of."""
    best: dict[str, CandidateRow] = {}
    for candidate in sorted(candidates, key=lambda c: (c.verdict != "accepted", -c.score, c.frame, c.box_xyxy)):
        best.setdefault(candidate.instance_id, candidate)
    return [best[instance_id] for instance_id in sorted(best)][:MAX_BOXES_PER_CASE]
