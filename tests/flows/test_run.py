"""`triptych run` without a server: which deployment is meant, with which config, how a run is followed.

tests/flows/deployed/test_deploy_command.py runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.schemas.objects import FlowRun, Log, State, StateType
from prefect.states import Cancelled, Completed, Crashed, Failed, Running

from flows.commands import run
from flows.commands.run import Watched, exit_status, find, patiently
from flows.registry import load_flow

NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)
GIVEN = {
    "manifest": "/videos/m.jsonl",
    "root": "/data",
    "profile": "paper",
    "dispatch": {"deployment": "curate-matrix11k-shard/default", "routes": {"propagate_masks": "a/gpu"}},
}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "POLL_S", 0.0)


# --- What is run -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "dataset", "deployment"),
    [
        ("matrix11k", "matrix11k", "default"),
        ("curate-matrix11k", "matrix11k", "default"),
        ("curate-kinemask/blender", "kinemask", "blender"),
        ("dsr/paper", "dsr", "paper"),
    ],
)
def test_the_short_names_of_a_deployment(name: str, dataset: str, deployment: str) -> None:
    flow, found = find(name)
    assert (flow.name, found) == (dataset, deployment)


def test_an_unknown_flow_is_one_line_with_the_nearest() -> None:
    with pytest.raises(SystemExit, match=r"there is no flow curate-matrix12k; did you mean matrix11k\?"):
        find("curate-matrix12k")


def test_options_go_on_top_of_the_deployments_config() -> None:
    config: Any = load_flow("matrix11k").parse(["--limit", "5", "--dispatch.poll-s", "1", "--root=/trial"], GIVEN)
    assert (str(config.manifest), str(config.root), config.limit) == ("/videos/m.jsonl", "/trial", 5)
    assert config.extract.llm == "openai"
    assert config.dispatch.routes == {"propagate_masks": "a/gpu"}
    assert config.dispatch.poll_s == 1
    assert type(config).model_validate(config.model_dump(mode="json")) == config


def test_what_the_deployment_lacks_is_one_line_before_anything_is_started() -> None:
    with pytest.raises(SystemExit, match="--root: the root is empty"):
        load_flow("kinemask").parse([], {"root": ""})
    assert str(load_flow("kinemask").parse(["--root", "/data"], {"root": ""}).root) == "/data"


@pytest.mark.parametrize("field", ["manifest", "root"])
def test_a_relative_path_is_no_place_that_workers_share(field: str) -> None:
    with pytest.raises(SystemExit, match=f"{field} is here, which is another place on each worker"):
        load_flow("matrix11k").parse([], {**GIVEN, field: "here"})


def test_without_shards_elsewhere_paths_may_be_relative() -> None:
    assert str(load_flow("matrix11k").parse([], {"manifest": "m.jsonl", "root": "data"}).root) == "data"


# --- How it ends -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (Completed(), 0),
        (Failed(message="Flow run encountered an exception: YieldTooLow: 0 of 4"), 3),
        (Failed(message="Flow run encountered an exception: ReportFailed: it is published"), 4),
        (Failed(message="Flow run encountered an exception: ShardsFailed: 1 of 2 shards failed"), 1),
        (Crashed(message="No heartbeat: its process or its machine died."), 1),
        (Cancelled(), 1),
    ],
)
def test_the_exit_status_is_that_of_curate(state: State[Any], status: int) -> None:
    assert exit_status(state) == status


# --- How it is followed ------------------------------------------------------------------------


class Server:
    """A server that shows a run, look by look."""

    def __init__(self, looks: Sequence[tuple[State[Any] | Exception, list[Log]]], shards: list[FlowRun]) -> None:
        self.run_id, self.shards, self._looks = uuid4(), shards, list(looks)
        self._logs: list[Log] = []

    def read_flow_run(self, run_id: UUID) -> FlowRun:
        assert run_id == self.run_id
        state, logs = self._looks.pop(0)
        if isinstance(state, Exception):
            raise state
        self._logs += logs
        return FlowRun(id=run_id, flow_id=uuid4(), state=state)

    def read_logs(self, chosen: Any, limit: int, offset: int = 0, sort: Any = None) -> list[Log]:
        if chosen.timestamp is None:  # the last line of some shards
            ids = {shard.id for shard in self.shards} & {*chosen.flow_run_id.any_}
            return [log("extract_triplets: 5/64 rows", 0).model_copy(update={"flow_run_id": id_}) for id_ in ids][
                :limit
            ]
        since = [log for log in self._logs if log.timestamp > chosen.timestamp.after_]
        return sorted(since, key=lambda log: log.timestamp)[offset:][:limit]

    def read_flow_runs(self, flow_run_filter: Any, limit: int) -> list[FlowRun]:
        wanted = flow_run_filter.state.type.any_
        return [shard for shard in self.shards if shard.state and shard.state.type in wanted][:limit]

    def count_flow_runs(self, flow_run_filter: Any) -> int:
        return len(self.read_flow_runs(flow_run_filter, 200))


def log(message: str, after_s: float) -> Log:
    moment = datetime.now(UTC) + timedelta(seconds=after_s)
    return Log(id=uuid4(), name="prefect", level=20, message=message, timestamp=moment, flow_run_id=uuid4())


def shard(state: State[Any]) -> FlowRun:
    return FlowRun(id=uuid4(), flow_id=uuid4(), name="shard 3", state=state)


def followed(server: Any, capsys: pytest.CaptureFixture[str]) -> tuple[State[Any], list[str], str]:
    state = Watched(server, server.run_id).follow()
    told = capsys.readouterr()
    return state, [line[10:] for line in told.out.splitlines()], told.err


def test_each_line_is_printed_once_and_late_ones_too(capsys: pytest.CaptureFixture[str]) -> None:
    running, pages = Running(), [log(f"line {n}", n / 1000) for n in range(450)]
    looks: list[Any] = [(running, pages), (running, [log("late", 0.1)]), (Completed(), [log("snapshot", 1)])]
    state, lines, _ = followed(Server(looks, []), capsys)
    assert state.is_completed()
    assert lines == [*(f"line {n}" for n in range(450)), "Running", "late", "snapshot", "Completed"]


def test_a_failed_shard_is_told_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    why = "Flow run encountered an exception: ServiceDown: no LLM is configured"
    server = Server([(Running(), []), (Failed(), [])], [shard(Failed(message=why)), shard(Crashed())])
    _, lines, _ = followed(server, capsys)
    assert lines == ["shard 3 failed: ServiceDown: no LLM is configured", "shard 3 crashed", "Running", "Failed"]


def test_while_nothing_is_new_it_says_what_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "QUIET_S", 0.0)
    _, lines, _ = followed(Server([(Running(), []), (Completed(), [])], [shard(Running()), shard(Completed())]), capsys)
    assert lines == ["Running", "shards: 1 running, 1 done; shard 3: extract_triplets: 5/64 rows", "Completed"]
    waits = Server([(Running(), [log("data is held by another run", 0)]), (Completed(), [])], [])
    assert followed(waits, capsys)[1][2] == "no shard is running: data is held by another run"


def test_prefects_tracebacks_are_left_to_the_ui(capsys: pytest.CaptureFixture[str]) -> None:
    trace = "Encountered exception during execution: ...\nTraceback (most recent call last):\n  ..."
    _, lines, _ = followed(Server([(Failed(), [log(trace, 0), log("1 source", 1)])], []), capsys)
    assert lines == ["1 source", "Failed"]


def test_what_a_file_name_says_to_the_terminal_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    _, lines, _ = followed(Server([(Completed(), [log("bad\x1b[2J.mp4", 0)])], []), capsys)
    assert lines == ["bad\\x1b[2J.mp4", "Completed"]


def test_a_server_that_goes_away_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    request = httpx.Request("GET", "http://127.0.0.1")
    busy = httpx.HTTPStatusError("busy", request=request, response=httpx.Response(503, request=request))
    looks: list[Any] = [(Running(), []), (httpx.ConnectError("refused"), []), (busy, []), (Completed(), [])]
    state, lines, told = followed(Server(looks, []), capsys)
    assert (state.type, lines) == (StateType.COMPLETED, ["Running", "Completed"])
    assert told.splitlines() == ["the Prefect server does not answer; waiting for it"]


def test_a_servers_no_is_not_waited_for() -> None:
    request = httpx.Request("GET", "http://127.0.0.1")

    def refuse() -> None:
        raise httpx.HTTPStatusError("no", request=request, response=httpx.Response(401, request=request))

    with pytest.raises(httpx.HTTPStatusError):
        patiently(refuse)
