"""Which samples a micro-batch has, and reading them ahead.

    order = SampleOrder(seed=0, phase=0, n_samples=100, micro_batch=2, n_processes=2, n_accumulated=4)
    order.at(step=7, micro_batch=3, rank=1)                   MicroBatch(indices=[41, 7], epoch=1)
    for batch in read_ahead(order.after(step=7, n_steps=100, rank=1), trainer.collate): ...

The position follows from the step, so that there is no loader to restore. Threads read, not processes: a fork of a
process that has read Parquet can hang (polars' and Arrow's threads), and a spawned one would need a copy of the
recipe, networks included. Decoding, NumPy and files release Python's lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from schemas.outcome import ServiceDown
from tasks.training.job.failures import JobError
from tasks.training.job.randomness import permutation

N_THREADS = 2
N_AHEAD = 4  # micro-batches in memory besides the one in the network


class MicroBatch(NamedTuple):
    """What a process takes at once."""

    indices: list[int]
    epoch: int


@dataclass(frozen=True)
class SampleOrder:
    """Every epoch is a permutation of its own; what is left of it and fills no micro-batch is left out that time."""

    seed: int
    phase: int
    n_samples: int
    micro_batch: int
    n_processes: int
    n_accumulated: int

    def __post_init__(self) -> None:
        if self.n_samples < self.micro_batch:
            raise JobError(
                f"{self.n_samples} samples do not fill a micro-batch of {self.micro_batch}: "
                "prepare more samples, or lower micro_batch"
            )

    def at(self, step: int, micro_batch: int, rank: int) -> MicroBatch:
        """step: updates before this one, within the phase; micro_batch: of the n_accumulated of an update."""
        number = (step * self.n_accumulated + micro_batch) * self.n_processes + rank
        epoch, place = divmod(number, self.n_samples // self.micro_batch)
        order = _permutation(self.seed, self.phase, epoch, self.n_samples)
        return MicroBatch(order[place * self.micro_batch : (place + 1) * self.micro_batch].tolist(), epoch)

    def after(self, step: int, n_steps: int, rank: int) -> Iterator[MicroBatch]:
        """A process's micro-batches from a step on, to the phase's end."""
        for now in range(step, n_steps):
            for micro_batch in range(self.n_accumulated):
                yield self.at(now, micro_batch, rank)


@lru_cache(maxsize=4)  # micro-batches on both sides of an epoch's end, of every loader
def _permutation(seed: int, phase: int, epoch: int, n_samples: int) -> np.ndarray:
    return permutation(seed, phase, epoch, n_samples)


def read_ahead(
    micro_batches: Iterable[MicroBatch], collate: Callable[[Sequence[int], int], Any]
) -> Iterator[tuple[MicroBatch, Any]]:
    """Micro-batches in their order, with their samples. Raises JobError, which names samples that cannot be read."""
    pool = ThreadPoolExecutor(N_THREADS, thread_name_prefix="samples")
    waiting: deque[tuple[MicroBatch, Future[Any]]] = deque()
    try:
        for micro_batch in micro_batches:
            waiting.append((micro_batch, pool.submit(collate, micro_batch.indices, micro_batch.epoch)))
            if len(waiting) > N_AHEAD:
                yield _read(*waiting.popleft())
        while waiting:
            yield _read(*waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _read(micro_batch: MicroBatch, read: Future[Any]) -> tuple[MicroBatch, Any]:
    try:
        return micro_batch, read.result()
    except ServiceDown:
        raise
    except Exception as error:
        raise JobError(f"samples {micro_batch.indices} cannot be read: {type(error).__name__}: {error}") from error
