"""Training runs, read: while they go on, after they were stopped, published.

    run = Run.open("runs/matrix-3f9c2a71b0de")      or Run.open("runs", "matrix-3f9c"): the beginning of a name
    run.state()                                     State("stopped", step=250, n_steps=4000)
    run.metrics()                                   polars: step, phase, loss, ..., one row a step
    runs_in(parse_path("s3://models/runs"))         all runs of a folder; what is no run is left out

Whoever writes may be in the midst of a line, and a kill may have cut one off: only whole lines count.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import polars as pl
from pydantic import TypeAdapter, ValidationError

from schemas.storage import AnyPath, at_once, parse_path, read_whole
from schemas.training_run import (
    MANIFEST,
    METRICS,
    REQUEST,
    VALIDATION,
    Ancestor,
    RunManifest,
    RunRequest,
    Validation,
)
from tasks.engine.lease import RUNNING, SILENCE_S, Holder
from tasks.engine.snapshots import ID, Snapshot
from tasks.training.recipe import Recipe, load_recipe

INDEX = "index.json"  # of validation/
AT_WORK = ".at-work"  # beside the runs: a lease for each that is worked at
KNOWN = ("step", "phase", "seconds")  # columns of a line that are no curves
_VALIDATIONS = TypeAdapter(list[Validation])


class RunError(ValueError):
    """There is no such run, or it is not what it should be."""


class State(NamedTuple):
    """Where a run stands.

    step:    updates that are done; n_steps: that it is to make, None where its settings do not tell
    trouble: why its manifest cannot be read
    """

    name: Literal["published", "at work", "stopped"]
    step: int
    n_steps: int | None
    trouble: str | None = None

    def __str__(self) -> str:
        of = f" of {self.n_steps:,}" if self.n_steps else ""
        return f"{self.name}, step {self.step:,}{of}" + (f" ({self.trouble})" if self.trouble else "")


class Choice(NamedTuple):
    """How a run's settings differ from what its recipe offers.

    variant: the recipe's nearest; None if this version does not know the recipe
    changed: {"lora.rank": (the run's, the variant's)}; defaults: the same against the recipe's defaults
    """

    variant: str | None
    changed: Mapping[str, tuple[object, object]]
    defaults: Mapping[str, tuple[object, object]]

    def __str__(self) -> str:
        if self.variant is None:
            return "unknown"
        return self.variant + (f" with {len(self.changed)} changed" if self.changed else "")


@dataclass(frozen=True)
class Run:
    """A run's folder. What can change while it goes on is a method: read again with every call."""

    folder: AnyPath
    request: RunRequest

    @classmethod
    def open(cls, folder: AnyPath | str, name: str | None = None) -> Run:
        """A run by its folder, or by the beginning of its name in a folder of runs. Raises RunError, ServiceDown."""
        path = parse_path(folder)
        if name is not None:
            path = path / _full_name(path, name)
        try:
            return cls(path, RunRequest.from_json(read_whole(path / REQUEST)))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise RunError(f"{path} is no run: it has no {REQUEST}") from error
        except (ValidationError, OSError) as error:
            raise RunError(f"{path / REQUEST} cannot be read: it is damaged, or a newer version wrote it") from error

    @property
    def id(self) -> str:
        return self.folder.name

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its settings. Raises RunError."""
        try:
            config = json.loads(self.request.config)
        except ValueError:
            config = None
        if not isinstance(config, dict):
            raise RunError(f"{self.folder / REQUEST} is damaged: `config` is no JSON object")
        return config

    @property
    def phases(self) -> dict[str, int]:
        """Its phases with their updates: the settings that have `n_steps`; `stages` may name one of them alone."""
        found = {k: v["n_steps"] for k, v in self.config.items() if isinstance(v, dict) and "n_steps" in v}
        only = self.config.get("stages")
        return {only: found[only]} if isinstance(only, str) and only in found else found

    @property
    def n_steps(self) -> int | None:
        """Updates that it is to make; None if its settings do not tell."""
        return sum(self.phases.values()) or None

    # --- What it was made from ---------------------------------------------------------------

    @cached_property
    def recipe(self) -> Recipe | None:
        """None if this version does not have it."""
        try:
            return load_recipe(self.request.recipe)
        except (KeyError, ImportError, AttributeError):
            return None

    @cached_property
    def choice(self) -> Choice:
        if self.recipe is None:
            return Choice(None, {}, {})
        recipe = self.recipe
        by_variant = {name: self._changed(recipe, values) for name, values in recipe.variants.items()}
        defaults = self._changed(recipe, {})
        if not by_variant:
            return Choice("defaults", defaults, defaults)
        nearest = min(by_variant, key=lambda name: len(by_variant[name]))
        return Choice(nearest, by_variant[nearest], defaults)

    def _changed(self, recipe: Recipe, values: Mapping[str, Any]) -> dict[str, tuple[object, object]]:
        settings = recipe.config.model_validate(values).model_dump_json()
        differing = self.request.differing(self.request.model_copy(update={"config": settings}))
        return {name.removeprefix("config."): pair for name, pair in differing.items()}

    def samples(self) -> Snapshot:
        """The snapshot that it is trained on. Raises SnapshotError, ServiceDown if it is not where it was."""
        return Snapshot.open(self.samples_root, self.request.snapshot_id)

    @property
    def samples_root(self) -> AnyPath:
        """The root of the flow that prepared its samples."""
        return parse_path(self.request.samples).parent.parent

    def lineage(self) -> list[Ancestor]:
        """As its manifest says; of an unpublished run, as its samples' does. Raises SnapshotError, ServiceDown."""
        return self.manifest.lineage if self.is_published else lineage_of(self.samples())

    # --- Where it stands ---------------------------------------------------------------------

    @property
    def is_published(self) -> bool:
        return (self.folder / MANIFEST).is_file()

    @property
    def manifest(self) -> RunManifest:
        """Raises RunError if it has none, or a damaged one."""
        try:
            return RunManifest.from_json(read_whole(self.folder / MANIFEST))
        except FileNotFoundError as error:
            raise RunError(f"{self.id} is not published: it has no {MANIFEST}") from error
        except (ValidationError, OSError) as error:
            raise RunError(f"{self.folder / MANIFEST} cannot be read: damaged, or of a newer version") from error

    def state(self, metrics: pl.DataFrame | None = None) -> State:
        """metrics: if they were read already."""
        steps = (self.metrics() if metrics is None else metrics)["step"]
        step = int(steps[-1]) if len(steps) else 0
        if not self.is_published:
            return State("at work" if self._is_at_work() else "stopped", step, self.n_steps)
        try:
            return State("published", self.manifest.n_steps, self.n_steps)
        except RunError as error:
            return State("published", step, self.n_steps, str(error))

    def _is_at_work(self) -> bool:
        """Whoever trains it holds a lease, and renews it: tasks/engine/lease.py."""
        lease = self.folder.parent / AT_WORK / self.id / RUNNING
        if not isinstance(lease, Path):
            return False  # no job works in a store
        try:
            holder = Holder.model_validate_json(read_whole(lease))
            return time.time() - lease.stat().st_mtime < SILENCE_S and not holder.has_died
        except (OSError, ValidationError):
            return False

    def metrics(self) -> pl.DataFrame:
        """(steps, columns): step int, phase str, then floats; sorted by step, one row each.

        Raises OSError, ServiceDown. A step that was made twice, before and after a kill, counts as it was made last.
        """
        try:
            lines = read_whole(self.folder / METRICS).split(b"\n")
        except FileNotFoundError:
            lines = []
        rows: dict[int, dict[str, Any]] = {}
        for line in lines:
            if (row := _row_of(line)) is not None:
                rows[row["step"]] = row
        names = dict.fromkeys(name for row in rows.values() for name in row if name not in ("step", "phase"))
        schema = pl.Schema({"step": pl.Int64(), "phase": pl.String(), **{name: pl.Float64() for name in names}})
        return pl.DataFrame([rows[step] for step in sorted(rows)], schema=schema)

    def validations(self) -> list[Validation]:
        """By step, then sample. Raises RunError if their list is damaged."""
        try:
            found = _VALIDATIONS.validate_json(read_whole(self.folder / VALIDATION / INDEX))
        except FileNotFoundError:
            return []
        except ValidationError as error:
            raise RunError(f"{self.folder / VALIDATION / INDEX} is damaged: {error.error_count()} faults") from error
        return sorted(found, key=lambda one: (one.step, one.sample_id))


