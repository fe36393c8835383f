"""The flows as they are deployed: a real Prefect server, real workers, a real browser; what fails and what dies.

One stack serves all tests. The videos are a second long; LLM calls go over HTTP to a reader that a test can
stop, hold and count.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest

from flows.curate_matrix11k import CurateMatrix11k
from flows.engine.dispatch import REST_S, DispatchConfig
from schemas.clip import Clip
from tasks.backends.openai.api import EndpointConfig
from tasks.engine.shards import load_shard
from tasks.engine.snapshots import Snapshot
from tasks.extract_triplets import ExtractConfig
from tests.support.dsr_runs import sample_here, tiny_samples
from tests.support.endpoint import Answers, LocalEndpoint
from tests.support.flow_runs import (
    FEW_FRAMES,
    Scene,
    assert_same_snapshot,
    carry,
    draw_input,
    ends,
    start_command,
    watch,
    write_manifest,
)
from tests.support.prefect_stack import (
    BLENDER,
    GPU,
    PLAN,
    RUN_S,
    SHARDS,
    PrefectStack,
    Program,
    Run,
    free_port,
    retry_button,
)
from tests.support.reader import holding_endpoint, read_caption
from tests.support.scene_runs import simulate_here, tiny_scenes
from tests.support.snapshots import latest_folder
from tests.support.stages import MATRIX11K_STAGES

pytestmark = pytest.mark.slow

PARENT, NIGHTLY, SHARD = "curate-matrix11k/default", "curate-matrix11k/nightly", "curate-matrix11k-shard/default"
SCENES = (carry("yellow", "red"), carry("blue", "orange"), carry("green", "red"))
KEY = "sk-of-the-tests-0123456789"
SILENCE_S = 70  # more than two heartbeats of prefect.yaml
OUTAGE_S = 20


class Deployed(NamedTuple):
    """The stack, and what its runs work on when they are given no parameters."""

    stack: PrefectStack
    inputs: Path  # all scenes' videos; the manifest names the first two
    config: CurateMatrix11k
    llm_port: int
    shard_workers: list[Program]

    @property
    def snapshot(self) -> Path:
        return latest_folder(self.config.snapshots)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("deployed")
    inputs, llm_port = folder / "input", free_port()
    draw_input(inputs, SCENES)
    config = CurateMatrix11k(manifest=name_scenes(inputs, SCENES[:2]), root=folder / "root")
    env = {
        "TRIPTYCH_MANIFEST": str(config.manifest),
        "TRIPTYCH_ROOT": str(config.root),
        "TRIPTYCH_LLM_BASE_URL": f"http://127.0.0.1:{llm_port}/v1",
        "TRIPTYCH_LLM_MODEL": "rules-behind-http",
        "TRIPTYCH_LLM_API_KEY": KEY,
    }
    with PrefectStack(folder, env) as stack:
        stack.deploy()
        stack.start_worker(PLAN)
        yield Deployed(stack, inputs, config, llm_port, [stack.start_worker(SHARDS)])


@pytest.fixture(scope="module")
def published(deployed: Deployed) -> Path:
    """The first snapshot, made as a user makes it."""
    deployed.stack.cli("deployment", "run", PARENT, "--watch")
    return deployed.snapshot


class Case(NamedTuple):
    """A dataset of a test's own, whose triplets come from the LLM; its videos have been split before."""

    config: CurateMatrix11k

    @property
    def parameters(self) -> dict[str, Any]:
        return {"config": self.config.model_dump(mode="json", exclude_unset=True)}

    @property
    def snapshot(self) -> Path | None:
        latest = Snapshot.latest(self.config.snapshots)
        return latest.folder if latest else None


@pytest.fixture
def case(request: pytest.FixtureRequest, deployed: Deployed, published: Path, tmp_path: Path) -> Case:
    """One scene, or those it is parametrized with (indirect), two clips a shard."""
    scenes = getattr(request, "param", SCENES[:1])
    shutil.copytree(deployed.inputs, tmp_path / "input")
    shutil.copytree(deployed.config.work.root / "rows/split_scenes", tmp_path / "root/work/rows/split_scenes")
    config = CurateMatrix11k(
        manifest=name_scenes(tmp_path / "input", scenes),
        root=tmp_path / "root",
        shard_size=2,
        extract=ExtractConfig(llm="openai"),
        ground=FEW_FRAMES,
        endpoint=EndpointConfig(max_retries=0, concurrency=1, deadline_s=300),
        dispatch=DispatchConfig(deployment=SHARD, poll_s=1, silence_s=SILENCE_S),
    )
    return Case(config)


