"""Runs and shards that a person cancels, and the way from a run to its shards in the UI."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from flows.engine.config import DispatchConfig
from flows.engine.reviving import REST_S
from flows.engine.tags import PARENT_TAG
from tests.support.deployed import PARENT, SCENES, SHARD, SILENCE_S, Case, Deployed, clip_shards
from tests.support.flow_runs import ends
from tests.support.prefect_stack import GPU, PrefectStack, browser_page
from tests.support.reader import holding_endpoint, read_caption

pytestmark = pytest.mark.slow

ON_GPU = "curate-matrix11k-shard/gpu"


def with_choices(case: Case, **choices: Any) -> Case:
    return Case(case.config.model_copy(update=choices))


def states(stack: PrefectStack, run_ids: Iterable[str]) -> list[str]:
    return [stack.run(run_id)["state_type"] for run_id in run_ids]


def shard_list(stack: PrefectStack, parent: str) -> dict[str, Any]:
    """The artifact on the parent's page; fails if there is another one of its name."""
    chosen = {"artifacts": {"key": {"any_": ["shards-matrix11k"]}}, "flow_runs": {"id": {"any_": [parent]}}}
    (found,) = stack.post("/artifacts/filter", chosen)
    return dict(found)


@pytest.mark.parametrize("case", [SCENES], indirect=True)
def test_a_cancelled_run_takes_its_shards_with_it_and_only_a_person_revives_it(deployed: Deployed, case: Case) -> None:
    stack, case = deployed.stack, with_choices(case, shard_size=1)
    with holding_endpoint(deployed.llm_port, read_caption) as (reader, answering):
        parent = stack.start(PARENT, case.parameters)
        stack.wait_until(lambda: reader.calls == 2, "two shards ask the reader, as many as the worker takes")
        shards = [run["id"] for run in clip_shards(stack, parent)]
        assert sorted(states(stack, shards)) == ["RUNNING", "RUNNING", "SCHEDULED"]
        stack.cancel(parent)
        stack.wait_for(parent, "CANCELLED")
        for shard in shards:
            stack.wait_for(shard, "CANCELLED", run_count=0)  # one was never started
        answering.set()
        assert shard_list(stack, parent)["data"].startswith("**This run was cancelled")

        # A shard that is started all the same sees it and asks nobody.
        asked, first = reader.calls, stack.run(shards[0])
        late = stack.post(
            f"/deployments/{first['deployment_id']}/create_flow_run",
            {"parameters": first["parameters"], "tags": [f"{PARENT_TAG}{parent}"]},
        )
        assert "was cancelled" in stack.wait_for(late["id"], "CANCELLED")["state"]["message"]
        assert reader.calls == asked

        # A person's Retry on a shard runs it, and leaves the run alone.
        stack.retry(shards[0])
        stack.wait_for(shards[0], "COMPLETED")
        time.sleep(REST_S)
        assert (stack.run(parent)["state_type"], stack.run(parent)["run_count"]) == ("CANCELLED", 1)
        assert states(stack, shards[1:]) == ["CANCELLED"] * 2
        assert case.snapshot is None

        # Retry on the run does all of it.
        stack.retry(parent)
        stack.wait_for(parent, "COMPLETED", run_count=2)
    assert states(stack, shards) == ["COMPLETED"] * 3
    assert shard_list(stack, parent)["data"].startswith("3 of 3 shards are done: 2 completed, 1 before\n")
    assert case.snapshot is not None
    assert [end[0] for end in ends(case.snapshot).values()] == ["accepted"] * 3


def test_a_cancelled_run_that_nobody_kills_ends_by_itself(deployed: Deployed, case: Case) -> None:
    """As when its worker is dead: no hook runs."""
    stack = deployed.stack
    with holding_endpoint(deployed.llm_port, read_caption) as (reader, answering):
        parent = stack.start(PARENT, case.parameters)
        stack.wait_until(lambda: reader.calls > 0, "the shard asks the reader")
        (shard,) = clip_shards(stack, parent)
        stack.post(f"/flow_runs/{parent}/set_state", {"state": {"type": "CANCELLED"}, "force": True})
        stack.wait_for(shard["id"], "CANCELLED")
        stack.wait_for(parent, "CANCELLED")
        answering.set()
    assert case.snapshot is None


