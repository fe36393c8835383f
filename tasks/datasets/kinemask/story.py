"""The story of a simulated clip: from the draws of its seed to its caption."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from schemas.kinemask import CollisionRow, DrawRow, ObjectRow, SceneClipRow
from tasks.datasets.story import maker_lines, one_line
from tasks.engine.dataset import Story
from tasks.engine.snapshots import Snapshot


def find(snapshot: Snapshot, name: str) -> pl.DataFrame:
    """Outcomes of seeds: by an id (or its beginning), or SET/SPLIT/SEED."""
    names = pl.concat_str("set", "split", pl.col("seed").cast(pl.String), separator="/")
    meant = pl.col("row_id").str.starts_with(name) | (names == name)
    return snapshot.scan("outcomes").filter(meant).sort("set", "split", "seed").collect()


def tell(snapshot: Snapshot, outcome: dict[str, Any]) -> Iterator[str]:
    clip_ids = [outcome["row_id"]]
    yield f"  seed       {name_of(outcome)}"
    for draw in snapshot.rows(DrawRow, clip_ids):
        yield f"  draw {draw.attempt:<5} no clip of its set: {draw.reason}: {one_line(draw.detail)}"
    clips = snapshot.rows(SceneClipRow, clip_ids)
    for clip in clips:
        yield f"  floor      {one_line(clip.scene.floor.noun)} ({one_line(clip.scene.floor.texture)})"
    for thing in snapshot.rows(ObjectRow, clip_ids):
        moved = f"starts at {thing.speed_mps:.2f} m/s" if thing.controlled else "at rest"
        seen = sum(area > 0 for area in thing.area)
        yield f"  object     {thing.instance_id} {thing.noun}, {moved}, seen in {seen} frames"
    for hit in snapshot.rows(CollisionRow, clip_ids):
        when = f"{hit.time_s:.2f} s (frame {hit.frame})"
        yield f"  collision  {when}: {hit.first_id} {hit.second_id} at {hit.closing_speed_mps:.2f} m/s"
    for clip in clips:
        yield f"  caption    {one_line(clip.caption)}"
        for fault in clip.caption_faults:
            yield f"  FAULT      {one_line(fault)}"
        yield from maker_lines(clip.made_by)


def name_of(outcome: dict[str, Any]) -> str:
    return f"{outcome['set']}/{outcome['split']}/{outcome['seed']}"


STORY = Story(find, tell, name_of)
