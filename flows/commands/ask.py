"""Ask a dataset: what happened to a clip, what failed and how to rerun it. Ask training runs where they stand.

triptych ask --root data                   the latest snapshot's yield, and all snapshots
triptych ask --root data clip clip-81b2    its whole story, stage by stage (or src-..., a video's name,
                                           of a simulated clip interactions/train/0, of a generated
                                           sample PROMPT/SEED, or a prompt's id for all its samples)
triptych ask --root data failed            what failed, why, and what to do
triptych ask --runs runs                   all training runs, where they stand, what they ended with
triptych ask --runs runs run matrix-3f9c   what it was made from, how to go on, its numbers; --verify: is it whole?
triptych ask --runs runs run A B           what differs between two, and their final numbers
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from schemas.outcome import ServiceDown
from schemas.record import SchemaError
from schemas.storage import parse_path
from tasks.datasets.registry import dataset_of
from tasks.datasets.story import one_line
from tasks.engine.snapshots import Snapshot, SnapshotError, ids_in
from tasks.pages.usage import usage_of
from tasks.training.runs.publish import verify
from tasks.training.runs.reading import Run, RunError
from tasks.training.runs.story import compare, overview, tell

RERUN = "Run the same command (or the deployment) again: only these rows are redone."
MEND = "Mend or replace the input, then run again: a changed input is a new one."


def summary(snapshot: Snapshot) -> Iterator[str]:
    snapshots = snapshot.folder.parent
    manifest = snapshot.manifest
    yield f"{manifest.snapshot_id}: {manifest.tally}"
    if usage := usage_of(snapshots.parent / "reports" / snapshot.id):
        yield usage.line()
    yield ""
    yield f"{'stage':<18} {'unit':<8} {'given':>6} {'rejected':>9} {'failed':>7} {'passed':>7}"
    for step in manifest.funnel:
        yield (f"{step.stage:<18} {step.unit:<8} {step.given:>6} {step.rejected:>9} {step.failed:>7} {step.passed:>7}")
    yield ""
    for count in manifest.outcomes:
        yield f"{count.n:>6} {count.status} {count.stage} {count.reason or ''}".rstrip()
    yield ""
    latest = Snapshot.latest_readable(snapshots)
    names = [f"{name} (LATEST)" if latest and name == latest.id else name for name in ids_in(snapshots)]
    yield "snapshots: " + ", ".join(names)


def failed(snapshot: Snapshot) -> Iterator[str]:
    name_of = dataset_of(snapshot).story.name_of
    outcomes = snapshot.scan("outcomes").filter(pl.col("status") == "failed")
    rows = outcomes.sort("retryable", "stage", "row_id").collect()
    if rows.is_empty():
        yield "nothing failed"
    for retryable, remedy in ((True, RERUN), (False, MEND)):
        chosen = rows.filter(pl.col("retryable") == retryable)
        for row in chosen.to_dicts():
            yield f"{row['row_id']} {name_of(row)}".rstrip() + f": {row['stage']} {row['reason']}: {_detail(row)}"
        if not chosen.is_empty():
            yield f"  -> {remedy}"


def stories(snapshot: Snapshot, name: str) -> Iterator[str]:
    """The story of each row that `name` means. Raises SnapshotError if it means none."""
    story = dataset_of(snapshot).story
    found = story.find(snapshot, name)
    if found.is_empty():
        raise SnapshotError(f"{snapshot.id} knows no {name!r}; give the beginning of an id, or a name as --help shows")
    for number, row in enumerate(found.to_dicts()):
        if number:
            yield ""
        why = "" if row["status"] == "accepted" else f" in {row['stage']}: {row['reason']}: {_detail(row)}"
        yield f"{row['row_id']}: {row['status']}{why}"
        yield from story.tell(snapshot, row)


def _detail(outcome: dict[str, Any]) -> str:
    return one_line(outcome["detail"])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="triptych ask", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=parse_path, default="data", help="the flow's --root (default: data)")
    parser.add_argument("--snapshot", default="latest", help="id of the snapshot to ask (default: the latest)")
    parser.add_argument("--runs", type=parse_path, help="ask training runs: the folder that holds them")
    either_side = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    either_side.add_argument("--root", type=parse_path)
    either_side.add_argument("--snapshot")
    either_side.add_argument("--runs", type=parse_path)
    questions = parser.add_subparsers(dest="question")
    clip = questions.add_parser("clip", parents=[either_side], help="the whole story of a clip or source")
    clip.add_argument("name")
    questions.add_parser("failed", parents=[either_side], help="what failed and how to rerun it")
    run = questions.add_parser("run", parents=[either_side], help="a training run, or two of them side by side")
    run.add_argument("names", nargs="+", metavar="RUN", help="its name, or the beginning of it")
    run.add_argument("--verify", action="store_true", help="read every file: is it as it was published?")
    try:
        asked = parser.parse_args(arguments)
        if (asked.runs is not None) != (asked.question in (None, "run")) and (asked.runs or asked.question == "run"):
            parser.error("--runs RUNS goes with no question or with `run`; `clip` and `failed` are of a --root")
        answer(asked)
    except (RunError, SchemaError, ServiceDown, SnapshotError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


def answer(asked: argparse.Namespace) -> None:
    for line in run_lines(asked) if asked.runs is not None else snapshot_lines(asked):
        print(line)


def run_lines(asked: argparse.Namespace) -> Iterator[str]:
    """Raises RunError, ServiceDown."""
    names = asked.names if asked.question == "run" else []
    match [Run.open(asked.runs, name) for name in names]:
        case []:
            yield from overview(asked.runs)
        case [run]:
            yield from tell(run)
            if asked.verify:
                if not isinstance(run.folder, Path):
                    raise RunError(f"{run.folder} lies in a store; copy it to a disk to verify it")
                faults = verify(run.folder)
                yield from (f"  verified   {line}" for line in faults or ["every file is as it was published"])
        case [one, other]:
            yield from compare(one, other)
        case _:
            raise RunError("two runs are compared at a time")


def snapshot_lines(asked: argparse.Namespace) -> Iterator[str]:
    snapshot = Snapshot.open(asked.root, asked.snapshot)
    match asked.question:
        case "clip":
            return stories(snapshot, asked.name)
        case "failed":
            return failed(snapshot)
        case _:
            return summary(snapshot)