def name_scenes(folder: Path, scenes: Sequence[Scene]) -> Path:
    return write_manifest(folder, [scene.line for scene in scenes])


def clip_shards(stack: PrefectStack, parent_id: str) -> list[Run]:
    """The parent's flow runs that take clips through the stages."""
    return [run for run in stack.shards_of(parent_id) if run["parameters"]["stages"][0] == MATRIX11K_STAGES[0]]


# --- Runs that nothing disturbs ----------------------------------------------------------------


def test_the_deployed_run_publishes_what_the_command_publishes(
    deployed: Deployed, published: Path, tmp_path: Path
) -> None:
    shutil.copytree(deployed.inputs, tmp_path / "input")
    manifest = name_scenes(tmp_path / "input", SCENES[:2])
    program = [sys.executable, "-m", "flows.curate_matrix11k", "--manifest", str(manifest), "--root", str(tmp_path)]
    # The stack's server, not one of its own, which takes another ten seconds to start.
    command = start_command(program, {"PREFECT_API_URL": deployed.stack.api})
    log, _ = command.communicate(timeout=180)
    assert command.returncode == 0, log
    assert_same_snapshot(published, latest_folder(tmp_path / "snapshots"))
    assert [end[0] for end in ends(published).values()] == ["accepted"] * 2


def test_the_yield_and_the_report_are_shown_in_the_ui(deployed: Deployed, published: Path) -> None:
    by_key = {"sort": "KEY_DESC", "artifacts": {"key": {"any_": ["yield", "snapshot"]}}}
    found = {artifact["key"]: artifact for artifact in deployed.stack.post("/artifacts/filter", by_key)}
    steps = json.loads(found["yield"]["data"])
    assert found["yield"]["type"] == "table"
    assert [step["stage"] for step in steps if step["unit"] == "clips"] == ["split_scenes", *MATRIX11K_STAGES]
    links = re.findall(r"\(file://(.+?)\)", found["snapshot"]["data"])
    assert [Path(unquote(link)).name for link in links] == ["index.html"]
    assert all(Path(unquote(link)).is_file() for link in links)


def test_simulated_clips_are_rendered_by_another_pools_worker(deployed: Deployed, tmp_path: Path) -> None:
    stack = deployed.stack
    stack.start_worker(BLENDER)
    dispatch = DispatchConfig(
        deployment="curate-kinemask-shard/default",
        routes={"render_clips": "curate-kinemask-shard/blender"},
        poll_s=1,
    )
    config = tiny_scenes(tmp_path / "there", n_test=0, dispatch=dispatch)
    parent = stack.start("curate-kinemask/blender", {"config": config.model_dump(mode="json")})
    stack.wait_for(parent, "COMPLETED")
    asked = Counter(tuple(run["parameters"]["stages"]) for run in stack.shards_of(parent))
    before, after = ("simulate_scenes",), ("caption_clips", "write_shard")
    assert asked == {before: 2, ("render_clips",): 2, after: 2}
    assert_same_snapshot(latest_folder(config.snapshots), simulate_here(tiny_scenes(tmp_path / "here", n_test=0)))


def test_samples_are_generated_and_tracked_by_a_resident_worker(deployed: Deployed, tmp_path: Path) -> None:
    stack = deployed.stack
    stack.start_worker(GPU)
    on_gpu = ("generate_samples", "ground_instances", "propagate_masks")
    dispatch = DispatchConfig(
        deployment="curate-dsr-shard/default", routes=dict.fromkeys(on_gpu, "curate-dsr-shard/gpu"), poll_s=1
    )
    few: dict[str, Any] = {"grammar": {"n_train": 2, "n_test": 0}, "seeds_train": 1, "shard_size": 1}
    config = tiny_samples(tmp_path / "there", **few, rewrite={"form": "rewritten"}, dispatch=dispatch)
    parent = stack.start("curate-dsr/default", {"config": config.model_dump(mode="json")})
    stack.wait_for(parent, "COMPLETED")
    asked = Counter(tuple(run["parameters"]["stages"]) for run in stack.shards_of(parent))
    assert asked == {("rewrite_prompts",): 2, on_gpu: 2, ("score_dsr", "ask_relations", "write_shard"): 2}
    assert_same_snapshot(
        latest_folder(config.snapshots),
        sample_here(tiny_samples(tmp_path / "here", **few, rewrite={"form": "rewritten"})),
    )


