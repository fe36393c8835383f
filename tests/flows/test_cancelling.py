"""flows.engine.cancelling without a server: when a run counts as cancelled, and what a person has asked for since.

What needs a server and workers is in tests/flows/deployed/test_cancel.py.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Cancelling,
    Completed,
    Failed,
    Late,
    Pending,
    Running,
    Scheduled,
)

from flows.curate_kinemask import CurateKinemask, curate_kinemask_shard
from flows.engine import cancelling, pipeline
from flows.engine.cancelling import BY_ITS_RUN, QUEUED_AGAIN, called_off, cancelled_at, is_wanted
from flows.engine.tags import PARENT_TAG, parent_of
from tests.support.prefect_stack import free_port

START = datetime(2026, 1, 1, tzinfo=UTC)


def history(*states: State[Any]) -> list[State[Any]]:
    """The states, one a second from START."""
    return [state.model_copy(update={"timestamp": START + timedelta(seconds=n)}) for n, state in enumerate(states)]


def second(n: float) -> datetime:
    return START + timedelta(seconds=n)


@pytest.mark.parametrize(
    ("states", "moment"),
    [
        ((Scheduled(), Pending(), Running()), None),
        ((Scheduled(), Running(), Cancelling()), 2),
        ((Scheduled(), Running(), Cancelling(), Cancelled()), 2),
        ((Scheduled(), Cancelled()), 1),
        ((Running(), Cancelled(), AwaitingRetry()), None),
        ((Running(), Cancelled(), AwaitingRetry(), Running(), Cancelling()), 4),
        ((Running(), Failed()), None),
        ((), None),
    ],
)
def test_a_run_is_cancelled_from_the_moment_that_a_person_said_so(
    states: tuple[State[Any], ...], moment: int | None
) -> None:
    assert cancelled_at(history(*states)) == (None if moment is None else second(moment))


@pytest.mark.parametrize(
    ("states", "wanted"),
    [
        ((Scheduled(), Pending(), Running()), False),  # it was on its way
        ((Scheduled(), Late(), Pending(), Running()), False),  # as its worker was busy
        ((Running(), Failed(), AwaitingRetry(message="Retry from the UI"), Running()), True),
        ((Running(), Cancelled(), Scheduled(message="Retried via CLI"), Running()), True),
        ((Running(), Cancelled(), AwaitingRetry(message="Retry from the UI"), Late(), Running()), True),
        ((Running(), Completed(), AwaitingRetry()), True),
        ((Running(), Failed(), AwaitingRetry(message=QUEUED_AGAIN), Running()), False),
        ((Running(), Failed(), AwaitingRetry(message=QUEUED_AGAIN), Late(), Running()), False),
        ((Failed(), AwaitingRetry(message=QUEUED_AGAIN), Failed(), AwaitingRetry(message="Retry from the UI")), True),
    ],
)
def test_only_what_a_person_retried_is_wanted_of_a_cancelled_run(states: tuple[State[Any], ...], wanted: bool) -> None:
    assert is_wanted(history(*states), since=second(-1)) is wanted


def test_what_was_retried_before_the_run_was_cancelled_is_cancelled_with_it() -> None:
    states = history(Running(), Failed(), AwaitingRetry(message="Retry from the UI"), Running())
    assert is_wanted(states, since=second(1.5))
    assert not is_wanted(states, since=second(2.5))


def test_a_shard_knows_its_run() -> None:
    parent = uuid4()
    assert parent_of(["dataset:matrix11k", f"{PARENT_TAG}{parent}", "shard-1"]) == parent
    assert parent_of(["dataset:matrix11k"]) is None


class ThisRun:
    """What the shard's process knows of its own run."""

    id = str(uuid4())
    tags = (f"{PARENT_TAG}{uuid4()}",)


def test_a_shard_whose_server_is_away_works_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelling, "current_run", ThisRun)
    began_s = time.monotonic()
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        assert called_off() is None
    assert time.monotonic() - began_s < 5


def test_a_shard_that_is_called_off_reads_and_computes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pipeline, "in_run", lambda: True)
    monkeypatch.setattr(pipeline, "called_off", lambda: BY_ITS_RUN)
    config = CurateKinemask(root=tmp_path / "root")
    state = curate_kinemask_shard.fn(config, tmp_path / "no-such-shard/planned.json", ["simulate_scenes"])
    assert state.is_cancelled()
    assert state.message == BY_ITS_RUN
    assert list(tmp_path.iterdir()) == []
