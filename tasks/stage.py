"""What every stage shares: its config, its content-keyed results and the loop over a shard's rows.

A stage turns each row of a shard into a result (a Record) or an outcome. What it makes is kept under
the hash of everything that went into it, so a killed run goes on where it stopped, a changed prompt
recomputes exactly what depends on it, and nothing is computed twice:

    work/rows/<stage>/<k[:2]>/<key>.json         one row's result, or the outcome that ended it
    work/usage/<stage>/<k[:2]>/<key>.<try>.json  what a try at it asked of model servers; tries that failed
                                                 or were killed are paid for, too
    work/shards/<shard_id>/<n>-<chain>.json      the shard's rows after n stages: the reference that crosses
                                                 task borders
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from schemas.config import StageConfig
from schemas.outcome import Outcome, RowFailed, RowRejected, ServiceDown, Status, Subject
from schemas.provenance import MadeBy
from schemas.record import Record, content_hash
from schemas.storage import AnyPath, DataPath, at_once, is_full_disk, list_files, parse_path, write_atomic
from schemas.usage import Meter, ModelUsage, Usage
from tasks.read_manifest import Inputs

logger = logging.getLogger(__name__)

P = TypeVar("P", bound=Subject)
R = TypeVar("R", bound=Record)

PROGRESS_EVERY_S = 5.0
_USAGE = TypeAdapter(list[ModelUsage])


class Row(BaseModel, Generic[P]):
    """A source or clip on its way through the stages."""

    payload: P
    made: dict[str, str] = {}  # stage -> key of its result
    outcome: Outcome | None = None


class Shard(BaseModel, Generic[P]):
    """A fixed list of rows that are processed together; what fails and is rerun alone."""

    shard_id: str
    step: int = 0  # how many stages it has been through
    chain: str = ""  # hash of those stages with all that they depend on
    rows: list[Row[P]]

    @staticmethod
    def id_of(payloads: Sequence[Subject]) -> str:
        return "shard-" + content_hash("shard", [p.model_dump(mode="json") for p in payloads], length=12)

    @classmethod
    def of(cls, payloads: Sequence[P]) -> Shard[P]:
        return cls(shard_id=cls.id_of(payloads), rows=[Row[P](payload=p) for p in payloads])

    @property
    def retryable(self) -> int:
        """Rows that failed but may end otherwise when run again."""
        return sum(row.outcome is not None and row.outcome.retryable for row in self.rows)


class Made(BaseModel, Generic[R]):
    """What a stage made of a row: a result, or the outcome that ended it with what was seen till then."""

    result: R | None = None
    outcome: Outcome | None = None


class Work(BaseModel):
    """The folder of everything that is computed on the way to a snapshot, and where the inputs lie.

    Deleting the folder loses only time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: DataPath
    inputs: Inputs

    def result_path(self, stage: str, key: str) -> AnyPath:
        return self.root / "rows" / stage / key[:2] / f"{key}.json"

    def save(self, stage: str, key: str, made: Made[Any]) -> None:
        write_atomic(self.result_path(stage, key), made.model_dump_json().encode())

    def load(self, stage: str, key: str, record: type[R]) -> Made[R] | None:
        """What the stage made under this key, or None if nothing (or nothing readable) is there."""
        path = self.result_path(stage, key)
        try:
            return Made[record].model_validate_json(path.read_bytes())  # type: ignore[valid-type]
        except FileNotFoundError:
            return None
        except ValidationError as error:
            # A power cut can leave an empty file behind a finished rename.
            logger.warning("%s cannot be read and is made again (%d errors)", path, error.error_count())
            return None

    def result(self, row: Row[Any], stage: str, record: type[R]) -> R:
        """What an earlier stage made of this row."""
        made = self.load(stage, row.made[stage], record)
        if made is None or made.result is None:
            path = self.result_path(stage, row.made[stage])
            raise RowFailed("result_missing", f"{path} is gone; run again", retryable=True)
        return made.result

    def meter(self, stage: str, key: str) -> Meter:
        """Counts what a try at a result asks of model servers, and stores it from call to call."""
        # Tries at the same result may run at the same time: each has a file of its own.
        path = self.root / "usage" / stage / key[:2] / f"{key}.{uuid4().hex}.json"
        return Meter(keep=lambda spent: write_atomic(path, _USAGE.dump_json(spent)))

    def usage(self, stage: str, keys: Collection[str]) -> dict[str, list[ModelUsage]]:
        """What the tries at some results asked of model servers, {key: try after try}; no key that asked nothing."""
        # Listed as a whole and read side by side: a look for each key alone takes minutes on object storage.
        paths = [path for path in list_files(self.root / "usage" / stage) if _key_of(path) in keys]
        found: dict[str, list[ModelUsage]] = {}
        for path, spent in zip(paths, at_once(self.root, _read_usage, paths), strict=True):
            found.setdefault(_key_of(path), []).extend(spent)
        return found

    def shard_path(self, shard_id: str, name: str) -> AnyPath:
        return self.root / "shards" / shard_id / name

    def state_path(self, shard_id: str, stages: Sequence[Stage[Any, Any]]) -> AnyPath:
        """Where a shard's state lies after these stages; after none, its plan."""
        return self._state_path(shard_id, len(stages), chain_of(stages))

    def save_shard(self, shard: Shard[P]) -> AnyPath:
        path = self._state_path(shard.shard_id, shard.step, shard.chain)
        with full_disk_is_a_service_down("shards", self.root):
            write_atomic(path, shard.model_dump_json().encode())
        return path

    def _state_path(self, shard_id: str, step: int, chain: str) -> AnyPath:
        return self.shard_path(shard_id, f"{step}-{chain or 'planned'}.json")


