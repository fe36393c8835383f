"""shards -> a snapshot: Parquet tables, a manifest and a dataset card, all at once or not at all.

    64 clips -> 41 accepted, 21 rejected, 2 failed -> snapshots/matrix11k-3f9c2a71b0de/

The ledger is checked first: inputs = accepted + rejected + failed, nothing lost, nothing counted twice.
The snapshot is put together aside and appears at once: by a rename on a disk, by its manifest.json in a
store (s3://...), where a folder without one is no snapshot. Its id is derived from its content:
publishing the same thing twice is publishing it once.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
from pydantic import BaseModel

from schemas.clip import Clip
from schemas.local_copies import ContentChanged, local_copy
from schemas.outcome import Outcome, ServiceDown
from schemas.provenance import MadeBy
from schemas.record import content_hash, write_table
from schemas.snapshot import (
    SHARD_TABLES,
    TABLES,
    Count,
    DataFile,
    FunnelStep,
    Named,
    OutcomeRow,
    ShardEntry,
    SnapshotManifest,
    Statistics,
)
from schemas.source import Source
from schemas.storage import AnyPath, Draft, ObjectPath, at_once, open_draft, write_atomic
from tasks.split_scenes import SplitResult
from tasks.stage import Shard, Work
from tasks.write_shard import ShardDone, outcome_row

FORMAT_VERSION = 1
LATEST = "LATEST"
MANIFEST = "manifest.json"
TOP = 50  # verbs and nouns in figure 10
CLIP_STAGES = ("extract_triplets", "ground_instances", "propagate_masks", "check_tracks")


class LedgerError(RuntimeError):
    """The rows do not add up: something was lost or counted twice. Nothing is published."""


class Ledger(BaseModel):
    """Everything that went in, and what is known of how it ended before any clip was looked at."""

    n_lines: int
    sources: list[Source]
    line_outcomes: list[Outcome]  # lines that never became a source
    splits: dict[str, SplitResult]  # source_id -> what it was split into
    source_outcomes: list[Outcome]  # sources that gave no clip
    parts: dict[str, list[Clip]] = {}  # clip_id of a crowded clip -> the parts it was cut into

    @property
    def clips(self) -> list[Clip]:
        """Every clip that must be in a shard."""
        whole = [clip for split in self.splits.values() for clip in split.clips]
        return whole + [part for parts in self.parts.values() for part in parts]


def publish_snapshot(
    work: Work,
    snapshots: AnyPath,
    dataset: str,
    ledger: Ledger,
    shards: Sequence[tuple[Shard[Clip], ShardDone]],
    configs: dict[str, Any],
    made_by: Sequence[MadeBy],
) -> AnyPath:
    """Publish and return the snapshot's folder.

    Raises LedgerError if inputs are not accepted + rejected + failed; then nothing was published.
    """
    check_ledger(ledger, [shard for shard, _ in shards])
    with open_draft(snapshots) as draft:
        manifest = _assemble(draft, work, dataset, ledger, shards, configs, made_by)
        folder: AnyPath = draft.publish(manifest.snapshot_id, last=MANIFEST)
    write_atomic(snapshots / LATEST, f"{manifest.snapshot_id}\n".encode())
    return folder


def latest_snapshot(snapshots: AnyPath) -> AnyPath | None:
    try:
        return snapshots / (snapshots / LATEST).read_text().strip()
    except FileNotFoundError:
        return None


def is_snapshot(folder: AnyPath) -> bool:
    return (folder / MANIFEST).is_file()


def all_snapshots(snapshots: AnyPath) -> list[str]:
    """The ids of all that were published."""
    folders = [folder for folder in snapshots.iterdir() if not folder.name.startswith(".")]
    return sorted(folder.name for folder in folders if is_snapshot(folder))


def read_snapshot(snapshot: AnyPath) -> SnapshotManifest:
    return SnapshotManifest.from_json((snapshot / MANIFEST).read_bytes())


def table_files(snapshot: AnyPath, table: str) -> list[Path]:
    """The Parquet files of a table, sorted; copies on this machine of those that lie in a store."""
    if isinstance(snapshot, Path):
        return sorted((snapshot / table).glob("*.parquet"))
    files = [file for file in _published_files(snapshot) if file.table == table]
    try:
        return at_once(snapshot, lambda file: local_copy(snapshot / file.path, file.sha256), files)
    except (ContentChanged, FileNotFoundError) as error:
        raise ServiceDown(f"{snapshot} is not what was published: {error}. Restore or delete it.") from error


@lru_cache(maxsize=8)
def _published_files(snapshot: ObjectPath) -> list[DataFile]:
    return read_snapshot(snapshot).files


def _assemble(
    draft: Draft,
    work: Work,
    dataset: str,
    ledger: Ledger,
    shards: Sequence[tuple[Shard[Clip], ShardDone]],
    configs: dict[str, Any],
    made_by: Sequence[MadeBy],
) -> SnapshotManifest:
    """Fill the draft with all that the snapshot will hold."""
    folder = draft.folder
    write_table(Source, ledger.sources, folder / "sources" / "sources.parquet")
    write_table(OutcomeRow, early_outcomes(ledger), folder / "outcomes" / "sources.parquet")
    write_table(Clip, all_clips(ledger), folder / "all_clips" / "clips.parquet")
    draft.link(
        [
            (f"{table}/{s.shard_id}.parquet", work.shard_path(s.shard_id, f"{done.tables}/{table}.parquet"))
            for s, done in shards
            for table in SHARD_TABLES
        ]
    )
    for table, record in SHARD_TABLES.items():
        if not (folder / table).exists():  # no clip at all: still a table that can be read
            write_table(record, [], folder / table / "empty.parquet")

    outcomes = _scan(folder, "outcomes")
    check_outcomes(ledger, [shard for shard, _ in shards], outcomes)
    n_by_status = Counter(outcomes["status"].to_list())
    content: dict[str, Any] = {
        "dataset": dataset,
        "format_version": FORMAT_VERSION,
        "record_versions": [Named(name=t, n=r.schema_version) for t, r in TABLES.items()],
        "configs": json.dumps(configs, sort_keys=True),
        "made_by": list(made_by),
        "n_lines": ledger.n_lines,
        "n_inputs": len(outcomes),
        "n_accepted": n_by_status["accepted"],
        "n_rejected": n_by_status["rejected"],
        "n_failed": n_by_status["failed"],
        "funnel": funnel(ledger, outcomes),
        "outcomes": count_outcomes(outcomes),
        "statistics": statistics(_scan(folder, "clips"), _scan(folder, "interactions"), _scan(folder, "instances")),
        "shards": [ShardEntry(shard_id=s.shard_id, clip_ids=[r.payload.clip_id for r in s.rows]) for s, _ in shards],
        "files": [_data_file(path, folder) for path in sorted(folder.rglob("*.parquet"))],
    }
    manifest = SnapshotManifest(snapshot_id=f"{dataset}-{content_hash(content, length=12)}", **content)
    write_atomic(folder / "README.md", dataset_card(manifest).encode())
    write_atomic(folder / MANIFEST, manifest.model_dump_json(indent=1).encode())
    return manifest


def _data_file(path: Path, folder: Path) -> DataFile:
    return DataFile(
        path=path.relative_to(folder).as_posix(),
        table=path.parent.name,
        rows=pq.read_metadata(path).num_rows,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def _scan(folder: Path, table: str) -> pl.DataFrame:
    return pl.read_parquet(sorted((folder / table).glob("*.parquet")))


# --- The ledger ------------------------------------------------------------------------------


def early_outcomes(ledger: Ledger) -> list[OutcomeRow]:
    """What ended before it was in a clip shard: manifest lines, sources, and clips that splitting dropped."""
    of_source = {s.source_id: s for s in ledger.sources}
    rows = [OutcomeRow(**o.model_dump()) for o in ledger.line_outcomes]
    for outcome in ledger.source_outcomes:
        source = of_source[outcome.row_id]
        rows.append(
            OutcomeRow(**outcome.model_dump(), source_id=source.source_id, video=source.video, caption=source.caption)
        )
    for split in ledger.splits.values():
        for dropped in split.dropped:
            outcome = Outcome(
                row_id=dropped.clip.clip_id,
                kind="clip",
                status="rejected",
                stage="split_scenes",
                reason=dropped.reason,
                detail=dropped.detail,
                retryable=False,
            )
            rows.append(outcome_row(outcome, dropped.clip))
    return rows


def all_clips(ledger: Ledger) -> list[Clip]:
    """Every clip that was cut, those that splitting dropped as well."""
    return ledger.clips + [dropped.clip for split in ledger.splits.values() for dropped in split.dropped]


def check_ledger(ledger: Ledger, shards: Sequence[Shard[Clip]]) -> None:
    """Every line, source and clip is there exactly once."""
    problems = []
    if ledger.n_lines != len(ledger.sources) + len(ledger.line_outcomes):
        problems.append(
            f"{ledger.n_lines} lines, but {len(ledger.sources)} sources and {len(ledger.line_outcomes)} line outcomes"
        )
    sources = Counter(s.source_id for s in ledger.sources)
    ended = Counter([*ledger.splits, *(o.row_id for o in ledger.source_outcomes)])
    if sources != ended:
        problems.append(f"sources that ended nowhere or twice: {_differences(sources, ended)}")
    cut = Counter(clip.clip_id for clip in ledger.clips)
    in_shards = Counter(row.payload.clip_id for shard in shards for row in shard.rows)
    if cut != in_shards:
        problems.append(f"clips that are in no shard or in two: {_differences(cut, in_shards)}")
    if problems:
        raise LedgerError("; ".join(problems))


def check_outcomes(ledger: Ledger, shards: Sequence[Shard[Clip]], outcomes: pl.DataFrame) -> None:
    """Every row ended exactly one way: inputs = accepted + rejected + failed."""
    due = Counter([o.row_id for o in early_outcomes(ledger)] + [r.payload.clip_id for s in shards for r in s.rows])
    accounted = Counter(outcomes["row_id"].to_list())
    if due != accounted:
        raise LedgerError(f"rows without exactly one outcome: {_differences(due, accounted)}")


def _differences(expected: Counter[str], got: Counter[str]) -> str:
    names = sorted({*(expected - got), *(got - expected)})
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def count_outcomes(outcomes: pl.DataFrame) -> list[Count]:
    counts = outcomes.group_by("status", "stage", "reason").len("n").sort("status", "stage", "reason", nulls_last=True)
    return [Count(**row) for row in counts.to_dicts()]


def funnel(ledger: Ledger, outcomes: pl.DataFrame) -> list[FunnelStep]:
    """How many rows each stage was given, and how they left it."""
    n_of = Counter(outcomes.select("kind", "stage", "status").iter_rows())

    def step(stage: str, unit: str, given: int, made: int | None = None) -> FunnelStep:
        kind = "clip" if unit == "clips" else "source"
        rejected, failed = n_of[kind, stage, "rejected"], n_of[kind, stage, "failed"]
        passed = given - rejected - failed
        return FunnelStep(
            stage=stage,
            unit=unit,
            given=given,
            passed=passed,
            rejected=rejected,
            failed=failed,
            made=passed if made is None else made,
        )

    n_cut = sum(len(split.clips) + len(split.dropped) for split in ledger.splits.values())
    steps = [
        step("read_manifest", "lines", ledger.n_lines),
        step("split_scenes", "sources", len(ledger.sources), n_cut),
        step("split_scenes", "clips", n_cut),
    ]
    n_parts = sum(map(len, ledger.parts.values()))
    given = steps[-1].passed + n_parts  # a crowded clip is rejected here, and its parts are given anew
    for stage in CLIP_STAGES:
        steps.append(step(stage, "clips", given))
        given = steps[-1].passed
    return steps


# --- What people look at ---------------------------------------------------------------------


def statistics(clips: pl.DataFrame, interactions: pl.DataFrame, instances: pl.DataFrame) -> Statistics:
    """Figure 10 of MATRIX: contact x dynamism, interactions and identities a clip, top verbs and nouns."""
    grid = [[0] * 5 for _ in range(5)]
    for contactness, dynamism in interactions.select("contactness", "dynamism").iter_rows():
        grid[contactness - 1][dynamism - 1] += 1
    return Statistics(
        contact_dynamism=grid,
        interactions_per_clip=_histogram(clips, interactions),
        instances_per_clip=_histogram(clips, instances),
        top_verbs=_top(interactions["verb"].to_list()),
        top_nouns=_top(instances["class_name"].to_list()),
    )


def _histogram(clips: pl.DataFrame, rows: pl.DataFrame) -> list[int]:
    """[clips with no row, clips with one row, ...]"""
    n_rows = Counter(rows["clip_id"].to_list())
    n_clips = Counter(n_rows[clip_id] for clip_id in clips["clip_id"].to_list())
    return [n_clips[n] for n in range(max(n_clips, default=-1) + 1)]


def _top(words: list[str]) -> list[Named]:
    ranked = sorted(Counter(words).items(), key=lambda item: (-item[1], item[0]))
    return [Named(name=word, n=n) for word, n in ranked[:TOP]]


def dataset_card(manifest: SnapshotManifest) -> str:
    """README.md of a snapshot, with the header that `datasets.load_dataset` reads."""
    header = ["---", "configs:"]
    for table in TABLES:
        default = ["  default: true"] if table == "clips" else []
        header += [f"- config_name: {table}", f"  data_files: {table}/*.parquet", *default]
    rows = Counter[str]()
    for file in manifest.files:
        rows[file.table] += file.rows
    tables = [f"| `{table}` | {rows[table]} |" for table in sorted(rows)]
    steps = [f"| {s.stage} | {s.unit} | {s.given} | {s.rejected} | {s.failed} | {s.passed} |" for s in manifest.funnel]
    makers = [f"| {m.stage} | {m.backend} | {m.model} |" for m in manifest.made_by]
    return "\n".join(
        [
            *header,
            "---",
            f"# {manifest.snapshot_id}",
            "",
            "Who does what to whom, and where, in every frame: interaction triplets, described instances and",
            "one mask track an instance, curated with Triptych after MATRIX (section 3, appendix A).",
            "",
            f"{manifest.tally}.",
            "",
            "| table | rows |",
            "|---|---|",
            *tables,
            "",
            "`clips`, `interactions`, `instances` and `mask_tracks` hold accepted clips only and join on `clip_id`.",
            "The other tables tell how the dataset came about; `outcomes` has one row for every input.",
            "Masks are COCO run lengths: `{'size': [height, width], 'counts': counts[frame]}` for pycocotools.",
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
