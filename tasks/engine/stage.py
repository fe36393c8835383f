"""Stages over the rows of a shard: content-keyed results, and the loop that makes them.

A stage turns each row of a shard into a result (a StageResult) or an outcome. What it makes is kept under the hash of
everything that went into it (tasks/engine/work.py), so a killed run goes on where it stopped, a changed prompt
recomputes exactly what depends on it, and nothing is computed twice.

    Stage(
        result=Tracks,                  # says the stage's name
        read=anchored,                  # row -> Anchored(footage, anchors), the only look at the row
        key_of=lambda seen: [seen.footage.span, seen.anchors],
        compute=lambda seen: propagate_masks(seen.footage.frames(), seen.anchors, propagator),
        ...
    )
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Generic, NamedTuple, TypeVar

from schemas.config import StageConfig
from schemas.outcome import Outcome, RowFailed, RowRejected, ServiceDown, Status, Subject, Suspicion
from schemas.provenance import MadeBy
from schemas.record import StageResult, content_hash
from schemas.storage import AnyPath
from schemas.usage import Meter, ModelUsage
from tasks.engine.progress import LOOK_EVERY_S, AtWork, Listener, LogLines, Tally
from tasks.engine.shards import Row, Shard
from tasks.engine.work import Made, Work, is_unwritable, unwritable_is_a_service_down

logger = logging.getLogger(__name__)

P = TypeVar("P", bound=Subject)
X = TypeVar("X")  # what a stage sees of a row
R = TypeVar("R", bound=StageResult)


def _all_of_it(seen: Any) -> Any:
    return seen


@dataclass(frozen=True)
class Stage(Generic[P, X, R]):
    """One step of a flow, with everything that its answers depend on.

    A row is read once, and what was read is given to both `key_of` and `compute`: what is computed sees no more of
    the row than what its key was made of. Where nothing else is said, that is the key: then no answer depends on
    anything that its key leaves out. `key_of` is for what cannot be hashed (pictures: their span is), or is not to
    count (paths).
    """

    version: int  # bumped when the code's answer to the same question changes
    result: type[R]
    config: StageConfig
    made_by: Sequence[MadeBy]  # the backends' names, models and prompts
    read: Callable[[Row[P]], X]  # cheap: planning reads rows, too; neither decodes nor loads a video
    compute: Callable[[X], R]
    key_of: Callable[[X], Any] = _all_of_it  # JSON values, records: hashed into the key
    concurrency: int = 1  # rows at work; where a network takes one at a time, the others are read and written meanwhile

    @property
    def name(self) -> str:
        return self.result.stage_name

    @property
    def fingerprint(self) -> str:
        """Hash of all that the answers depend on, but for the row."""
        return content_hash(self.name, self.version, self.result.schema_version, self.config, list(self.made_by))

    def key(self, row: Row[P]) -> str:
        return self.key_for(self.read(row))

    def key_for(self, seen: X) -> str:
        return content_hash(self.fingerprint, self.key_of(seen))


AnyStage = Stage[Any, Any, Any]


def chain_of(stages: Sequence[AnyStage]) -> str:
    """The `chain` of a planned shard that has been through these stages."""
    return reduce(extend_chain, stages, "")


def state_path(work: Work, shard_id: str, stages: Sequence[AnyStage]) -> AnyPath:
    """Where a shard's state lies after these stages; after none, its plan."""
    return work.state_path(shard_id, len(stages), chain_of(stages))


def extend_chain(chain: str, stage: AnyStage) -> str:
    return content_hash(chain, stage.fingerprint, length=12)


def run_stage(
    work: Work,
    shard: Shard[P],
    stage: Stage[P, X, R],
    log: Any = logger,
    listener: Listener | None = None,
    ends: Ends | None = None,
) -> AnyPath:
    """Run a stage over a shard's living rows and return where the shard's new state is stored.

    listener: told how far the stage is; None: lines in the log
    ends: of rows that this run has had in the stage already (`run_rows`); they are taken as they are
    A row that cannot be done ends as an outcome and the others go on. ServiceDown (and a full disk)
    ends the stage at once; what was done by then stays done. So do first rows that fail alike.
    """
    ends = ends or Ends(stage.name)
    after = run_rows(work, shard, stage, log, listener, ends)
    ends.failures.judge_all_rows()
    with unwritable_is_a_service_down(stage.name, work.root):
        work.save_shard(after)
    return work.state_path(after.shard_id, after.step, after.chain)