def test_wrong_parameters_are_refused_with_their_name(deployed: Deployed) -> None:
    wrong = json.dumps({"manifest": "captions.jsonl", "shard_size": 0})
    assert "shard_size" in deployed.stack.cli("deployment", "run", PARENT, "--param", f"config={wrong}", ok=False)


def test_a_run_that_fails_fails_the_command(deployed: Deployed, tmp_path: Path) -> None:
    config = json.dumps({"manifest": str(tmp_path / "missing.jsonl"), "root": str(tmp_path)})
    deployed.stack.cli("deployment", "run", PARENT, "--watch", "--param", f"config={config}", ok=False)


def test_the_nightly_refresh_is_on_the_schedule(deployed: Deployed) -> None:
    listed = deployed.stack.cli("deployment", "schedule", "ls", NIGHTLY)
    assert re.search(r"cron: 0 2 \* \* \*\W+True", listed), listed


def test_a_refresh_computes_only_what_is_new(deployed: Deployed, published: Path) -> None:
    stack, earlier = deployed.stack, Snapshot(published).manifest
    name_scenes(deployed.inputs, SCENES)
    with watch(deployed.config) as computed:
        refresh = stack.start(NIGHTLY)
        stack.wait_for(refresh, "COMPLETED")
    assert computed.counts == dict.fromkeys(("split_scenes", *MATRIX11K_STAGES), 1)
    refreshed = Snapshot(deployed.snapshot).manifest
    assert refreshed.n_accepted == 3
    old, new = {s.shard_id for s in earlier.shards}, {s.shard_id for s in refreshed.shards}
    assert old < new
    assert {run["name"] for run in clip_shards(stack, refresh)} == new - old

    with watch(deployed.config) as computed:
        nothing_new = stack.start(NIGHTLY)
        stack.wait_for(nothing_new, "COMPLETED")
    assert not computed.counts
    assert stack.shards_of(nothing_new) == []
    assert deployed.snapshot.name == refreshed.snapshot_id
    assert published.is_dir()


# --- A service that fails ----------------------------------------------------------------------


class LocksOut(LocalEndpoint):
    """A reader that refuses the key, and quotes it, whenever it is asked about one of these captions."""

    def __init__(self, captions: Sequence[str], port: int, answers: Answers = read_caption) -> None:
        super().__init__(answers=answers, port=port)
        self.captions = list(captions)

    def arrive(self, request: dict[str, Any], headers: dict[str, str]) -> str:
        super().arrive(request, headers)
        return "401" if any(caption in json.dumps(request) for caption in self.captions) else "ok"


