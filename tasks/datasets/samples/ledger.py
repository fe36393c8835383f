"""The ledger of samples: the accepted rows of a snapshot, and how each of them ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from schemas.record import Record
from schemas.snapshot import FunnelStep
from schemas.training_samples import SampleOutcomeRow, SnapshotRow
from tasks.engine.dataset import Ways, outcome_of
from tasks.engine.shards import Row


@dataclass(frozen=True)
class SnapshotLedger:
    """The rows that were taken: each is to become a sample, and none ends before its shard."""

    rows: Sequence[SnapshotRow]

    @property
    def n_given(self) -> int:
        return len(self.rows)

    @property
    def row_ids(self) -> list[str]:
        return [row.clip_id for row in self.rows]

    def problems(self) -> list[str]:
        n_twice = len(self.rows) - len(set(self.row_ids))
        return [f"{n_twice} rows are taken twice"] if n_twice else []

    def early_outcomes(self) -> list[SampleOutcomeRow]:
        return []

    def tables(self) -> dict[str, tuple[type[Record], Sequence[Any]]]:
        return {}

    def first_steps(self, ways: Ways) -> list[FunnelStep]:
        return []


def outcome_row(row: Row[SnapshotRow]) -> SampleOutcomeRow:
    """The row of the table `outcomes`."""
    return SampleOutcomeRow(**outcome_of(row).model_dump(), split=row.payload.split)
