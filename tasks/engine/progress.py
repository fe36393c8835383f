"""How far long work is: the rows of a stage, and the frames of a row; how long the stage's device works.

    for frame in counted(frames): ...          in a stage, a backend or a reader
    advance(120, 300, "frames")                the same, where the loop counts by itself
    with device_at_work(): network(frame)      in a backend: this is the time of its device

They tell how far the row is that this code runs for, or the step (`AtWork`); elsewhere they do nothing. A `Listener`
passes it on to a person: as lines in a log (`LogLines`), as a bar on a terminal (flows/engine/display.py).

    propagate_masks shard-1f0c: 12/64 rows (10 done, 2 rejected), 6.1 s/row, about 5 min left; device busy 96 %, 70 s
    propagate_masks shard-1f0c: 12/64 rows (...), ...; at work: clip-81b2: 120 of 300 frames forward, clip-9c40: 12 s
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar

from schemas.usage import DeviceTime, ModelUsage, Usage

P = ParamSpec("P")
T = TypeVar("T")

LOOK_EVERY_S = 1.0  # how often a stage lets its listener look while no row ends
PROGRESS_EVERY_S = 5.0  # no line comes sooner after another
SILENCE_S = 10.0 - LOOK_EVERY_S  # the next line comes by then, whether a row ended or not
MAX_ROWS_TOLD = 4

Clock = Callable[[], float]  # s


# --- Deep in the work ------------------------------------------------------------------------


def counted(items: Iterable[T], unit: str = "frames", total: int | None = None) -> Iterator[T]:
    """The items, telling before each how many are done.

    total: how many there are, where `items` has no length; an estimate may be exceeded
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    done = 0
    for item in items:
        advance(done, total, unit)
        yield item
        done += 1
    advance(done, total, unit)


def advance(done: int, total: int | None, unit: str) -> None:
    """Tell that so many units are done: 120 of 300 frames. total: None if unknown."""
    at_work = _AT_WORK.get()
    if at_work is not None:
        at_work.tell(done, total, unit)


def device_at_work() -> AbstractContextManager[None]:
    """While a network runs on the stage's device, waiting for the device not included."""
    at_work = _AT_WORK.get()
    return nullcontext() if at_work is None else at_work.device.running()


# --- What a person is told -------------------------------------------------------------------


class Part(NamedTuple):
    """One line about work that goes on."""

    name: str
    share: float | None  # of the work that is done, 0..1; None if unknown
    text: str


