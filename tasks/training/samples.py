"""Rows of a snapshot of samples, read one clip at a time: what loaders of batches stand on.

    encodings = RowsByClip(snapshot, EncodingRow)     reads where each clip's rows lie, and no more
    encodings["clip-81b2..."]                         [EncodingRow(latents=b"...", ...)]
    tensor(encodings.one("clip-81b2...").latents)     torch.Tensor (13, 16, 60, 90)

Nothing is kept open or in memory, so loader processes share it as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.record import require_columns
from schemas.tables import OfClip
from schemas.training_samples import SampleRow
from tasks.engine.snapshots import Snapshot, SnapshotError

if TYPE_CHECKING:
    import torch

R = TypeVar("R", bound=OfClip)


class _Group(NamedTuple):
    """A row group of a Parquet file."""

    path: Path
    number: int


class RowsByClip(Generic[R]):
    """A table's rows by clip. A clip is read with the row groups that hold it: `Record.rows_per_group` of the table."""

    def __init__(self, snapshot: Snapshot, record: type[R]) -> None:
        """Raises SnapshotError if there is no such table, SchemaError if its columns are not the record's."""
        table = record.table_name
        if table is None or table not in snapshot.tables:
            raise SnapshotError(f"{snapshot.id} has no table {table!r}; there are {', '.join(snapshot.tables)}")
        self._snapshot_id, self._record = snapshot.id, record
        self._groups: dict[str, dict[_Group, None]] = {}  # of every clip: the groups that have rows of it, in order
        for path in snapshot.files(table):
            with pq.ParquetFile(path) as file:
                require_columns(record, file.schema_arrow, path)
                for number in range(file.num_row_groups):
                    for clip_id in file.read_row_group(number, ["clip_id"])["clip_id"].to_pylist():
                        self._groups.setdefault(clip_id, {})[_Group(path, number)] = None

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)

    def __contains__(self, clip_id: object) -> bool:
        return clip_id in self._groups

    def __getitem__(self, clip_id: str) -> list[R]:
        """A clip's rows in the table's order. Raises SnapshotError if it has none."""
        if clip_id not in self._groups:
            raise SnapshotError(f"{self._snapshot_id} has no {self._record.table_name} of {clip_id}")
        rows: list[R] = []
        for group in self._groups[clip_id]:
            with pq.ParquetFile(group.path) as file:
                table = file.read_row_group(group.number)
            mine = table.filter(pc.equal(table["clip_id"], clip_id))
            rows += [self._record.model_validate(values) for values in mine.to_pylist()]
        return rows

    def one(self, clip_id: str) -> R:
        """A clip's only row of a table with one row a clip."""
        (row,) = self[clip_id]
        return row


def tensor(stored: bytes) -> torch.Tensor:
    """The tensor of a column of encodings: safetensors with one tensor in it."""
    from safetensors.torch import load

    (only,) = load(stored).values()
    return only


def require_size(snapshot: Snapshot, samples: Iterable[SampleRow], n_frames: int, width: int, height: int) -> None:
    """Raises SnapshotError for a sample of another size than the config's."""
    for row in samples:
        if (row.n_frames, row.width, row.height) != (n_frames, width, height):
            raise SnapshotError(
                f"{row.clip_id} of {snapshot.id} has {row.n_frames} frames of {row.width}x{row.height}, the config "
                f"{n_frames} of {width}x{height}; prepare samples of that size, or change n_frames, width and height"
            )
