"""Files of snapshots and reports for those who know only a name: found safely, opened, read span by span.

file = find_file([Path("data")], "reports", "matrix11k-3f9c", "clips/clip-81b2.mp4")    StoredFile(n_bytes=130211, ...)
b"".join(file.blocks(0, 1000))                                                          its first thousand bytes

A name comes from anyone. Only files below `snapshots` and `reports` of a root are found, and of a folder of training
runs those in its runs: none behind `..`, a hidden name or a link that leads outside of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from schemas.outcome import ServiceDown
from schemas.regular_files import NotRegular, open_regular
from schemas.storage import AnyPath, ObjectPath
from tasks.engine.snapshots import ID

PLACES = ("snapshots", "reports")  # folders of a flow's root
RUNS = "runs"  # a place of its own: a folder of training runs holds them itself
BLOCK_BYTES = 2**20
STORE_BLOCK_BYTES = 2**23  # one request each

# What a disk answers to a name of which there is no regular file.
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError, NotRegular)


@dataclass(frozen=True)
class StoredFile:
    """A regular file, open on a disk, or an object in a store.

    root:      where it was found
    written_s: Unix time, where it is known
    stamp:     changes with every write
    """

    root: AnyPath
    name: str
    n_bytes: int
    written_s: float | None
    stamp: str
    source: BinaryIO | ObjectPath

    def blocks(self, start: int, end: int) -> Iterator[bytes]:
        """Bytes start to end, without end. Raises OSError if the file became shorter, ServiceDown."""
        if isinstance(self.source, ObjectPath):
            for first in range(start, end, STORE_BLOCK_BYTES):
                yield self.source.read_span(first, min(first + STORE_BLOCK_BYTES, end))
            return
        with self.source as file:
            file.seek(start)
            while start < end:
                block = file.read(min(BLOCK_BYTES, end - start))
                if not block:
                    raise OSError(f"{self.name} became shorter while it was read")
                start += len(block)
                yield block

    def close(self) -> None:
        if not isinstance(self.source, ObjectPath):
            self.source.close()


def find_file(roots: Sequence[AnyPath], place: str, snapshot_id: str, name: str) -> StoredFile | None:
    """The file of a snapshot, report or run in the first root that has it; None if none has.

    roots: of flows; for the place RUNS, folders of runs
    Disks are asked before stores. Raises OSError, ServiceDown if a root that cannot be read may have it, and no other.
    """
    parts = name.split("/")
    if place not in (*PLACES, RUNS) or not ID.fullmatch(snapshot_id) or not all(map(_is_shown, parts)):
        return None
    homes = [""] if place == RUNS else PLACES
    relative = "/".join([*([] if place == RUNS else [place]), snapshot_id, *parts])
    trouble: OSError | ServiceDown | None = None
    for root in sorted(roots, key=lambda root: isinstance(root, ObjectPath)):
        try:
            return _open_object(root, relative) if isinstance(root, ObjectPath) else _open_file(root, relative, homes)
        except _ABSENT:
            continue
        except (OSError, ServiceDown) as error:
            trouble = trouble or error
    if trouble:
        raise trouble
    return None


def _is_shown(part: str) -> bool:
    return bool(part) and not part.startswith(".") and part.isprintable()


def _open_file(root: Path, relative: str, places: Sequence[str]) -> StoredFile:
    """Raises FileNotFoundError for a file that is not to be shown.

    places: the folders of the root that links may lead to
    """
    try:
        path = Path(os.path.realpath(root / relative, strict=True))
    except OSError as error:
        if isinstance(error, PermissionError):
            raise
        raise FileNotFoundError(relative) from error  # also a name that is too long, or links in a circle
    homes = [Path(os.path.realpath(root / place)) for place in places]
    inside = [path.relative_to(home) for home in homes if path.is_relative_to(home)]
    if not inside or not all(map(_is_shown, inside[0].parts)):
        raise FileNotFoundError(relative)
    file = open_regular(path)
    found = os.fstat(file.fileno())
    stamp = f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"
    return StoredFile(root, path.name, found.st_size, found.st_mtime, stamp, file)


def _open_object(root: ObjectPath, relative: str) -> StoredFile:
    try:
        path = (root / relative).checked()
    except ValueError as error:
        raise FileNotFoundError(relative) from error
    facts = path.facts()
    return StoredFile(root, path.name, facts.n_bytes, facts.written_s, facts.stamp[:32], path)
