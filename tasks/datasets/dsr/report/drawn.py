"""What an embedded generator drew on purpose, and how it was judged.

drawn_view(snapshot, 0.7)
    -> [Drawn(name="as_asked", n_valid=41, n_invalid=1, mean_score=0.93, score_error=0.01, box_iou=0.95, n_reach=40)]
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from schemas.storage import AnyPath
from tasks.metrics.correctness import reaches
from tasks.pages.rows import scan


@dataclass(frozen=True)
class Drawn:
    """The judged samples in which one thing was drawn on purpose; the means are of the valid ones."""

    name: str
    n_valid: int
    n_invalid: int
    mean_score: float | None
    score_error: float | None  # mean distance from the score of the boxes that were drawn
    box_iou: float | None  # mean, of the tracked boxes with those that were drawn
    n_reach: int  # how many reach tau


def drawn_view(snapshot: AnyPath, tau: float) -> list[Drawn]:
    """The most frequent first; nothing for a generator that cannot say what it drew."""
    told = pl.col("drawn").is_not_null()
    judged = (
        scan(snapshot, "outcomes")
        .filter(told & pl.col("status").is_in(["accepted", "rejected"]))
        .group_by(name="drawn")
        .agg(n_valid=(pl.col("status") == "accepted").sum(), n_invalid=(pl.col("status") == "rejected").sum())
        .collect()
    )
    columns = scan(snapshot, "samples").filter(told).select("drawn", "dsr_score", "true_score", "box_iou").collect()
    measured = (
        columns.with_columns(reach=pl.Series(reaches(columns["dsr_score"].to_numpy(), tau)))
        .group_by(name="drawn")
        .agg(
            mean_score=pl.col("dsr_score").mean(),
            score_error=(pl.col("dsr_score") - pl.col("true_score")).abs().mean(),
            box_iou=pl.col("box_iou").mean(),
            n_reach=pl.col("reach").sum(),
        )
    )
    groups = (
        judged.join(measured, on="name", how="left")
        .with_columns(pl.col("n_reach").fill_null(0))
        .sort(pl.col("n_valid") + pl.col("n_invalid"), "name", descending=[True, False])
    )
    return [Drawn(**group) for group in groups.iter_rows(named=True)]
