"""Commands with a configured API: Prefect shows their runs, also that they were stopped, and an outage is borne."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from flows.engine.tags import DATASET_TAG
from tests.support.deployed import KEY, SCENES, Deployed, name_scenes
from tests.support.flow_runs import command
from tests.support.prefect_stack import Run
from tests.support.reader import holding_endpoint, read_caption
from tests.support.typed import CTRL_C, PATIENCE_S, Typed

pytestmark = pytest.mark.slow


def typed(deployed: Deployed, folder: Path, name: str) -> Typed:
    """A command whose run has this name; extract_triplets waits for the reader."""
    options = ["--extract.llm", "openai", "--endpoint.deadline-s", "600", "--dataset", name]
    env = {
        "PREFECT_API_URL": deployed.stack.api,
        "PREFECT_HOME": str(folder / "prefect"),
        "TRIPTYCH_LLM_BASE_URL": f"http://127.0.0.1:{deployed.llm_port}/v1",
        "TRIPTYCH_LLM_MODEL": "rules-behind-http",
        "TRIPTYCH_LLM_API_KEY": KEY,
    }
    return Typed(command(name_scenes(deployed.inputs, SCENES[:2]), folder / name, *options), env)


def run_of(deployed: Deployed, name: str) -> Run:
    """The run of a command that makes this dataset; its shards bear the same tag, and have a parent."""
    chosen = {"tags": {"all_": [f"{DATASET_TAG}{name}"]}, "parent_task_run_id": {"is_null_": True}}
    (run,) = deployed.stack.post("/flow_runs/filter", {"flow_runs": chosen})
    return dict(run)


def shards_here(deployed: Deployed, parent: Run) -> list[Run]:
    chosen = {"flow_runs": {"parent_flow_run_id": {"any_": [parent["id"]]}}, "sort": "START_TIME_ASC"}
    return list(deployed.stack.post("/flow_runs/filter", chosen))


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=str)
def test_a_stopped_run_does_not_stay_running(
    deployed: Deployed, signum: signal.Signals, status: int, tmp_path: Path
) -> None:
    name = f"stopped-{status}"
    with holding_endpoint(deployed.llm_port, read_caption), typed(deployed, tmp_path, name) as run:
        run.wait_for("extract_triplets first rows of shard-")
        run.press(CTRL_C) if signum == signal.SIGINT else run.send(signum)
        assert run.end() == status
        assert run.shown.endswith("stopped; the same command goes on from here\n")
        assert run.left_over() == []
    parent = run_of(deployed, name)
    *_, shard = shards_here(deployed, parent)
    for stopped in (parent, shard):
        assert stopped["state_name"] == "Cancelled"
        assert stopped["state"]["message"] == f"Stopped by {signum.name}; the same command goes on from here."


def test_a_server_that_is_away_is_told_borne_and_keeps_nobody(deployed: Deployed, tmp_path: Path) -> None:
    with (
        holding_endpoint(deployed.llm_port, read_caption) as (_, answering),
        typed(deployed, tmp_path, "outage-borne") as borne,
        typed(deployed, tmp_path, "outage-stopped") as stopped,
    ):
        for run in (borne, stopped):
            run.wait_for("extract_triplets first rows of shard-")
        deployed.stack.stop_server()
        try:
            for run in (borne, stopped):
                run.wait_for(f"the Prefect API at {deployed.stack.api} (PREFECT_API_URL) does not answer")
            stopped.press(CTRL_C)
            assert stopped.end() == 130
            assert "Traceback" not in stopped.shown
        finally:
            deployed.stack.start_server()
        borne.wait_for("answers again")
        answering.set()
        assert borne.process.wait(PATIENCE_S) == 0, borne.shown
        assert "Traceback" not in borne.shown
    assert run_of(deployed, "outage-borne")["state_type"] == "COMPLETED"
