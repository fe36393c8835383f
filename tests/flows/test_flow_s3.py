"""Whole runs whose manifest, videos and root lie in a bucket: the snapshot is that of a run on a disk."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flows.commands import ask
from flows.commands.export import main as export
from flows.curate_matrix11k import CurateMatrix11k
from flows.engine.dispatch import ShardsFailed
from schemas.matrix11k import TABLES
from schemas.outcome import ServiceDown
from schemas.storage import AnyPath, list_files, parse_path
from tasks.engine.snapshots import Snapshot, ids_in
from tasks.pages.usage import usage_of
from tests.support.dsr_runs import sample_here, tiny_samples
from tests.support.endpoint import LocalEndpoint
from tests.support.flow_runs import (
    FEW_FRAMES,
    SCENES,
    answer_of,
    command,
    draw_input,
    ends,
    point_at,
    run_here,
    run_in_vain,
    start_command,
    table,
    tiny_config,
    write_manifest,
)
from tests.support.prefect_stack import PLAN, SHARDS, PrefectStack
from tests.support.s3_server import S3Server, bucket, s3, s3_server  # noqa: F401 - fixtures
from tests.support.scene_runs import simulate_here, tiny_scenes
from tests.support.snapshots import latest_folder

pytestmark = pytest.mark.slow

# Accepted, rejected by its caption, rejected by grounding.
FEW_SCENES = (SCENES[0], SCENES[3], SCENES[4])
MANIFEST, ROOT = "s3://videos/in/manifest.jsonl", "s3://videos/data"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest on the disk: scenes, and lines that end early."""
    folder = tmp_path_factory.mktemp("in")
    draw_input(folder, FEW_SCENES)
    (folder / "broken film.mp4").write_bytes(b"no film")
    bad = [{"video": "broken film.mp4", "caption": "A boy kicks a ball."}, {"video": "gone.mp4"}, {"video": "../x.mp4"}]
    return write_manifest(folder, [scene.line for scene in FEW_SCENES] + bad)


