"""Start a deployed flow: its workers run it, and this command may watch.

    triptych run matrix11k                      the deployment curate-matrix11k/default
    triptych run curate-matrix11k/paper --watch
    triptych run matrix11k --limit 5 --root /data/trial

Options are those of `triptych curate DATASET`, on top of what the deployment sets: all else stays. With --watch it
follows the run's states, its log and its shards, and ends with the exit status of `triptych curate`; Ctrl-C leaves the
run alone.
"""

from __future__ import annotations

import argparse
import difflib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    LogFilter,
    LogFilterFlowRunId,
    LogFilterTimestamp,
    WorkerFilter,
    WorkerFilterStatus,
)
from prefect.client.schemas.objects import FlowRun, Log, State, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import LogSort
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.utilities.urls import url_for

from flows.engine.command import NO_PAGE, NOT_LATEST, FlowCommand, errors_in_one_line
from flows.engine.dispatch import UNFINISHED
from flows.engine.pipeline import ReportFailed
from flows.engine.prefect_api import is_outage, prefect_server
from flows.engine.process import at_stop, leave
from flows.engine.shard_list import PREFECTS_WORDS
from flows.engine.tags import shards_of
from flows.registry import FLOWS, TRAININGS, load_flow, load_training
from schemas.outcome import printable
from tasks.engine.publish import YieldTooLow

MAIN = "default"  # the deployment of a flow that is named alone
POLL_S = 2.0
QUIET_S = 20.0  # then a line says what goes on
LATE_S = 10.0  # a run's log lines arrive in batches, and not quite in order
PAGE = 200
TOLD_BY_STATES = (
    "Downloading flow code",
    "Encountered exception",
    "Task run failed",
    "Engine execution exited",
    "Finished in state",
)

T = TypeVar("T")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="triptych run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Other options are those of `triptych curate DATASET` or `triptych train RECIPE`.",
        allow_abbrev=False,
    )
    names = f"DATASET is one of {', '.join(FLOWS)}, RECIPE of {', '.join(TRAININGS)}"
    parser.add_argument("deployment", help=f"DATASET, DATASET/NAME or train-RECIPE, where {names}")
    parser.add_argument("--watch", action="store_true", help="follow the run to its end")
    asked, overrides = parser.parse_known_args(arguments)
    flow, deployment_name = find(asked.deployment)
    with errors_in_one_line(flow.name), prefect_server() as client:
        deployment = read_deployment(client, f"{flow.flow_name}/{deployment_name}")
        config = flow.parse(overrides, deployment.parameters.get("config", {}))
        # The whole config: Prefect merges parameters at the top only, so that a part of one would lose the rest.
        parameters = {"config": config.model_dump(mode="json")} if overrides else None
        idle = list(pools_without_workers(client, deployment, flow.deployments_of(config)))
        run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
        print(f"{flow.flow_name}/{deployment_name}: run {run.name}, id {run.id}", url_for(run), sep="\n")
        for pool in idle:
            print(f"no worker is online for the pool {pool}: prefect worker start --pool {pool}")
        sys.stdout.flush()
        if asked.watch:
            watch(client, run)


def find(name: str) -> tuple[FlowCommand, str]:
    """The flow and the deployment that are meant: "matrix11k", "curate-matrix11k", "matrix11k/paper", "train-dsr"."""
    flow_name, _, deployment = name.partition("/")
    flow = flow_name.removeprefix("curate-").removeprefix("prepare-")
    trainings = {f"train-{recipe}": recipe for recipe in TRAININGS}
    if flow in FLOWS:
        return load_flow(flow), deployment or MAIN
    if flow in trainings:
        return load_training(trainings[flow]), deployment or MAIN
    known = [*FLOWS, *trainings]
    close = difflib.get_close_matches(flow, known, 1)
    sys.exit(f"there is no flow {flow_name}; {f'did you mean {close[0]}?' if close else ', '.join(known)}")


def read_deployment(client: SyncPrefectClient, name: str) -> DeploymentResponse:
    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        flow, _, wanted = name.partition("/")
        found = client.read_deployments(flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])))
        names = sorted(deployment.name for deployment in found)
        if not names:
            sys.exit(f"{flow} is not deployed: run `triptych deploy`")
        close = difflib.get_close_matches(wanted, names, 1)
        told = f"did you mean {flow}/{close[0]}?" if close else f"there are {', '.join(names)}"
        sys.exit(f"there is no deployment {name}; {told}")


def pools_without_workers(
    client: SyncPrefectClient, deployment: DeploymentResponse, shards: Iterable[str]
) -> Iterator[str]:
    """The work pools of the run and its shards' deployments in which nobody works."""
    pools = [deployment.work_pool_name, *(read_deployment(client, name).work_pool_name for name in shards)]
    online = WorkerFilter(status=WorkerFilterStatus(any_=["ONLINE"]))
    for pool in dict.fromkeys(pools):
        if pool and not client.read_workers_for_work_pool(pool, worker_filter=online):
            yield pool


