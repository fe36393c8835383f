"""The deployed flow on a Prefect server with PostgreSQL behind it: restarts of either cost nothing.

Fails where PostgreSQL is not installed; TRIPTYCH_WITHOUT_POSTGRES=1 leaves it out.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from flows.curate_matrix11k import CurateMatrix11k
from flows.engine.dispatch import DispatchConfig
from tasks.backends.openai.api import EndpointConfig
from tasks.extract_triplets import ExtractConfig
from tests.support.endpoint import LocalEndpoint
from tests.support.flow_runs import FEW_FRAMES, answer_of, assert_same_snapshot, carry, draw_input, point_at, run_here
from tests.support.postgres import Postgres
from tests.support.prefect_stack import PLAN, SHARDS, PrefectStack, free_port
from tests.support.reader import holding_endpoint
from tests.support.snapshots import latest_folder

pytestmark = pytest.mark.slow

OUTAGE_S = 10.0


class Deployed(NamedTuple):
    database: Postgres
    stack: PrefectStack
    llm_port: int


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    if os.environ.get("TRIPTYCH_WITHOUT_POSTGRES"):
        pytest.skip("TRIPTYCH_WITHOUT_POSTGRES is set")
    folder, llm_port = tmp_path_factory.mktemp("postgres"), free_port()
    env = {"TRIPTYCH_MANIFEST": "none", "TRIPTYCH_ROOT": "none", "TRIPTYCH_LLM_API_KEY": "none"}
    env |= {"TRIPTYCH_LLM_BASE_URL": f"http://127.0.0.1:{llm_port}/v1", "TRIPTYCH_LLM_MODEL": "tiny-llm"}
    with Postgres() as database:
        server_env = {"PREFECT_API_DATABASE_CONNECTION_URL": database.url}
        with PrefectStack(folder, env, server_env) as stack:
            stack.deploy()
            for pool in (PLAN, SHARDS):
                stack.start_worker(pool)
            yield Deployed(database, stack, llm_port)


def stop_and_start(deployed: Deployed, what: str) -> tuple[Callable[[], None], Callable[[], None]]:
    match what:
        case "server":
            return deployed.stack.stop_server, deployed.stack.start_server
        case "database":  # as in a crash: the server lives on, its connections are broken
            return partial(deployed.database.stop, signal.SIGQUIT), deployed.database.start
    raise ValueError(what)


@pytest.mark.parametrize("away", ["server", "database"])
def test_the_snapshot_is_that_of_the_command(
    deployed: Deployed, away: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is away for a while, in the middle of a shard, which works on."""
    stack = deployed.stack
    stop, start = stop_and_start(deployed, away)
    config = CurateMatrix11k(
        manifest=draw_input(tmp_path / "in", [carry("yellow", "red"), carry("blue", "orange")]),
        root=tmp_path / "deployed",
        extract=ExtractConfig(llm="openai"),
        ground=FEW_FRAMES,
        endpoint=EndpointConfig(max_retries=0, concurrency=1, deadline_s=300),
        dispatch=DispatchConfig(deployment="curate-matrix11k-shard/default", poll_s=1),
    )
    with holding_endpoint(deployed.llm_port, answer_of) as (reader, answering):
        parent = stack.start("curate-matrix11k/default", {"config": config.model_dump(mode="json", exclude_unset=True)})
        stack.wait_until(lambda: reader.calls > 0, "a shard asks the reader")
        stop()
        answering.set()
        time.sleep(OUTAGE_S)
        start()
        stack.wait_for(parent, "COMPLETED")
    runs = [stack.run(parent), *stack.shards_of(parent)]
    assert [run["run_count"] for run in runs] == [1, 1, 1], [stack.history(run["id"]) for run in runs]
    published = latest_folder(config.snapshots)

    with LocalEndpoint(answers=answer_of, port=deployed.llm_port) as reader:
        point_at(reader, monkeypatch)
        here = run_here(config.model_copy(update={"root": tmp_path / "here", "dispatch": DispatchConfig()}))
    assert_same_snapshot(published, here)

    assert int(deployed.database.ask("SELECT count(*) FROM flow_run WHERE state_type = 'COMPLETED'")) >= 3
    assert not list(stack.folder.rglob("prefect.db"))
