"""A run of which too little is accepted: what it leaves, what it says, how it exits. The toy dataset stands for all."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from flows.commands import ask, demo
from flows.commands.export import main as export
from flows.engine.command import NO_PAGE, NOT_LATEST
from flows.registry import FLOWS
from tasks.datasets.registry import DATASETS
from tasks.engine.publish import YieldTooLow
from tasks.engine.snapshots import Snapshot, SnapshotError, ids_in
from tests.support.dsr_runs import sample_here, tiny_samples
from tests.support.flow_runs import (
    carry,
    command,
    draw_input,
    files_of,
    run_here,
    run_in_vain,
    start_command,
    tiny_config,
    watch,
)
from tests.support.scene_runs import simulate_here, tiny_scenes
from tests.support.snapshots import latest_folder
from tests.support.toy import flow as toy
from tests.support.toy.flow import CurateToy, curate_toy

WORDS = "the dog throws a ball to the boy who laughs at it"  # six windows
MOST, ONE, NONE = "g", "t", " "  # forbidden: 4, 1 and 0 of the windows are accepted


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "toy", "tests.support.toy.dataset:TOY")
    monkeypatch.setitem(FLOWS, "toy", "tests.support.toy.flow")


def forbidding(root: Path, letter: str, **changes: Any) -> CurateToy:
    values = {"root": root, "words": WORDS, "shard_size": 2, "count": {"forbidden": letter}, "report": False}
    return CurateToy.model_validate(values | changes)


def typed(root: Path, letter: str, *options: str) -> None:
    toy.FLOW.main(["--root", str(root), "--words", WORDS, "--shard-size", "2", "--count.forbidden", letter, *options])


# --- LATEST --------------------------------------------------------------------------------------


def test_a_run_below_the_least_yield_leaves_the_good_dataset(tmp_path: Path) -> None:
    good = curate_toy.fn(forbidding(tmp_path, MOST, min_yield=0.5))
    poor = run_in_vain(curate_toy.fn, forbidding(tmp_path, ONE, min_yield=0.5))
    assert latest_folder(tmp_path / "snapshots") == good
    assert Snapshot.open(tmp_path, poor.name).manifest.n_accepted == 1
    assert ids_in(tmp_path / "snapshots") == sorted([good.name, poor.name])


def test_the_same_run_again_ends_in_the_same_way(tmp_path: Path) -> None:
    curate_toy.fn(forbidding(tmp_path, MOST))
    config = forbidding(tmp_path, NONE, report=True)
    with pytest.raises(YieldTooLow) as first:
        curate_toy.fn(config)
    before = files_of(tmp_path)
    with pytest.raises(YieldTooLow) as second, watch(config) as computed:
        curate_toy.fn(config)
    assert str(second.value) == str(first.value)
    assert computed.counts == {}
    assert files_of(tmp_path) == before


def test_a_snapshot_that_is_latest_already_stays_so_and_is_told(tmp_path: Path) -> None:
    good = curate_toy.fn(forbidding(tmp_path, MOST))
    before = files_of(tmp_path / "snapshots")
    with pytest.raises(YieldTooLow, match=rf"{good.name} is published, and LATEST names it since an earlier run"):
        curate_toy.fn(forbidding(tmp_path, MOST, min_yield=0.9))
    assert files_of(tmp_path / "snapshots") == before


def test_the_least_yield_changes_no_key_and_no_byte(tmp_path: Path) -> None:
    curate_toy.fn(forbidding(tmp_path, MOST))
    config = forbidding(tmp_path, MOST, min_yield=0.6)
    before = files_of(tmp_path)
    with watch(config) as computed:
        curate_toy.fn(config)
    assert computed.counts == {}
    assert files_of(tmp_path) == before


def test_a_trial_is_judged_by_its_own_rows(tmp_path: Path) -> None:
    """The first two windows: "the dog" has the forbidden letter."""
    curate_toy.fn(forbidding(tmp_path / "half", MOST, limit=2, min_yield=0.5))
    with pytest.raises(YieldTooLow, match=r"^1 of 2 rows was accepted \(50 %\), fewer than --min-yield 0.6"):
        curate_toy.fn(forbidding(tmp_path / "more", MOST, limit=2, min_yield=0.6))


@pytest.mark.parametrize("share", [-0.1, 1.1, 20, float("nan")])
def test_a_share_is_from_0_to_1(tmp_path: Path, share: float) -> None:
    with pytest.raises(ValidationError, match="min_yield"):
        forbidding(tmp_path, MOST, min_yield=share)


def test_fewer_rows_than_before_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A trial in the same root, or a manifest that was cut off: everything that went in was accepted."""
    caplog.set_level(logging.WARNING)
    whole = curate_toy.fn(forbidding(tmp_path, ""))
    curate_toy.fn(forbidding(tmp_path, ""))
    assert caplog.messages == []
    trial = curate_toy.fn(forbidding(tmp_path, "", limit=2))
    assert caplog.messages == [
        f"LATEST named {whole.name} with 6 accepted rows, and now names {trial.name} with 2",
    ]


