"""A run's page, and the page of all runs of a folder.

    write_page(Path("runs/matrix-3f9c2a71b0de"))     index.html and curves/, of a run that goes on or was stopped
    write_runs_page(Path("runs"))                    runs/index.html: all runs side by side
    runs_page([shelf_of(root)])                      the same as text, for `triptych serve`

Nothing on them comes from elsewhere: curves are inline SVG, videos and pictures are the run's own. Prompts and names
are other people's text, and escaped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import jinja2
import polars as pl
from markupsafe import Markup

from schemas.outcome import ServiceDown
from schemas.storage import AnyPath, ObjectPath, sweep, write_atomic
from schemas.training_run import VALIDATION, WEIGHTS, Ancestor, Condition, RunManifest, Validation
from tasks.engine.snapshots import SnapshotError
from tasks.pages.page import RELOAD_S, environment
from tasks.pages.views import evenly_spaced
from tasks.training.runs.curves import STYLE, Curve, as_file, curves_of, number, span_of, spark
from tasks.training.runs.reading import (
    Choice,
    Run,
    RunError,
    State,
    final_numbers,
    is_within,
    runs_in,
    seconds_at_work,
)

PAGE = "index.html"
CURVES = "curves"
MAX_SAMPLES = 12  # of which validation videos are shown, spread evenly
MAX_STEPS = 6  # of a sample whose videos are shown: the first, the last, and some between
PICTURES, VIDEOS = (".png", ".jpg", ".jpeg", ".webp"), (".mp4", ".webm")


class Shot(NamedTuple):
    """A validation video with what belongs to it alone, such as its attention maps."""

    made: Validation
    beside: Sequence[Condition]


class Progress(NamedTuple):
    """A sample's validation videos over the steps, and what all of them were made from."""

    sample_id: str
    prompt: str
    conditions: Sequence[Condition]
    shots: Sequence[Shot]
    n_steps: int  # at which there are videos; some may not be shown


def write_page(folder: Path, manifest: RunManifest | None = None) -> Path:
    """Write a run's page as it stands, and its curves as files; returns index.html, which appears last.

    manifest: of a run that is being published
    Raises RunError if it is no run.
    """
    run = Run.open(folder)
    metrics, validations = run.metrics(), run.validations()
    curves = curves_of(metrics, validations)
    for stale in set((folder / CURVES).glob("*.svg")) - {folder / CURVES / file_of(curve) for curve in curves}:
        stale.unlink()
    for curve in curves:
        write_atomic(folder / CURVES / file_of(curve), as_file(curve.svg))
    state = run.state(metrics) if manifest is None else State("published", manifest.n_steps, run.n_steps)
    finals = final_numbers(metrics, validations)
    shown = progress_of(validations)
    html = (
        _templates()
        .get_template("run.html.j2")
        .render(
            run=run,
            state=state,
            manifest=manifest,
            written="" if manifest else f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
            reload_s=RELOAD_S,
            choice=choice_of(run),
            finals=finals,
            hours=hours_of(metrics),
            curves=curves,
            file_of=file_of,
            samples=shown,
            n_samples=len({one.sample_id for one in validations}),
            lineage=manifest.lineage if manifest else lineage_or_none(run),
            report=report_beside(run),
            loading=loading_of(run),
            weights=weight_files(folder),
        )
    )
    write_atomic(folder / PAGE, html.encode())
    sweep(folder / CURVES)  # of the folder itself only the job knows what it still writes
    return folder / PAGE


def file_of(curve: Curve) -> str:
    """ "AAS (mean)" -> "AAS__mean_.svg": a metric's name is a recipe's, and no path."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in curve.name) + ".svg"


def hours_of(metrics: pl.DataFrame) -> float | None:
    seconds = seconds_at_work(metrics)
    return None if seconds is None else seconds / 3600


def choice_of(run: Run) -> Choice:
    """Of settings that this version cannot read any more it tells nothing."""
    try:
        return run.choice
    except ValueError:
        return Choice(None, {}, {})


def progress_of(validations: Sequence[Validation]) -> list[Progress]:
    """By sample; what is named outside of the run's validation videos is left out."""
    own = [one for one in validations if is_within(VALIDATION, one.video)]
    ordered = sorted(own, key=lambda one: (one.sample_id, one.step))
    return [
        _progress(sample_id, list(of_sample))
        for sample_id, of_sample in evenly_spaced(
            [(k, list(g)) for k, g in groupby(ordered, key=lambda one: one.sample_id)], MAX_SAMPLES
        )
    ]


