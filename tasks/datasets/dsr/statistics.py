"""What a snapshot of generated samples holds, counted: for its manifest and its page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from schemas.dsr import N_SCORE_BINS, SCORE_BIN, SCORE_BINS_FROM, DsrStatistics
from tasks.engine.dataset import ranked, read_columns
from tasks.engine.snapshots import Snapshot
from tasks.metrics.correctness import TAUS, curves, rounded_scores

HEADLINE_TAU = 0.7  # SpatialAlign 3.3


def statistics(folder: Path) -> DsrStatistics:
    """What a snapshot's folder holds, counted."""
    prompts = read_columns(folder, "prompts", "split", "type", "n_pairs")
    samples = read_columns(folder, "samples", "clip_id", "split", "type", "animal", "object", "drawn", "dsr_score")
    outcomes = read_columns(folder, "outcomes", "row_id", "kind", "status", "stage", "reason", "split", "type")
    clips = outcomes.filter(pl.col("kind") == "clip")
    rejected = clips.filter(pl.col("status") == "rejected")
    judged = clips.filter(pl.col("status") != "failed").join(
        samples.select(row_id="clip_id", score="dsr_score"), on="row_id", how="left", maintain_order="left"
    )
    return DsrStatistics(
        prompts=ranked(_parts(prompts)),
        samples=ranked(_parts(samples)),
        invalid=ranked([f"{stage}/{reason}" for stage, reason in rejected.select("stage", "reason").iter_rows()]),
        taus=list(TAUS),
        curves=curves(judged["split"].to_list(), judged["type"].to_list(), judged["score"].to_numpy()),
        scores=_bins(samples["dsr_score"].to_numpy()),
        animals=ranked(samples["animal"].to_list()),
        objects=ranked(samples["object"].to_list()),
        drawn=ranked(samples["drawn"].drop_nulls().to_list()),
        n_pairs=int(prompts["n_pairs"].sum()),
        n_paired_prompts=int((prompts["n_pairs"] > 0).sum()),
    )


def _parts(rows: pl.DataFrame) -> list[str]:
    """'train/LT' of each row."""
    return [f"{split}/{code}" for split, code in rows.select("split", "type").iter_rows()]


def _bins(scores: np.ndarray) -> list[int]:
    """How many scores lie in each bin; the topmost bin holds its upper edge as well."""
    # 0.7 is a bin's lower edge, and (0.7 + 0.25) / 0.05 is a little less than 19 in floats.
    places = np.floor(rounded_scores((scores - SCORE_BINS_FROM) / SCORE_BIN)).astype(int).clip(0, N_SCORE_BINS - 1)
    counts = Counter(places.tolist())
    return [counts[place] for place in range(N_SCORE_BINS)]


def headline(snapshot: Snapshot, truth: Any = None) -> Iterator[str]:
    """What was measured."""
    statistics = snapshot.statistics(DsrStatistics)
    at = statistics.taus.index(HEADLINE_TAU)
    correct = {curve.name: curve for curve in statistics.curves}
    shares = [
        f"{split} {correct[split].correctness[at]:.2f} of {correct[split].n_judged}"
        for split in ("train", "test")
        if split in correct
    ]
    invalid = ", ".join(f"{reason.n} {reason.name}" for reason in statistics.invalid) or "none"
    yield f"Correctness@{HEADLINE_TAU}: {'; '.join(shares)} samples"
    yield f"invalid samples: {invalid}"
    yield f"{statistics.n_pairs} pairs of {statistics.n_paired_prompts} prompts"
