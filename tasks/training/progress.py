"""How far a training is, read from its metrics.jsonl while the job writes it.

    progress = TrainingProgress(folder, n_steps=4000)
    progress.read()
    progress.parts()      [Part("matrix-3f9c...", 0.03, "step 120 of 4000, loss 0.183, 29 s/step, about 31 h left")]

The rate is that of this start: it begins with the first step that is seen.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from schemas.training_run import METRICS
from tasks.engine.progress import Clock, Part, duration

TAIL_BYTES = 2**16  # holds several lines


class TrainingProgress:
    """`Followed` by those who tell a person."""

    def __init__(self, folder: Path, n_steps: int, clock: Clock = time.monotonic) -> None:
        self.name, self.n_steps = folder.name, n_steps
        self.last: dict[str, Any] = {}
        self._metrics, self._clock = folder / METRICS, clock
        self._first: tuple[int, float] | None = None  # step and when it was seen
        self._seen_s = 0.0
        self.read()
        self._first = None  # an earlier start's line

    def read(self) -> None:
        """Look for a new last line."""
        found = last_line(self._metrics)
        if found is None or found == self.last:
            return
        if self._first is None or found["step"] < self._first[0]:  # cut back to a checkpoint
            self._first = found["step"], self._clock()
        self.last, self._seen_s = found, self._clock()

    @property
    def done(self) -> int:
        return int(self.last.get("step", 0))

    @property
    def step_s(self) -> float | None:
        """Seconds a step; None before two were seen."""
        if self._first is None or self.done <= self._first[0]:
            return None
        return (self._seen_s - self._first[1]) / (self.done - self._first[0])

    @property
    def left_s(self) -> float | None:
        return None if self.step_s is None else self.step_s * (self.n_steps - self.done)

    def parts(self) -> list[Part]:
        told = [f"step {self.done} of {self.n_steps}"]
        if "loss" in self.last:
            told.append(f"loss {self.last['loss']:.4g}")
        if self.step_s is not None and self.left_s is not None:
            told += [f"{self.step_s:.3g} s/step", f"about {duration(self.left_s)} left"]
        return [Part(self.name, min(1.0, self.done / self.n_steps), ", ".join(told))]


def last_line(metrics: Path) -> dict[str, Any] | None:
    """The last whole line; None if there is none yet."""
    try:
        with metrics.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            lines = file.read().split(b"\n")[:-1]  # what follows the last newline is being written
    except FileNotFoundError:
        return None
    if not lines:
        return None
    found: dict[str, Any] = json.loads(lines[-1])
    return found
