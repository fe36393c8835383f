"""Published snapshots, read: the latest, its manifest, its tables.

snapshot = latest_snapshot(Path("data/snapshots"))
table_files(snapshot, "mask_tracks")   -> [.../mask_tracks/shard-3f9c2a71b0de.parquet, ...]
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

from schemas.local_copies import ContentChanged, local_copy
from schemas.outcome import ServiceDown
from schemas.snapshot import DataFile, SnapshotManifest
from schemas.storage import AnyPath, ObjectPath, at_once

LATEST = "LATEST"
MANIFEST = "manifest.json"


def latest_snapshot(snapshots: AnyPath) -> AnyPath | None:
    try:
        return snapshots / (snapshots / LATEST).read_text().strip()
    except FileNotFoundError:
        return None


def is_snapshot(folder: AnyPath) -> bool:
    return (folder / MANIFEST).is_file()


def all_snapshots(snapshots: AnyPath) -> list[str]:
    """The ids of all that were published."""
    folders = [folder for folder in snapshots.iterdir() if not folder.name.startswith(".")]
    return sorted(folder.name for folder in folders if is_snapshot(folder))


def read_snapshot(snapshot: AnyPath) -> SnapshotManifest:
    return SnapshotManifest.from_json((snapshot / MANIFEST).read_bytes())


def table_files(snapshot: AnyPath, table: str, shards: Collection[str] | None = None) -> list[Path]:
    """The Parquet files of a table, sorted; copies on this machine of those that lie in a store.

    shards: only theirs; a shard without rows has none
    """

    def is_asked(name: str) -> bool:
        return shards is None or name.removesuffix(".parquet") in shards

    if isinstance(snapshot, Path):
        return sorted(path for path in (snapshot / table).glob("*.parquet") if is_asked(path.name))
    files = [file for file in _published_files(snapshot) if file.table == table and is_asked(Path(file.path).name)]
    try:
        return at_once(snapshot, lambda file: local_copy(snapshot / file.path, file.sha256), files)
    except (ContentChanged, FileNotFoundError) as error:
        raise ServiceDown(f"{snapshot} is not what was published: {error}. Restore or delete it.") from error


@lru_cache(maxsize=8)
def _published_files(snapshot: ObjectPath) -> list[DataFile]:
    return read_snapshot(snapshot).files
