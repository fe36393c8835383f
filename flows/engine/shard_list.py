"""The list of a run's shards on its page in the UI: each with its state, why it failed, and a link to its own page.

    2 of 4 shards are done: 1 failed, 1 running, 2 completed

    | Shard | Id | State | Reason |
    | [shard 3 of 4, clips 128-191](/runs/flow-run/…) | shard-1f0c22d9a3b1 | Failed | ServiceDown: no answer from … |

It is an artifact, `shards-matrix11k`. Reasons quote captions and servers: they are shown as plain text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.runtime import flow_run as current_run
from prefect.settings import get_current_settings
from prefect.utilities.urls import url_for

MAX_LINES = 100
MAX_REASON = 240  # characters
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
RUN_WAS_CANCELLED = "**This run was cancelled, and its shards with it: the states below are those before.**"


class ShardList:
    """The artifact, made once for a run and then changed. The server may be away: it is told the next time."""

    def __init__(self, kind: str, dataset: str) -> None:
        self.key = artifact_key(kind, dataset)
        self.shown = ""
        self._id: UUID | None = None

    def show(self, shards: Sequence[tuple[str, FlowRun]]) -> None:
        """shards: their ids and their runs as they were last seen, in the order of the plan"""
        text = draw(shards)
        if text == self.shown:
            return
        try:
            with get_client(sync_client=True) as client:
                self._write(client, text)
        except httpx.HTTPError:
            return
        self.shown = text

    def _write(self, client: SyncPrefectClient, text: str) -> None:
        run_id = UUID(str(current_run.id))
        if self._id is None:  # an earlier try of this run may have made it
            found = client.read_artifacts(
                artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[self.key])),
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id])),
            )
            self._id = found[0].id if found else None
        if self._id is None:
            made = client.create_artifact(
                ArtifactCreate(key=self.key, type="markdown", flow_run_id=run_id, description="Its shards", data=text)
            )
            self._id = made.id
        else:
            change(client, self._id, text)


def change(client: SyncPrefectClient, artifact_id: UUID, text: str) -> None:
    # Not client.update_artifact: that stores every version in the server's events as well.
    client.request("PATCH", "/artifacts/{id}", path_params={"id": artifact_id}, json={"data": text})


def artifact_key(kind: str, dataset: str) -> str:
    """Keys hold lower-case letters, digits and dashes: split_scenes, my_clips -> split-scenes-my-clips."""
    return f"{kind}-{dataset}".replace("_", "-")


def draw(shards: Sequence[tuple[str, FlowRun]]) -> str:
    """The list as Markdown, at most MAX_LINES of it: those that ended badly, those at work, the others."""
    counts = Counter(_type_of(run) for _, run in shards)
    ordered = sorted(shards, key=lambda shard: ORDER.index(_type_of(shard[1])))
    told = ", ".join(f"{counts[kind]} {kind.value.lower()}" for kind in ORDER if counts[kind])
    lines = [f"{counts[StateType.COMPLETED]} of {len(shards)} shards are done: {told}", ""]
    if any(counts[kind] for kind in ENDED_BADLY):
        lines += [HOW_TO_RETRY, ""]
    lines += ["| Shard | Id | State | Reason |", "|---|---|---|---|", *map(_line, ordered[:MAX_LINES])]
    if rest := Counter(_type_of(run) for _, run in ordered[MAX_LINES:]):
        lines += ["", "and " + ", ".join(f"{n} more {kind.value.lower()}" for kind, n in rest.items())]
    return "\n".join(lines)


def _line(shard: tuple[str, FlowRun]) -> str:
    shard_id, run = shard
    state = run.state.name if run.state is not None and run.state.name else "Scheduled"
    reason = reason_of(run.state) if run.state is not None and run.state.type in ENDED_BADLY else ""
    return f"| [{plain(run.name)}]({page_of(run.id)}) | {shard_id} | {plain(state)} | {plain(_short(reason))} |"


def _short(text: str) -> str:
    return text if len(text) <= MAX_REASON else text[: MAX_REASON - 1] + "…"


def _type_of(run: FlowRun) -> StateType:
    return StateType.SCHEDULED if run.state is None else run.state.type


def reason_of(state: State[Any]) -> str:
    """Why a shard ended badly."""
    if state.is_cancelled():
        return "it was cancelled; Retry on it runs it after all"
    return state.message or str(state.name)


def page_of(run_id: UUID) -> str:
    """Where the UI shows a run: below the address that the settings give it, else on the server that shows this link.

    Prefect guesses the UI's address from the API's, which is another one in a browser than in a container.
    """
    if "ui_url" in get_current_settings().model_fields_set:
        return str(url_for("flow-run", obj_id=run_id))
    return f"/runs/flow-run/{run_id}"


def plain(text: str) -> str:
    """Text that Markdown and HTML show as it is, on one line: `*a*` -> `&#42;a&#42;`."""
    return re.sub(r"[^\w ,'/-]", lambda found: f"&#{ord(found[0])};", " ".join(text.split())).replace("_", "&#95;")
