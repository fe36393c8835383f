"""What tells one dataset from another once its stages are through: tables, ledger, statistics, card.

    MATRIX11K.clip_tables(work, row) -> {"clips": [...], "mask_tracks": [...], "outcomes": [...], ...}

One file a dataset, each ending with its `Dataset`. Writing shards and publishing are the same for all:
tasks/engine/write_shard.py, tasks/engine/publish.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from schemas.dsr import DsrStatistics
from schemas.kinemask import KinemaskStatistics
from schemas.matrix11k import MatrixStatistics
from schemas.outcome import Outcome
from schemas.record import Record
from schemas.snapshot import FlowName, FunnelStep
from schemas.tables import Named
from tasks.engine.shards import Row
from tasks.engine.work import Work

Ways = Counter[tuple[str, str, str]]  # (kind, stage, status) -> how many rows ended so


@dataclass(frozen=True)
class Dataset:
    """What becomes of rows that are done."""

    flow: FlowName
    clip_stages: Sequence[str]  # in order; what is left after the last is accepted
    shard_tables: Mapping[str, type[Record]]  # one file a shard; `outcomes` is among them
    main_table: str  # what `datasets.load_dataset` loads unless it is told otherwise
    clip_tables: Callable[[Work, Row[Any]], dict[str, list[Record]]]  # all rows of one clip, as far as it came
    statistics: Callable[[Path], MatrixStatistics | KinemaskStatistics | DsrStatistics]  # of a folder of tables
    about: str  # for the dataset card: what it is
    reading: str  # for the dataset card: how its tables hang together


class Ledger(Protocol):
    """Everything that went in, and what is known of how it ended before any clip was looked at."""

    @property
    def n_given(self) -> int:
        """Lines of a manifest, seeds, or prompts."""

    @property
    def clip_ids(self) -> list[str]:
        """Every clip that must be in a shard."""

    def problems(self) -> list[str]:
        """Where the numbers do not add up by themselves."""

    def early_outcomes(self) -> list[Any]:
        """Rows of the `outcomes` table for what ended before it was in a shard."""

    def tables(self) -> dict[str, tuple[type[Record], Sequence[Any]]]:
        """Tables of the whole snapshot that no shard writes, {name: (record, rows)}."""

    def first_steps(self, ways: Ways) -> list[FunnelStep]:
        """The yield before the clips' stages."""


def funnel_step(ways: Ways, stage: str, unit: str, given: int, made: int | None = None) -> FunnelStep:
    """How many of the rows that a stage was given it passed on; made: what came of them, if not as many."""
    kind = "clip" if unit == "clips" else "source"
    rejected, failed = ways[kind, stage, "rejected"], ways[kind, stage, "failed"]
    passed = given - rejected - failed
    return FunnelStep(
        stage=stage,
        unit=unit,
        given=given,
        passed=passed,
        rejected=rejected,
        failed=failed,
        made=passed if made is None else made,
    )


def outcome_of(row: Row[Any], last_stage: str) -> Outcome:
    """The row's outcome; accepted by the last stage if nothing ended it before."""
    return row.outcome or Outcome(
        row_id=row.payload.row_id, kind=row.payload.kind, status="accepted", stage=last_stage, retryable=False
    )


def read_columns(folder: Path, table: str, *columns: str) -> pl.DataFrame:
    """Some columns of a table that lies in a folder of this machine."""
    return pl.read_parquet(sorted((folder / table).glob("*.parquet")), columns=list(columns))


def histogram(numbers: Sequence[int]) -> list[int]:
    """[how many are 0, how many are 1, ...]"""
    counts = Counter(numbers)
    return [counts[n] for n in range(max(counts, default=-1) + 1)]


def ranked(words: Sequence[str], top: int | None = None) -> list[Named]:
    """Words by how often they occur, the most frequent first; alphabetically between equals."""
    by_rank = sorted(Counter(words).items(), key=lambda item: (-item[1], item[0]))
    return [Named(name=word, n=n) for word, n in by_rank[:top]]
