"""A run whose job is done -> a published run: checked, with curves, a page and, last of all, its manifest.

    publish_run(Path("runs/matrix-3f9c2a71b0de"))    RunManifest(n_steps=4000, files=[...], ...)
    verify(Path("runs/matrix-3f9c2a71b0de"))         []; or ["weights/lora.safetensors has changed", ...]

Nothing is published of a run that is not whole: metrics up to the last step, every validation video and condition that
its list names, weights of which no byte is missing. Published again, it has the same bytes.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

import polars as pl

from schemas.local_copies import file_content
from schemas.outcome import RowFailed
from schemas.storage import list_files, write_atomic
from schemas.training_run import (
    CHECKPOINTS,
    MANIFEST,
    METRICS,
    VALIDATION,
    WEIGHTS,
    Ancestor,
    RunFile,
    RunManifest,
    Validation,
)
from tasks.media.video import survey
from tasks.training.runs.page import write_page, write_runs_page
from tasks.training.runs.reading import Run, RunError, is_within, lineage_of, seconds_at_work

VIDEOS = (".mp4", ".webm", ".mov")


def publish_run(folder: Path) -> RunManifest:
    """Publish a run; what was published before is replaced. Raises RunError, SnapshotError, OSError; ServiceDown.

    Its samples' snapshot must still be where it was: lineage goes on in its manifest.
    """
    run = Run.open(folder)
    metrics, validations = run.metrics(), run.validations()
    require_whole(folder, run, metrics, validations)
    lineage, environment = as_noted_before(run) or (lineage_of(run.samples()), environment_of(folder))
    last = metrics.tail(1).to_dicts()[0]
    manifest = RunManifest(
        run_id=run.id,
        request=run.request,
        lineage=lineage,
        n_steps=last["step"],
        seconds=seconds_at_work(metrics) or 0.0,
        environment=environment,
        final_metrics=json.dumps(last),
        files=[],
    )
    write_page(folder, manifest)
    files = [_file_of(folder, name) for name in published_files(folder)]
    manifest = manifest.model_copy(update={"files": files})
    write_atomic(folder / MANIFEST, manifest.to_json())
    write_runs_page(folder.parent)
    return manifest


def require_whole(folder: Path, run: Run, metrics: pl.DataFrame, validations: list[Validation]) -> None:
    """Raises RunError with everything that is missing or damaged."""
    faults = [*_metrics_faults(run, metrics), *_validation_faults(folder, validations), *_weight_faults(folder)]
    if faults:
        raise RunError(f"{folder} is not whole, so it was not published: {'; '.join(faults)}. Train it to its end")


def verify(folder: Path) -> list[str]:
    """What is no longer as it was published. Raises RunError if it is not published."""
    named = {file.path: file for file in Run.open(folder).manifest.files}
    there = {str(name) for name in published_files(folder)}
    faults = [f"{name} is gone" for name in sorted(named.keys() - there)]
    faults += [f"{name} came later" for name in sorted(there - named.keys())]
    kept = sorted(named.keys() & there)
    return faults + [f"{name} has changed" for name in kept if _file_of(folder, PurePosixPath(name)) != named[name]]


def published_files(folder: Path) -> list[PurePosixPath]:
    """What belongs to a published run: all but its manifest, checkpoints and hidden files."""
    names = [PurePosixPath(path.relative_to(folder).as_posix()) for path in list_files(folder)]
    return [
        name
        for name in names
        if name.parts[0] not in (CHECKPOINTS, MANIFEST) and not any(part.startswith(".") for part in name.parts)
    ]


def as_noted_before(run: Run) -> tuple[list[Ancestor], list[str]] | None:
    """What an earlier manifest of the same run says: this may be another machine, and the samples may be gone."""
    with suppress(RunError):
        before = run.manifest
        if before.request == run.request:
            return before.lineage, before.environment
    return None


def environment_of(folder: Path) -> list[str]:
    """Python, platform, and the device that the job noted with its newest checkpoint."""
    said = [f"python {platform.python_version()}", platform.platform()]
    for checkpoint in sorted((folder / CHECKPOINTS).glob("step-*"))[-1:]:
        with suppress(OSError, ValueError, KeyError, TypeError):
            said.append(str(json.loads((checkpoint / "state.json").read_bytes())["machine"]))
    return said


def _file_of(folder: Path, name: PurePosixPath) -> RunFile:
    content = file_content(folder / name)
    return RunFile(path=str(name), sha256=content.sha256, n_bytes=content.n_bytes)


def _metrics_faults(run: Run, metrics: pl.DataFrame) -> Iterator[str]:
    last = int(metrics["step"][-1]) if len(metrics) else 0
    if not len(metrics) or (run.n_steps is not None and last != run.n_steps):
        yield f"{METRICS} ends at step {last} of {run.n_steps or '?'}"
    elif (missing := last - len(metrics)) or metrics["step"][0] != 1:
        yield f"{METRICS} lacks {missing} of its steps"


def _validation_faults(folder: Path, validations: list[Validation]) -> Iterator[str]:
    named = {one.video for one in validations} | {c.path for one in validations for c in one.conditions}
    for name in sorted(named):
        path = folder / name
        if not is_within(VALIDATION, name):
            yield f"{name!r} is named by a validation and lies outside of {VALIDATION}/"
        elif not path.is_file():
            yield f"{name} is missing"
        elif not path.stat().st_size:
            yield f"{name} is empty"
        elif path.suffix in VIDEOS:
            try:
                survey(path)
            except RowFailed as error:
                yield f"{name} is damaged: {error}"


def _weight_faults(folder: Path) -> Iterator[str]:
    weights = sorted((folder / WEIGHTS).rglob("*.safetensors"))
    if not weights:
        yield f"{WEIGHTS}/ holds no .safetensors"
    for path in weights:
        if not is_whole_safetensors(path):
            yield f"{path.relative_to(folder)} is cut off or damaged"


def is_whole_safetensors(path: Path) -> bool:
    """Is every byte there that its header tells of? Without the library: 8 bytes of length, JSON, then tensors."""
    n_bytes = path.stat().st_size
    with path.open("rb") as file:
        n_header = int.from_bytes(file.read(8), "little")
        if not 2 <= n_header <= n_bytes - 8:
            return False
        try:
            header = json.loads(file.read(n_header))
            ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return False
    return bool(8 + n_header + max(ends, default=0) == n_bytes)
