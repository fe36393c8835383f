"""SIGKILL at any moment and the same command again: the snapshot is that of a run that was never killed.

The command is the user's own, as a process of its own. Some of its runs show in a Prefect server on loopback.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest

from flows.commands import ask
from schemas.storage import INCOMPLETE
from tasks.engine.snapshots import Snapshot
from tests.support.flow_runs import (
    Scene,
    assert_same_snapshot,
    carry,
    command,
    draw_input,
    ends,
    files_of,
    start_command,
)
from tests.support.snapshots import latest_folder
from tests.support.stages import MATRIX11K_STAGES

pytestmark = pytest.mark.slow

STAGES = (
    *("read_manifest", "split_scenes", "first_rows", "extract_triplets", "ground_instances", "propagate_masks"),
    *("check_tracks", "write_shard", "publish_snapshot", "write_report"),
)
# After the tables of one shard comes another shard or, after the last one, the snapshot.
FOLLOWING = dict(pairwise(STAGES)) | {"write_shard": None, "write_report": None}
SCENES = (
    carry("yellow", "red"),
    carry("blue", "orange"),
    carry("green", "red"),
    Scene("quiet", (("blue", "red"),), "A quiet green valley under a pale sky."),
)
SHARD_SIZE = 2
MAX_RUN_S = 120
STOPPED_S = 20

# --- A run whose log is followed ---------------------------------------------------------------


class Ambush(NamedTuple):
    """When to kill a run: so long after it has entered a stage."""

    stage: str
    delay_s: float


class FollowedRun:
    """The command in a process group of its own; which stage it is in, as its log tells."""

    def __init__(self, manifest: Path, root: Path, env: dict[str, str], ambush: Ambush | None = None) -> None:
        self.root, self.ambush = root, ambush
        self.progress = Progress()
        self.log: list[str] = []
        self.entered_s: dict[str, float] = {}  # when a stage was first entered, after the start
        self.stay_s: dict[str, float] = {}  # how long the first stay in it took: with several shards there are more
        self.started_s = time.monotonic()
        self._process = start_command(command(manifest, root, "--shard-size", str(SHARD_SIZE)), env)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.log.append(line.rstrip())
            before = self.progress.stage
            self.progress.read(line)
            if self.progress.stage != before:
                self._note_move(before, self.progress.stage, time.monotonic() - self.started_s)

    def _note_move(self, before: str | None, stage: str | None, now_s: float) -> None:
        if before is not None:
            self.stay_s.setdefault(before, now_s - self.entered_s[before])
        if stage is not None and stage not in self.entered_s:
            self.entered_s[stage] = now_s
            if self.ambush is not None and self.ambush.stage == stage:
                # From this very thread: the shortest stage is over in hundredths of a second.
                time.sleep(self.ambush.delay_s)
                with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                    os.killpg(self._process.pid, signal.SIGKILL)

    def stalk(self, stage: str, n_slices: int) -> None:
        """Kill it in a clip stage that is over before its log is read: n slices of time after it was seen there.

        From the first clip stage on it runs for a few milliseconds at a time, and while it stands still its
        log is read.
        """
        while self._process.poll() is None:
            if self.progress.stage not in MATRIX11K_STAGES:
                time.sleep(0.005)
                continue
            os.killpg(self._process.pid, signal.SIGSTOP)
            time.sleep(0.01)
            if self.progress.stage == stage:
                if n_slices == 0:
                    os.killpg(self._process.pid, signal.SIGKILL)
                    return
                n_slices -= 1
            os.killpg(self._process.pid, signal.SIGCONT)
            time.sleep(0.004)

    def end(self) -> str | None:
        """Wait for its end: the stage in which it was killed ('no stage': in none), or None if it completed."""
        code = self._process.wait(MAX_RUN_S)
        self._reader.join(STOPPED_S)
        if code == -signal.SIGKILL:
            return self.progress.stage or "no stage"
        assert code == 0, "\n".join(self.log)
        return None


class Progress:
    """Which stage a run is in, by its log; None before the first, between shards and after the last."""

    def __init__(self) -> None:
        self.stage: str | None = None
        self._is_last_shard = False

    def read(self, line: str) -> None:
        if (step := re.search(r"\| INFO +\| (\w+)$", line)) and step[1] in STAGES:  # without Prefect, as it begins
            self.stage = step[1]
        elif "Beginning flow run" in line:
            self.stage = "read_manifest"
        elif finished := re.search(r"Task run '(\w+)' - Finished in state", line):
            self.stage = FOLLOWING[finished[1]]
        elif re.search(r": \d+ inputs = \d+ accepted", line):
            self.stage = None
        elif re.search(r" clips in \d+ shards, 0 of them to do", line):
            self.stage = "publish_snapshot"
        elif re.search(r" clips in \d+ shards,|split_scenes: 0 of", line):
            self.stage = "first_rows"
        elif shard := re.search(r" shard (\d+) of (\d+): ", line):
            self._is_last_shard = shard[1] == shard[2]
            self.stage = self.stage or "extract_triplets"
        elif "Flow run 'shard-" in line and "Finished in state" in line and self._is_last_shard:
            self.stage = self.stage or "publish_snapshot"


# --- One server, one input, one run that is never killed ---------------------------------------


@pytest.fixture(scope="module")
def server_env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment that leads to a Prefect server on loopback."""
    home, port = tmp_path_factory.mktemp("prefect"), free_port()
    quiet = quiet_env(home)
    arguments = [*(sys.executable, "-m", "prefect", "server", "start"), *("--host", "127.0.0.1", "--port", str(port))]
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(
            [*arguments, "--no-ui"], env=os.environ | quiet, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}/api/health", server, home / "server.log")
        yield quiet | {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    finally:
        server.terminate()
        try:
            server.wait(STOPPED_S)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


def quiet_env(home: Path) -> dict[str, str]:
    return {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "OPENCV_FOR_THREADS_NUM": "1",
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_healthy(url: str, server: subprocess.Popen[bytes], log: Path, patience_s: float = 90) -> None:
    give_up_s = time.monotonic() + patience_s
    while time.monotonic() < give_up_s and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"the Prefect server does not answer:\n{log.read_text()}")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_input(tmp_path_factory.mktemp("input"), SCENES)


@pytest.fixture(scope="module")
def plain_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which no Prefect API is configured."""
    return quiet_env(tmp_path_factory.mktemp("prefect"))


@pytest.fixture(scope="module")
def unkilled(manifest: Path, plain_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> FollowedRun:
    """A run that was never killed."""
    run = FollowedRun(manifest, tmp_path_factory.mktemp("unkilled"), plain_env)
    assert run.end() is None
    return run


@pytest.fixture(scope="module")
def expected(unkilled: FollowedRun) -> Path:
    """The snapshot of that run."""
    snapshot: Path = latest_folder(unkilled.root / "snapshots")
    assert Counter(status for status, _, _ in ends(snapshot).values()) == {"accepted": 3, "rejected": 1}
    return snapshot


def assert_nothing_half(root: Path, expected: Path) -> None:
    """What a kill left behind is whole: each Parquet file can be read, each snapshot that shows is complete."""
    for path in root.rglob("*.parquet"):
        pq.read_table(path)
    snapshots = root / "snapshots"
    shown = [p for p in snapshots.glob("*") if p.is_dir() and not p.name.startswith(".")]
    for snapshot in shown:
        assert_same_snapshot(snapshot, expected)
    if (latest := Snapshot.latest(snapshots)) is not None:
        assert latest.folder in shown


def assert_finished_like(root: Path, expected: Path) -> None:
    """After the run that completed: the one snapshot, its report, and no trash in either."""
    assert_nothing_half(root, expected)
    snapshot = latest_folder(root / "snapshots")
    assert_same_snapshot(snapshot, expected)
    report = root / "reports" / snapshot.name
    assert (report / "index.html").stat().st_size > 1000
    assert not [name for name in (*files_of(snapshot), *files_of(report)) if name.endswith(".tmp")]


# --- The kills ---------------------------------------------------------------------------------


def test_a_run_killed_in_every_stage_publishes_what_an_unkilled_one_does(
    manifest: Path, plain_env: dict[str, str], unkilled: FollowedRun, expected: Path, tmp_path: Path
) -> None:
    rng = random.Random(11)
    killed: Counter[str] = Counter()
    for number in range(8):
        root, missing = tmp_path / f"run-{number}", [stage for stage in STAGES if not killed[stage]]
        for target in STAGES if number < 2 else missing:
            length_s = min(4.0, unkilled.stay_s[target])
            # What the first rounds missed is too short for this machine's clock: no delay, or step by step.
            delay_s = rng.uniform(0, 0.5) * length_s if number < 2 else 0.0
            if target == "check_tracks" or (number >= 2 and target in MATRIX11K_STAGES):
                run = FollowedRun(manifest, root, plain_env)
                run.stalk(target, n_slices=rng.randrange(3))
            else:
                run = FollowedRun(manifest, root, plain_env, Ambush(target, delay_s))
            stage = run.end()
            assert_nothing_half(root, expected)
            if stage is not None:
                killed[stage] += 1
        assert FollowedRun(manifest, root, plain_env).end() is None
        assert_finished_like(root, expected)
        if number >= 1 and set(killed) >= set(STAGES):
            break
    assert set(killed) >= set(STAGES), f"not killed in every stage: {killed}"
    assert killed.total() >= 16


def test_a_run_that_prefect_shows_killed_at_random_moments_publishes_what_an_unkilled_one_does(
    manifest: Path, server_env: dict[str, str], unkilled: FollowedRun, expected: Path, tmp_path: Path
) -> None:
    rng = random.Random(5)
    n_killed, number = 0, 0
    while n_killed < 6:
        number += 1
        root = tmp_path / f"run-{number}"
        stage: str | None = "not yet run"
        for _ in range(3):
            if stage is None:
                break
            # Counted from a stage on: a run may be twice as fast as the one that was not killed.
            target = rng.choice(STAGES)
            ambush = Ambush(target, rng.uniform(0, unkilled.stay_s[target]))
            stage = FollowedRun(manifest, root, server_env, ambush).end()
            assert_nothing_half(root, expected)
            n_killed += stage is not None
        if stage is not None:
            assert FollowedRun(manifest, root, server_env).end() is None
        assert_finished_like(root, expected)
        assert number < 8, f"only {n_killed} runs were killed before they had ended"


def test_a_snapshot_that_a_kill_left_aside_is_not_shown(
    expected: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed between the manifest's writing and the rename: all files are there, but not the snapshot."""
    shutil.copytree(expected.parent, tmp_path / "snapshots")
    shutil.copytree(expected, tmp_path / "snapshots" / f".k1ll3d{INCOMPLETE}")
    ask.main(["--root", str(tmp_path)])
    shown = capsys.readouterr().out
    assert Snapshot(expected).manifest.snapshot_id in shown
    assert INCOMPLETE not in shown
