"""What `triptych ask --runs` prints: all runs, one, or two side by side.

matrix-3f9c2a71b0de: published, step 4,000 of 4,000, 32.1 h
  variant    spa_only, 1 changed
  setting    optimisation.n_steps 400 (default 4000)
  samples    matrix-samples-81b2c3d4e5f6 in training/matrix
  ...
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from schemas.outcome import ServiceDown
from schemas.storage import AnyPath
from schemas.training_run import WEIGHTS
from tasks.datasets.story import one_line
from tasks.engine.snapshots import SnapshotError
from tasks.pages.views import evenly_spaced
from tasks.training.runs.curves import number
from tasks.training.runs.page import choice_of, hours_of
from tasks.training.runs.reading import Choice, Run, RunError, final_numbers, measured_by_step, runs_in

MOST_STEPS = 6  # whose validation is told
SHOWN = ("loss", "validation ")  # of the final numbers, in a line of many runs


def overview(root: AnyPath) -> Iterator[str]:
    """A line a run. Raises RunError if there is none, ServiceDown."""
    runs = runs_in(root)
    if not runs:
        raise RunError(f"{root} holds no training run: `triptych train` makes one, or is the folder another?")
    width = max(len(run.id) for run in runs)
    for run in runs:
        metrics = run.metrics()
        finals = final_numbers(metrics, run.validations())
        told = [str(run.state(metrics)), str(choice_of(run))]
        told += [f"{name} {number(value)}" for name, value in finals.items() if name.startswith(SHOWN)]
        yield f"{run.id:<{width}}  {'; '.join(told)}"


def tell(run: Run) -> Iterator[str]:
    """What a run was made from, where it stands, what to do next."""
    metrics, validations = run.metrics(), run.validations()
    state, choice, request = run.state(metrics), choice_of(run), run.request
    hours = hours_of(metrics)
    yield f"{run.id}: {state}" + ("" if hours is None else f", {hours:.3g} h")
    yield f"  variant    {choice}" if choice.variant else "  variant    unknown: this version does not know the recipe"
    for name, (value, default) in choice.defaults.items():
        yield f"  setting    {one_line(name)} {_value(value)} (default {_value(default)})"
    yield f"  samples    {one_line(request.snapshot_id)} in {one_line(str(run.samples_root))}"
    try:
        for ancestor in run.lineage()[1:]:
            yield f"  made from  {one_line(ancestor.snapshot_id)}, by {one_line(ancestor.flow)}"
    except (SnapshotError, RunError, ServiceDown, ValueError) as error:
        yield f"  made from  unknown: {one_line(str(error))}"
    yield f"  base model {one_line(request.base_model)}"
    yield f"  code       {request.code[:12]}; {one_line(', '.join(request.libraries))}"
    yield f"  processes  {request.n_processes}, {request.micro_batch} samples at once in each"
    if run.is_published:
        yield f"  made on    {one_line('; '.join(run.manifest.environment))}"
    for name, value in final_numbers(metrics, []).items():
        yield f"  last       {one_line(name)} {number(value)}"
    measured = measured_by_step(validations)
    for (name,), rows in measured.group_by("name", maintain_order=True):
        by_step = list(rows.group_by("step").agg(pl.col("value").mean()).sort("step").iter_rows())
        shown = [*evenly_spaced(by_step[:-1], MOST_STEPS - 1), by_step[-1]]
        told = ", ".join(f"{number(value)} at step {step:,}" for step, value in shown)
        yield f"  validated  {one_line(str(name))}: {told}"
    yield from _next(run, choice)


def compare(one: Run, other: Run) -> Iterator[str]:
    """The differing settings of two runs, and their final numbers side by side."""
    yield _row("", one.id, other.id)
    metrics = [run.metrics() for run in (one, other)]
    yield _row("state", *(str(run.state(frame)) for run, frame in zip((one, other), metrics, strict=True)))
    yield _row("variant", *(str(choice_of(run)) for run in (one, other)))
    differing = one.request.differing(other.request)
    yield ""
    if not differing:
        yield "no setting differs"
    for name, (mine, theirs) in differing.items():
        if isinstance(mine, list) and isinstance(theirs, list) and name == "libraries":
            mine, theirs = [x for x in mine if x not in theirs], [x for x in theirs if x not in mine]
        yield _row(name.removeprefix("config."), _value(mine), _value(theirs))
    yield ""
    mine, theirs = (final_numbers(frame, run.validations()) for run, frame in zip((one, other), metrics, strict=True))
    for name in dict.fromkeys([*mine, *theirs]):
        yield _row(name, *(number(found[name]) if name in found else "-" for found in (mine, theirs)))


def _row(name: str, mine: str, theirs: str) -> str:
    return f"{one_line(name):<34} {mine:<30} {theirs}".rstrip()


def _next(run: Run, choice: Choice) -> Iterator[str]:
    if not run.is_published:
        yield "  -> The same command goes on from the newest checkpoint; in a deployed flow, Retry does."
        if command := command_of(run, choice):
            yield f"     {command}"
        return
    yield f"  weights    {run.folder / WEIGHTS}; its page says how to load them: {run.folder / 'index.html'}"
    root = shlex.quote(str(run.samples_root))
    yield f"  -> triptych ask --root {root} --snapshot {shlex.quote(run.request.snapshot_id)} clip CLIP_ID"
    yield "     tells what became of a clip on its way to a sample."


def command_of(run: Run, choice: Choice) -> str | None:
    """The command that a run was started with, as far as its options are plain values; None if some are not."""
    if choice.variant is None or not all(_is_plain(value) for value, _ in choice.changed.values()):
        return None
    options: dict[str, Any] = {"samples": str(run.samples_root), "snapshot": run.request.snapshot_id}
    options |= {"runs": str(run.folder.parent), "variant": choice.variant}
    options |= {f"training.{name}": value for name, (value, _) in choice.changed.items()}
    options |= {"launch.n_processes": run.request.n_processes, "launch.micro_batch": run.request.micro_batch}
    words = [f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in options.items()]
    return f"triptych train {run.request.recipe} {' '.join(words)}"


def _is_plain(value: object) -> bool:
    return isinstance(value, int | float | str)


def _value(value: object) -> str:
    return (
        one_line(json.dumps(value, ensure_ascii=False)) if isinstance(value, list | Mapping) else one_line(str(value))
    )
