"""Processes, machines and servers that die under a deployed run."""

from __future__ import annotations

import time

import pytest

from tasks.engine.lease import RUNNING
from tests.support.deployed import (
    OUTAGE_S,
    PARENT,
    SILENCE_S,
    Case,
    Deployed,
    assert_published,
    clip_shards,
    start_and_hold,
)
from tests.support.endpoint import LocalEndpoint
from tests.support.prefect_stack import (
    RUN_S,
    SHARDS,
)
from tests.support.reader import holding_endpoint, read_caption

pytestmark = pytest.mark.slow


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

    # The root is nobody's any more.
    assert not (case.config.root / RUNNING).exists()
    again = stack.start(PARENT, case.parameters)
    stack.wait_for(again, "COMPLETED")
