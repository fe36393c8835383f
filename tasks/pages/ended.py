"""Rejected and failed rows, by the way they ended.

EndedGroup(status="rejected", stage="ground_instances", reason="no_interaction_left", n=2,
           rows=[OutcomeRow(row_id="clip-07aa...", ...), OutcomeRow(row_id="clip-31f0...", ...)])
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import polars as pl

from schemas.outcome import Outcome
from schemas.snapshot import Count, SnapshotManifest
from schemas.storage import AnyPath
from tasks.pages.rows import scan

O = TypeVar("O", bound=Outcome)  # noqa: E741 - an outcome

MAX_ROWS_PER_WAY = 20  # listed of the rows that ended in one way


@dataclass(frozen=True)
class EndedGroup(Generic[O]):
    """Rows that ended in one way; some of them."""

    status: str
    stage: str
    reason: str | None
    n: int
    rows: list[O]


def ended_groups(
    snapshot: AnyPath, manifest: SnapshotManifest, record: type[O], order: Sequence[str | pl.Expr]
) -> list[EndedGroup[O]]:
    """Every way in which rows were rejected or failed, in the order of the stages, with its first rows.

    record: that of the snapshot's `outcomes`; order: what its rows are sorted by
    """
    stages = [step.stage for step in manifest.funnel]

    def place(count: Count) -> tuple[int, str, str, str]:
        number = stages.index(count.stage) if count.stage in stages else len(stages)
        return number, count.stage, count.status, count.reason or ""

    first = (
        scan(snapshot, "outcomes")
        .filter(pl.col("status") != "accepted")
        .sort(*order, "row_id")
        .group_by("status", "stage", "reason", maintain_order=True)
        .head(MAX_ROWS_PER_WAY)
        .collect()
    )
    rows: dict[tuple[str, str, str | None], list[O]] = defaultdict(list)
    for values in first.iter_rows(named=True):
        row = record.model_validate(values)
        rows[row.status, row.stage, row.reason].append(row)
    return [
        EndedGroup(c.status, c.stage, c.reason, c.n, rows[c.status, c.stage, c.reason])
        for c in sorted((count for count in manifest.outcomes if count.status != "accepted"), key=place)
    ]