@pytest.mark.parametrize("case", [SCENES], indirect=True)
def test_failed_shards_are_retried_in_the_ui_and_then_published(deployed: Deployed, case: Case) -> None:
    """First nothing listens, then the key is refused half-way, then all is well."""
    stack = deployed.stack
    first, second, third = (scene.caption for scene in SCENES)  # two in a shard, and one
    with retry_button(stack) as press:
        parent = stack.start(PARENT, case.parameters)
        failed = stack.wait_for(parent, "FAILED")
        shards = clip_shards(stack, parent)
        assert [run["state_type"] for run in shards] == ["FAILED"] * 2
        assert all("Start the server" in run["state"]["message"] for run in shards)
        assert "2 of 2 shards failed" in failed["state"]["message"]
        assert "press Retry" in failed["state"]["message"]

        # Retry on the parent queues all its failed shards.
        with LocksOut([second, third], deployed.llm_port), watch(case.config) as computed:
            press(parent)
            stack.wait_for(parent, "FAILED", run_count=2)
        assert computed.counts == {"extract_triplets": 1}
        assert case.snapshot is None

        large, small = sorted(clip_shards(stack, parent), key=lambda run: -n_clips(run))
        assert {large["id"], small["id"]} == {run["id"] for run in shards}
        assert [run["run_count"] for run in (large, small)] == [2, 2]
        assert all("TRIPTYCH_LLM_API_KEY" in run["state"]["message"] for run in (large, small))

        # Retry on a shard leaves the parent alone until no other is missing.
        with LocalEndpoint(answers=read_caption, port=deployed.llm_port) as reader, watch(case.config) as computed:
            press(small["id"])
            stack.wait_for(small["id"], "COMPLETED", run_count=3)
            assert (stack.run(parent)["state_type"], stack.run(parent)["run_count"]) == ("FAILED", 2)
            assert case.snapshot is None
            press(large["id"])
            stack.wait_for(large["id"], "COMPLETED", run_count=3)
            stack.wait_for(parent, "COMPLETED", run_count=3)

    asked = json.dumps(reader.requests)
    assert [caption in asked for caption in (first, second, third)] == [False, True, True]
    assert computed.counts == {"extract_triplets": 2} | dict.fromkeys(MATRIX11K_STAGES[1:], 3)
    assert [run["run_count"] for run in clip_shards(stack, parent)] == [3, 3]
    assert case.snapshot is not None
    assert [end[0] for end in ends(case.snapshot).values()] == ["accepted"] * 3
    assert_the_key_is_nowhere(stack.folder, case.config.root)


@pytest.mark.parametrize("case", [SCENES], indirect=True)
def test_a_shard_that_is_retried_while_others_work_is_waited_for(deployed: Deployed, case: Case) -> None:
    stack, answering = deployed.stack, threading.Event()
    third = SCENES[2].caption

    def answer(request: dict[str, Any]) -> dict[str, Any] | None:
        if third not in json.dumps(request):
            answering.wait()
        return read_caption(request)

    reader = LocksOut([third], deployed.llm_port, answer)
    with reader:
        try:
            parent = stack.start(PARENT, case.parameters)
            stack.wait_until(lambda: len(clip_shards(stack, parent)) == 2, "both shards are submitted")
            large, small = sorted(clip_shards(stack, parent), key=lambda run: -n_clips(run))
            stack.wait_for(small["id"], "FAILED")
            time.sleep(2 * case.config.dispatch.poll_s)  # the parent sees it
            reader.captions.clear()
            stack.retry(small["id"])
            stack.wait_for(small["id"], "COMPLETED", run_count=2)
        finally:
            answering.set()
        ended = stack.wait_for(parent, "COMPLETED")
    assert ended["run_count"] == stack.run(large["id"])["run_count"] == 1
    assert case.snapshot is not None


def test_a_yield_that_is_too_low_fails_the_run_and_retry_asks_for_the_failed_rows_again(
    deployed: Deployed, case: Case
) -> None:
    stack = deployed.stack
    with LocalEndpoint(answers=read_caption, port=deployed.llm_port, always="500"):
        parent = stack.start(PARENT, case.parameters)
        failed = stack.wait_for(parent, "FAILED")
    message = failed["state"]["message"]
    assert "YieldTooLow: none of 1 rows was accepted; most: 1 failed in extract_triplets" in message
    assert "is published, and there is no LATEST yet. See `triptych ask --root" in message
    (shard,) = clip_shards(stack, parent)
    assert shard["state_type"] == "COMPLETED"
    assert case.snapshot is None
    assert len(list((case.config.root / "reports").glob("*/index.html"))) == 1

    time.sleep(REST_S + 2 * case.config.dispatch.poll_s)  # nobody queues it again
    assert (stack.run(parent)["state_type"], stack.run(parent)["run_count"]) == ("FAILED", 1)
    with LocalEndpoint(answers=read_caption, port=deployed.llm_port), watch(case.config) as computed:
        stack.retry(parent)
        stack.wait_for(parent, "COMPLETED", run_count=2)
    assert computed.counts == dict.fromkeys(MATRIX11K_STAGES, 1)
    assert stack.run(shard["id"])["run_count"] == 2
    assert_published(case)


def n_clips(run: Run) -> int:
    return len(load_shard(run["parameters"]["shard"], Clip).rows)


