"""Storage: files on a disk, or objects in any store that fsspec supports (such as S3).

    parse_path("data")                   -> Path("data")
    parse_path("s3://videos/matrix11k")  -> ObjectPath("s3://videos/matrix11k")

Both have the same few methods, named as in pathlib, so stages work with either. This file holds the differences:

                    on a disk                       in a store
    write_atomic    aside, then rename              one PUT
    open_draft      a folder aside, then rename     a folder on this machine, then PUTs, the last of which publishes
    Draft.link      a hard link                     a copy on the server
    at_once         one after the other             many requests at a time
    errors          OSError                         ServiceDown, as it concerns all rows

Endpoints and keys come from the environment (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, ...).
"""

from __future__ import annotations

import errno
import fnmatch
import functools
import hashlib
import io
import os
import posixpath
import re
import shutil
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

import fsspec
from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from schemas.regular_files import open_regular
from schemas.service import ServiceDown

T = TypeVar("T")
U = TypeVar("U")

REQUESTS_AT_ONCE = 32
INCOMPLETE = ".incomplete"
MAX_KEY_BYTES = 1024
MAX_NAME_BYTES = 255  # on most disks: a local copy has its object's name
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)
# A listing cache would hide other processes' writes; one instance per process serves all threads.
_ANY_STORE: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
_S3: dict[str, Any] = {
    "max_concurrency": 1,  # with more, s3fs requests an object's size before reading it
    "config_kwargs": {
        "connect_timeout": 5,  # seconds, each
        "read_timeout": 10,
        "retries": {"mode": "standard", "total_max_attempts": 3},
        "max_pool_connections": REQUESTS_AT_ONCE,
    },
}
_S3_REMEDY = (
    "Check that the server at AWS_ENDPOINT_URL (unset: Amazon's) answers, and that AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY are right and may get, put and list there; then run again."
)


# --- Paths -----------------------------------------------------------------------------------


class ObjectFacts(NamedTuple):
    """What a store says of an object."""

    n_bytes: int
    written_s: float | None  # Unix time, where the store tells it
    stamp: str  # a hash of all that it says: it changes with every write


