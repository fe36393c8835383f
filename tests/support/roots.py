"""The kinds of places that a root may be in."""

from __future__ import annotations

from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from schemas.storage import AnyPath, parse_path


def root_of(request: pytest.FixtureRequest, tmp_path: Path) -> AnyPath:
    """An empty root on a disk, in S3 or in memory, by the request's `param`."""
    match request.param:
        case "s3":
            return request.getfixturevalue("bucket") / "data"
        case "memory":
            MemoryFileSystem.store.clear()
            MemoryFileSystem.pseudo_dirs[:] = [""]
            return parse_path("memory://videos/data")
    return tmp_path / "data"
