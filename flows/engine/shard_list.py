"""The list of a run's shards on its page in the UI: each with its state, why it failed, and a link to its own page.

    2 of 4 shards are done: 1 failed, 1 running, 2 completed

    #### 1 failed
    - [shard 3 of 4, clips 128-191](../../runs/flow-run/…), shard-1f0c22d9a3b1: ServiceDown: no answer from …
    #### 1 running
    - …

It is an artifact, `shards-matrix11k`. Reasons quote captions and servers: they are shown as plain text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun, State, StateType

from flows.engine.artifacts import OwnArtifact, artifact_key, change, escape

# Relative to wherever the UI shows an artifact. Prefect guesses the UI's address from the API's, which is another one
# in a browser than in a container; and the second UI lies below /v2.
PAGES = "../../runs/flow-run/"
MAX_LINES = 100
MAX_REASON = 240  # characters
PREFECTS_WORDS = "Flow run encountered an exception: "
# What a person looks for comes first.
ORDER = (
    *(StateType.FAILED, StateType.CRASHED, StateType.CANCELLED, StateType.CANCELLING),
    *(StateType.RUNNING, StateType.PENDING, StateType.PAUSED, StateType.SCHEDULED, StateType.COMPLETED),
)
ENDED_BADLY = ORDER[:3]
HOW_TO_RETRY = (
    "A shard that failed or was cancelled is run again by **Retry** on its page; when none is missing, this run is "
    "queued again by itself and publishes. **Retry** on this run queues them all."
)
DESCRIPTION = "The shards of this run"
RUN_WAS_CANCELLED = (
    "**This run was cancelled, and with it all shards that had not ended.** Retry on this run queues them again. "
    "As it was before:"
)


class ShardList:
    """The artifact."""

    def __init__(self, kind: str, dataset: str, n_before: int) -> None:
        """n_before: shards of the plan that were done before"""
        self.n_before = n_before
        self._artifact = OwnArtifact(artifact_key(kind, dataset), "markdown", DESCRIPTION)

    def show(self, shards: Sequence[tuple[str, FlowRun]]) -> None:
        """shards: their ids and their runs as they were last seen, in the order of the plan"""
        self._artifact.show(draw(shards, self.n_before))


def note_cancelled(client: SyncPrefectClient, run_id: UUID) -> None:
    """Say so in the lists of a run that was cancelled: nobody keeps them up to date any more."""
    for artifact in client.read_artifacts(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))):
        if artifact.description == DESCRIPTION and not str(artifact.data).startswith(RUN_WAS_CANCELLED):
            change(client, artifact.id, f"{RUN_WAS_CANCELLED}\n\n{artifact.data}")


def draw(shards: Sequence[tuple[str, FlowRun]], n_before: int = 0) -> str:
    """The list as Markdown: those that ended badly, those at work, the others; at most MAX_LINES of them by name."""
    groups: dict[StateType, list[tuple[str, FlowRun]]] = {kind: [] for kind in ORDER}
    for shard_id, run in shards:
        groups[StateType.SCHEDULED if run.state is None else run.state.type].append((shard_id, run))
    told = {kind: f"{len(group)} {kind.value.lower()}" for kind, group in groups.items() if group}
    n_done = len(groups[StateType.COMPLETED]) + n_before
    before = [f"{n_before} before"] if n_before else []
    lines = [f"{n_done} of {len(shards) + n_before} shards are done: {', '.join([*told.values(), *before])}"]
    if any(groups[kind] for kind in ENDED_BADLY):
        lines += ["", HOW_TO_RETRY]
    left = MAX_LINES
    for kind, what in told.items():
        shown = groups[kind][:left]
        left -= len(shown)
        lines += ["", f"#### {what}", "", *(_line(shard_id, run) for shard_id, run in shown)]
        if rest := len(groups[kind]) - len(shown):
            lines.append(f"- {'and ' if shown else ''}{rest} more")
    return "\n".join(lines)


def _line(shard_id: str, run: FlowRun) -> str:
    line = f"- [{run.name}]({PAGES}{run.id}), {shard_id}"
    if run.state is None or run.state.type not in ENDED_BADLY:
        return line
    return f"{line}: {escape(reason_of(run.state).removeprefix(PREFECTS_WORDS), MAX_REASON)}"


def reason_of(state: State[Any]) -> str:
    """Why a shard ended badly."""
    if state.is_cancelled():
        return "it was cancelled; Retry on it runs it after all"
    return state.message or str(state.name)
