"""A snapshot's rows, clip by clip, for stages that make something of a published clip.

    tables = ClipTables(Snapshot.open("data"))
    tables.rows(InteractionRow, "clip-81b2...")                    [InteractionRow(verb="kick", ...), ...]
    tables.contents({"clips": ["caption"], "interactions": None})  {"clip-81b2...": "9f3c...", ...}

A Parquet file is read once for all its clips: neighbours of a shard lie in the same files.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TypeVar

import polars as pl
import pyarrow.parquet as pq

from schemas.record import Record, content_hash, require_columns
from tasks.engine.snapshots import Snapshot, key_of

MAX_FILES = 12  # that are kept in memory: those of two shards, of up to six tables

R = TypeVar("R", bound=Record)


class ClipTables:
    """The tables of one snapshot; may be asked from several threads."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._frames: OrderedDict[tuple[type[Record], Path], pl.DataFrame] = OrderedDict()
        self._lock = Lock()

    def rows(self, record: type[R], clip_id: str, *, table: str | None = None) -> list[R]:
        """As `Snapshot.rows` of one clip."""
        name = table or record.table_name
        assert name is not None, f"{record.__name__} is no row of a table: name one"
        found = []
        for path in self.snapshot.files(name, [clip_id]):
            frame = self._frame(record, path)
            of_clip = frame.filter(pl.col(key_of(frame.columns)) == clip_id)
            found += [record.model_validate(values) for values in of_clip.iter_rows(named=True)]
        return found

    def contents(self, tables: Mapping[str, Sequence[str] | None]) -> dict[str, str]:
        """{clip_id: SHA-256 of the clip's rows in these tables}, of every clip that has any.

        tables: {table: the columns that count, None for all}
        """
        parts: dict[str, list[str]] = {}
        for table, columns in tables.items():
            for path in self.snapshot.files(table):
                key = key_of(pq.read_schema(path).names)
                frame = pl.read_parquet(path, columns=None if columns is None else [key, *columns])
                for (clip_id,), of_clip in frame.group_by(key, maintain_order=True):
                    parts.setdefault(str(clip_id), []).append(content_hash(table, of_clip.to_dicts(), length=64))
        return {clip_id: content_hash(hashes, length=64) for clip_id, hashes in parts.items()}

    def _frame(self, record: type[Record], path: Path) -> pl.DataFrame:
        with self._lock:  # threads at neighbouring rows want the same file
            frame = self._frames.pop((record, path), None)
            if frame is None:
                require_columns(record, pq.read_schema(path), path)
                frame = pl.read_parquet(path)
            self._frames[record, path] = frame
            while len(self._frames) > MAX_FILES:
                self._frames.popitem(last=False)
            return frame