def _progress(sample_id: str, videos: Sequence[Validation]) -> Progress:
    """videos: at least one, by step"""
    *earlier, last = videos
    chosen = [*evenly_spaced(earlier, MAX_STEPS - 1), last]
    shared = [c for c in last.conditions if all(c in one.conditions for one in videos)] if earlier else last.conditions
    shots = [Shot(one, _shown([c for c in one.conditions if c not in shared])) for one in chosen]
    return Progress(sample_id, last.prompt, _shown(shared), shots, len(videos))


def _shown(conditions: Sequence[Condition]) -> list[Condition]:
    return [condition for condition in conditions if is_within(VALIDATION, condition.path)]


def lineage_or_none(run: Run) -> list[Ancestor] | None:
    """None if the samples are not where they were."""
    try:
        return run.lineage()
    except (SnapshotError, RunError, ServiceDown, OSError, ValueError):
        return None


def report_beside(run: Run) -> str | None:
    """The samples' report from the run's folder, where both lie on a disk: for a page that is opened as a file."""
    root = run.samples_root
    if isinstance(root, ObjectPath) or isinstance(run.folder, ObjectPath):
        return None
    report = root / "reports" / run.request.snapshot_id / PAGE
    return Path(os.path.relpath(report, run.folder)).as_posix()


def loading_of(run: Run) -> str:
    """Python that loads the weights; empty if the recipe tells none."""
    folder = f"{run.folder.parent.name}/{run.id}/{WEIGHTS}"
    return "" if run.recipe is None else run.recipe.loading.strip().replace("{weights}", folder)


def weight_files(folder: Path) -> list[tuple[str, int]]:
    """[("weights/lora.safetensors", 37748736)]"""
    files = sorted(path for path in (folder / WEIGHTS).rglob("*") if path.is_file())
    return [(path.relative_to(folder).as_posix(), path.stat().st_size) for path in files]


# --- All runs of a folder ----------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A run in the table of all."""

    run: Run
    state: State
    choice: Choice
    finals: Mapping[str, float]
    hours: float | None
    metrics: pl.DataFrame
    spark: Markup | None = None  # of the loss


@dataclass(frozen=True)
class Table:
    """The runs of a recipe, with the numbers that they end with."""

    recipe: str
    lines: Sequence[Line]
    columns: Sequence[str]


@dataclass(frozen=True)
class Shelf:
    """A folder of runs."""

    root: AnyPath
    tables: Sequence[Table]
    note: str | None = None


def shelf_of(root: AnyPath) -> Shelf:
    """All runs of a folder; in a store, several requests for each."""
    try:
        lines = [_line(run) for run in runs_in(root)]
    except (OSError, ServiceDown) as error:
        return Shelf(root, [], str(error))
    by_recipe = groupby(
        sorted(lines, key=lambda line: line.run.request.recipe), key=lambda line: line.run.request.recipe
    )
    tables = [_table(recipe, list(of_recipe)) for recipe, of_recipe in by_recipe]
    return Shelf(root, tables, None if tables else "There is no run yet: `triptych train` makes one.")


def _line(run: Run) -> Line:
    metrics = run.metrics()
    try:
        validations = run.validations()
    except RunError:
        validations = []
    return Line(
        run, run.state(metrics), choice_of(run), final_numbers(metrics, validations), hours_of(metrics), metrics
    )


def _table(recipe: str, lines: Sequence[Line]) -> Table:
    """Little curves of all runs have the same axes."""
    drawn = [line for line in lines if "loss" in line.metrics.columns and line.metrics["loss"].is_finite().any()]
    if drawn:
        n_steps = max(int(line.metrics["step"][-1]) for line in drawn)
        span = span_of([line.metrics for line in drawn], "loss")
        sparks = {line.run.id: spark(line.metrics, "loss", n_steps, span) for line in drawn}
        lines = [
            Line(**{**vars(line), "spark": sparks[line.run.id]}) if line.run.id in sparks else line for line in lines
        ]
    names = list(dict.fromkeys(name for line in lines for name in line.finals))
    hidden = ("learning_rate", "gradient_norm", "samples_per_s")
    columns = sorted(
        (n for n in names if n not in hidden), key=lambda name: (not name.startswith("validation"), names.index(name))
    )
    return Table(recipe, lines, columns)


def runs_page(shelves: Sequence[Shelf], home: str | None = None) -> str:
    """home: a link to the server's first page"""
    return _templates().get_template("runs.html.j2").render(shelves=shelves, home=home)


def write_runs_page(root: Path) -> Path:
    write_atomic(root / PAGE, runs_page([shelf_of(root)]).encode())
    return root / PAGE


def suffix_of(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def as_json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False)


def _templates() -> jinja2.Environment:
    templates = environment(Path(__file__).parent)
    templates.filters |= {"number": number, "suffix": suffix_of, "as_json": as_json}
    templates.globals |= {"curve_style": STYLE, "PICTURES": PICTURES, "VIDEOS": VIDEOS}
    return templates
