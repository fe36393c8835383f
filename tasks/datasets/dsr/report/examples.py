"""Which samples the page shows: pairs above all, for a winner beside a loser of one prompt says the most.

choose_examples(snapshot, 0.7, max_pairs=6)
->  Examples(pairs=[("clip-81b2...", "clip-07aa..."), ...], singles={"highest score below τ": "clip-31f0...", ...})
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from schemas.relation import in_table_order
from tasks.engine.snapshots import Snapshot
from tasks.metrics.correctness import reaches


@dataclass(frozen=True)
class Examples:
    """Samples that are shown, each once."""

    pairs: Sequence[tuple[str, str]]  # winner and loser
    singles: Mapping[str, str]  # by what they are examples of

    @property
    def clip_ids(self) -> list[str]:
        return [clip_id for pair in self.pairs for clip_id in pair] + list(self.singles.values())


def choose_examples(snapshot: Snapshot, tau: float, max_pairs: int) -> Examples:
    """The same for the same snapshot."""
    pairs = choose_pairs(snapshot, max_pairs)
    return Examples(pairs, choose_singles(snapshot, tau, {clip_id for pair in pairs for clip_id in pair}))


def choose_pairs(snapshot: Snapshot, max_pairs: int) -> list[tuple[str, str]]:
    """Of each type in turn the pairs that lie farthest apart, each of another prompt."""
    margin = pl.col("winner_reward") - pl.col("loser_reward")
    pairs = snapshot.scan("pairs").select("pair_id", "prompt_id", "type", "winner_id", "loser_id", margin=margin)
    widest = (
        pairs.sort("margin", "pair_id", descending=[True, False])
        .unique("prompt_id", keep="first", maintain_order=True)
        .with_columns(turn=pl.int_range(pl.len()).over("type"))
        .filter(pl.col("turn") < max_pairs)
        .collect()
    )
    types = in_table_order(widest["type"].to_list())
    chosen = sorted(widest.iter_rows(named=True), key=lambda pair: (pair["turn"], types.index(pair["type"])))
    return [(pair["winner_id"], pair["loser_id"]) for pair in chosen[:max_pairs]]


def choose_singles(snapshot: Snapshot, tau: float, shown: Collection[str]) -> dict[str, str]:
    """The ends of the scale and both sides of the threshold, as far as they are not shown already."""
    samples = snapshot.scan("samples").select("clip_id", "dsr_score").sort("dsr_score", "clip_id").collect()
    clip_ids = samples["clip_id"].to_list()
    n_below = int((~reaches(samples["dsr_score"].to_numpy(), tau)).sum())
    singles: dict[str, str] = {}
    for title, ids in {
        "best score": clip_ids[-1:],
        "lowest score that reaches τ": clip_ids[n_below:][:1],
        "highest score below τ": clip_ids[:n_below][-1:],
        "lowest score": clip_ids[:1],
    }.items():
        if ids and ids[0] not in {*shown, *singles.values()}:
            singles[title] = ids[0]
    return singles