class ObjectPath:
    """An object in a store, or a prefix of several, with the methods of pathlib.Path that are used here.

    A read, a write and a test are one request each. A missing object raises FileNotFoundError, as on a disk; all other
    errors are ServiceDown.
    """

    __slots__ = ("_key", "_scheme")

    def __init__(self, scheme: str, key: PurePosixPath) -> None:
        self._scheme, self._key = scheme, key  # the key starts with the bucket

    def __str__(self) -> str:
        return f"{self._scheme}://{self._key}"

    def __repr__(self) -> str:
        return f"ObjectPath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectPath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __lt__(self, other: ObjectPath) -> bool:
        return (self._scheme, self._key) < (other._scheme, other._key)  # part by part, as local paths

    def __truediv__(self, name: str | PurePosixPath) -> ObjectPath:
        return ObjectPath(self._scheme, self._key / name)

    @property
    def scheme(self) -> str:
        return self._scheme

    @property
    def name(self) -> str:
        return self._key.name

    @property
    def suffix(self) -> str:
        return self._key.suffix

    @property
    def parent(self) -> ObjectPath:
        return ObjectPath(self._scheme, self._key.parent)

    def with_suffix(self, suffix: str) -> ObjectPath:
        return ObjectPath(self._scheme, self._key.with_suffix(suffix))

    def checked(self) -> ObjectPath:
        """The path with every `..` resolved. Raises ValueError if no object can have this address."""
        bucket, *rest = posixpath.normpath(self._key).split("/")
        key = "/".join(rest)
        if not _BUCKET.fullmatch(bucket):
            raise ValueError(f"{self!s:.200}: {bucket!r:.80} is no bucket")
        if len(key.encode()) > MAX_KEY_BYTES or len(self.name.encode()) > MAX_NAME_BYTES:
            raise ValueError(f"{self!s:.200}...: the key is too long")
        if "\0" in key or "?versionId=" in key:  # s3fs would cut the key there
            raise ValueError(f"{self!s:.200}: a key holds no zero byte and names no version")
        return ObjectPath(self._scheme, PurePosixPath(bucket, *rest))

    def is_relative_to(self, other: ObjectPath) -> bool:
        return self._scheme == other._scheme and self._key.is_relative_to(other._key)

    def relative_to(self, other: ObjectPath) -> PurePosixPath:
        return self._key.relative_to(other._key)

    def read_bytes(self) -> bytes:
        with self._asked() as store:
            return bytes(store.cat_file(str(self)))

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return io.TextIOWrapper(io.BytesIO(self.read_bytes()), encoding, errors).read()  # newlines as in text files

    def write_bytes(self, data: bytes) -> None:
        """One PUT: a reader sees the old object or the whole new one."""
        with self._asked() as store:
            store.pipe_file(str(self), data)

    def copy_to(self, target: ObjectPath) -> None:
        """Copy within the store, without passing bytes through this machine."""
        with self._asked() as store:
            store.cp_file(str(self), str(target))

    def download(self, target: Path) -> None:
        with self._asked() as store:
            store.get_file(str(self), str(target))

    def is_file(self) -> bool:
        return self._kind() == "file"

    def is_dir(self) -> bool:
        """Is there any object under this prefix?"""
        return self._kind() == "directory"

    def iterdir(self) -> Iterator[ObjectPath]:
        with self._asked() as store:
            entries = [self._sibling(name) for name in store.ls(str(self), detail=False)]
        return iter([path for path in entries if path.parent == self])

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """The direct children of this prefix whose names match."""
        try:
            entries = list(self.iterdir())
        except FileNotFoundError:  # as on a disk
            return iter(())
        return (path for path in entries if fnmatch.fnmatchcase(path.name, pattern))

    def files(self) -> list[ObjectPath]:
        """Every object under this prefix."""
        with self._asked() as store:
            return [self._sibling(name) for name in store.find(str(self)) if not name.endswith("/")]

    def stamp(self) -> str:
        """A hash of the store's metadata of the object; it changes with every write. Raises OSError."""
        return self.facts().stamp

    def facts(self) -> ObjectFacts:
        """What the store says of the object. Raises OSError."""
        with self._asked() as store:
            facts = store.info(str(self))
        if facts["type"] != "file":
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self))
        written = facts.get("LastModified")
        return ObjectFacts(
            n_bytes=int(facts["size"]),
            written_s=written.timestamp() if isinstance(written, datetime) else None,
            stamp=hashlib.sha256(f"{self} {facts}".encode()).hexdigest(),
        )

    def read_span(self, start: int, end: int) -> bytes:
        """Bytes start to end, without end."""
        with self._asked() as store:
            return bytes(store.cat_file(str(self), start=start, end=end))

    def _kind(self) -> str | None:
        try:
            with self._asked() as store:
                return str(store.info(str(self))["type"])
        except FileNotFoundError:
            return None

    def _sibling(self, name: str) -> ObjectPath:
        return ObjectPath(self._scheme, PurePosixPath(name.lstrip("/")))

    @contextmanager
    def _asked(self) -> Iterator[Any]:
        """The store, for one request. Translates its errors to FileNotFoundError and ServiceDown."""
        try:
            yield open_store(self._scheme, os.getpid())
        except FileNotFoundError as error:
            if _code_of(error) == "NoSuchBucket":
                raise ServiceDown(f"{self}: there is no such bucket; create it or correct the address.") from error
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self)) from error
        except ImportError as error:
            remedy = "pip install -e '.[s3]'" if self._scheme in ("s3", "s3a") else str(error)
            raise ServiceDown(f"{self}: the library for {self._scheme}:// is missing: {remedy}") from error
        except Exception as error:
            if is_full_disk(error):
                raise
            said = re.sub(r"//[^/@\s]*@", "//", str(error))  # an endpoint may hold a password
            remedy = _S3_REMEDY if self._scheme in ("s3", "s3a") else "Fix the cause and run again."
            raise ServiceDown(f"{self}: {type(error).__name__}: {said}. {remedy}") from error


AnyPath = Path | ObjectPath


def parse_path(value: str | AnyPath) -> AnyPath:
    """Parse a path or an address: `s3://bucket/prefix` is in a store, anything else on this machine's disk.

    Raises ValueError for an address that fsspec does not know, ServiceDown for one that holds a key.
    """
    if isinstance(value, ObjectPath):
        return value
    if isinstance(value, Path):
        if re.fullmatch(r"[a-z][a-z0-9+.-]+:", next(iter(value.parts), "")):
            raise ValueError(f"{value}: give the address as text; pathlib has folded its slashes")
        return value
    url = _URL.fullmatch(value)
    if url is None:
        return Path(value)
    scheme, rest = url.groups()
    if scheme == "file":
        return Path(unquote(urlsplit(value).path))
    if scheme not in fsspec.available_protocols():
        raise ValueError(f"{scheme}:// is not a storage that fsspec supports; use a path or s3://bucket/prefix")
    if "@" in rest.partition("/")[0]:
        # Not a ValueError: Pydantic would print the whole address.
        raise ServiceDown(f"a {scheme}:// address holds a key; move it to the environment (AWS_ACCESS_KEY_ID, ...)")
    return ObjectPath(scheme, PurePosixPath(rest)).checked()


DataPath = Annotated[
    AnyPath,
    PlainValidator(parse_path),
    PlainSerializer(str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "path"}),
]


@functools.lru_cache
def open_store(scheme: str, process_id: int) -> Any:
    """The file system of a scheme. One per process, as its event loop does not survive a fork."""
    if scheme not in ("s3", "s3a"):
        return fsspec.filesystem(scheme, **_ANY_STORE)
    store = fsspec.filesystem(scheme, **_ANY_STORE, **_S3)
    store.retries = 2  # times botocore's own: a hanging server is given up after two minutes, a dead one at once
    return store