def watch(client: SyncPrefectClient, run: FlowRun) -> None:
    """Follow a run to its end, and exit as `triptych curate` would. A signal ends the watching only."""
    goes_on = (
        f"watching has stopped; the run goes on: {url_for(run)}\nthis cancels it: prefect flow-run cancel {run.id}"
    )
    try:
        with (
            at_stop(lambda stop: leave(goes_on, 128 + stop)),
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),  # `patiently` says that it asks again
        ):
            state = Watched(client, run.id).follow()
    except ObjectNotFound:
        sys.exit("the run has been deleted")
    if not state.is_completed():
        print(_printable(state.message or str(state.name)), file=sys.stderr)
    sys.exit(exit_status(state))


def exit_status(state: State[Any]) -> int:
    """That of `triptych curate` where it ends alike."""
    if state.is_completed():
        return 0
    for error, status in ((YieldTooLow, NOT_LATEST), (ReportFailed, NO_PAGE)):
        if f"{error.__name__}: " in (state.message or ""):
            return status
    return 1


class Watched:
    """A run whose news are printed: its states, its log lines, which of its shards failed; else what goes on."""

    def __init__(self, client: SyncPrefectClient, run_id: UUID) -> None:
        self.client, self.run_id = client, run_id
        self._told: set[UUID] = set()  # states and log lines
        self._told_s, self._last = time.monotonic(), ""  # when something was printed, and the run's last line
        self._since = datetime.now(UTC) - timedelta(days=1)  # clocks differ

    def follow(self) -> State[Any]:
        """The run's last state."""
        while True:
            state = patiently(lambda: self.client.read_flow_run(self.run_id)).state
            assert state is not None
            if state.is_final():
                time.sleep(POLL_S)  # its last lines may still be on their way
            for log in patiently(self._read_logs):
                if not log.message.startswith(TOLD_BY_STATES):
                    self._tell(log.id, log.timestamp, log.message)
                    self._last = log.message
            for shard in patiently(lambda: self._read_shards(UNFINISHED)):
                if shard.state is not None:
                    self._tell(shard.state.id, shard.state.timestamp, f"{shard.name} {_told(shard.state)}")
            self._tell(state.id, state.timestamp, str(state.name))
            if state.is_final():
                return state
            if time.monotonic() - self._told_s >= QUIET_S:
                self._print(datetime.now(UTC), patiently(self._what_goes_on))
            time.sleep(POLL_S)

    def _tell(self, news: UUID, moment: datetime, text: str) -> None:
        if news not in self._told:
            self._told.add(news)
            self._print(moment, text)

    def _print(self, moment: datetime, text: str) -> None:
        self._told_s = time.monotonic()
        print(f"{moment.astimezone():%H:%M:%S}  {_printable(text)}", flush=True)

    def _what_goes_on(self) -> str:
        """How far its shards are, and the last line of one of them; while none is at work, the run's own."""
        running = self._read_shards([StateType.RUNNING])
        if not running:
            return f"no shard is running: {self._last}"
        n_done = self.client.count_flow_runs(flow_run_filter=shards_of(self.run_id, [StateType.COMPLETED]))
        names = {shard.id: shard.name for shard in running}
        of_shards = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[*names]))
        lines = self.client.read_logs(of_shards, limit=1, sort=LogSort.TIMESTAMP_DESC)
        told = "".join(f"; {names[log.flow_run_id]}: {log.message}" for log in lines if log.flow_run_id)
        return f"shards: {len(running)} running, {n_done} done{told}"

    def _read_logs(self) -> list[Log]:
        """Those since the last ones, and a few that were read before: they do not arrive in order."""
        of_run, since = LogFilterFlowRunId(any_=[self.run_id]), LogFilterTimestamp(after_=self._since)
        found: list[Log] = []
        while len(found) % PAGE == 0:
            page = self.client.read_logs(LogFilter(flow_run_id=of_run, timestamp=since), limit=PAGE, offset=len(found))
            found += page
            if not page:
                break
        if found:
            self._since = found[-1].timestamp - timedelta(seconds=LATE_S)
        return found

    def _read_shards(self, states: Iterable[StateType]) -> list[FlowRun]:
        return self.client.read_flow_runs(flow_run_filter=shards_of(self.run_id, states), limit=PAGE)


def patiently(call: Callable[[], T]) -> T:
    """What the server answers; while it is away, the run may go on, so this waits."""
    told = False
    while True:
        try:
            return call()
        except (httpx.TransportError, httpx.HTTPStatusError) as error:
            if not is_outage(error):
                raise
            if not told:
                print("the Prefect server does not answer; waiting for it", file=sys.stderr, flush=True)
            told = True
            time.sleep(POLL_S)


def _told(state: State[Any]) -> str:
    why = (state.message or "").removeprefix(PREFECTS_WORDS)
    return f"{str(state.name).lower()}: {why}" if why else str(state.name).lower()


def _printable(text: str) -> str:
    return "\n".join(printable(line) for line in text.splitlines())
