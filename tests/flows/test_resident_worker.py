"""flows.engine.resident_worker on a real server: runs that share a process and what it loaded, and processes that die.

Most runs are of `probe`, a flow as short as can be; the whole pipeline goes through two pools as well.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prefect import flow, get_run_logger
from prefect.runtime import flow_run as current_run

from flows.curate_matrix11k import CurateMatrix11k
from flows.engine.config import DispatchConfig
from tasks.backends.openai.api import EndpointConfig
from tasks.backends.sam2_video import Sam2Config
from tasks.backends.torch_runtime import load_once
from tasks.ground_instances import GroundConfig
from tests.support.endpoint import LocalEndpoint
from tests.support.flow_runs import (
    LENIENT,
    REPOSITORY,
    Scene,
    answer_of,
    assert_same_snapshot,
    carry,
    draw_input,
    point_at,
    run_here,
)
from tests.support.prefect_stack import GPU, PLAN, SHARDS, PrefectStack, Program, Run, free_port
from tests.support.snapshots import latest_folder

pytestmark = pytest.mark.slow

PARENT, SHARD, ON_GPU = "curate-matrix11k/default", "curate-matrix11k-shard/default", "curate-matrix11k-shard/gpu"
PROBE = "probe/gpu"
SCENES = (carry("yellow", "red"), carry("blue", "orange"))
LONG_S = 600.0


@flow(name="probe")
def probe(first_try_s: float = 0, fail: bool = False) -> None:
    """Says which process it is in and whether a model was loaded there; its first try may take long."""
    log = get_run_logger()
    load_once("probe", "weights", "cpu", lambda: log.info("loaded in %d", os.getpid()))
    log.info("running in %d", os.getpid())
    if current_run.run_count == 1:
        time.sleep(first_try_s)
    if fail:
        raise ValueError("told to")


class Resident(NamedTuple):
    """The stack with its one resident worker."""

    stack: PrefectStack
    llm_port: int
    gpu_workers: list[Program]

    def probe(self, **body: Any) -> str:
        """Start a run of the flow above; body: parameters, job_variables."""
        found = self.stack.get(f"/deployments/name/{PROBE}")
        return str(self.stack.post(f"/deployments/{found['id']}/create_flow_run", body)["id"])

    def start_long_probe(self) -> tuple[str, int]:
        """A run in the middle of its work, and its process."""
        run_id = self.probe(parameters={"first_try_s": LONG_S})
        return run_id, self.said(run_id)["running"]

    def process_of(self, run_id: str) -> int:
        """The process that the worker gave the run's last try to."""
        return int(self.stack.run(run_id)["infrastructure_pid"])

    def said(self, run_id: str) -> dict[str, int]:
        """{"running": the process of a `probe`, "loaded": the same if it loaded there}, from its log."""
        lines = self.log_of(run_id, "running")
        return {found[1]: int(found[2]) for line in lines if (found := re.match(r"(loaded|running) in (\d+)", line))}

    def log_of(self, run_id: str, awaited: str) -> list[str]:
        """A run's log, once a line that begins with `awaited` has arrived: they are sent every two seconds."""
        lines: list[str] = []

        def has_arrived() -> bool:
            found = self.stack.post("/logs/filter", {"logs": {"flow_run_id": {"any_": [run_id]}}})
            lines[:] = [line["message"] for line in found]
            return any(line.startswith(awaited) for line in lines)

        self.stack.wait_until(has_arrived, f"the log of {run_id} has arrived")
        return lines


@pytest.fixture(scope="module")
def module_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Resident]:
    folder, llm_port = tmp_path_factory.mktemp("resident"), free_port()
    env = {"TRIPTYCH_MANIFEST": "none", "TRIPTYCH_ROOT": "none"}
    for role in ("LLM", "VLM"):
        env |= {f"TRIPTYCH_{role}_BASE_URL": f"http://127.0.0.1:{llm_port}/v1", f"TRIPTYCH_{role}_API_KEY": "none"}
        env |= {f"TRIPTYCH_{role}_MODEL": f"tiny-{role.lower()}"}
    with PrefectStack(folder, env) as stack:
        stack.deploy()
        deploy_probe(stack)
        for pool in (PLAN, SHARDS):
            stack.start_worker(pool)
        yield Resident(stack, llm_port, [])


