"""Where shards run: in this process, or each as a deployed flow run of its own.

A deployed shard is a flow run with a deployment, so Prefect's UI shows it and offers Retry on it alone.
Its parent creates one run a shard under an idempotency key, so a parent that is run again finds the
shards it had. When a retried shard completes and no sibling is left unfinished, `rearm_parent` queues
the failed parent again, which publishes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import deployment as current_deployment
from prefect.runtime import flow_run as current_run
from prefect.states import AwaitingRetry, Crashed
from pydantic import BaseModel, Field

from flows.engine.steps import call_flow
from schemas.config import Settings
from tasks.engine.publish import YieldTooLow

PARENT_TAG = "triptych-parent:"
# How long an ended run rests before it is tried again. Its worker may still be winding the last try up: it looks
# for hooks, and reports a crash a second time. A worker with a limit that is given the run meanwhile ends with an
# error. Workers fetch runs up to 10 s early (PREFECT_WORKER_PREFETCH_SECONDS).
REST_S = 20.0
UNFINISHED = (StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)


class DispatchConfig(Settings):
    """Where shards run. No part of any key: the same work is the same work anywhere."""

    deployment: str | None = Field(
        None, description="Deployment that runs a shard, as FLOW/NAME; empty: shards run in this process"
    )
    routes: dict[str, str] = Field(
        default_factory=dict, description="Stages that need another machine: stage -> deployment, as FLOW/NAME"
    )
    poll_s: float = Field(
        5.0, gt=0, title="Interval of looks (s)", description="How often the parent looks at its shards"
    )
    server_patience_s: float = Field(900.0, gt=0, description="How long the parent bears an unreachable Prefect server")
    silence_s: float = Field(
        90.0, gt=0, description="A run without a heartbeat for this long is dead (prefect.yaml: 30 s)"
    )
    start_s: float = Field(
        900.0, gt=0, description="A run that a worker took and did not start for this long is dead, with its worker"
    )
    crash_retries: int = Field(2, ge=0, description="How often a shard whose process died is queued again by itself")


class Job(BaseModel):
    """One shard's work: the parameters of its flow run, but for the stages."""

    name: str
    parameters: dict[str, Any]
    stages: list[str]
    again: bool = False  # it was done before, and some of its rows failed that may end otherwise


class ShardsFailed(RuntimeError):
    """Some shards failed. The others are done; nothing is published until these are too."""

    def __init__(self, failures: dict[str, str], n_jobs: int, remedy: str) -> None:
        lines = [f"  {name}: {why}" for name, why in failures.items()]
        super().__init__("\n".join([f"{len(failures)} of {n_jobs} shards failed. {remedy}", *lines]))
        self.failures = failures


def run_shards(shard_flow: Any, jobs: Sequence[Job], config: DispatchConfig, log: Any) -> None:
    """Run every job to its end. Raises ShardsFailed, after all others are through, if any could not be done."""
    if not jobs:
        return
    if config.deployment is None:
        _run_here(shard_flow, jobs, log)
    else:
        _Deployed(jobs, config, config.deployment, log).run()


def _run_here(shard_flow: Any, jobs: Sequence[Job], log: Any) -> None:
    failures = {}
    for number, job in enumerate(jobs, start=1):
        log.info("shard %d of %d: %s", number, len(jobs), job.name)
        if why := call_flow(shard_flow, **job.parameters, stages=job.stages):
            failures[job.name] = why
    if failures:
        raise ShardsFailed(failures, len(jobs), "Mend the cause and run the same command again: only these are redone.")


def legs(stages: Sequence[str], default: str, routes: dict[str, str]) -> list[tuple[str, list[str]]]:
    """Neighbouring stages that go to the same deployment, together: [(deployment, stages), ...]."""
    result: list[tuple[str, list[str]]] = []
    for stage in stages:
        deployment = routes.get(stage, default)
        if result and result[-1][0] == deployment:
            result[-1][1].append(stage)
        else:
            result.append((deployment, [stage]))
    return result


