"""Regular files only: a named pipe would wait for ever, and a device has no end.

    with open_regular(Path("dog.mp4")) as file:      # a named pipe: NotRegular
        file.read()

A name can change its meaning between a look and a read, so what is opened is looked at again.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

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