def runs_in(root: AnyPath) -> list[Run]:
    """All runs of a folder, by name; none if there is no such folder. Raises OSError, ServiceDown."""
    try:
        names = sorted(path.name for path in root.iterdir() if ID.fullmatch(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [run for run in at_once(root, lambda name: _run_or_none(root / name), names) if run is not None]


def lineage_of(samples: Snapshot) -> list[Ancestor]:
    """A snapshot of samples, then the one that it was prepared from, as its manifest says. Raises SnapshotError."""
    own = Ancestor(snapshot_id=samples.id, flow=samples.manifest.flow)
    taken = json.loads(samples.manifest.configs).get("snapshot") or {}
    if not {"snapshot_id", "flow"} <= taken.keys():
        return [own]
    return [own, Ancestor(snapshot_id=taken["snapshot_id"], flow=taken["flow"])]


def is_within(folder: str, name: str) -> bool:
    """Does a name that a run's files tell lie below this folder of the run? They are data, and may be anybody's."""
    parts = name.split("/")
    return parts[0] == folder and len(parts) > 1 and all(p and not p.startswith(".") and p.isprintable() for p in parts)


def measured_by_step(validations: Sequence[Validation]) -> pl.DataFrame:
    """One row a number that every sample has: step, sample_id, name, value.

    What only some have, such as the AAS of one clip's "red ball", stands beside their videos.
    """
    rows = [(v.step, v.sample_id, m.name, m.value) for v in validations for m in v.measured]
    schema = {"step": pl.Int64, "sample_id": pl.String, "name": pl.String, "value": pl.Float64}
    n_samples = len({validation.sample_id for validation in validations})
    numbers = pl.DataFrame(rows, schema=schema, orient="row")
    return numbers.filter(pl.col("sample_id").n_unique().over("name") == n_samples)


def seconds_at_work(metrics: pl.DataFrame) -> float | None:
    """Over all starts of a run; None before its first step."""
    return float(metrics["seconds"][-1] or 0) if len(metrics) and "seconds" in metrics.columns else None


def final_numbers(metrics: pl.DataFrame, validations: Sequence[Validation]) -> dict[str, float]:
    """What a run ended with: the last line's metrics, and the means of the last validation's numbers."""
    last = metrics.tail(1).to_dicts()
    numbers = {k: v for row in last for k, v in row.items() if k not in KNOWN and v is not None}
    measured = measured_by_step(validations)
    means = measured.filter(pl.col("step") == pl.col("step").max()).group_by("name", maintain_order=True)
    return numbers | {f"validation {name}": value for name, value in means.agg(pl.col("value").mean()).iter_rows()}


def _row_of(line: bytes) -> dict[str, Any] | None:
    """A whole line's step, phase and numbers; None for what is none."""
    try:
        found = json.loads(line)
    except ValueError:  # cut off, or no text
        return None
    if not isinstance(found, dict) or type(found.get("step")) is not int:
        return None
    numbers = {k: float(v) for k, v in found.items() if type(v) in (int, float) and k not in ("step", "phase")}
    return {"step": found["step"], "phase": str(found.get("phase") or ""), **numbers}


def _run_or_none(folder: AnyPath) -> Run | None:
    try:
        return Run.open(folder)
    except RunError:
        return None


def _full_name(root: AnyPath, beginning: str) -> str:
    if not ID.fullmatch(beginning):
        raise RunError(f"{beginning[:80]!r} is no name of a run; give one, or its beginning")
    try:
        found = [run.id for run in runs_in(root)]
    except OSError as error:
        raise RunError(f"{root} cannot be read: {error.strerror or error}") from error
    meant = [name for name in found if name == beginning] or [n for n in found if n.startswith(beginning)]
    if len(meant) != 1:
        what = f"{', '.join(meant)}: which one?" if meant else f"there are {', '.join(found) or 'none'}"
        raise RunError(f"{root} has {len(meant) or 'no'} runs {beginning!r}; {what}")
    return meant[0]