@pytest.fixture
def resident(module_stack: Resident) -> Resident:
    if not module_stack.gpu_workers:  # a test has ended it
        module_stack.gpu_workers.append(module_stack.stack.start_worker(GPU, limit=1))
    return module_stack


def deploy_probe(stack: PrefectStack) -> None:
    name, deployment = PROBE.split("/")
    step = {"prefect.deployments.steps.set_working_directory": {"directory": str(REPOSITORY)}}
    stack.post(
        "/deployments/",
        {
            "name": deployment,
            "flow_id": stack.post("/flows/", {"name": name})["id"],
            "entrypoint": "tests/flows/test_resident_worker.py:probe",
            "work_pool_name": GPU,
            "pull_steps": [step],
        },
    )


def is_alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        # A zombie is dead: its worker has not asked for its end yet.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


# --- The whole pipeline in two pools ---------------------------------------------------------------


class SecondWaits(LocalEndpoint):
    """A verifier that answers about the scene that it is asked about first; about the other one when it may."""

    def __init__(self, port: int) -> None:
        super().__init__(answers=self.answer, port=port)
        self.first: Scene | None = None
        self.is_asked, self.may_answer = threading.Event(), threading.Event()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        words = json.loads(request["messages"][1]["content"][0]["text"])["target"]["noun"].split()
        scene = next(scene for scene in SCENES if set(words) & {*scene.shots[0]})
        self.first = self.first or scene
        if scene != self.first:
            self.is_asked.set()
            self.may_answer.wait()
        return answer_of(request)


def deployed_config(manifest: Path, root: Path, grounding: str = "colour", **choices: Any) -> CurateMatrix11k:
    """A clip a shard, in two pools: as `curate-matrix11k/paper`, but for its models."""
    return CurateMatrix11k(
        manifest=manifest,
        root=root,
        shard_size=1,
        ground=GroundConfig(grounding=grounding, vlm="openai", n_frames=2),
        endpoint=EndpointConfig(max_retries=0, concurrency=1, deadline_s=300),
        dispatch=DispatchConfig(
            deployment=SHARD, routes={"ground_instances": ON_GPU, "propagate_masks": ON_GPU}, poll_s=1
        ),
        **choices,
    )


