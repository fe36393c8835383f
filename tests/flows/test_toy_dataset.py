"""A dataset of its own, registered in two lines: the core takes it from plan to page without knowing it."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.commands import cli
from flows.registry import FLOWS
from tasks.datasets.registry import DATASETS
from tasks.engine.lease import RUNNING, SILENCE_S
from tasks.engine.snapshots import Snapshot
from tests.support.toy.dataset import LettersRow
from tests.support.toy.flow import CurateToy, curate_toy

REPOSITORY = Path(__file__).resolve().parents[2]
WORDS = "the dog throws a ball to the boy who laughs at it"
RUN = "import sys; from tests.support.toy.flow import *; curate_toy.fn(CurateToy.model_validate_json(sys.argv[1]))"


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "toy", "tests.support.toy.dataset:TOY")
    monkeypatch.setitem(FLOWS, "toy", "tests.support.toy.flow")


def config_for(root: Path, **changes: object) -> CurateToy:
    return CurateToy.model_validate(
        {"root": root, "words": WORDS, "shard_size": 2, "count": {"forbidden": "g"}} | changes
    )


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_it_is_planned_sharded_published_and_read(tmp_path: Path) -> None:
    snapshot = Snapshot(curate_toy.fn(config_for(tmp_path, report=False)))
    manifest = snapshot.manifest
    assert manifest.flow == "curate-toy"
    assert manifest.tally == "6 inputs = 4 accepted + 2 rejected + 0 failed"
    assert [(step.stage, step.unit, step.given, step.passed) for step in manifest.funnel] == [
        ("count_letters", "windows", 6, 4)
    ]
    assert len(manifest.shards) == 3
    assert {row.text: row.letters for row in snapshot.rows(LettersRow)}["throws a"] == 7
    assert "Words, counted." in (snapshot.folder / "README.md").read_text()


def test_killed_in_the_midst_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    curate_toy.fn(config_for(tmp_path / "whole"))
    killed = config_for(tmp_path / "killed")
    environment = os.environ | {"TOY_KILL": "the boy", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", RUN, killed.model_dump_json()]
    died = subprocess.run(command, cwd=REPOSITORY, env=environment, check=False, capture_output=True)
    assert died.returncode == -signal.SIGKILL
    n_kept = len(list((tmp_path / "killed" / "work" / "rows").rglob("*.json")))
    assert 0 < n_kept < 6
    preview = tmp_path / "killed" / "reports" / "preview" / "index.html"
    assert "1 of 6 rows has ended" in preview.read_text()
    assert (tmp_path / "killed" / RUNNING).is_file()
    began_s = time.monotonic()
    snapshot = curate_toy.fn(killed)  # at once: the dead process holds the root no more
    assert time.monotonic() - began_s < SILENCE_S / 2
    assert not (tmp_path / "killed" / RUNNING).exists()
    assert contents(tmp_path / "killed" / "snapshots") == contents(tmp_path / "whole" / "snapshots")
    assert f"../{snapshot.name}/index.html" in preview.read_text()


def test_its_commands_are_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--root", str(tmp_path), "--words", WORDS, "--count.forbidden", "g"]
    cli.main(["curate", "toy", *options, "--dry-run"])
    assert capsys.readouterr().out.splitlines()[1].split() == ["count_letters", "0", "6"]
    assert not list(tmp_path.iterdir())

    curate_toy.fn(config_for(tmp_path, report=False))
    cli.main(["curate", "toy", *options, "--dry-run"])
    assert "nothing is to be computed" in capsys.readouterr().out

    cli.main(["ask", "--root", str(tmp_path)])
    assert "2 rejected count_letters forbidden_letter" in capsys.readouterr().out
    cli.main(["ask", "--root", str(tmp_path), "clip", "throws"])
    assert "accepted\n  letters    7" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"toy has no other form .* exported: matrix11k, kinemask, dsr, videos$"):
        cli.main(["export", "--root", str(tmp_path), "--folder", str(tmp_path / "out")])
    cli.main(["curate", "toy", "--help"])
    assert "--words" in capsys.readouterr().out


def test_its_page_is_written(tmp_path: Path) -> None:
    folder = curate_toy.fn(config_for(tmp_path))
    page = (tmp_path / "reports" / folder.name / "index.html").read_text()
    assert "count_letters" in page
    assert "forbidden_letter" in page
