"""The numbers on top of the page.

make_headline(statistics) -> Headline(n_prompts={"train": 500, "test": 120}, splits={"test": ...}, n_pairs=9120, ...)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.dsr import DsrStatistics
from schemas.tables import Named
from tasks.datasets.dsr.report.correctness import Standing, correctness_table


@dataclass(frozen=True)
class Headline:
    """What a reader wants to know first."""

    n_prompts: Mapping[str, int]  # by split
    splits: Mapping[str, Standing]
    n_pairs: int
    n_paired_prompts: int

    @property
    def n_judged(self) -> int:
        return sum(split.n_judged for split in self.splits.values())

    @property
    def n_valid(self) -> int:
        return sum(split.n_valid for split in self.splits.values())

    @property
    def valid(self) -> float | None:
        """Share of the judged samples."""
        return self.n_valid / self.n_judged if self.n_judged else None


def make_headline(statistics: DsrStatistics) -> Headline:
    return Headline(
        n_prompts=by_split(statistics.prompts),
        splits=correctness_table(statistics)[0].by_split,
        n_pairs=statistics.n_pairs,
        n_paired_prompts=statistics.n_paired_prompts,
    )


def by_split(parts: list[Named]) -> dict[str, int]:
    """'train/LT' 84, 'train/TL' 83, ... -> {'train': 167}"""
    counts: dict[str, int] = {}
    for part in parts:
        split = part.name.partition("/")[0]
        counts[split] = counts.get(split, 0) + part.n
    return counts
