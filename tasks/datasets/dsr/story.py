"""The story of a generated sample: from its prompt to its score and its pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from schemas.dsr import SampleRow, TrackRow
from schemas.tables import CandidateRow
from tasks.datasets.story import candidate_lines, maker_lines, one_line
from tasks.engine.dataset import Story
from tasks.engine.snapshots import Snapshot


def find(snapshot: Snapshot, name: str) -> pl.DataFrame:
    """Outcomes of samples: by an id (or its beginning), a prompt's id, or PROMPT/SEED."""
    names = pl.concat_str("prompt_id", pl.col("seed").cast(pl.String), separator="/")
    meant = pl.col("row_id").str.starts_with(name) | (pl.col("prompt_id") == name) | (names == name)
    return snapshot.scan("outcomes").filter(meant.fill_null(False)).sort("prompt_id", "seed", nulls_last=True).collect()


def tell(snapshot: Snapshot, outcome: dict[str, Any]) -> Iterator[str]:
    clip_ids = [outcome["row_id"]]
    if outcome["prompt_id"]:
        yield f"  prompt     {name_of(outcome)}, {outcome['split']}, {outcome['type']}"
    yield from candidate_lines(snapshot.rows(CandidateRow, clip_ids))
    for track in snapshot.rows(TrackRow, clip_ids):
        yield f"  track      {track.role}, in {sum(track.present)} of {len(track.present)} frames"
    samples = snapshot.rows(SampleRow, clip_ids)
    for sample in samples:
        yield f"  text       {one_line(sample.text)}"
        parts = ", ".join(
            f"{part} {getattr(sample, part):+.2f}" for part in ("r_initial", "r_final", "g_initial", "g_final")
        )
        yield f"  score      {sample.dsr_score:.3f} ({sample.score}; {parts}; {sample.n_found} frames)"
        initially, finally_ = ("yes" if answer else "no" for answer in (sample.initial_yes, sample.final_yes))
        yield f"  answers    initially {sample.initial}: {initially}; finally {sample.final}: {finally_}"
    pairs = snapshot.scan("pairs").select("winner_id", "loser_id").collect()
    won, lost = (int((pairs[end] == outcome["row_id"]).sum()) for end in ("winner_id", "loser_id"))
    yield f"  pairs      winner of {won}, loser of {lost}"
    for sample in samples:
        yield from maker_lines(sample.made_by)


def name_of(outcome: dict[str, Any]) -> str:
    if not outcome["prompt_id"]:
        return ""
    return outcome["prompt_id"] + ("" if outcome["seed"] is None else f"/{outcome['seed']}")


STORY = Story(find, tell, name_of)
