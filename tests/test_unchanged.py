"""A root that an earlier commit made: the code of today computes nothing in it and writes the same bytes.

tests/unchanged/roots.tar.xz holds one of each flow; tests/unchanged/make_roots.py made it and says when to renew it.
"""

from __future__ import annotations

import hashlib
import importlib
import shutil
import tarfile
from pathlib import Path

import pytest
from pydantic_settings import CliApp

from tests.unchanged.make_roots import ARCHIVE, RUNS

# A dataset card tells where the code lies that rebuilds velocity masks; that file has moved.
MOVED = (b"tasks/velocity_masks.py", b"tasks/media/velocity_masks.py")
FLOWS = {"matrix11k": "CurateMatrix11k", "kinemask": "CurateKinemask", "dsr": "CurateDsr"}


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("roots")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def root(roots: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a flow's root, which is the working folder."""
    shutil.copytree(roots / name, tmp_path / name)
    monkeypatch.chdir(tmp_path / name)
    return tmp_path / name


def run_again(name: str) -> None:
    flow_file = importlib.import_module(f"flows.curate_{name}")
    config = CliApp.run(getattr(flow_file, FLOWS[name]), cli_args=[*RUNS[name], "--no-report"])
    getattr(flow_file, f"curate_{name}").fn(config)


def contents(folder: Path) -> dict[str, str]:
    """{path: hash} of every file, but for what readers note about files of this machine."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes().replace(*MOVED)).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "known" not in path.relative_to(folder).parts
    }


@pytest.mark.parametrize("name", RUNS)
def test_a_root_of_an_earlier_commit_is_complete(name: str, root: Path) -> None:
    """No row is computed, no file is added, none is written anew."""
    before = contents(root)
    written = {path: path.stat().st_mtime_ns for path in root.rglob("*.json") if "rows" in path.parts}
    assert written
    run_again(name)
    assert contents(root) == before
    assert {path: path.stat().st_mtime_ns for path in written} == written


@pytest.mark.parametrize("name", RUNS)
def test_known_rows_give_the_same_tables_and_the_same_snapshot(name: str, root: Path) -> None:
    """Only the rows' results are left: shards, tables and snapshot come out as they were, byte for byte."""
    before = contents(root)
    shutil.rmtree(root / "work" / "shards")
    shutil.rmtree(root / "snapshots")
    run_again(name)
    # The shards of sources are not planned again: what they were split into is recalled row by row.
    after = contents(root)
    assert after.items() <= before.items()
    assert {path for path in before if path.endswith(".parquet") or "snapshots" in path} <= after.keys()
