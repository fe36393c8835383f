"""Which runs belong together: the tags by which the UI and this package find them.

dataset:matrix11k        a run of the dataset, and its shards
triptych-parent:01980c…  the shards of the run with this id
shard-1f0c22d9a3b1       the runs of the shard with this id
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType

DATASET_TAG = "dataset:"
PARENT_TAG = "triptych-parent:"


def parent_of(tags: Iterable[str]) -> UUID | None:
    """The id of the run that a run with these tags is a shard of."""
    return next((UUID(tag.removeprefix(PARENT_TAG)) for tag in tags if tag.startswith(PARENT_TAG)), None)


def shards_of(parent_id: UUID, states: Iterable[StateType], but: Iterable[UUID] = ()) -> FlowRunFilter:
    """The shards of a run that are in one of these states, but for some."""
    return FlowRunFilter(
        tags=FlowRunFilterTags(all_=[f"{PARENT_TAG}{parent_id}"]),
        id=FlowRunFilterId(not_any_=list(but)),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=sorted(states))),
    )


def tag_with_dataset(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:
    """on_running of a run: which dataset it makes only its parameters say."""
    dataset = flow.validate_parameters(flow_run.parameters)["config"].dataset
    tags = {*flow_run.tags, f"{DATASET_TAG}{dataset}"}
    if tags != set(flow_run.tags):
        with get_client(sync_client=True) as client:
            client.update_flow_run(flow_run.id, tags=sorted(tags))