@pytest.mark.parametrize("case", [SCENES[:2]], indirect=True)
def test_a_cancelled_shard_fails_its_run_by_name_and_can_be_retried(deployed: Deployed, case: Case) -> None:
    """Its first leg is on a resident worker, which takes one; the other one waits for it."""
    stack = deployed.stack
    dispatch = DispatchConfig(deployment=SHARD, routes={"extract_triplets": ON_GPU}, poll_s=1, silence_s=SILENCE_S)
    case = with_choices(case, shard_size=1, dispatch=dispatch)
    worker = stack.start_worker(GPU, limit=1)
    with holding_endpoint(deployed.llm_port, read_caption) as (reader, answering):
        parent = stack.start(PARENT, case.parameters)
        stack.wait_until(lambda: reader.calls > 0, "a shard asks the reader")
        waiting, working = sorted(clip_shards(stack, parent), key=lambda run: run["state_type"] == "RUNNING")
        assert re.fullmatch(r"shard [12] of 2, clip [01], extract_triplets", working["name"])
        stack.cancel(waiting["id"])
        stack.cancel(working["id"])
        message = stack.wait_for(parent, "FAILED")["state"]["message"]
        assert "2 of 2 shards failed" in message
        for run in (waiting, working):
            assert f"  {run['name']}: it was cancelled; Retry on it runs it after all" in message
        assert states(stack, (waiting["id"], working["id"])) == ["CANCELLED"] * 2

        # Cancelled while it waits for a worker to try it again: no worker would end it, and the server after 300 s.
        worker.end()
        stack.retry(parent)
        stack.wait_until(lambda: stack.run(working["id"])["state_type"] == "SCHEDULED", "its run has queued it again")
        stack.cancel(working["id"])
        stack.wait_for(working["id"], "CANCELLED", timeout_s=60)
        answering.set()
        worker = stack.start_worker(GPU, limit=1)
        message = stack.wait_for(parent, "FAILED", run_count=2)["state"]["message"]
        assert "1 of 2 shards failed. " in message
        assert working["name"] in message

        # There are more legs to go, which its run starts.
        stack.retry(working["id"])
        stack.wait_for(parent, "COMPLETED", run_count=3)
        worker.end()
    assert case.snapshot is not None


@pytest.mark.parametrize("case", [SCENES[:2]], indirect=True)
def test_a_run_lists_its_shards_with_links(deployed: Deployed, case: Case, tmp_path: Path) -> None:
    stack, case = deployed.stack, with_choices(case, shard_size=1)
    parent = stack.start(PARENT, case.parameters)  # nobody answers: the shards fail
    failed = stack.wait_for(parent, "FAILED")
    shards = clip_shards(stack, parent)
    assert [run["name"] for run in shards] == ["shard 1 of 2, clip 0", "shard 2 of 2, clip 1"]
    listed = shard_list(stack, parent)
    assert listed["data"].startswith("0 of 2 shards are done: 2 failed\n")
    for run in shards:
        shard_id = Path(run["parameters"]["shard"]).parent.name
        assert set(run["tags"]) == {f"{PARENT_TAG}{parent}", "dataset:matrix11k", shard_id}
        assert f"- [{run['name']}](../../runs/flow-run/{run['id']}), {shard_id}: ServiceDown\\: " in listed["data"]
        assert f"  {run['name']}: " in failed["state"]["message"]
    assert "dataset:matrix11k" in stack.run(parent)["tags"]

    with browser_page(stack.url) as page:
        if page is None:
            pytest.skip("no Playwright or no Chromium")
        for ui in ("", "/v2"):
            page.goto(f"{ui}/runs/flow-run/{parent}")
            page.get_by_text("Artifacts", exact=True).last.click()
            page.get_by_text("shards-matrix11k").last.wait_for()
            page.screenshot(path=tmp_path / f"run{ui.strip('/')}.png")
            page.goto(f"{ui}/artifacts/artifact/{listed['id']}")
            link = page.get_by_role("link", name="shard 2 of 2, clip 1")
            link.wait_for()
            page.screenshot(path=tmp_path / f"list{ui.strip('/')}.png")
            link.evaluate("link => link.removeAttribute('target')")  # else the first UI opens another window
            link.click()
            page.wait_for_url(re.compile(f"^{stack.url}{ui}/runs/flow-run/{shards[1]['id']}"))
            page.get_by_text("shard 2 of 2, clip 1").first.wait_for()
