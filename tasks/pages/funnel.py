"""The yield, stage by stage: a bar a stage, and why rows ended there.

FunnelStep(stage="extract_triplets", given=24, passed=21, rejected=3, ...)
->  FunnelBar(passed_width=84.0, rejected_width=12.0, reasons=[("rejected", "below_thresholds", 2), ...])
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import polars as pl

from schemas.snapshot import FunnelStep, SnapshotManifest
from schemas.storage import AnyPath
from tasks.pages.rows import scan


@dataclass(frozen=True)
class FunnelBar:
    """A stage as a bar; widths in percent of the widest stage."""

    step: FunnelStep
    passed_width: float
    rejected_width: float
    failed_width: float
    reasons: list[tuple[str, str, int]]  # status, reason, rows


def funnel_bars(snapshot: AnyPath, manifest: SnapshotManifest) -> list[FunnelBar]:
    widest = max((step.given for step in manifest.funnel), default=0) or 1
    keys = ["kind", "stage", "status", "reason"]
    counted = scan(snapshot, "outcomes").filter(pl.col("status") != "accepted").group_by(keys).len("n").collect()
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
        for step in manifest.funnel
    ]
