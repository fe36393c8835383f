"""tasks.engine.progress: what is told of stages, rows and steps, when, and where nothing is."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from itertools import count, pairwise
from typing import Any

import pytest

from schemas.outcome import RowFailed, RowRejected, ServiceDown
from schemas.usage import ModelUsage, Usage
from tasks.engine.progress import (
    LOOK_EVERY_S,
    PROGRESS_EVERY_S,
    AtWork,
    Followed,
    LogLines,
    Tally,
    advance,
    counted,
    duration,
)
from tasks.engine.shards import Shard
from tasks.engine.stage import run_stage
from tasks.engine.work import Work
from tests.engine.test_stage import Counter, source
from tests.support.clock import Clock

NAME = "measure shard-1"


class Log:
    """A log that remembers when each line came."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.lines: list[tuple[float, str]] = []

    def info(self, message: str, *values: object) -> None:
        self.lines.append((self.clock() - 100.0, message % values))

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.lines]

    @property
    def gaps_s(self) -> list[float]:
        return [b - a for a, b in pairwise([0.0, *(at_s for at_s, _ in self.lines)])]


class Spy:
    """A listener that keeps which rows are at work, and how far, each time it may look."""

    def __init__(self, until: dict[str, str] | None = None) -> None:
        """until: what sets `met` once it is seen"""
        self.seen: list[dict[str, str]] = []
        self.until, self.met = until, threading.Event()
        self.left = False

    @contextmanager
    def follow(self, work: Followed) -> Iterator[Callable[[], None]]:
        def look() -> None:
            self.seen.append({row.name: row.text for row in work.parts()[1:]})
            if self.seen[-1] == self.until:
                self.met.set()

        try:
            yield look
        finally:
            self.left = True


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.engine.stage.LOOK_EVERY_S", 0.005)


def text_of(at_work: AtWork) -> str:
    ((_, _, text),) = at_work.parts()
    return text


# --- Deep in the work ----------------------------------------------------------------------------


def test_outside_of_a_row_nothing_is_told() -> None:
    advance(3, 10, "frames")
    assert list(counted("abc")) == ["a", "b", "c"]


def test_each_item_is_told_as_done_when_the_next_is_asked_for(clock: Clock) -> None:
    row = AtWork("clip-1", clock)
    with row.current():
        told = [text_of(row) for _ in counted("abc", "letters")]
    assert told == ["0 of 3 letters", "1 of 3 letters", "2 of 3 letters"]
    assert row.parts() == [("clip-1", 1.0, "3 of 3 letters")]


@pytest.mark.parametrize(("total", "texts"), [(None, ["0 x", "1 x"]), (1, ["0 of 1 x", "1 of 1 x", "2 x", "3 x"])])
def test_a_total_may_be_unknown_or_too_low(total: int | None, texts: list[str]) -> None:
    row = AtWork("clip-1")
    n = 2 if total is None else 4
    with row.current():
        assert [text_of(row) for _ in counted(iter(range(n)), "x", total)] == texts
    assert row.parts()[0].share is None


def test_a_row_that_tells_nothing_is_told_by_its_time(clock: Clock) -> None:
    row = AtWork("clip-1", clock)
    clock.now_s += 12
    assert row.parts() == [("clip-1", None, "12 s")]


def test_an_inner_row_hides_the_outer_one_and_gives_it_back() -> None:
    outer, inner = AtWork("outer"), AtWork("inner")
    with outer.current():
        inner.run(advance, 1, 2, "x")
        advance(3, 4, "y")
    advance(5, 6, "z")
    assert (text_of(inner), text_of(outer)) == ("1 of 2 x", "3 of 4 y")


def test_a_thread_tells_of_the_row_whose_context_it_was_given() -> None:
    row = AtWork("clip-1")
    with row.current(), ThreadPoolExecutor(1) as pool:
        pool.submit(advance, 1, 9, "lost").result()
        assert row.done == 0
        pool.submit(copy_context().run, advance, 4, 9, "candidates").result()
    assert text_of(row) == "4 of 9 candidates"


# --- A stage's rows ------------------------------------------------------------------------------


def test_the_line_tells_ways_pace_time_left_and_usage(clock: Clock) -> None:
    tally = Tally(NAME, 12, clock)
    assert tally.line() == "0/12 rows (none yet)"
    for how in ("done", "rejected", "done", "done"):
        row = tally.begin("clip")
        clock.now_s += 5
        tally.end(row, how, [ModelUsage(role="LLM", model="m", usage=Usage(calls=2, prompt_tokens=10))])
    assert tally.line() == (
        "4/12 rows (3 done, 1 rejected), 5 s/row, about 40 s left; "
        "8 calls, 0 replies from the cache, 40 prompt and 0 completion tokens"
    )


def test_reused_rows_say_nothing_about_the_time_that_is_left(clock: Clock) -> None:
    tally = Tally(NAME, 64, clock)
    for _ in range(60):
        tally.end(tally.begin("clip"), "reused", [])
    row = tally.begin("clip")
    clock.now_s += 50
    tally.end(row, "done", [])
    assert tally.line() == "61/64 rows (1 done, 60 reused), 50 s/row, about 2 min left"


def test_the_last_line_tells_the_time_taken(clock: Clock) -> None:
    tally = Tally(NAME, 3, clock)
    for _ in range(3):
        tally.end(tally.begin("clip"), "done", [])
    clock.now_s += 0.5
    assert tally.line() == "3/3 rows (3 done) in 0.5 s, 6 rows/s"
    clock.now_s += 5999.5
    assert tally.line() == "3/3 rows (3 done) in 6000.0 s, 2,000 s/row"
    assert Tally(NAME, 0, clock).line() == "0/0 rows (none yet) in 0.0 s"


