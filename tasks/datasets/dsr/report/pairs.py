"""Preference pairs by type, and why the other prompts have none.

pairs_view(snapshot, config) -> PairsView(reasons=["fewer than two valid samples", "none reaches τ", "all reach τ"],
                                          lines=[TypePairs(code="", n_prompts=500, n_paired=361, n_pairs=4820, ...)])
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from schemas.relation import in_table_order
from schemas.storage import AnyPath
from tasks.datasets.dsr.pairs import PairConfig
from tasks.datasets.dsr.report.types import letter, type_name
from tasks.metrics.correctness import reaches
from tasks.pages.rows import scan

PAIRED_SPLIT = "train"  # test prompts are for measuring

TOO_FEW = "fewer than two valid samples"
NO_WINNER, NO_LOSER = "none reaches τ", "all reach τ"
NO_DIFFERENCE = "all rewards are equal"
REASONS = {"threshold": (TOO_FEW, NO_WINNER, NO_LOSER), "ranked": (TOO_FEW, NO_DIFFERENCE)}  # by the rule


@dataclass(frozen=True)
class TypePairs:
    """The training prompts of a type, or of all of them."""

    code: str  # empty: all types
    n_prompts: int
    n_paired: int
    n_pairs: int
    unpaired: Mapping[str, int]  # prompts without a pair, by reason

    @property
    def letter(self) -> str:
        return letter(self.code)

    @property
    def name(self) -> str:
        return type_name(self.code)


@dataclass(frozen=True)
class PairsView:
    """All types first, then each one; no line if there are no training prompts."""

    reasons: Sequence[str]
    lines: list[TypePairs]


def pairs_view(snapshot: AnyPath, config: PairConfig) -> PairsView:
    prompts = scan(snapshot, "prompts").filter(pl.col("split") == PAIRED_SPLIT).select("type", "n_pairs", "rewards")
    rows = prompts.collect()
    parts = {code: rows.filter(pl.col("type") == code) for code in in_table_order(rows["type"].to_list())}
    lines = [count_pairs(code, part, config) for code, part in ({"": rows} | parts).items()] if len(rows) else []
    return PairsView(REASONS[config.rule], lines)


def count_pairs(code: str, rows: pl.DataFrame, config: PairConfig) -> TypePairs:
    """rows: a prompt each, n_pairs and rewards."""
    unpaired = rows.filter(pl.col("n_pairs") == 0)["rewards"].to_list()
    return TypePairs(
        code,
        n_prompts=len(rows),
        n_paired=len(rows) - len(unpaired),
        n_pairs=sum(rows["n_pairs"].to_list()),
        unpaired=Counter(why_unpaired(rewards, config) for rewards in unpaired),
    )


def why_unpaired(rewards: Sequence[float | None], config: PairConfig) -> str:
    """rewards: of a prompt without a pair, one a seed, None where there is no valid sample."""
    valid = [reward for reward in rewards if reward is not None]
    if len(valid) < 2:
        return TOO_FEW
    if config.rule == "ranked":
        return NO_DIFFERENCE
    return NO_LOSER if reaches(valid, config.tau).all() else NO_WINNER