@pytest.fixture(scope="module")
def expected(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The snapshot of a run on the disk."""
    return run_here(tiny_config(drawn, tmp_path_factory.mktemp("expected")))


@pytest.fixture
def uploaded(drawn: Path, s3: S3Server, bucket: AnyPath) -> S3Server:  # noqa: F811
    s3.upload(drawn.parent, "videos", "in")
    s3.asked.clear()
    return s3


@pytest.fixture
def computed(uploaded: S3Server, expected: Path) -> S3Server:
    """All work is done and lies in the bucket; nothing is published."""
    uploaded.upload(expected.parent.parent / "work", "videos", "data/work")
    uploaded.asked.clear()
    return uploaded


def config(manifest: str | Path = MANIFEST, root: str | Path = ROOT, **changes: Any) -> CurateMatrix11k:
    return CurateMatrix11k(manifest=manifest, root=root, ground=FEW_FRAMES, **changes)


def contents(folder: AnyPath) -> dict[str, str]:
    """{path: SHA-256} of every file below a folder, on a disk or in a bucket."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in list_files(folder)}


def assert_same(got: AnyPath | None, expected: Path) -> None:
    assert got is not None
    assert (got.name, contents(got)) == (expected.name, contents(expected))


def test_the_snapshot_is_byte_for_byte_that_of_a_disk_and_a_second_run_redoes_nothing(
    uploaded: S3Server, expected: Path
) -> None:
    snapshot = run_here(config())
    assert str(snapshot) == f"{ROOT}/snapshots/{expected.name}"
    assert_same(snapshot, expected)
    assert Counter(status for status, _, _ in ends(expected).values()) == {"accepted": 1, "rejected": 2, "failed": 3}
    rows = [asked.path for asked in uploaded.asked if asked.method == "PUT" and "/rows/" in asked.path]
    assert len(rows) == len(set(rows)) == len(list((expected.parent.parent / "work" / "rows").rglob("*.json")))
    uploaded.asked.clear()
    assert run_here(config()) == snapshot
    put = [asked.path.removeprefix("/videos/data/") for asked in uploaded.asked if asked.method == "PUT"]
    assert put == ["running.json", "snapshots/LATEST", "running.json"]
    assert uploaded.count("GET", r"\.mp4$") == 0, "videos that are known are not fetched"


def test_simulated_clips_in_a_bucket_are_those_of_a_disk_with_a_report(
    s3: S3Server,  # noqa: F811
    bucket: AnyPath,  # noqa: F811
    tmp_path: Path,
) -> None:
    few = {"n_train": 1, "n_test": 0}
    here = simulate_here(tiny_scenes(tmp_path, **few))
    there = simulate_here(tiny_scenes(parse_path(ROOT), **few), report=True)
    assert_same(there, here)
    page = parse_path(ROOT) / "reports" / here.name
    assert {"index.html"} < {path.name for path in list_files(page)}


def test_samples_in_a_bucket_are_those_of_a_disk_with_a_report_and_given_videos_are_read_from_one(
    s3: S3Server,  # noqa: F811
    bucket: AnyPath,  # noqa: F811
    tmp_path: Path,
) -> None:
    few: dict[str, Any] = {"grammar": {"n_train": 1, "n_test": 0}, "seeds_train": 2}
    here = sample_here(tiny_samples(tmp_path / "drawn", **few))
    there = sample_here(tiny_samples(parse_path(ROOT), **few), report=True)
    assert_same(there, here)
    assert (s3.count("PUT", "/work/blobs/"), s3.count("GET", "/work/blobs/")) == (2, 2)
    page = parse_path(ROOT) / "reports" / here.name
    assert {"index.html"} < {path.name for path in list_files(page)}

    export(["--root", str(tmp_path / "drawn"), "--folder", str(tmp_path / "out")])
    s3.upload(tmp_path / "out/videos", "videos", "given")
    folder: dict[str, Any] = {"generate": {"generator": "folder"}, "seeds_train": 2, "prompts_split": "train"}
    prompts = tmp_path / "out/metadata.csv"
    local = tiny_samples(tmp_path / "local", videos=tmp_path / "out/videos", prompts=prompts, **folder)
    remote = tiny_samples(tmp_path / "remote", videos="s3://videos/given", prompts=prompts, **folder)
    assert_same(run_in_vain(sample_here, remote), run_in_vain(sample_here, local))


def test_work_that_moved_into_a_bucket_is_not_done_again(computed: S3Server, expected: Path) -> None:
    assert_same(run_here(config()), expected)
    assert computed.count("PUT", "/rows/|/tables-") == 0


@pytest.mark.parametrize("manifest_in_bucket", [True, False])
def test_manifest_and_root_may_lie_apart(
    computed: S3Server, drawn: Path, expected: Path, tmp_path: Path, manifest_in_bucket: bool
) -> None:
    shutil.copytree(expected.parent.parent / "work", tmp_path / "work")
    apart = config(root=tmp_path) if manifest_in_bucket else config(manifest=drawn)
    assert_same(run_here(apart), expected)


def test_a_report_in_a_bucket_is_that_of_a_disk(
    computed: S3Server, drawn: Path, expected: Path, tmp_path: Path
) -> None:
    shutil.copytree(expected.parent.parent / "work", tmp_path / "work")
    here, there = run_here(tiny_config(drawn, tmp_path), report=True), run_here(config(), report=True)
    reports = parse_path(ROOT) / "reports" / there.name
    ours, theirs = contents(tmp_path / "reports" / here.name), contents(reports)
    assert ours.keys() == theirs.keys()
    assert {name for name in ours if ours[name] != theirs[name]} == {"index.html"}
    page = (reports / "index.html").read_text()
    assert page.replace(ROOT, str(tmp_path)) == (tmp_path / "reports" / here.name / "index.html").read_text()


def test_a_dataset_in_a_bucket_can_be_asked(
    computed: S3Server, expected: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="SnapshotError: nothing was published in s3://videos/data/snapshots"):
        ask.main(["--root", ROOT])
    run_here(config())
    for words in ([], ["failed"], ["clip", FEW_SCENES[0].video]):
        ask.main(["--root", ROOT, *words])
        said = capsys.readouterr().out
        ask.main(["--root", str(expected.parent.parent), *words])
        assert said == capsys.readouterr().out
    computed.refuse("GET", "LATEST", 403)
    with pytest.raises(SystemExit, match=r"ServiceDown: s3://videos/data/snapshots/LATEST: .*AWS_ACCESS_KEY_ID"):
        ask.main(["--root", ROOT])


def test_what_models_were_asked_and_said_lies_in_the_bucket(
    uploaded: S3Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asking = config(extract={"llm": "openai"})
    with LocalEndpoint(answers=answer_of) as llm:
        point_at(llm, monkeypatch)
        snapshot = run_here(asking, report=True)
        n_calls = llm.calls
        assert n_calls > 4
        assert run_here(asking, report=True) == snapshot
        for path in list_files(asking.work.root / "rows" / "extract_triplets"):
            uploaded.client.delete_object(Bucket="videos", Key=str(path).removeprefix("s3://videos/"))
        assert run_here(asking) == snapshot
        assert llm.calls == n_calls, "replies are kept"
    usage = usage_of(asking.root / "reports" / snapshot.name)
    assert usage is not None
    ask.main(["--root", ROOT])
    assert usage.line() in capsys.readouterr().out


def test_polars_reads_the_bucket_itself(computed: S3Server, expected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = run_here(config())
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")  # polars asks no server without TLS unless it is told to
    for name in TABLES:
        frame = pl.read_parquet(f"{snapshot}/{name}/*.parquet")
        assert frame.equals(table(expected, name))


# --- Trouble -----------------------------------------------------------------------------------


def test_without_its_manifest_a_snapshot_is_not_there(
    computed: S3Server, expected: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    computed.refuse("PUT", r"/snapshots/.*/manifest\.json$", 403)
    with pytest.raises(ServiceDown, match=r"manifest\.json"):
        run_here(config())
    snapshots = parse_path(ROOT) / "snapshots"
    assert computed.count("PUT", r"/snapshots/.*\.parquet$") == len(list(expected.rglob("*.parquet")))
    assert (Snapshot.latest(snapshots), ids_in(snapshots)) == (None, [])
    with pytest.raises(SystemExit, match="no snapshot"):
        ask.main(["--root", ROOT, "--snapshot", expected.name])
    computed.relent()
    assert_same(run_here(config()), expected)


def test_a_store_in_trouble_is_no_rows_verdict(uploaded: S3Server, expected: Path) -> None:
    uploaded.refuse("PUT", "/rows/propagate_masks/", 403)
    with pytest.raises(ShardsFailed, match=r"ServiceDown: s3://videos/data/work/rows/propagate_masks/.*AWS_"):
        run_here(config())
    assert Snapshot.latest(parse_path(ROOT) / "snapshots") is None
    uploaded.relent()
    uploaded.asked.clear()
    assert_same(run_here(config()), expected)
    assert uploaded.count("PUT", "/rows/(extract|ground)") == 0


def test_a_video_that_is_replaced_meanwhile_is_noticed(uploaded: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    other = FEW_SCENES[1].video
    monkeypatch.setenv("TRIPTYCH_CACHE_GB", "0")  # as on another machine than the planner's
    uploaded.on(  # once all is planned
        "PUT",
        "0-planned.json",
        lambda: uploaded.client.put_object(Bucket="videos", Key=f"in/{other}", Body=b"another film"),
    )
    outcomes = table_in_store(run_here(config()), "outcomes")
    changed = outcomes.filter(pl.col("video") == other).select("status", "reason", "retryable").rows()
    assert changed == [("failed", "input_changed", True)]


def table_in_store(snapshot: AnyPath, name: str) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path.read_bytes()) for path in sorted((snapshot / name).glob("*.parquet"))])


# --- With Prefect ------------------------------------------------------------------------------


def test_a_killed_command_publishes_what_an_unkilled_one_does(
    uploaded: S3Server, expected: Path, tmp_path: Path
) -> None:
    """Killed after all tables were uploaded and before the manifest was."""
    env = {"PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    uploaded.refuse("PUT", r"/snapshots/.*/manifest\.json$", 503)
    killed = start_command(command(parse_path(MANIFEST), parse_path(ROOT)), env)
    while not uploaded.count("PUT", r"/snapshots/.*/manifest\.json$"):
        assert killed.poll() is None
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    snapshots = parse_path(ROOT) / "snapshots"
    assert (Snapshot.latest(snapshots), ids_in(snapshots)) == (None, [])
    uploaded.relent()
    said = run_to_end(command(parse_path(MANIFEST), parse_path(ROOT)), env)
    assert_same(latest_folder(snapshots), expected)
    assert f"report {ROOT}/reports/{expected.name}/index.html" in said


def run_to_end(arguments: list[str], env: dict[str, str]) -> str:
    with start_command(arguments, env) as process:
        try:
            said, _ = process.communicate(timeout=180)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == 0, said
    return str(said)


def test_deployed_workers_share_nothing_but_the_bucket(uploaded: S3Server, expected: Path, tmp_path: Path) -> None:
    parameters = config(dispatch={"deployment": "curate-matrix11k-shard/default", "poll_s": 1}, shard_size=2)
    with PrefectStack(tmp_path, uploaded.env) as stack:
        stack.deploy()
        for pool in (PLAN, SHARDS):
            stack.env["TRIPTYCH_CACHE"] = str(tmp_path / f"cache of {pool}")
            stack.start_worker(pool)
        run_id = stack.start("curate-matrix11k/default", {"config": json.loads(parameters.model_dump_json())})
        stack.wait_for(run_id, "COMPLETED")
        assert len(stack.shards_of(run_id)) > 2
    snapshot = latest_folder(parse_path(ROOT) / "snapshots")
    for name in TABLES:
        ours, theirs = table_in_store(snapshot, name), table(expected, name)
        assert sorted(ours.rows(), key=repr) == sorted(theirs.rows(), key=repr), name