def _key_of(usage_path: AnyPath) -> str:
    return usage_path.name.split(".")[0]


def _read_usage(path: AnyPath) -> list[ModelUsage]:
    try:
        return _USAGE.validate_json(path.read_bytes())
    except ValidationError as error:
        logger.warning("%s cannot be read and is not counted (%d errors)", path, error.error_count())
        return []


def load_shard(path: AnyPath | str, payload: type[P]) -> Shard[P]:
    return Shard[payload].model_validate_json(parse_path(path).read_bytes())  # type: ignore[valid-type]


@dataclass(frozen=True)
class Stage(Generic[P, R]):
    """One step of a flow, with everything that its answers depend on."""

    name: str
    version: int  # bumped when the code's answer to the same question changes
    result: type[R]
    config: StageConfig
    made_by: Sequence[MadeBy]  # the backends' names, models and prompts
    inputs: Callable[[Row[P]], Any]  # exactly what compute reads of the row: hashed into the key
    compute: Callable[[Row[P]], R]
    concurrency: int = 1

    @property
    def fingerprint(self) -> str:
        """Hash of all that the answers depend on, but for the row."""
        return content_hash(self.name, self.version, self.result.schema_version, self.config, list(self.made_by))

    def key(self, row: Row[P]) -> str:
        return content_hash(self.fingerprint, self.inputs(row))


def chain_of(stages: Sequence[Stage[Any, Any]]) -> str:
    """The `chain` of a planned shard that has been through these stages."""
    return reduce(extend_chain, stages, "")


def extend_chain(chain: str, stage: Stage[Any, Any]) -> str:
    return content_hash(chain, stage.fingerprint, length=12)


@dataclass
class Tally:
    """How a stage's rows ended, for the log and the shard's summary."""

    total: int
    started_s: float = field(default_factory=time.monotonic)
    counts: Counter[str] = field(default_factory=Counter)
    usage: Usage = field(default_factory=Usage)

    def add(self, end: RowEnd) -> None:
        self.counts[end.how] += 1
        self.usage = sum((spent.usage for spent in end.spent), self.usage)

    @property
    def done(self) -> int:
        return sum(self.counts.values())

    def line(self) -> str:
        seconds = time.monotonic() - self.started_s
        rest = seconds / self.done * (self.total - self.done) if self.done else 0.0
        parts = [f"{n} {what}" for what, n in sorted(self.counts.items())]
        left = f", about {rest:.0f} s left" if self.done < self.total else f" in {seconds:.1f} s"
        asked = f"; {self.usage.line()}" if self.usage != Usage() else ""
        return f"{self.done}/{self.total} rows ({', '.join(parts) or 'none yet'}){left}{asked}"