def assert_the_key_is_nowhere(*folders: Path) -> None:
    """Neither in Prefect's database nor in a log, row, table or report."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


# --- Processes, machines and servers that die ----------------------------------------------------


def start_and_hold(stack: PrefectStack, case: Case, reader: LocalEndpoint) -> tuple[str, str]:
    """Start a run and wait till its shard asks the reader; returns the ids of both runs."""
    parent = stack.start(PARENT, case.parameters)
    stack.wait_until(lambda: reader.calls > 0, "the shard asks the reader")
    (shard,) = clip_shards(stack, parent)
    return parent, shard["id"]


def assert_published(case: Case) -> None:
    assert case.snapshot is not None
    assert [end[0] for end in ends(case.snapshot).values()] == ["accepted"]


def test_a_killed_process_is_queued_again(deployed: Deployed, case: Case) -> None:
    stack = deployed.stack
    with holding_endpoint(deployed.llm_port, read_caption) as (reader, answering):
        parent, shard = start_and_hold(stack, case, reader)
        stack.kill_run(shard)
        answering.set()
        stack.wait_for(parent, "COMPLETED")
    assert stack.run(shard)["run_count"] == 2
    assert stack.run(parent)["run_count"] == 1
    names = [name for name, _ in stack.history(shard)]
    assert names.index("Crashed") < names.index("AwaitingRetry") < names.index("Completed")
    assert names.count("AwaitingRetry") == 1  # though the process and its worker both report the death
    assert_published(case)


def test_a_machine_that_dies_is_noticed_by_its_silence(deployed: Deployed, case: Case) -> None:
    stack = deployed.stack
    with holding_endpoint(deployed.llm_port, read_caption) as (reader, answering):
        parent, shard = start_and_hold(stack, case, reader)
        stack.wait_until(lambda: stack.heartbeats(shard) > 0, "the shard's first heartbeat is known")
        deployed.shard_workers.pop().kill()
        deployed.shard_workers.append(stack.start_worker(SHARDS))
        assert stack.run(shard)["state_type"] == "RUNNING"  # nobody was left to say otherwise
        answering.set()
        stack.wait_for(parent, "COMPLETED", timeout_s=2 * SILENCE_S + RUN_S)
    crashes = [message for name, message in stack.history(shard) if name == "Crashed"]
    assert len(crashes) == 1
    assert "No heartbeat" in crashes[0]
    assert stack.run(shard)["run_count"] == 2
    assert_published(case)


def test_a_shard_that_its_worker_never_started_is_queued_again(deployed: Deployed, case: Case) -> None:
    stack = deployed.stack
    dispatch = case.config.dispatch.model_copy(update={"start_s": 10, "silence_s": 30})
    impatient = Case(case.config.model_copy(update={"dispatch": dispatch}))
    deployed.shard_workers.pop().kill()
    with LocalEndpoint(answers=read_caption, port=deployed.llm_port):
        parent = stack.start(PARENT, impatient.parameters)
        stack.wait_until(lambda: bool(clip_shards(stack, parent)), "the shard is submitted")
        (shard,) = clip_shards(stack, parent)
        stack.post(f"/flow_runs/{shard['id']}/set_state", {"state": {"type": "PENDING"}})  # as a worker does first
        deployed.shard_workers.append(stack.start_worker(SHARDS))
        stack.wait_for(parent, "COMPLETED")
    assert [message for name, message in stack.history(shard["id"]) if name == "Crashed" and "never started" in message]
    assert_published(case)


def test_a_server_that_is_away_for_a_while_costs_nothing(deployed: Deployed, case: Case) -> None:
    stack = deployed.stack
    with holding_endpoint(deployed.llm_port, read_caption) as (reader, answering):
        parent, shard = start_and_hold(stack, case, reader)
        stack.stop_server()
        answering.set()  # the shard works on
        time.sleep(OUTAGE_S)
        stack.start_server()
        stack.wait_for(parent, "COMPLETED")
    assert [stack.run(run)["run_count"] for run in (parent, shard)] == [1, 1]
    assert_published(case)

    # The one place that the deployment has for a parent is free again.
    again = stack.start(PARENT, case.parameters)
    stack.wait_for(again, "COMPLETED")
