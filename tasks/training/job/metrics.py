"""metrics.jsonl: a line an update.

{"step": 12, "phase": "first", "loss": 0.183, ..., "learning_rate": 0.0001, "gradient_norm": 0.71, "seconds": 341.2,
 "samples_per_s": 1.4}

step:          updates so far, over all phases
learning_rate: of this update; gradient_norm: before clipping
seconds:       at work so far, over all starts
A metric that no process had a finite value of is null.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.training.job.failures import JobError


class MetricsLog:
    """Written by the first process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def cut_back(self, step: int) -> None:
        """Keep the lines up to a step; a half line at the end goes, too."""
        kept = b""
        if self._path.exists():
            whole = self._path.read_bytes().splitlines(keepends=True)
            kept = b"".join(line for line in whole if line.endswith(b"\n") and json.loads(line)["step"] <= step)
        aside = self._path.with_name(f".{self._path.name}")
        with aside.open("wb") as file:
            file.write(kept)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self._path)

    def add(self, line: Mapping[str, Any]) -> None:
        """Raises JobError if the disk is full."""
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, allow_nan=False) + "\n")
        except OSError as error:
            raise JobError(f"{self._path} cannot be written: {error.strerror}; make room, and run again") from error

    def sync(self) -> None:
        """What was added outlives the machine's end."""
        with self._path.open("rb") as file:
            os.fsync(file.fileno())


def averaged(of_micro_batches: Sequence[Mapping[str, float]]) -> dict[str, float | None]:
    """[{"loss": 1.0, "aas": nan}, {"loss": 2.0, "aas": 0.5}] -> {"loss": 1.5, "aas": 0.5}."""
    names = dict.fromkeys(name for metrics in of_micro_batches for name in metrics)
    return {name: _mean([metrics[name] for metrics in of_micro_batches if name in metrics]) for name in names}


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else None
