"""Where shards run: in this process, or each as a deployed flow run of its own.

A deployed shard is a flow run with a deployment, so Prefect's UI shows it and offers Retry on it alone.
Its parent creates one run a shard under an idempotency key, so a parent that is run again finds the
shards it had (flows/engine/reviving.py). It lists them on its page in the UI (flows/engine/shard_list.py).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.runtime import flow_run as current_run
from pydantic import BaseModel

from flows.engine.cancelling import BY_ITS_RUN, leave_if_cancelled, settle
from flows.engine.config import DispatchConfig
from flows.engine.prefect_api import is_outage
from flows.engine.reviving import REST_S, age_s, crash_if_silent, queue_again
from flows.engine.shard_list import ShardList, reason_of
from flows.engine.steps import call_flow
from flows.engine.tags import DATASET_TAG, PARENT_TAG

T = TypeVar("T")

Look = Callable[[str | None], None]

UNFINISHED = (StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)


class Job(BaseModel):
    """One shard's work: the parameters of its flow run, but for the stages."""

    shard_id: str
    name: str  # what people read: "shard 3 of 28, clips 128-191"
    parameters: dict[str, Any]
    stages: list[str]
    again: bool = False  # it was done before, and some of its rows failed that may end otherwise


class ShardsFailed(RuntimeError):
    """Some shards failed. The others are done; nothing is published until these are too."""

    def __init__(self, failures: dict[str, str], n_jobs: int, remedy: str) -> None:
        lines = [f"  {name}: {why}" for name, why in failures.items()]
        super().__init__("\n".join([f"{len(failures)} of {n_jobs} shards failed. {remedy}", *lines]))
        self.failures = failures


def run_shards(
    shard_flow: Any,
    jobs: Sequence[Job],
    config: DispatchConfig,
    log: Any,
    *,
    dataset: str,
    kind: str = "shards",
    n_before: int = 0,
    look: Look = lambda shard_id: None,
) -> None:
    """Run every job to its end. Raises ShardsFailed, after all others are through, if any could not be done.

    dataset, kind: what the list of the shards in the UI is called after
    n_before: how many other shards of the plan were done before
    look: is called with each shard that is done, and with None from time to time while deployed ones are at work
    """
    if config.deployment is None:
        _run_here(shard_flow, jobs, log, look)
    elif jobs:
        _Deployed(jobs, config, config.deployment, log, dataset, ShardList(kind, dataset, n_before), look).run()
    elif n_before:
        ShardList(kind, dataset, n_before).show([])  # those that an earlier try of this run lists as failed are done


