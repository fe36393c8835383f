"""Snapshots as the flows made them, one of each: of tests/unchanged/roots.tar.xz."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tasks.engine.snapshots import Snapshot
from tests.unchanged.make_roots import ARCHIVE


@pytest.fixture(scope="session")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("roots")
    with tarfile.open(ARCHIVE) as archive:
        members = [m for m in archive if m.name.split("/")[1] in ("snapshots", "input")]
        archive.extractall(folder, members, filter="data")
    return folder


@pytest.fixture(params=["matrix11k", "kinemask", "dsr"])
def snapshot(roots: Path, request: pytest.FixtureRequest) -> Snapshot:
    """A published snapshot, read only."""
    inputs = roots / "matrix11k" / "input" if request.param == "matrix11k" else None
    return Snapshot.open(roots / request.param, inputs=inputs)