class DeviceClock:
    """Sums the time in which networks run; that of several rows side by side counts once."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._n_running, self._busy_s, self._since_s = 0, 0.0, 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        self._change(1)
        try:
            yield
        finally:
            self._change(-1)

    @property
    def busy_s(self) -> float:
        """Up to now."""
        self._change(0)
        return self._busy_s

    def _change(self, by: int) -> None:
        with self._lock:
            now_s = self._clock()
            if self._n_running:
                self._busy_s += now_s - self._since_s
            self._n_running, self._since_s = self._n_running + by, now_s


class AtWork:
    """A row, or a step outside of stages, while it is at work."""

    def __init__(self, name: str, clock: Clock = time.monotonic, device: DeviceClock | None = None) -> None:
        """device: the stage's, which its rows share"""
        self.name = name
        self.device = device or DeviceClock(clock)
        self.look: Callable[[], None] | None = None  # called whenever more is done, in the thread of the work
        self._clock, self._started_s = clock, clock()
        self._told: tuple[int, int | None, str] | None = None

    def tell(self, done: int, total: int | None, unit: str) -> None:
        self._told = done, total, unit  # one assignment: other threads read it
        if self.look is not None:
            self.look()

    @contextmanager
    def current(self) -> Iterator[None]:
        """What is told in here, and in contexts copied from here, is told of this."""
        token = _AT_WORK.set(self)
        try:
            yield
        finally:
            _AT_WORK.reset(token)

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that works for this."""
        with self.current():
            return function(*args, **kwargs)

    @property
    def done(self) -> int:
        return self._told[0] if self._told else 0

    def parts(self) -> list[Part]:
        if self._told is None:
            return [Part(self.name, None, duration(self._clock() - self._started_s))]
        done, total, unit = self._told
        if total is None or done > total:  # an estimate, and it was too low
            return [Part(self.name, None, f"{done} {unit}")]
        return [Part(self.name, done / total if total else None, f"{done} of {total} {unit}")]


_AT_WORK: ContextVar[AtWork | None] = ContextVar("at_work", default=None)


@dataclass
class Tally:
    """How far a stage is: how its rows ended, and which are at work. Rows begin and end in one thread."""

    name: str  # of the stage and the shard
    total: int  # rows
    clock: Clock = time.monotonic
    counts: Counter[str] = field(default_factory=Counter)
    usage: Usage = field(default_factory=Usage)
    at_work: list[AtWork] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.started_s = self.clock()
        self._device = DeviceClock(self.clock)

    def begin(self, row_id: str) -> AtWork:
        row = AtWork(row_id, self.clock, self._device)
        self.at_work.append(row)
        return row

    def end(self, row: AtWork, how: str, spent: Sequence[ModelUsage]) -> None:
        self.at_work.remove(row)
        self.counts[how] += 1
        self.usage = sum((asked.usage for asked in spent), self.usage)

    @property
    def done(self) -> int:
        return sum(self.counts.values())

    @property
    def device_time(self) -> DeviceTime | None:
        """Up to now; None if no network ran: the stage has none, or its rows are reused."""
        busy_s = self._device.busy_s
        return DeviceTime(busy_s=busy_s, wall_s=self.clock() - self.started_s) if busy_s else None

    def line(self) -> str:
        ways = ", ".join(f"{n} {how}" for how, n in sorted(self.counts.items()))
        asked = f"; {self.usage.line()}" if self.usage != Usage() else ""
        device = f"; {taken.line()}" if (taken := self.device_time) else ""
        return f"{self.done}/{self.total} rows ({ways or 'none yet'}){self._times()}{asked}{device}"

    def parts(self) -> list[Part]:
        share = self.done / self.total if self.total else None
        rows = (part for row in tuple(self.at_work) for part in row.parts())
        return [Part(self.name, share, self.line()), *rows]

    def _times(self) -> str:
        """Pace, and the time that is left or was taken. Reused rows tell nothing of either: they take no time."""
        seconds = self.clock() - self.started_s
        computed = self.done - self.counts["reused"]
        pace = f", {_pace(computed, seconds)}" if computed and seconds > 0 else ""
        if self.done == self.total:
            return f" in {seconds:.1f} s{pace}"
        if not self.done:
            return pace
        return f"{pace}, about {duration(seconds / (computed or self.done) * (self.total - self.done))} left"


def _pace(rows: int, seconds: float) -> str:
    per, of = (rows / seconds, "rows/s") if rows >= seconds else (seconds / rows, "s/row")
    return f"{per:.3g} {of}" if per < 100 else f"{per:,.0f} {of}"


def duration(seconds: float) -> str:
    """40 s, 12 min, 3.5 h"""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


# --- Who tells a person ----------------------------------------------------------------------


class Followed(Protocol):
    """A stage (`Tally`) or a step (`AtWork`) while it goes on. May be read from any thread."""

    @property
    def done(self) -> int:
        """Rows, or what a step counts."""

    def parts(self) -> list[Part]:
        """The whole, then each row at work, the longest first."""


class Listener(Protocol):
    """Tells a person how far work is."""

    def follow(self, work: Followed) -> AbstractContextManager[Callable[[], None]]:
        """While the work goes on. What this gives is to be called often: then the listener looks how far it is."""


class LogLines:
    """Lines in a log, not too many and not too few (`Listener`)."""

    def __init__(self, log: Any, clock: Clock = time.monotonic) -> None:
        self._log, self._clock = log, clock

    @contextmanager
    def follow(self, work: Followed) -> Iterator[Callable[[], None]]:
        told_s, told_done = self._clock(), 0

        def look() -> None:
            nonlocal told_s, told_done
            done, silence_s = work.done, self._clock() - told_s
            if silence_s < (SILENCE_S if done == told_done else PROGRESS_EVERY_S):
                return
            whole, *rows = work.parts()
            if whole.share == 1 and isinstance(work, Tally):  # the stage itself says how it ended
                return
            # Where rows end, their number tells enough.
            self._log.info("%s: %s%s", whole.name, whole.text, _rows_line(rows) if done == told_done else "")
            told_s, told_done = self._clock(), done

        yield look


def _rows_line(rows: list[Part]) -> str:
    """; at work: clip-81b2: 120 of 300 frames, clip-9c40: 12 s"""
    if not rows:
        return ""
    told = [f"{row.name}: {row.text}" for row in rows[:MAX_ROWS_TOLD]]
    more = [f"{len(rows) - MAX_ROWS_TOLD} more"] if len(rows) > MAX_ROWS_TOLD else []
    return f"; at work: {', '.join(told + more)}"