def test_lengths_of_time() -> None:
    assert [duration(s) for s in (0.4, 99, 100, 5999, 6000, 36000)] == [
        "0 s",
        "99 s",
        "2 min",
        "100 min",
        "1.7 h",
        "10.0 h",
    ]


# --- Lines ---------------------------------------------------------------------------------------


def test_a_slow_row_is_told_of_at_least_every_ten_seconds(clock: Clock) -> None:
    log = Log(clock)
    tally = Tally(NAME, 2, clock)
    slow = tally.begin("clip-1")
    tally.begin("clip-2")
    with LogLines(log, clock).follow(tally) as look:
        for second in range(60):
            clock.now_s += LOOK_EVERY_S
            slow.tell(second, 300, "frames")
            look()
    assert len(log.lines) >= 6
    assert PROGRESS_EVERY_S <= min(log.gaps_s) <= max(log.gaps_s) <= 10
    first_s = int(log.lines[0][0])
    assert log.texts[0] == (
        f"{NAME}: 0/2 rows (none yet); at work: clip-1: {first_s - 1} of 300 frames, clip-2: {first_s} s"
    )


def test_rows_that_end_fast_give_no_more_lines_and_are_not_named(clock: Clock) -> None:
    log = Log(clock)
    tally = Tally(NAME, 100, clock)
    with LogLines(log, clock).follow(tally) as look:
        for _ in range(100):
            row = tally.begin("clip-1")
            clock.now_s += 0.3
            tally.end(row, "done", [])
            look()
    assert len(log.lines) == 5
    assert min(log.gaps_s) >= PROGRESS_EVERY_S
    assert log.texts[0] == f"{NAME}: 17/100 rows (17 done), 3.33 rows/s, about 25 s left"


def test_of_many_rows_at_work_the_longest_are_named(clock: Clock) -> None:
    log = Log(clock)
    tally = Tally(NAME, 9, clock)
    for number in range(9):
        tally.begin(f"clip-{number}")
    with LogLines(log, clock).follow(tally) as look:
        clock.now_s += 9
        look()
    assert log.texts == [
        f"{NAME}: 0/9 rows (none yet); at work: clip-0: 9 s, clip-1: 9 s, clip-2: 9 s, clip-3: 9 s, 5 more"
    ]


def test_a_step_gives_lines_from_its_own_loop(clock: Clock) -> None:
    log = Log(clock)
    step = AtWork("read_manifest", clock)
    with LogLines(log, clock).follow(step) as step.look, step.current():
        for _ in counted(range(80), "lines"):
            clock.now_s += 0.25
    assert log.texts == [f"read_manifest: {n} of 80 lines" for n in (20, 40, 60, 80)]


# --- In a stage ----------------------------------------------------------------------------------


def frames_then(act: Callable[[], object], n: int) -> Callable[[], None]:
    """What a row does: n of 300 frames, then something else."""

    def compute() -> None:
        advance(n, 300, "frames")
        act()

    return compute


@pytest.mark.usefixtures("quick_looks")
def test_a_stage_tells_of_a_row_while_it_is_at_work(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    told = threading.Event()

    class Progress(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.set()

    log, seconds = logging.getLogger("test_progress"), count(step=4)
    handler = Progress()
    log.addHandler(handler)
    caplog.set_level("INFO")
    counter = Counter(b=frames_then(lambda: told.wait(10), 120))
    shard = Shard[Any].of([source("b")])
    try:
        run_stage(work, shard, counter.stage(), log, LogLines(log, lambda: next(seconds)))
    finally:
        log.removeHandler(handler)
    name = f"measure {shard.shard_id}"
    assert caplog.messages[0] == f"{name}: 0/1 rows (none yet); at work: src-b: 120 of 300 frames"
    assert caplog.messages[-1].startswith(f"{name}: 1/1 rows (1 done) in ")


@pytest.mark.usefixtures("quick_looks")
def test_each_thread_tells_of_its_own_row(work: Work) -> None:
    both = {"src-a": "10 of 300 frames", "src-b": "20 of 300 frames"}
    spy = Spy(until=both)
    does = {c: frames_then(lambda: spy.met.wait(10), n) for c, n in (("a", 10), ("b", 20))}
    run_stage(work, Shard[Any].of([source(c) for c in "abc"]), Counter(concurrency=2, **does).stage(), listener=spy)
    assert both in spy.seen
    assert spy.seen[-1] == {}
    assert spy.left


@pytest.mark.parametrize("error", [RowRejected("dull"), RowFailed("busy", retryable=True), KeyError("surprise")])
@pytest.mark.logs_errors
def test_a_row_that_ends_with_an_error_is_not_at_work_any_more(work: Work, error: Exception) -> None:
    def fail() -> None:
        raise error

    spy = Spy()
    counter = Counter(a=frames_then(fail, 10))
    run_stage(work, Shard[Any].of([source(c) for c in "ab"]), counter.stage(), listener=spy)
    assert spy.seen[-1] == {}
    advance(1, 2, "frames")  # nor does anything tell of it


def test_a_service_that_is_down_ends_what_is_told(work: Work) -> None:
    spy = Spy()
    with pytest.raises(ServiceDown):
        run_stage(work, Shard[Any].of([source("a")]), Counter(a=ServiceDown("gone")).stage(), listener=spy)
    assert spy.left
