"""A run that is cancelled takes its shards with it, and only a person revives it.

Its worker kills its process and runs `cancel_shards`. No hook runs if the worker is dead, or if no worker had the run
when it was cancelled. So a shard asks before each of its stages whether its run was `called_off`, and a run whose
process lives on sees it by itself (`leave_if_cancelled`).

The UI forces the state Cancelling, on runs that no worker has as well. These would be left in it for five minutes;
`settle` ends them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, State, StateType
from prefect.exceptions import Abort, ObjectNotFound
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import flow_run as current_run
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelled, Cancelling

from flows.engine.shard_list import note_cancelled
from flows.engine.tags import parent_of, shards_of

CANCELLED = (StateType.CANCELLING, StateType.CANCELLED)
# Those that wait for a worker come first: none that becomes free is to take another of them.
ALIVE = (StateType.SCHEDULED, StateType.PAUSED, StateType.PENDING, StateType.RUNNING)
BY_ITS_RUN = "The run that it belongs to was cancelled."
# The message of a run that was queued again by this package: no person has asked for it.
QUEUED_AGAIN = "Queued again."
LOOK_S = 10.0  # how long a shard waits for the server's answer before it works on
PAGE = 200  # runs that the server gives at once


def cancel_shards(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:
    """on_cancellation of a run: cancel those of its shards that have not ended."""
    log = flow_run_logger(flow_run, flow)
    with get_client(sync_client=True) as client:
        seen: set[UUID] = set()
        while found := client.read_flow_runs(flow_run_filter=shards_of(flow_run.id, ALIVE, but=seen), limit=PAGE):
            for shard in sorted(found, key=lambda run: ALIVE.index(run.state.type) if run.state else 0):
                seen.add(shard.id)
                cancel(client, shard, log)
        note_cancelled(client, flow_run.id)
    if seen:
        log.info("%d shards are cancelled with their run", len(seen))


def cancel(client: SyncPrefectClient, shard: FlowRun, log: Any) -> None:
    """Cancel one shard. A failure is logged: the others are to be cancelled all the same."""
    try:
        # Nobody else would end what no worker has.
        waits = shard.state is None or shard.state.type in (StateType.SCHEDULED, StateType.PAUSED)
        client.set_flow_run_state(shard.id, Cancelled(message=BY_ITS_RUN) if waits else Cancelling(message=BY_ITS_RUN))
    except (httpx.HTTPError, ObjectNotFound, Abort) as error:
        log.warning("%s could not be cancelled (%r); it looks by itself before its next stage", shard.name, error)


def settle(client: SyncPrefectClient, run: FlowRun) -> None:
    """End a run that is Cancelling and that no worker has: it was waiting for one."""
    before = [state.type for state in _history(client, run.id) if state.type != StateType.CANCELLING]
    if run.state is not None and run.state.is_cancelling() and before and before[-1] == StateType.SCHEDULED:
        client.set_flow_run_state(run.id, Cancelled(message="It was cancelled before a worker took it."))


def called_off() -> str | None:
    """Why the shard that runs here is not to be worked on: its run was cancelled. None if it may be.

    A shard that a person has retried since then is worked on. So is one whose server does not answer.
    """
    parent_id = parent_of(current_run.tags)
    if parent_id is None:
        return None
    try:
        # A client of its own, which does not wait a minute for a server that is away.
        with (
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
            get_client(httpx_settings={"timeout": LOOK_S}, sync_client=True) as client,
        ):
            since = cancelled_at(_history(client, parent_id))
            if since is None or is_wanted(_history(client, UUID(str(current_run.id))), since):
                return None
    except httpx.HTTPError:
        return None
    return BY_ITS_RUN


def leave_if_cancelled(run: FlowRun) -> None:
    """End this process if its run was cancelled and yet it lives: nobody was there to kill it. Raises Abort.

    What it would report must not take the place of Cancelled: a failed run is queued again when its shards are done.
    """
    if run.state is not None and run.state.type in CANCELLED:
        cancel_shards(None, run, run.state)
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run.id, Cancelled(message="It was cancelled."))
        raise Abort("The run was cancelled.")


def cancelled_at(history: Sequence[State[Any]]) -> datetime | None:
    """When a run with these states, the oldest first, was cancelled; None if it is not."""
    moment = None
    for state in history:
        moment = (moment or state.timestamp) if state.type in CANCELLED else None
    return moment


def is_wanted(history: Sequence[State[Any]], since: datetime) -> bool:
    """Has a person retried a run with these states, the oldest first, after a moment?

    A retry schedules a run that had ended. Other states that are called Scheduled (Late, AwaitingConcurrencySlot)
    follow on one that had not; and what this package queues again says so.
    """
    return any(
        before.type in TERMINAL_STATES
        and after.type == StateType.SCHEDULED
        and after.message != QUEUED_AGAIN
        and after.timestamp > since
        for before, after in pairwise(history)
    )


def _history(client: SyncPrefectClient, run_id: UUID) -> list[State[Any]]:
    return sorted(client.read_flow_run_states(run_id), key=lambda state: state.timestamp)
