"""Copies of objects on this machine's disk: decoders and lazy readers need files.

    local_copy(ObjectPath("s3://videos/dog.mp4"), "9b1e...") -> ~/.cache/triptych/objects/9b1e.../dog.mp4

A copy is identified by its content: it is fetched once, and used only if it holds the expected bytes. TRIPTYCH_CACHE
is the folder, TRIPTYCH_CACHE_GB its limit (default: 50). The least recently used copies are removed first, but none
used within the last ten minutes. Deleting the folder is safe and costs only time.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from schemas.regular_files import kept_while_unchanged, open_regular
from schemas.service import ServiceDown
from schemas.storage import ObjectPath

DEFAULT_GB = 50.0
IN_USE_S = 600.0  # a stage may open a file several times while it works on it
LEFT_OVER_S = 86_400.0
BLOCK_BYTES = 2**20
ASIDE = ".aside"
NETWORKS = "networks"  # of tasks/backends/packaged: no copies of objects, and never removed to make room


class ContentChanged(Exception):
    """An object does not hold the expected bytes."""


class Content(NamedTuple):
    """The content of a file, wherever it lies."""

    sha256: str
    n_bytes: int


def local_copy(path: ObjectPath, sha256: str) -> Path:
    """A file with these bytes, fetched if there is none yet.

    Raises ContentChanged, FileNotFoundError; ServiceDown if it cannot be fetched or stored.
    """
    place = _place(sha256, path.name)
    if not _holds(place, sha256):
        found = fetch(path, in_use=True)
        if found.sha256 != sha256:
            raise ContentChanged(f"{path} does not hold the bytes of {sha256[:12]}")
    return place


def fetch(path: ObjectPath, *, in_use: bool = False) -> Content:
    """Copy an object into the cache and return its hash and size. Raises FileNotFoundError, ServiceDown.

    in_use: it will be opened soon; otherwise it is the first to be removed
    """
    aside = None
    try:
        cache = cache_folder()
        cache.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(suffix=ASIDE, dir=cache)
        os.close(descriptor)
        aside = Path(name)
        path.download(aside)
        content = file_content(aside)
        _mark_used(aside, time.time() - (0 if in_use else IN_USE_S))
        _settle(aside, _place(content.sha256, path.name))
    except FileNotFoundError:
        raise
    except OSError as error:  # errors of the store are ServiceDown already
        raise ServiceDown(
            f"cannot keep a copy of {path} in {cache_folder()}: {error.strerror}. Make room there, or set "
            "TRIPTYCH_CACHE to another folder."
        ) from error
    finally:
        if aside is not None:
            aside.unlink(missing_ok=True)
    _room.fetched(content.n_bytes)
    return content


def file_sha256(path: Path) -> str:
    """SHA-256 of a regular file's bytes. Raises OSError."""
    return file_content(path).sha256


@kept_while_unchanged(65536)
def file_content(path: Path) -> Content:
    """Hash and size of a regular file. Raises OSError."""
    digest, n_bytes = hashlib.sha256(), 0
    with open_regular(path) as file:
        while block := os.read(file.fileno(), BLOCK_BYTES):
            digest.update(block)
            n_bytes += len(block)
    return Content(digest.hexdigest(), n_bytes)


def cache_folder() -> Path:
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("TRIPTYCH_CACHE") or f"{caches}/triptych").expanduser()


def _place(sha256: str, name: str) -> Path:
    return cache_folder() / "objects" / sha256 / name  # the object's own name, for errors about a video


def _holds(place: Path, sha256: str) -> bool:
    """Is the copy there and complete? If so, mark it as used."""
    try:
        if file_sha256(place) != sha256:  # a power cut can leave an empty file behind a finished rename
            return False
        _mark_used(place, time.time())
    except OSError:  # usually: no such file
        return False
    return True


def _mark_used(path: Path, when_s: float) -> None:
    """Set the time of access only: an unmodified file is not hashed again."""
    os.utime(path, ns=(int(when_s * 1e9), path.stat().st_mtime_ns))


def _settle(aside: Path, place: Path) -> None:
    while aside.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(aside, place)
        except FileNotFoundError:  # another process removed the empty folder when it made room
            continue


class _Room:
    """Keeps the cache within its limit; checks after every hundredth of it that is fetched."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unseen_bytes = math.inf

    def fetched(self, n_bytes: int) -> None:
        bound_bytes = _bound_bytes()
        with self._lock:
            self._unseen_bytes += n_bytes
            if self._unseen_bytes < bound_bytes / 100:
                return
            self._unseen_bytes = 0
        make_room(bound_bytes)


_room = _Room()


def _bound_bytes() -> float:
    text = os.environ.get("TRIPTYCH_CACHE_GB") or str(DEFAULT_GB)
    try:
        return float(text) * 1e9
    except ValueError as error:
        raise ServiceDown(f"TRIPTYCH_CACHE_GB is {text!r}; give a number of gigabytes") from error


def make_room(bound_bytes: float) -> None:
    """Remove the least recently used copies until the rest fits, and temporary files of killed processes."""
    now_s = time.time()
    entries = sorted(_entries(cache_folder()))
    for entry in entries:
        if entry.path.suffix == ASIDE and now_s - entry.used_s > LEFT_OVER_S:
            entry.path.unlink(missing_ok=True)
    copies = [entry for entry in entries if entry.path.suffix != ASIDE]
    total_bytes = sum(copy.n_bytes for copy in copies)
    for copy in copies:
        if total_bytes <= bound_bytes or now_s - copy.used_s < IN_USE_S:
            return
        copy.path.unlink(missing_ok=True)
        total_bytes -= copy.n_bytes
        with contextlib.suppress(OSError):  # not empty: the same bytes under another name
            copy.path.parent.rmdir()


class _Entry(NamedTuple):
    used_s: float  # since the epoch
    n_bytes: int
    path: Path


def _entries(cache: Path) -> Iterator[_Entry]:
    for folder, folders, names in os.walk(cache):  # unlike a glob, it tolerates folders that vanish meanwhile
        folders[:] = [name for name in folders if name != NETWORKS]
        for path in (Path(folder, name) for name in names):
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                yield _Entry(stat.st_atime, stat.st_size, path)
