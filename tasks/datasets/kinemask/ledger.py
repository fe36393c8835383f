"""The ledger of simulated clips: everything that went in, and what ended before any clip was looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from schemas.kinemask import SceneOutcomeRow
from schemas.record import Record
from schemas.scene import SceneSeed
from schemas.snapshot import FunnelStep
from tasks.engine.dataset import Ways


@dataclass(frozen=True)
class SeedLedger:
    """The seeds that were asked for: every one is a clip, and nothing ends before its shard."""

    seeds: Sequence[SceneSeed]

    @property
    def n_given(self) -> int:
        return len(self.seeds)

    @property
    def row_ids(self) -> list[str]:
        return [seed.clip_id for seed in self.seeds]

    def problems(self) -> list[str]:
        n_twice = len(self.seeds) - len(set(self.row_ids))
        return [f"{n_twice} seeds are asked for twice"] if n_twice else []

    def early_outcomes(self) -> list[SceneOutcomeRow]:
        return []

    def tables(self) -> dict[str, tuple[type[Record], Sequence[Any]]]:
        return {}

    def first_steps(self, ways: Ways) -> list[FunnelStep]:
        return []
