"""A training on its flow run's page in Prefect: a progress bar and a table, made once and then changed.

keys: training-progress-matrix, training-matrix     one history for each recipe

| step | loss | learning_rate | s/step | left |
|---:|---:|---:|---:|---:|
| 120 of 4000 | 0.1834 | 9.8e-05 | 29 | 31 h |
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from flows.engine.artifacts import OwnArtifact, artifact_key, escape
from flows.engine.steps import in_run
from tasks.engine.progress import Clock, duration
from tasks.training.progress import TrainingProgress

SHOW_EVERY_S = 5.0


class TrainingPage:
    """The two artifacts of the run that this code is part of; none outside of Prefect."""

    def __init__(self, recipe: str, progress: TrainingProgress, clock: Clock = time.monotonic) -> None:
        about = f"{progress.name}, steps that are done"
        self._bar = OwnArtifact(artifact_key("training-progress", recipe), "progress", about)
        self._table = OwnArtifact(artifact_key("training", recipe), "markdown", f"{progress.name}, its last step")
        self._progress, self._clock, self._shown_s = progress, clock, -SHOW_EVERY_S

    def show(self, *, is_last: bool = False) -> None:
        """Show how far it is; not more often than every SHOW_EVERY_S, but at the end."""
        if not in_run() or (self._clock() - self._shown_s < SHOW_EVERY_S and not is_last):
            return
        self._shown_s = self._clock()
        self._bar.show(round(100 * self._progress.done / self._progress.n_steps, 2))
        self._table.show(as_markdown(self._progress))


def as_markdown(progress: TrainingProgress) -> str:
    """The last step as a table; every number that its line of metrics has."""
    columns = dict(_columns(progress))
    rows = (columns.keys(), ["---:"] * len(columns), columns.values())
    return "\n".join([f"## {escape(progress.name)}", "", *(f"| {' | '.join(row)} |" for row in rows)])


def _columns(progress: TrainingProgress) -> Iterator[tuple[str, str]]:
    yield "step", f"{progress.done} of {progress.n_steps}"
    for name, value in progress.last.items():
        if name != "step" and isinstance(value, int | float):
            yield escape(name), f"{value:.4g}"
    if progress.step_s is not None and progress.left_s is not None:
        yield "s/step", f"{progress.step_s:.3g}"
        yield "left", duration(progress.left_s)
