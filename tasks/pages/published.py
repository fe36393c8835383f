"""What roots hold, for people: their snapshots, the newest first, with what is wrong with them.

look_at(Path("data")) -> Shelf(root=data, entries=[Entry("matrix11k-3f9c2a71b0de", is_latest=True, ...)], notes=[])

Whatever is missing, damaged or cannot be reached is told in words: the rest is shown.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from schemas.outcome import ServiceDown
from schemas.snapshot import SnapshotManifest
from schemas.storage import AnyPath, ObjectPath, at_once
from tasks.engine.snapshots import ID, LATEST, MANIFEST, Snapshot, SnapshotError
from tasks.pages.stored_files import find_file

N_KEPT = 4096  # manifests whose numbers are kept in memory


@dataclass(frozen=True)
class Entry:
    """A snapshot, or what is left of one."""

    id: str
    root: AnyPath
    is_latest: bool
    has_report: bool = False
    written_s: float | None = None  # Unix time of its manifest, where the storage tells it
    manifest: SnapshotManifest | None = None  # without its lists of shards and files, which may be long
    trouble: str | None = None  # why it has no manifest

    @property
    def folder(self) -> AnyPath:
        return self.root / "snapshots" / self.id

    @property
    def written(self) -> str:
        return "" if self.written_s is None else f"{datetime.fromtimestamp(self.written_s, UTC):%Y-%m-%d %H:%M} UTC"

    @property
    def reading(self) -> str:
        """The two lines of Python that open it."""
        root = json.dumps(str(self.root), ensure_ascii=False)  # a literal of Python as well
        return f'from tasks.engine.snapshots import Snapshot\nsnapshot = Snapshot.open({root}, "{self.id}")'


@dataclass(frozen=True)
class Shelf:
    """A root."""

    root: AnyPath
    entries: Sequence[Entry] = ()
    note: str | None = None  # what is wrong with it, or that there is nothing yet


def look_at(root: AnyPath) -> Shelf:
    """The snapshots of a root; in a store, several requests for each."""
    snapshots = root / "snapshots"
    try:
        ids = [folder.name for folder in snapshots.iterdir() if _is_named_as_one(folder)]
        latest, note = _latest(snapshots, ids)
        entries = at_once(snapshots, lambda id: _entry(root, id, id == latest), ids)
    except (FileNotFoundError, NotADirectoryError):
        return Shelf(root, note=f"Nothing was published here yet: there is no {snapshots}.")
    except (OSError, ServiceDown) as error:
        return Shelf(root, note=_why(error))
    if not ids:
        note = f"Nothing was published here yet: {snapshots} is empty."
    return Shelf(root, sorted(entries, key=lambda entry: (-(entry.written_s or 0), entry.id)), note)


def find_entry(roots: Sequence[AnyPath], snapshot_id: str) -> tuple[Entry, SnapshotManifest] | None:
    """A snapshot with its whole manifest, in the first root that has it.

    Raises SnapshotError if it is damaged; OSError, ServiceDown.
    """
    file = find_file(roots, "snapshots", snapshot_id, MANIFEST)
    if file is None:
        return None
    file.close()
    latest = Snapshot.latest_readable(file.root / "snapshots")
    entry = _entry(file.root, snapshot_id, latest is not None and latest.id == snapshot_id)
    return entry, Snapshot(entry.folder).manifest


def _is_named_as_one(path: AnyPath) -> bool:
    """In a store, whatever is there may be a folder: no request is made for it."""
    return bool(ID.fullmatch(path.name)) and path.name != LATEST and (isinstance(path, ObjectPath) or path.is_dir())


def _latest(snapshots: AnyPath, ids: Sequence[str]) -> tuple[str | None, str | None]:
    """The id that LATEST names, and what is wrong with it."""
    try:
        latest = Snapshot.latest(snapshots)
    except SnapshotError as error:
        return None, str(error)
    if latest is None:
        return None, "No snapshot is LATEST: too few rows were accepted." if ids else None
    return latest.id, None if latest.id in ids else f"LATEST names {latest.id}, which is gone."


def _entry(root: AnyPath, id: str, is_latest: bool) -> Entry:
    """Raises ServiceDown."""
    written_s = None
    try:
        file = find_file([root], "snapshots", id, MANIFEST)
        if file is None:
            trouble = f"It has no {MANIFEST}: it is being written, or that was cut off."
        else:
            file.close()
            written_s = file.written_s
            manifest = _numbers(root / "snapshots" / id, file.stamp)
            report = find_file([root], "reports", id, "index.html")
            if report is not None:
                report.close()
            return Entry(id, root, is_latest, report is not None, written_s, manifest)
    except (SnapshotError, OSError) as error:
        trouble = _why(error)
    return Entry(id, root, is_latest, written_s=written_s, trouble=trouble)


@lru_cache(maxsize=N_KEPT)
def _numbers(folder: AnyPath, stamp: str) -> SnapshotManifest:
    """A manifest that was read in this state, without its long lists. Raises SnapshotError."""
    return Snapshot(folder).manifest.model_copy(update={"shards": [], "files": [], "statistics": {}})


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or ''}: {error.strerror or error}".removeprefix(": ")
    return str(error)
