"""shards -> a snapshot: Parquet tables, a manifest and a dataset card, all at once or not at all.

    64 clips -> 41 accepted, 21 rejected, 2 failed -> snapshots/matrix11k-3f9c2a71b0de/

The ledger is checked first: inputs = accepted + rejected + failed, nothing lost, nothing counted twice.
The snapshot is put together aside and appears at once: by a rename on a disk, by its manifest.json in a
store (s3://...), where a folder without one is no snapshot. Its id is derived from its content:
publishing the same thing twice is publishing it once.

    3 of 120 rows accepted, min_yield 0.2 -> snapshots/matrix11k-81b2c3d4e5f6/, and LATEST names what it named before
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from schemas.provenance import MadeBy
from schemas.record import Record, content_hash, write_table
from schemas.snapshot import Count, DataFile, FunnelStep, ShardEntry, SnapshotManifest
from schemas.storage import AnyPath, Draft, open_draft, write_atomic
from schemas.tables import Named
from tasks.engine.dataset import SPLITS, Dataset, Ledger, funnel_step, read_columns
from tasks.engine.progress import counted
from tasks.engine.shards import Shard
from tasks.engine.snapshots import LATEST, MANIFEST, Snapshot, SnapshotError
from tasks.engine.work import Work
from tasks.engine.write_shard import ShardDone

FORMAT_VERSION = 2
N_REASONS = 3  # that are told of rows that were not accepted


class LedgerError(RuntimeError):
    """The rows do not add up: something was lost or counted twice. Nothing is published."""


class YieldTooLow(RuntimeError):
    """Too few rows were accepted. The snapshot is published, and LATEST names what it named before.

    folder: the snapshot's
    """

    def __init__(self, message: str, folder: AnyPath) -> None:
        super().__init__(message)
        self.folder = folder


def publish_snapshot(
    work: Work,
    snapshots: AnyPath,
    name: str,
    dataset: Dataset,
    ledger: Ledger,
    shards: Sequence[tuple[Shard[Any], ShardDone]],
    configs: dict[str, Any],
    stages: Sequence[str],
    made_by: Sequence[MadeBy],
    min_yield: float = 0.0,
) -> AnyPath:
    """Publish and return the snapshot's folder. LATEST names it, unless `shortfall` says why not.

    name: what its user calls the dataset; stages: those that the shards went through, in order
    min_yield: of shortfall; no part of what is published
    Raises LedgerError if inputs are not accepted + rejected + failed; then nothing was published.
    """
    check_ledger(ledger, [shard for shard, _ in shards])
    with open_draft(snapshots) as draft:
        manifest = _assemble(draft, work, name, dataset, ledger, shards, configs, stages, made_by)
        folder: AnyPath = draft.publish(manifest.snapshot_id, last=MANIFEST)
    if shortfall(manifest, min_yield) is None:
        write_atomic(snapshots / LATEST, f"{manifest.snapshot_id}\n".encode())
    return folder


def _assemble(
    draft: Draft,
    work: Work,
    name: str,
    dataset: Dataset,
    ledger: Ledger,
    shards: Sequence[tuple[Shard[Any], ShardDone]],
    configs: dict[str, Any],
    stages: Sequence[str],
    made_by: Sequence[MadeBy],
) -> SnapshotManifest:
    """Fill the draft with all that the snapshot will hold."""
    folder = draft.folder
    records = write_ledger(folder, dataset, ledger)
    draft.link(
        [
            (f"{table}/{shard_file(dataset, s)}", work.shard_path(s.shard_id, f"{done.folder}/{table}.parquet"))
            for s, done in shards
            for table, n_rows in done.tables.items()
            if n_rows  # `datasets` cannot read a file with rows behind one without
        ]
    )
    write_empty_tables(folder, dataset)
    outcomes = read_outcomes(folder)
    check_outcomes(ledger, [shard for shard, _ in shards], outcomes)
    content = content_of(
        folder, name, dataset, records, ledger, len(ledger.row_ids), outcomes, configs, stages, made_by
    ) | {
        "shards": [ShardEntry(shard_id=s.shard_id, clip_ids=[r.payload.row_id for r in s.rows]) for s, _ in shards],
        "files": [_data_file(path, folder) for path in counted(sorted(folder.rglob("*.parquet")), "files")],
    }
    manifest = SnapshotManifest(snapshot_id=f"{name}-{content_hash(content, length=12)}", **content)
    write_atomic(folder / "README.md", dataset_card(manifest, dataset).encode())
    write_atomic(folder / MANIFEST, manifest.model_dump_json(indent=1).encode())
    return manifest


def content_of(
    folder: Path,
    name: str,
    dataset: Dataset,
    records: Mapping[str, type[Record]],
    ledger: Ledger,
    n_rows: int,
    outcomes: pl.DataFrame,
    configs: dict[str, Any],
    stages: Sequence[str],
    made_by: Sequence[MadeBy],
) -> dict[str, Any]:
    """What a manifest says of a folder's tables, but for its shards and files.

    records: of all tables; n_rows: that went into the shards' first stage
    """
    n_by_status = Counter(outcomes["status"].to_list())
    return {
        "flow": dataset.flow,
        "dataset": name,
        "format_version": FORMAT_VERSION,
        "record_versions": [Named(name=t, n=r.schema_version) for t, r in records.items()],
        "configs": json.dumps(configs, sort_keys=True),
        "made_by": list(made_by),
        "n_given": ledger.n_given,
        "n_inputs": len(outcomes),
        "n_accepted": n_by_status["accepted"],
        "n_rejected": n_by_status["rejected"],
        "n_failed": n_by_status["failed"],
        "funnel": funnel(ledger, dataset, stages, outcomes, n_rows),
        "outcomes": count_outcomes(outcomes),
        "statistics": dataset.statistics(folder).model_dump(mode="json"),
    }


def write_ledger(folder: Path, dataset: Dataset, ledger: Ledger) -> dict[str, type[Record]]:
    """Write the tables that no shard writes; returns the records of all tables of the dataset."""
    whole_tables = ledger.tables()
    for table, (record, rows) in whole_tables.items():
        write_by_split(dataset, record, rows, folder / table, table)
    if early := ledger.early_outcomes():
        write_by_split(dataset, dataset.shard_tables["outcomes"], early, folder / "outcomes", "early")
    return dict(dataset.shard_tables) | {table: record for table, (record, _) in whole_tables.items()}


def write_empty_tables(folder: Path, dataset: Dataset) -> None:
    """Tables without any row: they still can be read."""
    for table, record in dataset.shard_tables.items():
        if not (folder / table).exists():
            write_table(record, [], folder / table / "empty.parquet")


def read_outcomes(folder: Path) -> pl.DataFrame:
    return read_columns(folder, "outcomes", "row_id", "kind", "status", "stage", "reason")


def write_by_split(dataset: Dataset, record: type[Record], rows: Sequence[Any], folder: Path, stem: str) -> None:
    """A file a split: train-prompts.parquet, test-prompts.parquet. One where there are no splits, or no rows."""
    by_split: dict[str | None, list[Any]] = {}
    for row in rows:
        by_split.setdefault(dataset.split_name(row), []).append(row)
    for split, of_split in by_split.items() or [(None, [])]:
        write_table(record, of_split, folder / _file_name(split, stem))


def shard_file(dataset: Dataset, shard: Shard[Any]) -> str:
    """The name of a shard's files. Raises LedgerError if it holds rows of two splits, which one file cannot."""
    split, *others = {dataset.split_name(row.payload) for row in shard.rows}
    if others:
        raise LedgerError(f"{shard.shard_id} holds rows of several splits: plan shards for each split apart")
    return _file_name(split, shard.shard_id)


