"""flows.engine.shard_list: what the list says of shards in each state, however many, whatever their errors quote."""

from __future__ import annotations

from uuid import UUID

from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled, Completed, Crashed, Failed, Running, Scheduled

from flows.engine.shard_list import MAX_LINES, MAX_REASON, draw


def shard(number: int, state: State[None] | None) -> tuple[str, FlowRun]:
    name = f"shard {number} of 9, clips 0-63"
    return f"shard-{number}", FlowRun(id=UUID(int=number), flow_id=UUID(int=0), name=name, state=state)


def test_what_a_person_looks_for_comes_first() -> None:
    shards = [
        shard(1, Completed()),
        shard(2, None),
        shard(3, Running()),
        shard(4, Failed(message="Flow run encountered an exception: ServiceDown: no answer\nfrom the LLM")),
        shard(5, Cancelled(message="Flow run was cancelled successfully.")),
        shard(6, Scheduled()),
    ]
    lines = [line for line in draw(shards).splitlines() if line]
    assert lines[0] == "1 of 6 shards are done: 1 failed, 1 cancelled, 1 running, 2 scheduled, 1 completed"
    assert "Retry" in lines[1]
    assert lines[2:6] == [
        "#### 1 failed",
        "- [shard 4 of 9, clips 0-63](../../runs/flow-run/00000000-0000-0000-0000-000000000004), shard-4: "
        "ServiceDown\\: no answer from the LLM",
        "#### 1 cancelled",
        "- [shard 5 of 9, clips 0-63](../../runs/flow-run/00000000-0000-0000-0000-000000000005), shard-5: "
        "it was cancelled\\; Retry on it runs it after all",
    ]
    assert [line for line in lines if line.startswith("####")][2:] == [
        "#### 1 running",
        "#### 2 scheduled",
        "#### 1 completed",
    ]


def test_shards_that_were_done_before_count() -> None:
    assert draw([shard(1, Completed()), shard(2, Running())], n_before=7).startswith(
        "8 of 9 shards are done: 1 running, 1 completed, 7 before\n"
    )
    assert draw([], n_before=3) == "3 of 3 shards are done: 3 before"


def test_without_a_failure_nobody_is_told_to_retry() -> None:
    assert "Retry" not in draw([shard(1, Running()), shard(2, Completed())])


def test_thousands_of_shards_stay_readable() -> None:
    shards = [shard(n, Completed()) for n in range(3000)]
    shards += [shard(n, Crashed(message="x" * 5000)) for n in range(3000, 3010)]
    text = draw(shards)
    assert text.startswith("3000 of 3010 shards are done: 10 crashed, 3000 completed")
    lines = text.splitlines()
    assert sum(line.startswith("- [") for line in lines) == MAX_LINES
    assert lines[-1] == f"- and {3000 - (MAX_LINES - 10)} more"
    assert len(text) < MAX_LINES * 150 + 10 * MAX_REASON
    many_failed = draw([shard(n, Failed(message="no")) for n in range(150)] + [shard(1, Running())])
    assert many_failed.splitlines()[-1] == "- 1 more"


def test_a_long_reason_is_not_cut_within_an_escape() -> None:
    line = draw([shard(1, Failed(message="*" * 1000))]).splitlines()[-1]
    assert line.endswith(r"\*…")