def run_rows(
    work: Work,
    shard: Shard[P],
    stage: Stage[P, X, R],
    log: Any,
    listener: Listener | None,
    ends: Ends,
    told: str = "",
) -> Shard[P]:
    """Run a stage over a shard's living rows, or over some of them, and return them after it; no state is stored.

    ends: of rows that this run has had in the stage already; is told how the others end
    told: what people read of the rows, if they are not the whole shard
    """
    rows = [row if row.outcome else ends.rows.get(row.payload.row_id, row) for row in shard.rows]
    waiting = [
        place for place, row in enumerate(shard.rows) if row.outcome is None and row.payload.row_id not in ends.rows
    ]
    chain = extend_chain(shard.chain, stage)
    after = {"step": shard.step + 1, "chain": chain}
    if not waiting and (told or ends.rows):  # nor anything to tell
        return shard.model_copy(update={"rows": rows, **after})
    which = f"{told} of " if told else "other rows of " if ends.rows else ""
    tally = Tally(f"{stage.name} {which}{shard.shard_id}", total=len(waiting))
    waiting.reverse()
    failures = ends.failures
    with (
        unwritable_is_a_service_down(stage.name, work.root),
        _keeping_device_time(work, stage.name, shard.shard_id, chain, tally),
        (listener or LogLines(log)).follow(tally) as look,
        ThreadPoolExecutor(max_workers=max(1, stage.concurrency), thread_name_prefix=stage.name) as pool,
    ):
        running: dict[Future[RowEnd], tuple[int, AtWork]] = {}
        while waiting or running:
            # Rows are handed out as threads come free, so that a dead service stops the rest.
            while waiting and len(running) < max(1, stage.concurrency):
                place = waiting.pop()
                at_work = tally.begin(rows[place].payload.row_id)
                running[pool.submit(at_work.run, _run_row, work, stage, rows[place])] = place, at_work
            finished, _ = wait(running, timeout=LOOK_EVERY_S, return_when=FIRST_COMPLETED)
            for future in finished:
                place, at_work = running.pop(future)
                end = future.result()
                rows[place] = ends.rows[end.row.payload.row_id] = end.row
                tally.end(at_work, end.how, end.spent)
                failures.add(end)
                if end.error is not None:
                    log.error("%s %s: %r", stage.name, end.row.payload.row_id, end.error, exc_info=end.error)
                    _forget_traceback(end.error)
            look()
            failures.judge_first_rows()
        log.info("%s: %s", tally.name, tally.line())
    return shard.model_copy(update={"rows": rows, **after})


@contextmanager
def _keeping_device_time(work: Work, stage: str, shard_id: str, chain: str, tally: Tally) -> Iterator[None]:
    try:
        yield
    finally:  # rows that were done before a ServiceDown took their time, too
        if taken := tally.device_time:
            work.keep_device_time(stage, shard_id, chain, taken)


def recall(work: Work, stage: Stage[P, X, R], row: Row[P]) -> Row[P] | None:
    """The row after the stage if its answer is known already, else None. Reads no blob: whole datasets are planned."""
    key = stage.key(row)
    made = work.load(stage.result, key, read_blobs=False)
    return None if made is None else _after(stage.name, row, key, made)


class RowEnd(NamedTuple):
    """A row as it left a stage."""

    row: Row[Any]
    how: str
    error: Exception | None = None  # what surprised
    spent: Sequence[ModelUsage] = ()
    suspicion: Suspicion | None = None

    @property
    def is_answered(self) -> bool:
        """True if a model server, where the stage asks one, has answered what was asked for this row.

        A row that goes on was asked for; one that is rejected may have been rejected before.
        """
        return self.row.outcome is None or (self.how == "rejected" and len(self.spent) > 0)