def _run_here(shard_flow: Any, jobs: Sequence[Job], log: Any, look: Look) -> None:
    failures = {}
    for job in jobs:
        log.info("%s: %s", job.name, job.shard_id)
        named = shard_flow.with_options(flow_run_name=job.name)
        if why := call_flow(named, **job.parameters, stages=job.stages):
            failures[job.name] = why
        else:
            look(job.shard_id)
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

    def __init__(
        self,
        jobs: Sequence[Job],
        config: DispatchConfig,
        deployment: str,
        log: Any,
        dataset: str,
        page: ShardList,
        look: Look,
    ) -> None:
        self.config, self.log, self.page, self.look = config, log, page, look
        self.parent_id = UUID(str(current_run.id))
        self.tags = [f"{PARENT_TAG}{self.parent_id}", f"{DATASET_TAG}{dataset}"]
        self.jobs = {job.shard_id: job for job in jobs}
        self.todo = {job.shard_id: legs(job.stages, deployment, config.routes) for job in jobs}
        # A shard that takes several runs, one after the other: each says where it begins.
        self.has_legs = {shard_id for shard_id, todo in self.todo.items() if len(todo) > 1}
        self.runs: dict[str, UUID] = {}
        self.last: dict[str, FlowRun] = {}  # as it was last seen
        self.ending: set[UUID] = set()  # runs that were still being cancelled when this one asked for them
        self.crashes: Counter[str] = Counter()
        self.failures: dict[str, str] = {}
        self.looked_s = time.monotonic()

    def run(self) -> None:
        for shard_id in self.jobs:
            self._submit(shard_id)
        line = ""
        while self.runs.keys() - self.failures.keys():
            self._show()
            time.sleep(self.config.poll_s)
            found = self._read()
            self._look_for_silence(found)
            counts = Counter(self._follow(shard_id, run) for shard_id, run in found.items())
            self.look(None)
            now = ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
            if now != line:
                line = now
                self.log.info("%d of %d shards done (%s)", len(self.jobs) - len(self.runs), len(self.jobs), now)
        self._show()
        if self.failures:
            remedy = (
                "Mend the cause, then press Retry on each of them in the Prefect UI (this run is then queued "
                "again by itself), or retry this run to queue them all."
            )
            failures = {self.last[shard_id].name: why for shard_id, why in self.failures.items()}
            raise ShardsFailed(failures, len(self.jobs), remedy)

    def _submit(self, shard_id: str) -> None:
        job, (deployment, stages) = self.jobs[shard_id], self.todo[shard_id][0]

        def submit() -> FlowRun:
            submitted = run_deployment(
                deployment,
                parameters={**job.parameters, "stages": stages},
                flow_run_name=f"{job.name}, {stages[0]}" if shard_id in self.has_legs else job.name,
                tags=[*self.tags, shard_id],
                idempotency_key=f"{self.parent_id}:{shard_id}:{stages[0]}",
                # No subflow: its dummy task is bound to one attempt of its parent, and the server would cancel
                # what a person retries of a cancelled run.
                as_subflow=False,
                timeout=0,
            )
            assert isinstance(submitted, FlowRun)  # a coroutine in asynchronous code
            return submitted

        run = self._patiently(submit)
        self.runs[shard_id], self.last[shard_id] = run.id, run
        if run.state is not None and run.state.is_cancelling():
            self.ending.add(run.id)
        # The parent was retried, by hand or by a crash: its unfinished shards get another try too, and those of
        # failed rows: Retry on a parent whose yield was too low is to ask for these again.
        again = (*UNFINISHED, StateType.COMPLETED) if job.again else UNFINISHED
        if run.state is not None and run.state.type in again:
            self._ask(lambda client: queue_again(client, run))

    def _follow(self, shard_id: str, run: FlowRun) -> str:
        state, self.last[shard_id] = run.state, run
        # A failed shard is followed on: it may be retried by hand while others are at work.
        self.failures.pop(shard_id, None)
        if state is None or not state.is_final():
            if state is not None and state.is_cancelling():
                self._ask(lambda client: settle(client, run))
            return state.name.lower() if state and state.name else "pending"
        if state.is_completed():
            del self.runs[shard_id]
            self.todo[shard_id].pop(0)
            if self.todo[shard_id]:
                self._submit(shard_id)
                return "pending"
            self.look(shard_id)
            return "completed"
        if state.is_cancelled() and (run.id in self.ending or state.message == BY_ITS_RUN):  # before this was run again
            self.ending.discard(run.id)
            self._ask(lambda client: queue_again(client, run))
            return "queued again"
        if state.type == StateType.CRASHED and self.crashes[shard_id] < self.config.crash_retries:
            if age_s(state.timestamp) < REST_S:
                return "crashed"
            self.crashes[shard_id] += 1
            self.log.warning("%s crashed and is queued again: %s", run.name, state.message)
            self._ask(lambda client: queue_again(client, run))
            return "queued again"
        self.failures[shard_id] = reason_of(state)
        return str(state.name).lower()

    def _read(self) -> dict[str, FlowRun]:
        shard_ids = {run_id: shard_id for shard_id, run_id in self.runs.items()}

        def read(client: SyncPrefectClient) -> list[FlowRun]:
            found: list[FlowRun] = []
            ids = [self.parent_id, *shard_ids]
            for start in range(0, len(ids), 100):  # a page of the API holds 200
                chosen = FlowRunFilter(id=FlowRunFilterId(any_=ids[start : start + 100]))
                found += client.read_flow_runs(flow_run_filter=chosen)
            return found

        found = self._ask(read)
        for run in found:
            if run.id == self.parent_id:
                leave_if_cancelled(run)
        return {shard_ids[run.id]: run for run in found if run.id in shard_ids}

    def _show(self) -> None:
        self.page.show([(shard_id, self.last[shard_id]) for shard_id in self.jobs])

    def _look_for_silence(self, found: dict[str, FlowRun]) -> None:
        if time.monotonic() - self.looked_s < self.config.silence_s / 3:
            return
        self.looked_s = time.monotonic()

        def look(client: SyncPrefectClient) -> None:
            for run in found.values():
                crash_if_silent(client, run, self.config)

        self._ask(look)

    def _ask(self, question: Callable[[SyncPrefectClient], T]) -> T:
        def ask() -> T:
            with get_client(sync_client=True) as client:
                return question(client)

        return self._patiently(ask)

    def _patiently(self, call: Callable[[], T]) -> T:
        """The shards live on while the server is away, so the parent does too."""
        give_up = time.monotonic() + self.config.server_patience_s
        while True:
            try:
                return call()
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                if not is_outage(error) or time.monotonic() > give_up:
                    raise
                self.log.warning("the Prefect server does not answer (%r); waiting", error)
                # Heartbeats are lost too: nobody is silent before they could be heard again.
                self.looked_s = time.monotonic() + self.config.silence_s
                time.sleep(self.config.poll_s)
