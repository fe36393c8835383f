"""The dataset as the engine knows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from schemas.generated_videos import (
    SHARD_TABLES,
    GeneratedBytesRow,
    GeneratedVideo,
    GeneratedVideoRow,
    GenerationInput,
    GenerationOutcomeRow,
    VideoStatistics,
)
from schemas.record import Record
from tasks.datasets.story import maker_lines, one_line
from tasks.datasets.videos.report import write_report
from tasks.datasets.videos.video_folder import PLAIN
from tasks.engine.dataset import Dataset, Story, outcome_of, ranked, read_columns
from tasks.engine.shards import Row
from tasks.engine.snapshots import Snapshot
from tasks.engine.work import Work


def row_tables(work: Work, row: Row[GenerationInput]) -> dict[str, list[Record]]:
    """All table rows of one input, as far as it came."""
    given, made = row.payload, work.find_result(row, GeneratedVideo)
    outcome = outcome_of(row)
    tables: dict[str, list[Record]] = {name: [] for name in SHARD_TABLES}
    tables["outcomes"].append(GenerationOutcomeRow(**outcome.model_dump(), name=given.name, seed=given.seed))
    if outcome.status == "accepted" and made:
        told = made.model_dump(exclude={"video"})
        tables["clips"].append(GeneratedVideoRow(**given.model_dump(), **told))
        tables["videos"].append(GeneratedBytesRow(clip_id=given.clip_id, sha256=made.video_sha256, video=made.video))
    return tables


def statistics(folder: Path) -> VideoStatistics:
    """What a snapshot's folder holds, counted."""
    clips = read_columns(folder, "clips", "n_frames", "width", "height", "fps", "seed")
    sizes = clips.select("n_frames", "width", "height", "fps").iter_rows()
    return VideoStatistics(
        sizes=ranked([f"{n} frames of {width}x{height} at {fps:g} frames/s" for n, width, height, fps in sizes]),
        seeds=ranked([str(seed) for seed in clips["seed"].to_list()]),
    )


def headline(snapshot: Snapshot, truth: Any = None) -> Iterator[str]:
    """What was made."""
    counted = snapshot.statistics(VideoStatistics)
    yield "videos: " + (", ".join(f"{size.n} of {size.name}" for size in counted.sizes) or "none")


def find(snapshot: Snapshot, name: str) -> pl.DataFrame:
    """Outcomes by an id (or its beginning), or a name."""
    meant = pl.col("row_id").str.starts_with(name) | (pl.col("name") == name)
    return snapshot.scan("outcomes").filter(meant).sort("name", "seed").collect()


def tell(snapshot: Snapshot, outcome: dict[str, Any]) -> Iterator[str]:
    for clip in snapshot.rows(GeneratedVideoRow, [outcome["row_id"]]):
        yield f"  file       {clip.file}"
        yield f"  prompt     {one_line(clip.prompt)}"
        if clip.image:
            yield f"  picture    {one_line(clip.image)}, {len(clip.instances)} instances"
        yield from maker_lines(clip.made_by)


def name_of(outcome: dict[str, Any]) -> str:
    return "" if outcome["name"] is None else f"{outcome['name']} seed {outcome['seed']}"


VIDEOS = Dataset(
    name="videos",
    verb="generate",
    shard_tables=SHARD_TABLES,
    main_table="clips",
    row_tables=row_tables,
    statistics=statistics,
    headline=headline,
    story=Story(find, tell, name_of),
    write_report=write_report,
    layouts={"folder": PLAIN},
    row_unit="videos",
    about="Videos that a model made from prompts, pictures, masks and arrows, with the weights of a training run.",
    reading="`clips` and `videos` join on `clip_id`; `outcomes` has one row for every input.",
)