@dataclass
class Failures:
    """Tells a service that no row can do without from bad rows, by the ways in which a stage's rows ended."""

    stage_name: str
    computed: int = 0
    unexpected: list[Exception] = field(default_factory=list)
    alike: dict[str, list[Suspicion]] = field(default_factory=dict)  # by kind
    answered: bool = False

    def add(self, end: RowEnd) -> None:
        self.answered |= end.is_answered
        self.computed += end.how != "reused"
        if end.error is not None:
            self.unexpected.append(end.error)
        if end.suspicion is not None:
            self.alike.setdefault(end.suspicion.alike, []).append(end.suspicion)

    def judge_first_rows(self) -> None:
        """Raises ServiceDown if enough rows failed alike before any was answered: the others would be paid in vain.

        Rows that failed by themselves (a bad video) count neither way. A shard with fewer rows has nothing to save.
        """
        for first, *more in () if self.answered else self.alike.values():
            if 1 + len(more) >= first.max_rows:
                raise ServiceDown(
                    f"{self.stage_name}: {1 + len(more)} rows failed alike before any was answered. {first.told}"
                )

    def judge_all_rows(self) -> None:
        """Raises ServiceDown if every row surprised; those that were reused say nothing of today."""
        if len(self.unexpected) > 1 and len(self.unexpected) == self.computed:
            raise ServiceDown(
                f"{self.stage_name}: all {len(self.unexpected)} rows failed, the first with {self.unexpected[0]!r}. "
                "This is no matter of single rows: see the log, mend the cause and retry the shard."
            )


@dataclass
class Ends:
    """How a stage's rows have ended in this run of their shard, where it goes through the stage in several parts."""

    stage_name: str
    rows: dict[str, Row[Any]] = field(default_factory=dict)  # as they left the stage, by row id

    def __post_init__(self) -> None:
        self.failures = Failures(self.stage_name)


def _forget_traceback(error: BaseException | None) -> None:
    """It holds what the row held: a clip in memory."""
    while error is not None and error.__traceback__ is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _run_row(work: Work, stage: Stage[P, X, R], row: Row[P]) -> RowEnd:
    meter = Meter()
    try:
        seen = stage.read(row)
        key = stage.key_for(seen)
        made = work.load(stage.result, key)
        if made is not None:
            return RowEnd(_after(stage.name, row, key, made), "reused")
        with work.meter(stage.name, key) as meter:
            made = _judge(stage, row, seen)
        work.save(stage.result, key, made)
        how = made.outcome.status if made.outcome else "done"
        return RowEnd(_after(stage.name, row, key, made), how, spent=meter.spent)
    except RowFailed as error:
        # Not kept: the same question may be answered when it is asked again.
        ended = _ended(stage.name, row, "failed", error.reason, error.detail, retryable=True)
        return RowEnd(ended, "failed", spent=meter.spent, suspicion=error.suspicion)
    except ServiceDown:
        raise
    except Exception as error:
        if is_unwritable(error, work.root):
            raise
        ended = _ended(stage.name, row, "failed", "error", f"{type(error).__name__}: {error}", retryable=True)
        return RowEnd(ended, "failed", error, meter.spent)


def _judge(stage: Stage[P, X, R], row: Row[P], seen: X) -> Made[Any]:
    """Compute, and tell what is final (worth keeping) from what is worth another try (raised)."""
    try:
        return Made(result=stage.compute(seen))
    except RowRejected as error:
        ended = _ended(stage.name, row, "rejected", error.reason, error.detail, retryable=False)
        return Made(result=error.evidence, outcome=ended.outcome)
    except RowFailed as error:
        if error.retryable:
            raise
        ended = _ended(stage.name, row, "failed", error.reason, error.detail, retryable=False)
        return Made(outcome=ended.outcome)


def _after(stage: str, row: Row[P], key: str, made: Made[Any]) -> Row[P]:
    outcome = made.outcome
    if outcome is not None:
        # Kept by content, so a row with the same content may have reached this outcome first.
        outcome = outcome.model_copy(update={"row_id": row.payload.row_id})
    return row.model_copy(update={"made": {**row.made, stage: key}, "outcome": outcome})


def _ended(stage: str, row: Row[P], status: Status, reason: str, detail: str, *, retryable: bool) -> Row[P]:
    outcome = Outcome(
        row_id=row.payload.row_id,
        kind=row.payload.kind,
        status=status,
        stage=stage,
        reason=reason,
        detail=detail or None,
        retryable=retryable,
    )
    return row.model_copy(update={"outcome": outcome})
