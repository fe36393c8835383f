"""`prefect deploy --all` on a terminal, `triptych deploy`, `triptych run`, and workers with checkouts of their own."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.commands.deploy import PROJECT, full_name
from flows.engine.config import DispatchConfig
from tests.support.deployed import PARENT, SHARD, Case, Deployed, assert_published, clip_shards
from tests.support.endpoint import LocalEndpoint
from tests.support.flow_runs import DRAWN_OPTIONS, REPOSITORY
from tests.support.prefect_stack import CLI_S, RUN_S, PrefectStack
from tests.support.reader import read_caption
from tests.support.snapshots import latest_folder

pytestmark = pytest.mark.slow

NAMES = {full_name(deployment) for deployment in yaml.safe_load(PROJECT.read_text())["deployments"]}
ELSEWHERE = "elsewhere"  # a pool, and the deployment of shards on it


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone; its origin is this repository."""
    folder = tmp_path_factory.mktemp("checkout") / "triptych"
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(folder)], check=True)
    return folder


def on_a_terminal(command: list[str], cwd: Path, env: dict[str, str]) -> tuple[int, str]:
    """The exit status of a command that nobody answers, and what it wrote to its terminal."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(cwd)
        os.execve(command[0], command, {**env, "TERM": "xterm"})
    written, give_up = b"", time.monotonic() + RUN_S
    with contextlib.suppress(OSError):  # it has ended
        while time.monotonic() < give_up:
            if select.select([terminal], [], [], 1)[0]:
                if not (some := os.read(terminal, 65536)):
                    break
                written += some
        else:
            os.kill(child, signal.SIGKILL)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), written.decode(errors="replace")


def triptych(stack: PrefectStack, *arguments: str, **more: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "flows.commands.cli", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=REPOSITORY, env=stack.env, stdout=pipe, stderr=pipe, text=True, **more)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=RUN_S)
    return process.returncode, out, err


def deployments_of(stack: PrefectStack) -> dict[str, Any]:
    flows = {flow["id"]: flow["name"] for flow in stack.post("/flows/filter", {})}
    return {f"{flows[d['flow_id']]}/{d['name']}": d for d in stack.post("/deployments/filter", {})}


def test_prefect_asks_nothing_on_a_terminal(deployed: Deployed, clone: Path) -> None:
    prefect = str(Path(sys.executable).parent / "prefect")
    env = {**deployed.stack.env, "PYTHONPATH": str(clone)}
    status, written = on_a_terminal([prefect, "deploy", "--all"], clone, env)
    assert status == 0, written[-2000:]
    assert "[y/n]" not in written
    found = deployments_of(deployed.stack)
    assert found.keys() >= NAMES
    assert not any(str(clone) in json.dumps(found[name]) for name in NAMES)


def test_deploying_again_changes_the_time_zone(deployed: Deployed, clone: Path) -> None:
    """On a terminal, in a folder that has no remote."""
    stack = deployed.stack
    before = deployments_of(stack)
    subprocess.run(["git", "remote", "remove", "origin"], cwd=clone, check=True)
    env = {**stack.env, "PYTHONPATH": str(clone), "TRIPTYCH_TIMEZONE": "Asia/Tokyo"}
    status, written = on_a_terminal([sys.executable, "-m", "flows.commands.cli", "deploy"], clone, env)
    assert status == 0, written
    assert "work pool triptych-gpu (resident): is there" in written
    assert "02:00 Asia/Tokyo" in written
    assert "TRIPTYCH_DSR_ROOT is not set" in written
    found = deployments_of(stack)
    assert {name: found[name]["id"] for name in NAMES} == {name: before[name]["id"] for name in NAMES}
    nightly = found["curate-matrix11k/nightly"]
    assert [schedule["schedule"]["timezone"] for schedule in nightly["schedules"]] == ["Asia/Tokyo"]
    assert "02:00 Asia/Tokyo" in nightly["description"]


def test_a_run_is_followed_to_its_end(deployed: Deployed, published: Path, tmp_path: Path) -> None:
    """Options are merged into the deployment's config: its manifest and its dispatch stay."""
    stack = deployed.stack
    options = ("--limit", "1", "--root", str(tmp_path), *DRAWN_OPTIONS)
    status, out, err = ended(triptych(stack, "run", "matrix11k", *options, "--watch"))
    assert (status, err) == (0, "")
    run = stack.run(re.search(r"id ([0-9a-f-]{36})", out).group(1))  # type: ignore[union-attr]
    assert f"{stack.url}/runs/flow-run/{run['id']}" in out
    assert run["parameters"]["config"]["manifest"] == str(deployed.config.manifest)
    assert run["parameters"]["config"]["dispatch"]["deployment"] == SHARD
    assert len(clip_shards(stack, run["id"])) == 1
    assert "1 of 1 shards done" in out
    assert f"snapshot {latest_folder(tmp_path / 'snapshots')}" in out
    assert out.rstrip().endswith("Completed")


