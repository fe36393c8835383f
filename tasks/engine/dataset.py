"""What a dataset tells the engine: its tables, ledger, statistics, card, story, page and export.

    TOY = Dataset(name="toy", shard_tables={"clips": ToyRow, "outcomes": ToyOutcome}, row_tables=toy_tables, ...)

Each dataset has a room in tasks/datasets/ that ends in such an object; tasks/datasets/registry.py names them all, and
the engine names none. What is the same for all lies beside this file: write_shard.py, publish.py, snapshots.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import polars as pl

from schemas.outcome import Kind, Outcome
from schemas.record import Record
from schemas.snapshot import FunnelStep
from schemas.storage import AnyPath
from schemas.tables import Named
from tasks.engine.export import Layout
from tasks.engine.shards import Row
from tasks.engine.snapshots import Snapshot
from tasks.engine.work import Work

SPLITS = ("train", "test", "other")  # other: rows of the audit that belong to neither, such as lines that are no prompt

Ways = Counter[tuple[Kind, str, str]]  # (kind, stage, status) -> how many rows ended so


@dataclass(frozen=True)
class Story:
    """How `triptych ask` finds a row and tells what happened to it. A row is a line of the table `outcomes`."""

    find: Callable[[Snapshot, str], pl.DataFrame]  # the rows that a user's name means, in the order they are told
    tell: Callable[[Snapshot, dict[str, Any]], Iterator[str]]  # a row's way through the stages, line by line
    name_of: Callable[[dict[str, Any]], str]  # what people call a row; empty: only its id


@dataclass(frozen=True)
class Dataset:
    """A dataset, as far as the engine has to know it."""

    name: str  # `triptych curate NAME`
    shard_tables: Mapping[str, type[Record]]  # one file a shard; `outcomes` is among them
    main_table: str  # what `datasets.load_dataset` loads by default
    row_tables: Callable[[Work, Row[Any]], dict[str, list[Record]]]  # a row's rows of all tables, as far as it came
    statistics: Callable[[Path], Record]  # of a folder of tables, for the manifest
    headline: Callable[[Snapshot, Any], Iterator[str]]  # (snapshot, its TruthReport or None) -> the numbers that matter
    story: Story
    write_report: Callable[..., AnyPath]  # (snapshot, folder, context: tasks.pages.PageContext) -> the page
    about: str  # for the dataset card: what it is
    reading: str  # for the dataset card: how its tables hang together
    whole_tables: Mapping[str, type[Record]] = field(default_factory=dict)  # one file each, written at publishing
    row_kind: Kind = "clip"  # of the rows that shards hold
    row_unit: str = "clips"  # what the yield calls them
    # A row of a shard, of `outcomes` or of a whole table -> train, test, or None for neither. No file holds two splits
    split_of: Callable[[Any], str | None] | None = None
    verb: Literal["curate", "prepare", "generate"] = "curate"  # the command that makes it, and its flow's first word
    layouts: Mapping[str, Layout] = field(default_factory=dict)  # of `triptych export`; the first is the default

    @property
    def flow(self) -> str:
        return f"{self.verb}-{self.name}"

    def split_name(self, row: Any) -> str | None:
        """One of SPLITS; None for every row of a dataset without splits."""
        return (self.split_of(row) or SPLITS[-1]) if self.split_of else None


class Ledger(Protocol):
    """Everything that went in, and how it ended where that was before any shard."""

    @property
    def n_given(self) -> int:
        """Lines of a manifest, seeds, or prompts."""

    @property
    def row_ids(self) -> list[str]:
        """Every row that must be in a shard."""

    def problems(self) -> list[str]:
        """Where the numbers do not add up by themselves."""

    def early_outcomes(self) -> list[Any]:
        """Rows of the `outcomes` table for what ended before it was in a shard."""

    def tables(self) -> dict[str, tuple[type[Record], Sequence[Any]]]:
        """Tables of the whole snapshot that no shard writes, {name: (record, rows)}."""

    def first_steps(self, ways: Ways) -> list[FunnelStep]:
        """The yield before the shards."""


def funnel_step(ways: Ways, kind: Kind, stage: str, unit: str, given: int, made: int | None = None) -> FunnelStep:
    """How many rows a stage was given and how they left it.

    made: what came of the rows that it passed on, if not one each
    """
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


def outcome_of(row: Row[Any]) -> Outcome:
    """The row's outcome; accepted by its last stage if nothing ended it before."""
    return row.outcome or Outcome(
        row_id=row.payload.row_id, kind=row.payload.kind, status="accepted", stage=[*row.made][-1], retryable=False
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