class _Deployed:
    """Submits shards as deployed flow runs and follows them until each has ended."""

    def __init__(self, jobs: Sequence[Job], config: DispatchConfig, deployment: str, log: Any) -> None:
        self.config, self.log = config, log
        self.parent_id = str(current_run.id)
        self.todo = {job.name: legs(job.stages, deployment, config.routes) for job in jobs}
        self.jobs = {job.name: job for job in jobs}
        self.runs: dict[str, UUID] = {}
        self.crashes: Counter[str] = Counter()
        self.failures: dict[str, str] = {}
        self.looked_s = time.monotonic()

    def run(self) -> None:
        for name in self.jobs:
            self._submit(name)
        line = ""
        while self.runs.keys() - self.failures.keys():
            time.sleep(self.config.poll_s)
            found = self._read()
            self._look_for_silence(found)
            counts = Counter(self._follow(name, run) for name, run in found.items())
            now = ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
            if now != line:
                line = now
                self.log.info("%d of %d shards done (%s)", len(self.jobs) - len(self.runs), len(self.jobs), now)
        if self.failures:
            remedy = (
                "Mend the cause, then press Retry on each of them in the Prefect UI (this run is then queued "
                "again by itself), or retry this run to queue them all."
            )
            raise ShardsFailed(self.failures, len(self.jobs), remedy)

    def _submit(self, name: str) -> None:
        deployment, stages = self.todo[name][0]
        run = self._patiently(
            lambda: run_deployment(
                deployment,
                parameters={**self.jobs[name].parameters, "stages": stages},
                flow_run_name=name,
                tags=[f"{PARENT_TAG}{self.parent_id}"],
                idempotency_key=f"{self.parent_id}:{name}:{stages[0]}",
                as_subflow=False,  # a subflow's dummy task is bound to one attempt of its parent
                timeout=0,
            )
        )
        self.runs[name] = run.id
        # The parent was retried, by hand or by a crash: its unfinished shards get another try too, and those of
        # failed rows: Retry on a parent whose yield was too low is to ask for these again.
        again = (*UNFINISHED, StateType.COMPLETED) if self.jobs[name].again else UNFINISHED
        if run.state is not None and run.state.type in again:
            self._rearm(run)

    def _follow(self, name: str, run: FlowRun) -> str:
        state = run.state
        # A failed shard is followed on: it may be retried by hand while others are at work.
        self.failures.pop(name, None)
        if state is None or not state.is_final():
            return state.name.lower() if state and state.name else "pending"
        if state.is_completed():
            del self.runs[name]
            self.todo[name].pop(0)
            if self.todo[name]:
                self._submit(name)
                return "pending"
            return "completed"
        if state.type == StateType.CRASHED and self.crashes[name] < self.config.crash_retries:
            if _age_s(state.timestamp) < REST_S:
                return "crashed"
            self.crashes[name] += 1
            self.log.warning("%s crashed and is queued again: %s", name, state.message)
            self._rearm(run)
            return "queued again"
        self.failures[name] = state.message or str(state.name)
        return str(state.name).lower()

    def _read(self) -> dict[str, FlowRun]:
        names = {run_id: name for name, run_id in self.runs.items()}

        def read() -> list[FlowRun]:
            found: list[FlowRun] = []
            ids = list(names)
            with get_client(sync_client=True) as client:
                for start in range(0, len(ids), 100):  # a page of the API holds 200
                    chosen = FlowRunFilter(id=FlowRunFilterId(any_=ids[start : start + 100]))
                    found += client.read_flow_runs(flow_run_filter=chosen)
            return found

        return {names[run.id]: run for run in self._patiently(read)}

    def _look_for_silence(self, found: dict[str, FlowRun]) -> None:
        if time.monotonic() - self.looked_s < self.config.silence_s / 3:
            return
        self.looked_s = time.monotonic()

        def look() -> None:
            with get_client(sync_client=True) as client:
                for run in found.values():
                    crash_if_silent(client, run, self.config)

        self._patiently(look)

    def _rearm(self, run: FlowRun) -> None:
        def arm() -> None:
            with get_client(sync_client=True) as client:
                queue_again(client, run)

        self._patiently(arm)

    def _patiently(self, call: Callable[[], Any]) -> Any:
        """The shards live on while the server is away, so the parent does too."""
        give_up = time.monotonic() + self.config.server_patience_s
        while True:
            try:
                return call()
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                status = getattr(getattr(error, "response", None), "status_code", 503)
                if status < 500 or time.monotonic() > give_up:
                    raise
                self.log.warning("the Prefect server does not answer (%r); waiting", error)
                # Heartbeats are lost too: nobody is silent before they could be heard again.
                self.looked_s = time.monotonic() + self.config.silence_s
                time.sleep(self.config.poll_s)


