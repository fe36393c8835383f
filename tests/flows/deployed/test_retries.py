"""A service that fails under a deployed run: shards are retried from the UI, then the parent publishes."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from flows.engine.reviving import REST_S
from tests.support.deployed import KEY, PARENT, SCENES, Case, Deployed, LocksOut, assert_published, clip_shards, n_clips
from tests.support.endpoint import LocalEndpoint
from tests.support.flow_runs import (
    ends,
    watch,
)
from tests.support.prefect_stack import (
    retry_button,
)
from tests.support.reader import read_caption
from tests.support.stages import MATRIX11K_STAGES

pytestmark = pytest.mark.slow


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
        assert computed.counts == dict.fromkeys(MATRIX11K_STAGES, 1)  # the first clip went ahead of the others
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
    assert computed.counts == dict.fromkeys(MATRIX11K_STAGES, 2)
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


def assert_the_key_is_nowhere(*folders: Path) -> None:
    """Neither in Prefect's database nor in a log, row, table or report."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