def split_and_publish_here(
    config: CurateMatrix11k, root: Path, models: LocalEndpoint, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """What the same flow publishes in this process. Its split videos are left to the deployed run: it is the same."""
    point_at(models, monkeypatch)
    snapshot = run_here(config.model_copy(update={"root": root, "dispatch": DispatchConfig()}))
    shutil.copytree(root / "work/rows/split_scenes", config.root / "work/rows/split_scenes")
    return snapshot


def start(stack: PrefectStack, config: CurateMatrix11k) -> str:
    return stack.start(PARENT, {"config": config.model_dump(mode="json", exclude_unset=True)})


def gpu_legs(stack: PrefectStack, parent: str) -> list[Run]:
    return [run for run in stack.shards_of(parent) if run["parameters"]["stages"][0] == "ground_instances"]


def test_shards_share_a_process_and_its_death_costs_nothing_but_time(
    resident: Resident, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pools publish what the command publishes, to the byte."""
    stack = resident.stack
    config = deployed_config(draw_input(tmp_path / "in", SCENES), tmp_path / "deployed")
    with LocalEndpoint(answers=answer_of, port=resident.llm_port) as verifier:
        here = split_and_publish_here(config, tmp_path / "here", verifier, monkeypatch)

    waiting = SecondWaits(resident.llm_port)
    with waiting:
        try:
            parent = start(stack, config)
            stack.wait_until(waiting.is_asked.is_set, "the second shard is at work")
            done, at_work = sorted(gpu_legs(stack, parent), key=lambda run: str(run["state_type"]))
            assert [done["state_type"], at_work["state_type"]] == ["COMPLETED", "RUNNING"]
            process = resident.process_of(at_work["id"])
            assert resident.process_of(done["id"]) == process
            stack.wait_until(lambda: stack.heartbeats(at_work["id"]) > 0, "its first heartbeat is known")
            os.kill(process, signal.SIGKILL)
        finally:
            waiting.may_answer.set()
        stack.wait_for(parent, "COMPLETED")
    assert [stack.run(run["id"])["run_count"] for run in (done, at_work)] == [1, 2]
    assert "Crashed" in [name for name, _ in stack.history(at_work["id"])]
    assert resident.process_of(at_work["id"]) != process
    assert_same_snapshot(latest_folder(config.snapshots), here)


@pytest.mark.models
def test_the_papers_models_stay_loaded(resident: Resident, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GroundingDINO and SAM2, tiny ones of random weights, over two shards."""
    from tests.support import tiny_dino, tiny_sam2

    (tmp_path / "weights").mkdir()
    architecture, checkpoint = tiny_sam2.save_native(tmp_path / "weights")
    config = deployed_config(
        draw_input(tmp_path / "in", SCENES),
        tmp_path / "deployed",
        profile="paper",
        grounding="groundingdino",
        check=LENIENT,
        dino=tiny_dino.save_native(tmp_path / "weights/dino").model_copy(update={"box_threshold": 0.3}),
        sam2=Sam2Config(architecture=str(architecture), checkpoint=str(checkpoint), precision="float32"),
    )
    with LocalEndpoint(answers=answer_of, port=resident.llm_port) as models:
        here = split_and_publish_here(config, tmp_path / "here", models, monkeypatch)
        parent = start(resident.stack, config)
        resident.stack.wait_for(parent, "COMPLETED")
    legs = sorted(gpu_legs(resident.stack, parent), key=lambda run: str(run["start_time"]))
    said = [line for run in legs for line in resident.log_of(run["id"], "process") if line.startswith("process")]
    processes, held = zip(*[line.split("; models loaded by earlier runs: ") for line in said], strict=True)
    assert held == ("none", "grounding_dino on cpu, sam2 on cpu")
    assert len(set(processes)) == 1
    assert_same_snapshot(latest_folder(config.snapshots), here)


# --- One process -----------------------------------------------------------------------------------


def test_a_model_is_loaded_once(resident: Resident) -> None:
    runs = [resident.probe() for _ in range(3)]
    for run in runs:
        resident.stack.wait_for(run, "COMPLETED")
    said = [resident.said(run) for run in runs]
    (process,) = {found["running"] for found in said}
    assert [found["loaded"] for found in said if "loaded" in found] == [process]
    assert {resident.process_of(run) for run in runs} == {process}
    assert is_alive(process)


def test_a_run_that_fails_or_wants_another_environment_is_followed_by_a_fresh_process(resident: Resident) -> None:
    processes = []
    for body, end in (
        ({"parameters": {"fail": True}}, "FAILED"),
        ({}, "COMPLETED"),
        ({"job_variables": {"env": {"TRIPTYCH_PROBE": "another"}}}, "COMPLETED"),
    ):
        run = resident.probe(**body)
        resident.stack.wait_for(run, end)
        processes.append(resident.said(run)["running"])
    assert len(set(processes)) == 3
    assert [is_alive(pid) for pid in processes] == [False, False, True]


# --- Ends ------------------------------------------------------------------------------------------


def test_a_run_that_is_cancelled_ends_with_its_process_and_can_be_retried(resident: Resident) -> None:
    stack = resident.stack
    run, process = resident.start_long_probe()
    stack.post(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})  # as the UI's button does
    stack.wait_for(run, "CANCELLED")
    assert not is_alive(process)
    stack.retry(run)
    stack.wait_for(run, "COMPLETED", run_count=2)
    assert resident.process_of(run) != process


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_the_process_ends_with_its_worker(resident: Resident, signum: signal.Signals) -> None:
    run, process = resident.start_long_probe()
    resident.gpu_workers.pop().signal_alone(signum)
    resident.stack.wait_until(lambda: not is_alive(process), "the process has ended", timeout_s=20)
    if signum is signal.SIGTERM:  # after the other its silence tells: flows/engine/dispatch.py
        assert "worker was stopped" in resident.stack.wait_for(run, "CRASHED")["state"]["message"]
