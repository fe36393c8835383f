"""Prefect shows what runs; nothing needs it to run.

Inside a flow run a step is a Prefect task and a log line goes to the run. Outside of one, a flow's own
function (`curate_matrix11k.fn(config)`) runs plainly: no server, no API, the same results.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext

from flows.engine.display import step

P = ParamSpec("P")
R = TypeVar("R")


def in_run() -> bool:
    """Is this code part of a Prefect flow run?"""
    return FlowRunContext.get() is not None


def run_step(name: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function as a task of this name. Nothing is cached: storage knows what is done (tasks/engine/stage.py)."""

    @wraps(function)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        with step(name, run_logger()):
            return function(*args, **kwargs)

    if not in_run():
        return told(*args, **kwargs)
    return task(name=name, task_run_name=name, cache_policy=NO_CACHE)(told)(*args, **kwargs)


def call_flow(flow: Any, **parameters: Any) -> str | None:
    """Run a flow to its end and return why it failed, or None if it did not."""
    if in_run():
        state = flow(**parameters, return_state=True)
        return None if state.is_completed() else state.message or state.name or "no message"
    try:
        flow.fn(**flow.validate_parameters(parameters))
    except Exception as error:  # noqa: BLE001 - as a flow run does: its failure is its state
        return f"{type(error).__name__}: {error}"
    return None


def run_logger() -> Any:
    return get_run_logger() if in_run() else logging.getLogger(__name__)
