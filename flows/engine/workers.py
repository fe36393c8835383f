"""The worker that a run is on, for errors that only its settings can mend, and what all workers must agree on.

    with on_this_worker(log): ...
    ServiceDown: no LLM is configured: export TRIPTYCH_LLM_MODEL ... [worker gpu-1 of pool triptych-gpu on node7; it has
    the environment that it was started with]

A shard's worker must make the answers that the parent plans with, or the parent would not find them: the parent writes
down who makes what (`write_makers`), and a shard compares before it computes anything (`require_same_makers`).
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from prefect.context import FlowRunContext
from prefect.runtime import flow_run as current_run
from pydantic import BaseModel, TypeAdapter

from flows.engine.tags import parent_of
from schemas.outcome import ServiceDown
from schemas.provenance import MadeBy
from schemas.storage import AnyPath, write_atomic
from tasks.engine.stage import AnyStage
from tasks.engine.work import Work, unwritable_is_a_service_down
from tasks.readers.lines import ManifestError


class Makers(BaseModel):
    """Who makes a stage's answers."""

    fingerprint: str
    made_by: list[MadeBy]

    @classmethod
    def of(cls, stage: AnyStage) -> Makers:
        return cls(fingerprint=stage.fingerprint, made_by=list(stage.made_by))


_MAKERS = TypeAdapter(dict[str, Makers])


def this_worker() -> str | None:
    """The worker of the run that this code is part of; None where no worker runs it."""
    name, context = os.environ.get("PREFECT__WORKER_NAME"), FlowRunContext.get()
    if name is None or context is None or context.flow_run is None:
        return None
    return f"worker {name} of pool {context.flow_run.work_pool_name} on {platform.node()}"


@contextmanager
def on_this_worker(log: Any) -> Iterator[None]:
    """Tell a run's log, and its error if a service or the input is missing, on which worker it is."""
    worker = this_worker()
    if worker is None:
        yield
        return
    log.info("%s, process %d", worker, os.getpid())
    try:
        yield
    except (ServiceDown, ManifestError) as error:
        error.args = (f"{error} [{worker}; it has the environment that it was started with]",)
        raise


def write_makers(work: Work, stages: Sequence[AnyStage]) -> None:
    """Write down by whom this run's answers are made; tried again, it overwrites what it wrote."""
    makers = {stage.name: Makers.of(stage) for stage in stages}
    with unwritable_is_a_service_down("makers", work.root):
        write_atomic(_path(work, str(current_run.id)), _MAKERS.dump_json(makers))


def require_same_makers(work: Work, stages: Sequence[AnyStage]) -> None:
    """Raises ServiceDown if this shard's answers would be others than those that its parent plans with."""
    parent = parent_of(current_run.tags)
    if parent is None:  # it runs in its parent's process
        return
    path = _path(work, str(parent))
    try:
        planned = _MAKERS.validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ServiceDown(f"{path} is not here: all workers must see the dataset's root at one address") from error
    for stage in stages:
        mine, theirs = Makers.of(stage), planned.get(stage.name)
        if theirs is None:
            raise ServiceDown(f"the run was planned by a version of Triptych without {stage.name}; install one for all")
        if mine != theirs:
            raise ServiceDown(
                f"{stage.name}: here it is made by {_told(mine, theirs)}, but the run was planned with "
                f"{_told(theirs, mine)}. Give all workers the same version of Triptych, the same TRIPTYCH_ settings "
                "and the same weights, start them again, and retry the run"
            )


def _path(work: Work, parent_id: str) -> AnyPath:
    return work.root / "makers" / f"{parent_id}.json"


def _told(makers: Makers, others: Makers) -> str:
    """The makers, in as few words as tell them from the others."""
    if makers.made_by == others.made_by:
        return f"code {makers.fingerprint[:8]}"
    names = [f"{maker.backend} {maker.model}" for maker in makers.made_by]
    if names != [f"{maker.backend} {maker.model}" for maker in others.made_by]:
        return ", ".join(names)
    return ", ".join(f"{name} {maker.details}" for name, maker in zip(names, makers.made_by, strict=True))
