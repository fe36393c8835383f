"""A snapshot's tables, read so that only what the page shows is ever held.

read_rows(snapshot, "interactions", InteractionRow, ["clip-81b2...", "clip-07aa..."])
->  {"clip-81b2...": [InteractionRow(verb="kick", ...)], "clip-07aa...": []}
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeVar

import polars as pl

from schemas.record import Record
from schemas.snapshot import SnapshotManifest
from schemas.storage import AnyPath
from tasks.engine.snapshots import table_files

T = TypeVar("T")
R = TypeVar("R", bound=Record)


def scan(snapshot: AnyPath, table: str) -> pl.LazyFrame:
    """All rows of a table."""
    return pl.scan_parquet(table_files(snapshot, table), glob=False)


def shards_of(manifest: SnapshotManifest, clip_ids: Collection[str]) -> list[str]:
    """The shards that some clips are in."""
    return [shard.shard_id for shard in manifest.shards if not set(clip_ids).isdisjoint(shard.clip_ids)]


def read_rows(
    snapshot: AnyPath, table: str, record: type[R], clip_ids: Sequence[str], shards: Collection[str] | None = None
) -> dict[str, list[R]]:
    """The rows of some clips, by clip, every asked one. The other clips' rows, masks above all, are never held.

    shards: where all of them are, so that no other file is read
    """
    rows: dict[str, list[R]] = {clip_id: [] for clip_id in clip_ids}
    files = table_files(snapshot, table, shards) if clip_ids else []
    if not files:
        return rows
    frame = pl.scan_parquet(files, glob=False).filter(pl.col("clip_id").is_in(list(clip_ids))).collect()
    for values in frame.iter_rows(named=True):
        rows[values["clip_id"]].append(record.model_validate(values))
    return rows


def accepted_clip_ids(snapshot: AnyPath, manifest: SnapshotManifest) -> list[str]:
    """In the order of the manifest's shards."""
    rows = scan(snapshot, "outcomes").filter(pl.col("status") == "accepted").select("row_id").collect()
    accepted = set(rows["row_id"].to_list())
    return [clip_id for shard in manifest.shards for clip_id in shard.clip_ids if clip_id in accepted]


def spread(items: Sequence[T], n: int) -> list[T]:
    """n of the items, evenly spaced; all of them if there are no more.

    spread(range(10), 3) -> [0, 3, 6]
    """
    n = min(n, len(items))
    return [items[i * len(items) // n] for i in range(n)]
