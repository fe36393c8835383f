"""Snapshots written by hand: tables and a manifest that tells of them, without a flow that computes them.

write_snapshot(tmp_path / "kinemask-1", "curate-kinemask", {"clips": (SceneClipRow, clips)})
write_snapshot(..., shards={"shard-1": ["clip-81b2...", "clip-07aa..."]})       a file for each shard's rows
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from schemas.record import Record, write_table
from schemas.snapshot import DataFile, ShardEntry, SnapshotManifest
from schemas.storage import AnyPath, write_atomic
from schemas.tables import Named
from tasks.engine.snapshots import MANIFEST, Snapshot

Table = tuple[type[Record], Sequence[Any]]  # a record and its rows


def write_snapshot(
    folder: AnyPath,
    flow: str,
    tables: Mapping[str, Table],
    shards: Mapping[str, Sequence[str]] | None = None,
    **manifest: Any,
) -> Snapshot:
    """Write Parquet tables and a valid manifest.json into a folder.

    shards:   {shard_id: clip ids}; their rows lie in a file a shard, those of no shard in one named as the table
    manifest: fields of it that a test is about; the counts are those of the table `outcomes` if there is one
    """
    files: list[DataFile] = []
    for name, (record, rows) in tables.items():
        for stem, of_file in _by_file(name, rows, shards or {}).items():
            path = folder / name / f"{stem}.parquet"
            write_table(record, of_file, path)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            files.append(DataFile(path=f"{name}/{stem}.parquet", table=name, rows=len(of_file), sha256=digest))
    n = Counter(row.status for row in tables["outcomes"][1]) if "outcomes" in tables else Counter[str]()
    values: dict[str, Any] = {
        "snapshot_id": folder.name,
        "flow": flow,
        "dataset": "toy",
        "format_version": 2,
        "record_versions": [Named(name=name, n=record.schema_version) for name, (record, _) in tables.items()],
        "configs": "{}",
        "made_by": [],
        "n_given": n.total(),
        "n_inputs": n.total(),
        "n_accepted": n["accepted"],
        "n_rejected": n["rejected"],
        "n_failed": n["failed"],
        "funnel": [],
        "outcomes": [],
        "statistics": {},
        "shards": [ShardEntry(shard_id=name, clip_ids=list(clip_ids)) for name, clip_ids in (shards or {}).items()],
        "files": sorted(files, key=lambda file: file.path),
    }
    write_atomic(folder / MANIFEST, SnapshotManifest(**values | manifest).to_json())
    return Snapshot(folder)


def latest_folder(snapshots: AnyPath) -> Any:
    """The folder of what was published last; fails if nothing was."""
    latest = Snapshot.latest(snapshots)
    assert latest is not None, f"nothing was published in {snapshots}"
    return latest.folder


def _by_file(table: str, rows: Sequence[Any], shards: Mapping[str, Sequence[str]]) -> dict[str, list[Any]]:
    """{file's stem: its rows}; a table without rows has a file all the same, from which its columns are known."""
    shard_of = {clip_id: shard_id for shard_id, clip_ids in shards.items() for clip_id in clip_ids}
    found: dict[str, list[Any]] = {}
    for row in rows:
        clip_id = row.clip_id if "clip_id" in type(row).model_fields else getattr(row, "row_id", None)
        found.setdefault(shard_of.get(clip_id, table), []).append(row)
    return found or {table: []}
