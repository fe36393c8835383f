"""The deployed flow on a Prefect server with PostgreSQL behind it: restarts of either cost nothing."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from flows.curate_matrix11k import CurateMatrix11k
from flows.engine.config import DispatchConfig
from tasks.backends.openai.api import EndpointConfig
from tasks.extract_triplets import ExtractConfig
from tests.flows.secured.conftest import Secured
from tests.support.endpoint import LocalEndpoint
from tests.support.flow_runs import FEW_FRAMES, answer_of, assert_same_snapshot, carry, draw_input, point_at, run_here
from tests.support.reader import holding_endpoint
from tests.support.snapshots import latest_folder

pytestmark = pytest.mark.slow

OUTAGE_S = 10.0


def stop_and_start(secured: Secured, what: str) -> tuple[Callable[[], None], Callable[[], None]]:
    match what:
        case "server":
            return secured.stack.stop_server, secured.stack.start_server
        case "database":  # as in a crash: the server lives on, its connections are broken
            return partial(secured.database.stop, signal.SIGQUIT), secured.database.start
    raise ValueError(what)


@pytest.mark.parametrize("away", ["server", "database"])
def test_the_snapshot_is_that_of_the_command(
    secured: Secured, away: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is away for a while, in the middle of a shard, which works on."""
    stack = secured.stack
    stop, start = stop_and_start(secured, away)
    config = CurateMatrix11k(
        manifest=draw_input(tmp_path / "in", [carry("yellow", "red"), carry("blue", "orange")]),
        root=tmp_path / "deployed",
        extract=ExtractConfig(llm="openai"),
        ground=FEW_FRAMES,
        endpoint=EndpointConfig(max_retries=0, concurrency=1, deadline_s=300),
        dispatch=DispatchConfig(deployment="curate-matrix11k-shard/default", poll_s=1),
    )
    with holding_endpoint(secured.llm_port, answer_of) as (reader, answering):
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

    with LocalEndpoint(answers=answer_of, port=secured.llm_port) as reader:
        point_at(reader, monkeypatch)
        here = run_here(config.model_copy(update={"root": tmp_path / "here", "dispatch": DispatchConfig()}))
    assert_same_snapshot(published, here)

    assert int(secured.database.ask("SELECT count(*) FROM flow_run WHERE state_type = 'COMPLETED'")) >= 3
    assert not list(stack.folder.rglob("prefect.db"))
