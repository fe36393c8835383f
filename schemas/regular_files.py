"""Regular files only: a named pipe would wait for ever, and a device has no end. What was read of one is kept.

    with open_regular(Path("dog.mp4")) as file:      # a named pipe: NotRegular
        file.read()

    @kept_while_unchanged(256)
    def clock_of(video: Path | bytes) -> Clock: ...  # reads a file again only when it has changed

A name can change its meaning between a look and a read, so what is opened is looked at again.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, BinaryIO, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotRegular(OSError):
    """What a path names is a pipe, a socket or a device; `strerror` says which."""


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file to read its bytes; never waits. Raises NotRegular; OSError as `open` does."""
    require_regular(path.stat(), path)  # before: some devices act when they are opened
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        require_regular(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    return open(descriptor, "rb")


def require_regular(found: os.stat_result, path: Path) -> None:
    """Raises NotRegular or IsADirectoryError unless `found`, the stat of `path`, is a regular file's."""
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "of an unknown kind")
        raise NotRegular(errno.EINVAL, f"it is {kind}; only regular files are read", str(path))


def kept_while_unchanged(
    n_files: int,
) -> Callable[[Callable[Concatenate[S, P], T]], Callable[Concatenate[S, P], T]]:
    """Keep what a function reads of its first argument, a path, for the latest n_files.

    What is no path (bytes) is not kept. A path that cannot be looked at is read, which says why it cannot.
    """

    def decorate(read: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
        def read_in_state(source: Any, state: tuple[int, ...], /, *args: Any, **named: Any) -> T:
            return read(source, *args, **named)

        kept: Callable[..., T] = lru_cache(maxsize=n_files)(read_in_state)

        @wraps(read)
        def read_or_recall(source: S, /, *args: P.args, **named: P.kwargs) -> T:
            if not isinstance(source, Path):
                return read(source, *args, **named)
            try:
                found = source.stat()
            except OSError:
                return read(source, *args, **named)
            state = (found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev)
            return kept(source, state, *args, **named)

        return read_or_recall

    return decorate
