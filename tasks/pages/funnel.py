"""The yield, stage by stage, and the rows that ended on the way: rejected and failed ones, by reason.

FunnelStep(stage="extract_triplets", given=24, passed=21, rejected=3, ...)
->  FunnelBar(passed_width=84.0, rejected_width=12.0, reasons=[("rejected", "below_thresholds", 2), ...])

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
from schemas.snapshot import Count, FunnelStep
from tasks.engine.snapshots import Snapshot

O = TypeVar("O", bound=Outcome)  # noqa: E741 - an outcome

MAX_ROWS_PER_GROUP = 20


@dataclass(frozen=True)
class FunnelBar:
    """A stage as a bar; widths in percent of the widest stage."""

    step: FunnelStep
    passed_width: float
    rejected_width: float
    failed_width: float
    reasons: list[tuple[str, str, int]]  # status, reason, rows


@dataclass(frozen=True)
class EndedGroup(Generic[O]):
    """Rows that ended at one stage for one reason; some of them."""

    status: str
    stage: str
    reason: str | None
    n: int
    rows: list[O]


def funnel_bars(snapshot: Snapshot) -> list[FunnelBar]:
    steps = snapshot.manifest.funnel
    widest = max((step.given for step in steps), default=0) or 1
    counted = _ended(snapshot).group_by("kind", "stage", "status", "reason").len("n").collect()
    reasons: dict[tuple[str, str], list[tuple[str, str, int]]] = defaultdict(list)
    for row in counted.sort("status", "n", "reason", descending=[True, True, False]).iter_rows(named=True):
        reasons[row["kind"], row["stage"]].append((row["status"], row["reason"] or "unnamed", row["n"]))
    return [
        FunnelBar(
            step=step,
            passed_width=100 * step.passed / widest,
            rejected_width=100 * step.rejected / widest,
            failed_width=100 * step.failed / widest,
            reasons=reasons["clip" if step.unit == "clips" else "source", step.stage],
        )
        for step in steps
    ]


def ended_groups(snapshot: Snapshot, record: type[O], order: Sequence[str | pl.Expr]) -> list[EndedGroup[O]]:
    """Rejected and failed rows by stage, in the order of the stages, and reason; of each group the first rows.

    record: that of the snapshot's `outcomes`; order: what its rows are sorted by
    """
    stages = [step.stage for step in snapshot.manifest.funnel]

    def place(count: Count) -> tuple[int, str, str, str]:
        number = stages.index(count.stage) if count.stage in stages else len(stages)
        return number, count.stage, count.status, count.reason or ""

    keys = ["status", "stage", "reason"]
    first = _ended(snapshot).sort(*order, "row_id").group_by(keys, maintain_order=True).head(MAX_ROWS_PER_GROUP)
    rows: dict[tuple[str, str, str | None], list[O]] = defaultdict(list)
    for values in first.collect().iter_rows(named=True):
        row = record.model_validate(values)
        rows[row.status, row.stage, row.reason].append(row)
    return [
        EndedGroup(c.status, c.stage, c.reason, c.n, rows[c.status, c.stage, c.reason])
        for c in sorted((count for count in snapshot.manifest.outcomes if count.status != "accepted"), key=place)
    ]


def _ended(snapshot: Snapshot) -> pl.LazyFrame:
    return snapshot.scan("outcomes").filter(pl.col("status") != "accepted")