def _code_of(error: BaseException) -> str | None:
    """The S3 error code behind an OSError of s3fs."""
    response = getattr(error.__cause__, "response", None) or {}
    code = response.get("Error", {}).get("Code")
    return None if code is None else str(code)


def is_full_disk(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


# --- Reading and writing ---------------------------------------------------------------------


def read_whole(path: AnyPath) -> bytes:
    """The bytes of an object or a regular file; raises NotRegular for a named pipe, which would wait for ever."""
    if isinstance(path, ObjectPath):
        return path.read_bytes()
    with open_regular(path) as file:
        return file.read()


def write_atomic(path: AnyPath, data: bytes) -> None:
    """Write a file atomically: no reader, and no restart after a kill, sees half of it."""
    if isinstance(path, ObjectPath):
        path.write_bytes(data)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name per process and thread: two workers that write the same content must not share it.
    aside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        aside.write_bytes(data)
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def sweep(folder: AnyPath) -> None:
    """Remove temporary files of killed `write_atomic` calls from a folder that nobody else writes to."""
    if isinstance(folder, Path):
        for aside in folder.glob("**/.*.tmp"):
            aside.unlink(missing_ok=True)


def list_files(folder: AnyPath) -> list[Any]:
    """Every file below a folder, at any depth, sorted."""
    if isinstance(folder, ObjectPath):
        return sorted(folder.files())
    return sorted(path for path in folder.rglob("*") if path.is_file())


def at_once(place: AnyPath, call: Callable[[T], U], items: Iterable[T]) -> list[U]:
    """[call(item), ...]; in parallel if `place` is in a store."""
    if isinstance(place, Path):
        return [call(item) for item in items]
    pool = ThreadPoolExecutor(REQUESTS_AT_ONCE, thread_name_prefix="storage")
    try:
        return list(pool.map(call, items))
    finally:
        pool.shutdown(cancel_futures=True)


# --- Folders that appear at once -------------------------------------------------------------


class Draft(ABC):
    """A folder that is assembled unseen and then published at once.

    folder: on this machine's disk; files written below it become part of the result
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def link(self, names: Sequence[tuple[str, Any]]) -> None:
        """Add existing files of the same kind of storage: [(path within the folder, file), ...]"""

    @abstractmethod
    def publish(self, name: str, last: str) -> Any:
        """Publish the folder under this name and return its path; an existing one is left as it is.

        last: written last; without this file, readers treat the folder as missing
        """


@contextmanager
def open_draft(parent: AnyPath) -> Iterator[Draft]:
    """A draft of a folder in `parent`; whatever is not published is removed afterwards."""
    if isinstance(parent, ObjectPath):
        with tempfile.TemporaryDirectory(prefix="triptych-") as folder:
            yield _ObjectDraft(Path(folder), parent)
        return
    parent.mkdir(parents=True, exist_ok=True)
    _clear_left_overs(parent)
    aside = Path(tempfile.mkdtemp(prefix=".", suffix=INCOMPLETE, dir=parent))
    aside.chmod(0o755)
    try:
        yield _LocalDraft(aside, parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _clear_left_overs(parent: Path) -> None:
    """Remove the drafts of killed runs: a living run has changed its folder within a day."""
    for folder in parent.glob(f".*{INCOMPLETE}"):
        if time.time() - folder.stat().st_mtime > 86_400:
            shutil.rmtree(folder, ignore_errors=True)


class _LocalDraft(Draft):
    def __init__(self, folder: Path, parent: Path) -> None:
        super().__init__(folder)
        self._parent = parent

    def link(self, names: Sequence[tuple[str, Path]]) -> None:
        for name, made in names:
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(made, target)
            except OSError:  # not every file system has hard links
                shutil.copyfile(made, target)

    def publish(self, name: str, last: str) -> Path:
        target = self._parent / name
        if not (target / last).is_file():
            if target.exists():  # a damaged folder gives way, and is removed with what killed runs leave
                os.replace(target, Path(tempfile.mkdtemp(prefix=".", suffix=INCOMPLETE, dir=self._parent)) / name)
            os.replace(self.folder, target)
        return target


class _ObjectDraft(Draft):
    def __init__(self, folder: Path, parent: ObjectPath) -> None:
        super().__init__(folder)
        self._parent = parent
        self._origins: dict[str, ObjectPath] = {}

    def link(self, names: Sequence[tuple[str, ObjectPath]]) -> None:
        self._origins.update(names)
        at_once(self._parent, self._fetch, names)

    def publish(self, name: str, last: str) -> ObjectPath:
        target = self._parent / name
        if not (target / last).is_file():
            names = [path.relative_to(self.folder).as_posix() for path in list_files(self.folder)]
            at_once(self._parent, lambda n: self._put(n, target), [n for n in names if n != last])
            self._put(last, target)
        return target

    def _fetch(self, named: tuple[str, ObjectPath]) -> None:
        write_atomic(self.folder / named[0], named[1].read_bytes())

    def _put(self, name: str, target: ObjectPath) -> None:
        if name in self._origins:
            self._origins[name].copy_to(target / name)
        else:
            write_atomic(target / name, (self.folder / name).read_bytes())