def rearm_parent(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:
    """on_completion of a shard: queue its parent again if that had given up and now nothing is missing."""
    tag = next((t for t in flow_run.tags if t.startswith(PARENT_TAG)), None)
    if tag is None:
        return
    with get_client(sync_client=True) as client:
        unfinished = FlowRunFilter(
            tags=FlowRunFilterTags(all_=[tag]),
            id=FlowRunFilterId(not_any_=[flow_run.id]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=sorted(set(StateType) - {StateType.COMPLETED}))),
        )
        if client.read_flow_runs(flow_run_filter=unfinished, limit=1):
            return
        try:
            parent = client.read_flow_run(UUID(tag.removeprefix(PARENT_TAG)))
        except ObjectNotFound:
            return
        if parent.deployment_id is not None and parent.state is not None and gave_up(parent.state):
            queue_again(client, parent)
            log = flow_run_logger(flow_run, flow)
            log.info("all shards of %s are done: it is queued again to publish", parent.name)


def gave_up(parent: State[Any]) -> bool:
    """Did a parent end before its shards were done?

    One whose yield was too low saw them all to their end: the last one's hook, if it is slow, must not restart it.
    """
    return parent.type in UNFINISHED and YieldTooLow.__name__ not in (parent.message or "")


def queue_again(client: SyncPrefectClient, run: FlowRun) -> None:
    """Have an ended run tried again in place, once it has rested."""
    now = datetime.now(UTC)
    ended = now if run.state is None else run.state.timestamp
    client.set_flow_run_state(
        run.id, AwaitingRetry(scheduled_time=max(now, ended + timedelta(seconds=REST_S))), force=True
    )


def crash_if_silent(client: SyncPrefectClient, run: FlowRun, config: DispatchConfig) -> bool:
    """Crash a run whose worker or process died: what dies with its machine cannot say so itself.

    Prefect offers an automation for this, but it also fires on runs whose last heartbeat arrives after
    their end, and then crashes them while they wait for their retry (Prefect issues 18653 and 21932).
    """
    why = _death_of(client, run, config)
    if why is None:
        return False
    client.set_flow_run_state(run.id, Crashed(message=why))
    return True


def _death_of(client: SyncPrefectClient, run: FlowRun, config: DispatchConfig) -> str | None:
    """Why the run must be dead, or None if it may live.

    A running one that never sent a heartbeat is left alone: its worker has them switched off.
    """
    state = run.state
    if state is not None and state.is_pending() and _age_s(state.timestamp) > config.start_s:
        return "A worker took it and never started it: its worker or its machine died."
    if state is None or not state.is_running():
        return None
    wanted = {
        "occurred": {"since": state.timestamp.isoformat()},
        "event": {"name": ["prefect.flow-run.heartbeat"]},
        "resource": {"id": [f"prefect.flow-run.{run.id}"]},
        "order": "DESC",
    }
    found = client.request("POST", "/events/filter", json={"filter": wanted, "limit": 1}).json()["events"]
    if not found or _age_s(datetime.fromisoformat(found[0]["occurred"])) < config.silence_s:
        return None
    return "No heartbeat: its process or its machine died."


def _age_s(moment: datetime) -> float:
    return (datetime.now(UTC) - moment).total_seconds()


def crash_silent_parents(config: DispatchConfig, log: Any) -> None:
    """Crash earlier runs of this deployment that died without a word; else they stay Running for ever."""
    if current_deployment.id is None:
        return
    with get_client(sync_client=True) as client:
        same = FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[UUID(str(current_deployment.id))]),
            id=FlowRunFilterId(not_any_=[UUID(str(current_run.id))]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])),
        )
        for run in client.read_flow_runs(flow_run_filter=same):
            if crash_if_silent(client, run, config):
                log.warning("%s had died while running and is marked as crashed", run.name)
