"""Runs that ended or died and are tried again, in place.

A deployed shard that failed has a Retry of its own in the UI. When it completes and no sibling is left unfinished,
`rearm_parent` queues the failed run that it belongs to again, which publishes. A run that a person cancelled is left
alone (flows/engine/cancelling.py).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import deployment as current_deployment
from prefect.runtime import flow_run as current_run
from prefect.states import AwaitingRetry, Crashed

from flows.engine.cancelling import QUEUED_AGAIN
from flows.engine.config import DispatchConfig
from flows.engine.tags import parent_of, shards_of
from tasks.engine.publish import YieldTooLow

# How long an ended run rests before it is tried again. Its worker may still be winding the last try up: it looks
# for hooks, and reports a crash a second time. A worker with a limit that is given the run meanwhile ends with an
# error. Workers fetch runs up to 10 s early (PREFECT_WORKER_PREFETCH_SECONDS).
REST_S = 20.0


def rearm_parent(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:
    """on_completion of a shard: queue its parent again if that had given up and now nothing is missing."""
    parent_id = parent_of(flow_run.tags)
    if parent_id is None:
        return
    with get_client(sync_client=True) as client:
        unfinished = shards_of(parent_id, set(StateType) - {StateType.COMPLETED}, but=[flow_run.id])
        if client.read_flow_runs(flow_run_filter=unfinished, limit=1):
            return
        try:
            parent = client.read_flow_run(parent_id)
        except ObjectNotFound:
            return
        if parent.deployment_id is not None and parent.state is not None and gave_up(parent.state):
            queue_again(client, parent)
            log = flow_run_logger(flow_run, flow)
            log.info("all shards of %s are done: it is queued again to publish", parent.name)


def gave_up(parent: State[Any]) -> bool:
    """Did a parent end before its shards were done, though nobody cancelled it?

    One whose yield was too low saw them all to their end: the last one's hook, if it is slow, must not restart it.
    """
    ended = parent.type in (StateType.FAILED, StateType.CRASHED)
    return ended and YieldTooLow.__name__ not in (parent.message or "")


def queue_again(client: SyncPrefectClient, run: FlowRun) -> None:
    """Have an ended run tried again in place, once it has rested; not one that is being cancelled by now."""
    now = datetime.now(UTC)
    ended = now if run.state is None else run.state.timestamp
    at = max(now, ended + timedelta(seconds=REST_S))
    client.set_flow_run_state(run.id, AwaitingRetry(scheduled_time=at, message=QUEUED_AGAIN))


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
    if state is not None and state.is_pending() and age_s(state.timestamp) > config.start_s:
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
    if not found or age_s(datetime.fromisoformat(found[0]["occurred"])) < config.silence_s:
        return None
    return "No heartbeat: its process or its machine died."


def age_s(moment: datetime) -> float:
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