def _file_name(split: str | None, stem: str) -> str:
    return f"{split}-{stem}.parquet" if split else f"{stem}.parquet"


def _data_file(path: Path, folder: Path) -> DataFile:
    return DataFile(
        path=path.relative_to(folder).as_posix(),
        table=path.parent.name,
        rows=pq.read_metadata(path).num_rows,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


# --- The ledger ------------------------------------------------------------------------------


def check_ledger(ledger: Ledger, shards: Sequence[Shard[Any]]) -> None:
    """Every input is there exactly once."""
    problems = ledger.problems()
    due = Counter(ledger.row_ids)
    in_shards = Counter(row.payload.row_id for shard in shards for row in shard.rows)
    if due != in_shards:
        problems.append(f"rows that are in no shard or in two: {_differences(due, in_shards)}")
    if problems:
        raise LedgerError("; ".join(problems))


def check_outcomes(ledger: Ledger, shards: Sequence[Shard[Any]], outcomes: pl.DataFrame) -> None:
    """Every row ended exactly one way: inputs = accepted + rejected + failed."""
    due = Counter([o.row_id for o in ledger.early_outcomes()] + [r.payload.row_id for s in shards for r in s.rows])
    accounted = Counter(outcomes["row_id"].to_list())
    if due != accounted:
        raise LedgerError(f"rows without exactly one outcome: {_differences(due, accounted)}")


def _differences(expected: Counter[str], got: Counter[str]) -> str:
    names = sorted({*(expected - got), *(got - expected)})
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def count_outcomes(outcomes: pl.DataFrame) -> list[Count]:
    counts = outcomes.group_by("status", "stage", "reason").len("n").sort("status", "stage", "reason", nulls_last=True)
    return [Count(**row) for row in counts.to_dicts()]


def funnel(
    ledger: Ledger, dataset: Dataset, stages: Sequence[str], outcomes: pl.DataFrame, n_rows: int
) -> list[FunnelStep]:
    """How many rows each stage was given, and how they left it. n_rows: that went into the first of `stages`"""
    ways = Counter(outcomes.select("kind", "stage", "status").iter_rows())
    steps = ledger.first_steps(ways)
    given = n_rows
    for stage in stages:
        steps.append(funnel_step(ways, dataset.row_kind, stage, dataset.row_unit, given))
        given = steps[-1].passed
    return steps


# --- The yield -------------------------------------------------------------------------------


def shortfall(manifest: SnapshotManifest, min_yield: float) -> str | None:
    """Why LATEST is not to name a snapshot; None if it may.

    It has at least one accepted row, and accepted / all rows that ended is at least min_yield, in [0, 1].
    All rows are the ledger's: clips, and what was given and made none (bad lines, unreadable videos).
    """
    n, n_all = manifest.n_accepted, manifest.n_inputs
    if n and n / n_all >= min_yield:
        return None
    if not n_all:
        return "nothing went in: there is no row"
    if not n:
        return f"none of {n_all} rows was accepted"
    share = f"{n} of {n_all} rows {'was' if n == 1 else 'were'} accepted ({1000 * n // n_all / 10:g} %)"
    return f"{share}, fewer than --min-yield {min_yield:g}"


def yield_too_low(snapshot: Snapshot, why: str) -> YieldTooLow:
    """The error that tells of a shortfall: why, the commonest reasons, what LATEST names, where to look."""
    counts = snapshot.manifest.outcomes
    lost = sorted((count for count in counts if count.status != "accepted"), key=lambda count: -count.n)
    most = ", ".join(f"{count.n} {count.status} in {count.stage} ({count.reason})" for count in lost[:N_REASONS])
    question = "failed" if lost and lost[0].status == "failed" else ""
    return YieldTooLow(
        f"{why}{f'; most: {most}' if most else ''}. {snapshot.folder} is published, and {_latest_told(snapshot)}. "
        f"See `{ask_command(snapshot, question)}`",
        snapshot.folder,
    )


def _latest_told(snapshot: Snapshot) -> str:
    """What LATEST names after a run that was not to change it."""
    try:
        latest = Snapshot.latest(snapshot.folder.parent)
    except SnapshotError:
        return "LATEST is damaged"
    if latest is None:
        return "there is no LATEST yet"
    if latest.id == snapshot.id:
        return "LATEST names it since an earlier run"
    return f"LATEST still names {latest.id}" + ("" if latest.exists else ", which is gone")


def ask_command(snapshot: Snapshot, question: str) -> str:
    """What a user types to ask a snapshot."""
    root = shlex.quote(str(snapshot.folder.parent.parent))
    return f"triptych ask --root {root} --snapshot {snapshot.id} {question}".rstrip()


# --- What people look at ---------------------------------------------------------------------


def dataset_card(manifest: SnapshotManifest, dataset: Dataset) -> str:
    """README.md of a snapshot, with the header that `datasets.load_dataset` reads."""
    rows = Counter[str]()
    for file in manifest.files:
        rows[file.table] += file.rows
    header = ["---", "configs:"]
    # `datasets` cannot load a table without rows: "corresponds to no data".
    for table in [version.name for version in manifest.record_versions if rows[version.name]]:
        default = ["  default: true"] if table == dataset.main_table else []
        header += [f"- config_name: {table}", *_data_files(manifest, table), *default]
    tables = [f"| `{table}` | {rows[table]} |" for table in sorted(rows)]
    steps = [f"| {s.stage} | {s.unit} | {s.given} | {s.rejected} | {s.failed} | {s.passed} |" for s in manifest.funnel]
    makers = [f"| {m.stage} | {m.backend} | {m.model} |" for m in manifest.made_by]
    return "\n".join(
        [
            *(header if len(header) > 2 else ["---"]),
            "---",
            f"# {manifest.snapshot_id}",
            "",
            dataset.about,
            "",
            f"{manifest.tally}.",
            "",
            "| table | rows |",
            "|---|---|",
            *tables,
            "",
            dataset.reading,
            "",
            "| stage | unit | given | rejected | failed | passed |",
            "|---|---|---|---|---|---|",
            *steps,
            "",
            "| stage | backend | model |",
            "|---|---|---|",
            *makers,
            "",
        ]
    )


def _data_files(manifest: SnapshotManifest, table: str) -> list[str]:
    """The splits that a table has rows of: `datasets` cannot load one without. All of its files if it has no splits."""
    names = [Path(file.path).name for file in manifest.files if file.table == table]
    splits = [split for split in SPLITS if any(name.startswith(f"{split}-") for name in names)]
    if not splits:
        return [f"  data_files: {table}/*.parquet"]
    entries = ((f"  - split: {split}", f"    path: {table}/{split}-*.parquet") for split in splits)
    return ["  data_files:", *(line for entry in entries for line in entry)]