def test_another_dataset_in_the_same_root_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scenes = simulate_here(tiny_scenes(tmp_path, sets=["simple_motion"], n_train=1, n_test=0))
    words = curate_toy.fn(forbidding(tmp_path, ""))
    assert f"LATEST named {scenes.name} with 1 accepted rows, and now names {words.name} with 6" in caplog.messages


def test_a_damaged_latest_is_replaced_by_a_good_run_and_borne_by_a_poor_one(tmp_path: Path) -> None:
    (tmp_path / "snapshots" / "LATEST").mkdir(parents=True)
    with pytest.raises(YieldTooLow):
        curate_toy.fn(forbidding(tmp_path, NONE))
    (tmp_path / "snapshots" / "LATEST").rmdir()
    (tmp_path / "snapshots" / "LATEST").write_bytes(b"\xff\xfe")
    assert curate_toy.fn(forbidding(tmp_path, MOST)) == latest_folder(tmp_path / "snapshots")


def test_datasets_loads_every_table_that_a_card_names(tmp_path: Path) -> None:
    import datasets

    for letter in (NONE, MOST):
        config = forbidding(tmp_path / letter, letter)
        folder = str(run_in_vain(curate_toy.fn, config) if letter == NONE else curate_toy.fn(config))
        names = datasets.get_dataset_config_names(folder, cache_dir=str(tmp_path / "hf"))
        assert {*names} == {
            table
            for table in Snapshot(Path(folder)).tables
            if not pl.read_parquet(f"{folder}/{table}/*.parquet").is_empty()
        }
        for name in names:
            assert datasets.load_dataset(folder, name, cache_dir=str(tmp_path / "hf"))


# --- The command ---------------------------------------------------------------------------------


def test_the_command_exits_with_a_status_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = curate_toy.fn(forbidding(tmp_path, MOST))
    for letter, options, why in [
        (NONE, ["--no-report"], "none of 6 rows was accepted; most: 6 rejected in count_letters (forbidden_letter)"),
        (ONE, ["--min-yield", "0.2"], "1 of 6 rows was accepted (16.6 %), fewer than --min-yield 0.2; most: 5"),
    ]:
        with pytest.raises(SystemExit) as ended:
            typed(tmp_path, letter, *options)
        assert ended.value.code == NOT_LATEST == 3
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith(f"YieldTooLow: {why}")
        assert f"is published, and LATEST still names {good.name}. See `triptych ask --root {tmp_path}" in last
    report = tmp_path / "reports" / (set(ids_in(tmp_path / "snapshots")) - {good.name}).pop()
    assert report.parent.is_dir(), "the page of the second was written"


def test_the_demo_exits_likewise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        demo.main(["toy", "--folder", str(tmp_path), "--count.forbidden", NONE, "--no-report"])
    assert ended.value.code == NOT_LATEST
    assert capsys.readouterr().err.splitlines()[-1].startswith("YieldTooLow: none of 4 rows was accepted")


@pytest.mark.slow
def test_the_line_is_the_last_that_a_user_sees(tmp_path: Path) -> None:
    """A folder whose only video cannot be read."""
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "dog.mp4").write_bytes(b"no video")
    log, _ = (run := start_command(command(videos, tmp_path / "out"), {})).communicate(timeout=180)
    assert run.returncode == NOT_LATEST, log
    assert log.splitlines()[-1].startswith("YieldTooLow: none of 1 rows was accepted; most: 1 failed in split_scenes")
    assert log.count("none of 1 rows") == 1
    assert "Traceback" not in log
    assert not (tmp_path / "out" / "snapshots" / "LATEST").exists()


