"""Prefect shows what runs; nothing needs it to run.

Inside a flow run a step is a Prefect task and a log line goes to the run. Outside of one, a flow's own
function (`curate_matrix11k.fn(config)`) runs plainly: no server, no API, the same results. Its log then goes where
`log_plainly` has it go.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.logging.handlers import PrefectConsoleHandler

from flows.engine.display import step
from schemas.outcome import ServiceDown

P = ParamSpec("P")
R = TypeVar("R")

LINE = "%(asctime)s.%(msecs)03d | %(levelname)-7s | %(message)s"

logger = logging.getLogger(__name__)
_runs: list[UUID] = []  # of flows that go on in this process, the outermost first


def in_run() -> bool:
    """Is this code part of a Prefect flow run?"""
    return FlowRunContext.get() is not None


@contextmanager
def going_on() -> Iterator[None]:
    """Around a flow's function: its run, if Prefect runs it, is one of `runs_of_this_process`."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        yield
        return
    _runs.append(context.flow_run.id)
    try:
        yield
    finally:
        _runs.pop()


def runs_of_this_process() -> list[UUID]:
    """The flow runs that go on in this process, the outermost first, as seen from any thread."""
    return list(_runs)


def run_step(name: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function as a task of this name. Nothing is cached: storage knows what is done (tasks/engine/stage.py)."""

    @wraps(function)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        with step(name, run_logger()):
            return function(*args, **kwargs)

    if not in_run():
        logger.info("%s", name)
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
        # Of a service that is down, the error says all; of an error of the program, only its traceback does.
        why = f"{type(error).__name__}: {error}"
        logger.warning("%s", why) if isinstance(error, ServiceDown) else logger.exception("%s", why)
        return why
    return None


def run_logger() -> Any:
    """The log of the flow run that this code is part of, or the command's own."""
    return get_run_logger() if in_run() else logger


def log_plainly() -> None:
    """Have what is logged outside of flow runs shown as Prefect shows the lines of runs, without a module's name."""
    logger.setLevel(logging.getLogger("prefect").level)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            handler.setFormatter(logging.Formatter(LINE, "%H:%M:%S"))
