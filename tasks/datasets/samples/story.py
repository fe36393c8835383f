"""The story of a sample: the part of its clip that is shown, its prompt, and who encoded it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from schemas.training_samples import SampleRow
from tasks.datasets.story import box_text, maker_lines, one_line
from tasks.engine.dataset import Story
from tasks.engine.snapshots import Snapshot


def find(snapshot: Snapshot, name: str) -> pl.DataFrame:
    """Outcomes of rows by an id, or its beginning."""
    return snapshot.scan("outcomes").filter(pl.col("row_id").str.starts_with(name)).sort("row_id").collect()


def tell(snapshot: Snapshot, outcome: dict[str, Any]) -> Iterator[str]:
    for sample in snapshot.rows(SampleRow, [outcome["row_id"]]):
        first, last = sample.source_frames[0], sample.source_frames[-1]
        yield f"  split      {sample.split}"
        yield f"  prompt     {one_line(sample.prompt)}"
        yield (
            f"  video      {sample.n_frames} frames of {sample.width}x{sample.height} at {sample.fps:g} frames/s: "
            f"frames {first} to {last} of the clip, {box_text(sample.source_box_xyxy)} of its picture"
        )
        yield from maker_lines(sample.made_by)


STORY = Story(find, tell, lambda outcome: outcome["split"] or "")