def test_a_page_that_cannot_be_written_is_told_behind_the_dataset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("no such template")

    with monkeypatch.context() as broken:
        broken.setattr("tests.support.toy.dataset.write_page", fail)
        with pytest.raises(SystemExit) as ended:
            typed(tmp_path, MOST)
        with pytest.raises(YieldTooLow) as worse:
            curate_toy.fn(forbidding(tmp_path, NONE, report=True))
    assert isinstance(worse.value.__cause__, ValueError)
    assert ended.value.code == NO_PAGE == 4
    good = latest_folder(tmp_path / "snapshots")
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"ReportFailed: {good} is published and LATEST names it, but its page could not be written: "
        "ValueError: no such template. The same command writes only the page; --no-report writes none"
    )
    config = forbidding(tmp_path, MOST, report=True)
    with watch(config) as computed:
        curate_toy.fn(config)
    assert computed.counts == {}
    assert (tmp_path / "reports" / good.name / "index.html").is_file()


# --- What reads it -------------------------------------------------------------------------------


def test_without_a_latest_every_reader_names_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    poor = run_in_vain(curate_toy.fn, forbidding(tmp_path, NONE))
    there = rf"no snapshot in .* is LATEST: too few rows were accepted; name one \(--snapshot\): {poor.name}$"
    with pytest.raises(SnapshotError, match=there):
        Snapshot.open(tmp_path)
    for main, options in ((ask.main, []), (ask.main, ["failed"]), (export, ["--folder", str(tmp_path / "out")])):
        with pytest.raises(SystemExit, match=f"^SnapshotError: {there}"):
            main(["--root", str(tmp_path), *options])
    ask.main(["--root", str(tmp_path), "--snapshot", poor.name])
    assert f"6 rejected count_letters forbidden_letter\n\nsnapshots: {poor.name}\n" in capsys.readouterr().out
    good = curate_toy.fn(forbidding(tmp_path, MOST))
    ask.main(["--root", str(tmp_path)])
    assert f"{good.name} (LATEST)" in capsys.readouterr().out


# --- The flows -----------------------------------------------------------------------------------


def test_matrix11k_counts_bad_lines_and_unreadable_videos(tmp_path: Path) -> None:
    """A good video, a broken one, a line that is none: one of three."""
    manifest = draw_input(tmp_path / "in", [carry("yellow", "red"), carry("blue", "orange")])
    (tmp_path / "in" / "blue-orange.mp4").write_bytes(b"no video")
    manifest.write_text(f"{manifest.read_text()}no line\n")
    config = tiny_config(manifest, tmp_path / "out")
    good = run_here(config.model_copy(update={"min_yield": 1 / 3}))
    poor = config.model_copy(update={"min_yield": 0.34})
    with pytest.raises(YieldTooLow, match=r"^1 of 3 rows was accepted \(33.3 %\).* LATEST names it since"):
        run_here(poor)
    (tmp_path / "in" / "yellow-red.mp4").write_bytes(b"broken since")
    run_in_vain(run_here, config)
    assert latest_folder(config.snapshots) == good


def test_kinemask_asked_for_nothing_leaves_its_dataset(tmp_path: Path) -> None:
    good = simulate_here(tiny_scenes(tmp_path, sets=["simple_motion"], n_train=1, n_test=0))
    empty = run_in_vain(simulate_here, tiny_scenes(tmp_path, n_train=0, n_test=0), report=True)
    assert (tmp_path / "reports" / empty.name / "index.html").is_file()
    assert latest_folder(tmp_path / "snapshots") == good
    for options in ([], ["--limit", "1"]):
        with pytest.raises(SystemExit, match=r"^SnapshotError: kinemask-\w+ has no accepted row to export: 0 inputs ="):
            export(["--root", str(tmp_path), "--snapshot", empty.name, "--folder", str(tmp_path / "out"), *options])
    assert not (tmp_path / "out").exists()


def test_dsr_counts_samples_and_tells_that_there_is_no_pair(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    few: dict[str, Any] = {"grammar": {"n_train": 1, "n_test": 0}, "seeds_train": 1, "score": {"min_found": 1}}
    sample_here(tiny_samples(tmp_path, **few, min_yield=1.0))
    assert "there is no pair" in caplog.text
    none = run_in_vain(sample_here, tiny_samples(tmp_path, **few | {"score": {"min_found": 1000}}))
    with pytest.raises(SystemExit, match=r"^SnapshotError: dsr-\w+ has no accepted row to export"):
        export(["--root", str(tmp_path), "--snapshot", none.name, "--folder", str(tmp_path / "out")])