def run_stage(work: Work, shard: Shard[P], stage: Stage[P, R], log: Any = logger) -> AnyPath:
    """Run a stage over a shard's living rows and return where the shard's new state is stored.

    A row that cannot be done ends as an outcome and the others go on. ServiceDown (and a full disk)
    ends the stage at once; what was done by then stays done.
    """
    rows = list(shard.rows)
    waiting = [place for place, row in enumerate(rows) if row.outcome is None]
    tally = Tally(total=len(waiting))
    waiting.reverse()
    unexpected: list[Exception] = []
    last_line = time.monotonic()
    with (
        full_disk_is_a_service_down(stage.name, work.root),
        ThreadPoolExecutor(max_workers=max(1, stage.concurrency), thread_name_prefix=stage.name) as pool,
    ):
        running: dict[Future[RowEnd], int] = {}
        while waiting or running:
            # Rows are handed out as threads come free, so that a dead service stops the rest.
            while waiting and len(running) < max(1, stage.concurrency):
                place = waiting.pop()
                running[pool.submit(_run_row, work, stage, rows[place])] = place
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                place = running.pop(future)
                end = future.result()
                rows[place] = end.row
                tally.add(end)
                if end.error is not None:
                    unexpected.append(end.error)
                    log.error("%s %s: %r", stage.name, end.row.payload.row_id, end.error, exc_info=end.error)
            if time.monotonic() - last_line > PROGRESS_EVERY_S:
                last_line = time.monotonic()
                log.info("%s %s: %s", stage.name, shard.shard_id, tally.line())
        log.info("%s %s: %s", stage.name, shard.shard_id, tally.line())
        if len(unexpected) > 1 and len(unexpected) == tally.total - tally.counts["reused"]:
            raise ServiceDown(
                f"{stage.name}: all {len(unexpected)} rows failed, the first with {unexpected[0]!r}. "
                "This is no matter of single rows: see the log, mend the cause and retry the shard."
            )
        chain = extend_chain(shard.chain, stage)
        return work.save_shard(shard.model_copy(update={"rows": rows, "step": shard.step + 1, "chain": chain}))


def recall(work: Work, stage: Stage[P, R], row: Row[P]) -> Row[P] | None:
    """The row after the stage if its answer is known already, else None."""
    key = stage.key(row)
    made = work.load(stage.name, key, stage.result)
    return None if made is None else _after(stage.name, row, key, made)


class RowEnd(NamedTuple):
    """A row as it left a stage."""

    row: Row[Any]
    how: str
    error: Exception | None = None  # what surprised
    spent: Sequence[ModelUsage] = ()


def _run_row(work: Work, stage: Stage[P, R], row: Row[P]) -> RowEnd:
    meter = Meter()
    try:
        key = stage.key(row)
        made = work.load(stage.name, key, stage.result)
        if made is not None:
            return RowEnd(_after(stage.name, row, key, made), "reused")
        with work.meter(stage.name, key) as meter:
            made = _judge(stage, row)
        work.save(stage.name, key, made)
        how = made.outcome.status if made.outcome else "done"
        return RowEnd(_after(stage.name, row, key, made), how, spent=meter.spent)
    except RowFailed as error:
        # Not kept: the same question may be answered when it is asked again.
        ended = _ended(stage.name, row, "failed", error.reason, error.detail, retryable=True)
        return RowEnd(ended, "failed", spent=meter.spent)
    except ServiceDown:
        raise
    except Exception as error:
        if is_full_disk(error):
            raise
        ended = _ended(stage.name, row, "failed", "error", f"{type(error).__name__}: {error}", retryable=True)
        return RowEnd(ended, "failed", error, meter.spent)


def _judge(stage: Stage[P, R], row: Row[P]) -> Made[Any]:
    """Compute, and tell what is final (worth keeping) from what is worth another try (raised)."""
    try:
        return Made(result=stage.compute(row))
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


@contextmanager
def full_disk_is_a_service_down(stage: str, root: AnyPath) -> Iterator[None]:
    """Around whatever writes below `root`: a full disk is told with what to do about it."""
    try:
        yield
    except OSError as error:
        if not is_full_disk(error):
            raise
        disk = root if isinstance(root, Path) else tempfile.gettempdir()  # a store has none that fills
        raise ServiceDown(
            f"{stage}: cannot write to {disk}: {error.strerror}. Make room there and run it again."
        ) from error
