"""a shard's rows after all stages -> its Parquet tables: the last step of every shard.

    64 clips, 41 of them accepted -> clips.parquet with 41 rows, mask_tracks.parquet with 97, ...,
                                     outcomes.parquet with 64

The tables lie in the work folder until `publish_snapshot` links them into a snapshot; a refresh links
the tables of an untouched shard again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from schemas.record import content_hash, write_table
from schemas.storage import at_once, read_whole, write_atomic
from tasks.engine.dataset import Dataset
from tasks.engine.shards import Row, Shard
from tasks.engine.work import Work


class ShardDone(BaseModel):
    """What a shard leaves behind when all its stages are through."""

    shard_id: str
    folder: str  # beside this file
    tables: dict[str, int]  # in that folder, one file each: how many rows it has
    retryable: int  # failed rows that may end otherwise when the shard is run again


def find_done(work: Work, shard_id: str, chain: str) -> ShardDone | None:
    """What the shard left after this chain of stages, if its tables are all there."""
    path = work.shard_path(shard_id, _done_name(chain))
    try:
        done = ShardDone.model_validate_json(read_whole(path))
    except (FileNotFoundError, ValidationError):
        return None
    there = {table.name for table in (path.parent / done.folder).glob("*.parquet")}
    return done if there.issuperset(f"{name}.parquet" for name in done.tables) else None


def require_done(work: Work, shard_id: str, chain: str) -> ShardDone:
    done = find_done(work, shard_id, chain)
    if done is None:
        raise FileNotFoundError(f"{shard_id} ended, but its tables are not in {work.root}; do all workers share it?")
    return done


def write_shard(work: Work, shard: Shard[Any], dataset: Dataset) -> ShardDone:
    """Write a finished shard's tables. Same rows, same bytes."""
    tables = tables_of(work, shard.rows, dataset)
    folder = "tables-" + content_hash([r.model_dump(mode="json") for r in shard.rows], length=12)
    for name, record in dataset.shard_tables.items():
        write_table(record, tables[name], work.shard_path(shard.shard_id, f"{folder}/{name}.parquet"))
    n_rows = {name: len(rows) for name, rows in tables.items()}
    done = ShardDone(shard_id=shard.shard_id, folder=folder, tables=n_rows, retryable=shard.retryable)
    write_atomic(work.shard_path(shard.shard_id, _done_name(shard.chain)), done.model_dump_json().encode())
    return done


def tables_of(work: Work, rows: Sequence[Row[Any]], dataset: Dataset) -> dict[str, list[Any]]:
    """The rows of all tables of some rows that have ended."""
    tables: dict[str, list[Any]] = {name: [] for name in dataset.shard_tables}
    for of_row in at_once(work.root, lambda row: dataset.row_tables(work, row), rows):
        for name, of_table in of_row.items():
            tables[name] += of_table
    return tables


def _done_name(chain: str) -> str:
    return f"done-{chain}.json"