def test_a_run_that_fails_is_followed_to_its_last_line(deployed: Deployed, published: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.jsonl"
    watched = triptych(deployed.stack, "run", PARENT, "--watch", "--manifest", str(missing), "--root", str(tmp_path))
    status, out, err = ended(watched)
    assert status == 1, out
    assert str(missing) in err.splitlines()[-1]
    assert re.search(r"\[worker triptych-plan-\d+ of pool triptych-plan on ", err)


def test_ctrl_c_stops_watching_and_leaves_the_run(deployed: Deployed, published: Path) -> None:
    stack = deployed.stack
    watched = triptych(stack, "run", "matrix11k", *DRAWN_OPTIONS, "--watch", start_new_session=True)
    assert watched.stdout is not None
    first = watched.stdout.readline()
    run_id = re.search(r"id ([0-9a-f-]{36})", first).group(1)  # type: ignore[union-attr]
    stack.wait_until(lambda: stack.run(run_id)["state_type"] == "RUNNING", "it runs")
    watched.send_signal(signal.SIGINT)
    _, err = watched.communicate(timeout=CLI_S)
    assert watched.returncode == 130
    assert f"prefect flow-run cancel {run_id}" in err
    assert "Traceback" not in err
    stack.wait_for(run_id, "COMPLETED")


@pytest.fixture
def elsewhere(deployed: Deployed) -> Iterator[str]:
    """A pool without a worker, and a deployment of shards on it."""
    stack = deployed.stack
    stack.cli("work-pool", "create", "--type", "process", ELSEWHERE)
    shards = stack.get(f"/deployments/name/{SHARD}")
    taken = ("flow_id", "entrypoint", "pull_steps", "parameter_openapi_schema", "job_variables")
    stack.post("/deployments/", {"name": ELSEWHERE, "work_pool_name": ELSEWHERE, **{k: shards[k] for k in taken}})
    yield f"{SHARD.partition('/')[0]}/{ELSEWHERE}"
    stack.cli("--no-prompt", "work-pool", "delete", ELSEWHERE)


def test_workers_elsewhere_must_make_what_the_parent_plans(
    deployed: Deployed, case: Case, clone: Path, elsewhere: str
) -> None:
    """A worker with its checkout in another folder: first with another LLM than the parent's, then with the same."""
    stack, env = deployed.stack, {"PYTHONPATH": str(clone)}
    dispatch = DispatchConfig(deployment=elsewhere, poll_s=1)
    case = Case(case.config.model_copy(update={"dispatch": dispatch}))
    worker = stack.start_worker(ELSEWHERE, env={**env, "TRIPTYCH_LLM_MODEL": "another"})
    with LocalEndpoint(answers=read_caption, port=deployed.llm_port) as reader:
        parent = stack.start(PARENT, case.parameters)
        failed = stack.wait_for(parent, "FAILED")["state"]["message"]
        assert "extract_triplets: here it is made by openai another, but" in failed
        assert "was planned with openai rules-behind-http" in failed
        assert f"[worker {ELSEWHERE}" in failed
        assert reader.calls == 0
        worker.end()

        stack.start_worker(ELSEWHERE, env=env)
        stack.retry(parent)
        stack.wait_for(parent, "COMPLETED", run_count=2)
    assert_published(case)
