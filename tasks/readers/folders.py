"""What lies below a folder: files, and what cannot be read as one.

    list_folder(Path("videos")) -> Folder(files=[Path("videos/dog.mp4"), ...], others={Path("videos/pipe.mp4"): error})

Files are those of schemas.storage.list_files. Links to folders are not followed, so that a circle of them has an end.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

from schemas.regular_files import require_regular
from schemas.storage import AnyPath, list_files
from tasks.readers.lines import ManifestError


class Folder(NamedTuple):
    """The contents of a folder, at any depth."""

    files: list[Any]  # paths, sorted
    others: dict[Path, OSError]  # pipes, links to nothing, folders that may not be listed, ..., and what is wrong


def list_folder(folder: AnyPath) -> Folder:
    """Everything below a folder, at any depth. Raises ManifestError if it cannot be listed."""
    try:
        return _walk(folder) if isinstance(folder, Path) else Folder(list_files(folder), {})
    except OSError as error:
        raise ManifestError(f"{folder} cannot be listed: {error.strerror}") from error


def _walk(folder: Path) -> Folder:
    """Raises OSError if the folder itself cannot be listed."""
    files: list[Path] = []
    others: dict[Path, OSError] = {}
    unread = [folder]
    while unread:  # not by recursion: folders may lie in each other a thousand times
        place = unread.pop()
        try:
            entries = [*os.scandir(place)]
        except OSError as error:
            if place == folder:
                raise
            others[place] = error
            continue
        for entry in entries:
            path = place / entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    unread.append(path)
                elif not stat.S_ISDIR((found := entry.stat()).st_mode):
                    require_regular(found, path)
                    files.append(path)
            except OSError as error:
                others[path] = error
    return Folder(sorted(files), dict(sorted(others.items())))
