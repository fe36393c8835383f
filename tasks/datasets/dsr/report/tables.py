"""The numbers of all samples: Correctness@0.7 by type, pairs by type, what was drawn on purpose, answers.

correctness_table(statistics)
->  {"": {"test": Standing(n_judged=600, n_valid=486, correctness=0.125), "train": ...}, "LT": {...}, ...}
pair_table(snapshot, config)
->  {"": TypePairs(n_prompts=500, n_paired=361, n_pairs=4820, unpaired={"none reaches τ": 139}), "LT": ...}

Tables are by the code of a type; the empty code stands for all types.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from schemas.dsr import CorrectnessCurve, DsrStatistics
from schemas.relation import in_table_order
from tasks.datasets.dsr.pairs import PairConfig
from tasks.datasets.dsr.view import TAU
from tasks.engine.snapshots import Snapshot
from tasks.metrics.correctness import AgreementBin, reaches, vlm_agreement

SPLITS = ("test", "train")  # in the order in which the page tells them
PAIRED_SPLIT = "train"  # test prompts are for measuring

TOO_FEW = "fewer than two valid samples"
NO_WINNER, NO_LOSER = "none reaches τ", "all reach τ"
NO_DIFFERENCE = "all rewards are equal"


# --- Correctness -----------------------------------------------------------------------------


class Standing(NamedTuple):
    """How the judged samples of a split, or of a type within it, did."""

    n_judged: int
    n_valid: int
    correctness: float | None = None  # share of the judged samples that reach TAU; None: it is not told

    @property
    def valid(self) -> float | None:
        """Share of the judged samples."""
        return self.n_valid / self.n_judged if self.n_judged else None


def correctness_table(statistics: DsrStatistics) -> dict[str, dict[str, Standing]]:
    """By type, all of them first, and split."""
    return {
        code: {
            split: Standing(curve.n_judged, curve.n_valid, correctness_at(curve, statistics.taus))
            for split, curve in curves.items()
        }
        for code, curves in _curves(statistics).items()
    }


def curves_of(statistics: DsrStatistics) -> dict[str, dict[str, CorrectnessCurve]]:
    """By type and split, as far as samples were judged; empty if none was."""
    judged = {
        code: {split: curve for split, curve in curves.items() if curve.n_judged}
        for code, curves in _curves(statistics).items()
    }
    return {code: curves for code, curves in judged.items() if curves}


def _curves(statistics: DsrStatistics) -> dict[str, dict[str, CorrectnessCurve]]:
    named = {curve.name: curve for curve in statistics.curves}  # "test", "test/LT"
    codes = in_table_order(code for name in named if (code := name.partition("/")[2]))
    return {
        code: {split: named[name] for split in SPLITS if (name := f"{split}/{code}".rstrip("/")) in named}
        for code in ("", *codes)
    }


def correctness_at(curve: CorrectnessCurve, taus: Sequence[float], tau: float = TAU) -> float | None:
    """None if the curve does not tell of this threshold."""
    return next((share for at, share in zip(taus, curve.correctness, strict=True) if abs(at - tau) < 1e-9), None)


def sum_of(standings: Iterable[Standing]) -> Standing:
    """Of several splits, without a correctness."""
    standings = list(standings)
    return Standing(sum(s.n_judged for s in standings), sum(s.n_valid for s in standings))


def prompts_by_split(statistics: DsrStatistics) -> dict[str, int]:
    """'train/LT' 84, 'train/TL' 83, ... -> {'train': 167}"""
    counts: dict[str, int] = {}
    for part in statistics.prompts:
        split = part.name.partition("/")[0]
        counts[split] = counts.get(split, 0) + part.n
    return counts


# --- Pairs -----------------------------------------------------------------------------------


class TypePairs(NamedTuple):
    """The training prompts of a type, or of all of them."""

    n_prompts: int
    n_paired: int
    n_pairs: int
    unpaired: Mapping[str, int]  # prompts without a pair, by reason


def pair_table(snapshot: Snapshot, config: PairConfig) -> dict[str, TypePairs]:
    """By type, all of them first; empty if there are no training prompts."""
    prompts = snapshot.scan("prompts").filter(pl.col("split") == PAIRED_SPLIT)
    rows = prompts.select("type", "n_pairs", "rewards").collect()
    parts = {code: rows.filter(pl.col("type") == code) for code in in_table_order(rows["type"].to_list())}
    return {code: count_pairs(part, config) for code, part in ({"": rows} | parts).items()} if len(rows) else {}


def count_pairs(prompts: pl.DataFrame, config: PairConfig) -> TypePairs:
    """prompts: n_pairs and rewards"""
    unpaired = prompts.filter(pl.col("n_pairs") == 0)["rewards"].to_list()
    return TypePairs(
        n_prompts=len(prompts),
        n_paired=len(prompts) - len(unpaired),
        n_pairs=int(prompts["n_pairs"].sum()),
        unpaired=Counter(why_unpaired(rewards, config) for rewards in unpaired),
    )


def reasons_of(config: PairConfig) -> tuple[str, ...]:
    """Why a prompt may have no pair."""
    return (TOO_FEW, NO_DIFFERENCE) if config.rule == "ranked" else (TOO_FEW, NO_WINNER, NO_LOSER)


def why_unpaired(rewards: Sequence[float | None], config: PairConfig) -> str:
    """rewards: of a prompt without a pair, one a seed, None where there is no valid sample."""
    valid = [reward for reward in rewards if reward is not None]
    if len(valid) < 2:
        return TOO_FEW
    if config.rule == "ranked":
        return NO_DIFFERENCE
    return NO_LOSER if reaches(valid, config.tau).all() else NO_WINNER


# --- What was drawn on purpose ---------------------------------------------------------------


class Drawn(NamedTuple):
    """The judged samples in which one thing was drawn on purpose; the means are of the valid ones."""

    name: str
    n_valid: int
    n_invalid: int
    mean_score: float | None
    score_error: float | None  # mean distance from the score of the boxes that were drawn
    box_iou: float | None  # mean, of the tracked boxes with those that were drawn
    n_reach: int  # how many reach tau


def drawn_table(snapshot: Snapshot, tau: float) -> list[Drawn]:
    """The most frequent first; nothing for a generator that cannot say what it drew."""
    told = pl.col("drawn").is_not_null()
    judged = (
        snapshot.scan("outcomes")
        .filter(told & pl.col("status").is_in(["accepted", "rejected"]))
        .group_by(name="drawn")
        .agg(n_valid=(pl.col("status") == "accepted").sum(), n_invalid=(pl.col("status") == "rejected").sum())
        .collect()
    )
    columns = snapshot.scan("samples").filter(told).select("drawn", "dsr_score", "true_score", "box_iou").collect()
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


# --- Answers ---------------------------------------------------------------------------------


class AnswerTable(NamedTuple):
    """How often a judge says yes where the boxes say how much (SpatialAlign 3.5, figure 4)."""

    question: str
    score: str  # whose SSR-Score the bins are of
    bins: list[AgreementBin]
    n_below: int  # samples whose SSR-Score is negative
    n_yes_below: int  # those of them that were answered yes


def answer_tables(snapshot: Snapshot) -> list[AnswerTable]:
    """Of the initial and of the final relation; nothing if there is no valid sample."""
    columns = snapshot.scan("samples").select("r_initial", "r_final", "initial_yes", "final_yes").collect()
    if not len(columns):
        return []

    def answers(question: str, relation: str) -> AnswerTable:
        bins = vlm_agreement(columns[f"r_{relation}"], columns[f"{relation}_yes"])
        below = [part for part in bins if part.end <= 0]
        n_yes, n_no = sum(part.n_yes for part in below), sum(part.n_no for part in below)
        return AnswerTable(question, f"r {relation}", bins, n_yes + n_no, n_yes)

    return [answers("Initially?", "initial"), answers("Finally?", "final")]
