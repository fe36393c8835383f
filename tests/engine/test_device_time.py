"""The time of a stage's device: measured in the network alone, told in the log, kept for the report."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest

from schemas.outcome import RowFailed, RowRejected, ServiceDown
from schemas.snapshot import ShardEntry
from schemas.source import Source
from schemas.usage import DeviceTime
from tasks.engine.progress import AtWork, DeviceClock, Tally, device_at_work
from tasks.engine.shards import Shard, load_shard
from tasks.engine.stage import chain_of, run_stage
from tasks.engine.work import Work
from tasks.pages.usage import StageDevice, read_device_times
from tests.engine.test_stage import Counter, run, source, stored
from tests.support.clock import Clock


def in_network(end: BaseException | None = None) -> Any:
    """What a test tells a row to do: use the device for a moment, then end."""

    def act() -> None:
        with device_at_work():
            threading.Event().wait(0.002)
        if end is not None:
            raise end

    return act


def times_of(work: Work, counter: Counter, captions: str, **changes: Any) -> DeviceTime | None:
    """What was kept of the shard of these rows."""
    shard = Shard[Source].of([source(c) for c in captions])
    stage = counter.stage(**changes)
    return work.device_times(stage.name, {shard.shard_id: chain_of([stage])}).get(shard.shard_id)


# --- The clock -----------------------------------------------------------------------------------


def test_time_between_networks_does_not_count(clock: Clock) -> None:
    device = DeviceClock(clock)
    for _ in range(3):
        with device.running():
            clock.now_s += 2
        clock.now_s += 5
    assert device.busy_s == 6


def test_time_of_networks_side_by_side_counts_once(clock: Clock) -> None:
    device = DeviceClock(clock)
    with device.running():
        clock.now_s += 1
        with device.running():
            clock.now_s += 2
        clock.now_s += 3
    assert device.busy_s == 6


def test_a_network_that_runs_counts_up_to_now_and_one_that_failed_to_its_end(clock: Clock) -> None:
    device = DeviceClock(clock)
    with contextlib.suppress(RowFailed), device.running():
        clock.now_s += 2
        assert device.busy_s == 2
        clock.now_s += 1
        raise RowFailed("gpu_out_of_memory", "", retryable=True)
    clock.now_s += 9
    assert device.busy_s == 3


def test_outside_of_a_stage_a_network_runs_all_the_same() -> None:
    with device_at_work():
        pass
    with AtWork("a step").current(), device_at_work():
        pass


# --- The line ------------------------------------------------------------------------------------


def test_the_line_tells_the_share_so_far(clock: Clock) -> None:
    tally = Tally("propagate_masks shard-1", 2, clock)
    rows = [tally.begin("a"), tally.begin("b")]
    clock.now_s += 1
    with rows[0].current(), device_at_work():
        clock.now_s += 19
        assert tally.line() == "0/2 rows (none yet); device busy 95 %, 19 s"
    tally.end(rows[0], "done", [])
    with rows[1].current(), device_at_work():
        clock.now_s += 20
    tally.end(rows[1], "done", [])
    assert tally.line() == "2/2 rows (2 done) in 40.0 s, 20 s/row; device busy 97 %, 39 s"
    assert tally.device_time == DeviceTime(busy_s=39, wall_s=40)


def test_the_log_tells_it_of_computed_rows_only(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    run(work, Counter(a=in_network()), "ab")
    assert "; device busy " in caplog.text
    caplog.clear()
    run(work, Counter(a=in_network()), "ab")
    assert "2 reused" in caplog.text
    assert "device" not in caplog.text


# --- What is kept --------------------------------------------------------------------------------


def test_a_stage_without_a_network_keeps_and_tells_nothing(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    counter = Counter()
    run(work, counter, "abc")
    assert times_of(work, counter, "abc") is None
    assert not (work.root / "device").exists()
    assert "device" not in caplog.text


def test_runs_over_a_shard_add_up_and_reused_rows_add_nothing(work: Work) -> None:
    counter = Counter(a=in_network(), b=in_network(RowFailed("busy", "", retryable=True)))
    run(work, counter, "ab")
    first = times_of(work, counter, "ab")
    assert first is not None
    assert 0.004 <= first.busy_s <= first.wall_s
    again = Counter(b=in_network())
    run(work, again, "ab")
    both = times_of(work, counter, "ab")
    assert both is not None
    assert both.busy_s >= first.busy_s + 0.002
    run(work, again, "ab")
    assert times_of(work, counter, "ab") == both


@pytest.mark.parametrize("end", [RowRejected("dull"), RowFailed("bad", "", retryable=False), KeyError("surprise")])
@pytest.mark.logs_errors
def test_a_row_that_ended_took_its_time(work: Work, end: Exception) -> None:
    counter = Counter(a=in_network(end))
    run(work, counter, "a")
    assert times_of(work, counter, "a") is not None


def test_what_was_done_before_the_service_went_down_is_kept(work: Work) -> None:
    counter = Counter(a=in_network(), b=in_network(ServiceDown("gone")))
    with pytest.raises(ServiceDown, match="gone"):
        run(work, counter, "abc")
    taken = times_of(work, counter, "abc")
    assert taken is not None
    assert taken.busy_s >= 0.004


def test_another_config_and_another_shard_have_their_own_time(work: Work) -> None:
    counter = Counter(a=in_network())
    run(work, counter, "a")
    before = times_of(work, counter, "a")
    assert times_of(work, counter, "a", factor=2) is None
    run(work, counter, "a", factor=2)
    run(work, counter, "ab")
    assert times_of(work, counter, "a") == before


def test_results_and_states_hold_no_time(work: Work, tmp_path: Path) -> None:
    idle = work.model_copy(update={"root": tmp_path / "idle"})
    run(work, Counter(a=in_network(), b=in_network(RowRejected("dull"))), "abc")
    run(idle, Counter(b=RowRejected("dull")), "abc")
    assert stored(work) == stored(idle)


def test_a_time_that_cannot_be_read_is_left_out_and_told(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    counter = Counter(a=in_network())
    run(work, counter, "a")
    next((work.root / "device").rglob("*.json")).write_bytes(b"{")
    assert times_of(work, counter, "a") is None
    assert "is not counted" in caplog.text


def test_the_report_is_given_each_stage_as_a_whole_and_by_shard(work: Work) -> None:
    counter = Counter(**dict.fromkeys("abc", in_network()))
    idle, busy = Counter().stage(model="idle"), counter.stage()
    entries = []
    for captions in ("ab", "c"):
        shard = Shard[Source].of([source(c) for c in captions])
        for stage in (idle, busy):
            shard = load_shard(run_stage(work, shard, stage), Source)
        ids = [row.payload.source_id for row in shard.rows]
        entries.append(ShardEntry(shard_id=shard.shard_id, clip_ids=ids))
    found = read_device_times(work, entries, [idle, busy])
    assert all(line.stage == "measure" for line in found)
    whole, *parts = found
    assert whole.shard_id is None
    assert {part.shard_id for part in parts} == {entry.shard_id for entry in entries}
    assert whole.taken.busy_s == pytest.approx(sum(part.taken.busy_s for part in parts))
    assert read_device_times(work, entries[:1], [idle, busy])[1:] == [
        StageDevice(shard_id=entries[0].shard_id, stage="measure", taken=part.taken)
        for part in parts
        if part.shard_id == entries[0].shard_id
    ]
