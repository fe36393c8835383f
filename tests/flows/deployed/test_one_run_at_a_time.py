"""Runs of several deployments, and of the command, in one root: each waits for the one before and says so."""

from __future__ import annotations

import pytest

from tasks.engine.lease import RUNNING, Holder
from tests.support.deployed import NIGHTLY, PARENT, Case, Deployed, assert_published, start_and_hold
from tests.support.flow_runs import command, start_command
from tests.support.prefect_stack import PLAN, PrefectStack
from tests.support.reader import holding_endpoint, read_caption

pytestmark = pytest.mark.slow


def waiting_line(stack: PrefectStack, run_id: str) -> str:
    """Wait until a run says for whom it waits; that line."""
    found: list[str] = []

    def is_told() -> bool:
        found[:] = [line for line in stack.log_of(run_id) if "is held by" in line]
        return bool(found)

    stack.wait_until(is_told, f"run {run_id} says that it waits")
    return found[0]


def test_nightly_and_others_beside_default_wait_for_it_without_a_word_of_the_worker(
    deployed: Deployed, case: Case
) -> None:
    stack, root = deployed.stack, case.config.root
    with holding_endpoint(deployed.llm_port, read_caption) as (reader, answering):
        first, _ = start_and_hold(stack, case, reader)
        holder = Holder.model_validate_json((root / RUNNING).read_bytes())
        assert holder.flow_run_id == first
        waiting = [stack.start(deployment, case.parameters) for deployment in (NIGHTLY, PARENT, NIGHTLY)]
        for run in waiting:
            line = waiting_line(stack, run)
            assert line.startswith(f"{root} is held by curate-matrix11k, dataset matrix11k (process {holder.pid} of ")
            assert f"/runs/flow-run/{first})" in line
        assert [stack.run(run)["state_type"] for run in waiting] == ["RUNNING"] * 3
        here = start_command(command(case.config.manifest, root), {"PREFECT_API_URL": stack.api})
        try:
            assert here.stdout is not None
            assert any(f"{root} is held by" in line for line in here.stdout)

            cancelled = waiting.pop()
            stack.post(f"/flow_runs/{cancelled}/set_state", {"state": {"type": "CANCELLING"}})
            stack.wait_for(cancelled, "CANCELLED")
            assert Holder.model_validate_json((root / RUNNING).read_bytes()).token == holder.token
            answering.set()
            for run in (first, *waiting):
                stack.wait_for(run, "COMPLETED")
            log, _ = here.communicate(timeout=180)
        finally:
            here.kill()
            here.wait()
    assert here.returncode == 0, log
    assert [stack.shards_of(run) for run in (cancelled, *waiting)] == [[], [], []]
    assert_published(case)
    assert not (root / RUNNING).exists()

    log = "".join(path.read_text() for path in stack.folder.glob(f"{PLAN}-*.log"))
    assert all(run in log for run in (first, cancelled, *waiting))
    assert "Aborted submission" not in log
