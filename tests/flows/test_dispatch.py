"""flows.engine.dispatch without a server: which stages go where, and what a run says that could not do all its shards.

What needs a server and workers is in tests/flows/deployed.
"""

from __future__ import annotations

import logging

import pytest
from prefect import flow
from prefect.states import Cancelled, Cancelling, Completed, Crashed, Failed

from flows.engine.config import DispatchConfig
from flows.engine.dispatch import Job, ShardsFailed, legs, run_shards
from flows.engine.reviving import gave_up
from schemas.outcome import ServiceDown

STAGES = ("extract", "ground", "propagate", "check", "write")


def test_without_routes_all_stages_go_together() -> None:
    assert legs(STAGES, "shard/cpu", {}) == [("shard/cpu", list(STAGES))]


def test_a_routed_stage_parts_those_before_from_those_after() -> None:
    assert legs(STAGES, "shard/cpu", {"propagate": "shard/gpu"}) == [
        ("shard/cpu", ["extract", "ground"]),
        ("shard/gpu", ["propagate"]),
        ("shard/cpu", ["check", "write"]),
    ]


def test_neighbours_on_one_route_stay_together() -> None:
    routes = {"ground": "shard/gpu", "propagate": "shard/gpu", "write": "shard/cpu"}
    assert [stages for _, stages in legs(STAGES, "shard/cpu", routes)] == [
        ["extract"],
        ["ground", "propagate"],
        ["check", "write"],
    ]


def test_no_stages_are_no_legs() -> None:
    assert legs((), "shard/cpu", {"ground": "shard/gpu"}) == []


def test_the_message_names_every_failed_shard_and_the_remedy() -> None:
    error = ShardsFailed({"shard-a": "no answer", "shard-b": "key refused"}, 5, "Mend it and run again.")
    first, *others = str(error).splitlines()
    assert first == "2 of 5 shards failed. Mend it and run again."
    assert [line.strip() for line in others] == ["shard-a: no answer", "shard-b: key refused"]
    assert error.failures == {"shard-a": "no answer", "shard-b": "key refused"}


def test_a_failed_shard_does_not_keep_the_others_from_running(caplog: pytest.LogCaptureFixture) -> None:
    ran: list[str] = []

    @flow
    def shard_flow(shard: str, stages: list[str]) -> None:
        ran.append(shard)
        assert stages == list(STAGES)
        if shard == "b":
            raise ServiceDown("no answer")

    jobs = [
        Job(shard_id=f"shard-{n}", name=f"shard {i} of 3, clip {i - 1}", parameters={"shard": n}, stages=list(STAGES))
        for i, n in enumerate("abc", start=1)
    ]
    log = logging.getLogger(__name__)
    with caplog.at_level("INFO", __name__), pytest.raises(ShardsFailed, match="1 of 3 shards failed") as caught:
        run_shards(shard_flow, jobs, DispatchConfig(), log, dataset="tests")
    assert ran == ["a", "b", "c"]
    assert caught.value.failures == {"shard 2 of 3, clip 1": "ServiceDown: no answer"}
    told = [record.getMessage() for record in caplog.records if record.name == log.name]
    assert told == [f"{job.name}: {job.shard_id}" for job in jobs]


def test_a_parent_that_was_cancelled_or_whose_yield_was_too_low_is_not_queued_again_by_its_shards() -> None:
    before = "Flow run encountered an exception: "
    assert gave_up(Failed(message=f"{before}ShardsFailed: 1 of 2 shards failed."))
    assert gave_up(Crashed(message="Its worker was stopped."))
    assert not gave_up(Cancelled())
    assert not gave_up(Cancelling())
    assert not gave_up(Failed(message=f"{before}YieldTooLow: none of 6 rows was accepted"))
    assert not gave_up(Completed())


def test_no_jobs_ask_no_server() -> None:
    config = DispatchConfig(deployment="no-such/deployment")
    run_shards(lambda: None, [], config, logging.getLogger(__name__), dataset="tests")


def run_here(fails_with: Exception, log: logging.Logger) -> ShardsFailed:
    @flow
    def shard_flow(shard: str, stages: list[str]) -> None:
        raise fails_with

    jobs = [
        Job(shard_id=f"id-{name}", name=f"shard-{name}", parameters={"shard": name}, stages=list(STAGES))
        for name in "ab"
    ]
    with pytest.raises(ShardsFailed) as caught:
        run_shards(shard_flow, jobs, DispatchConfig(), log, dataset="tests")
    return caught.value


def test_a_service_that_is_down_is_one_line_a_shard(caplog: pytest.LogCaptureFixture) -> None:
    run_here(ServiceDown("no answer"), logging.getLogger(__name__))
    assert caplog.messages == ["ServiceDown: no answer"] * 2
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.logs_errors
def test_an_error_of_the_program_keeps_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    failed = run_here(ZeroDivisionError("division by zero"), logging.getLogger(__name__))
    assert failed.failures["shard-a"] == "ZeroDivisionError: division by zero"
    assert caplog.text.count("Traceback") == 2
    assert "raise fails_with" in caplog.text
