"""What a run has done so far: the shard that goes first, and its rows as a snapshot that nobody publishes.

    invite(work)                          a run begins: whichever shard comes first may go first
    goes_first(work, shard) -> True       in the process that runs the shard, wherever that is
    tell(work, shard, ended_rows)         after some of its rows are through all stages
    read(work, Clip).rows                 in the run that waits for its shards
    assemble_so_far(folder, ...)          a Snapshot of them, and of the shards that are done

It is one file, work/so_far/first.json: a shard that holds only the rows that have ended. It decides nothing but the
order of work: results are found by their keys, whoever computed them first.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from schemas.provenance import MadeBy
from schemas.record import write_table
from schemas.snapshot import DataFile, ShardEntry, SnapshotManifest
from schemas.storage import AnyPath, ObjectPath, at_once, write_atomic
from tasks.engine.dataset import Dataset, Ledger
from tasks.engine.publish import content_of, read_outcomes, shard_file, write_empty_tables, write_ledger
from tasks.engine.shards import P, Row, Shard, load_shard
from tasks.engine.snapshots import MANIFEST, Snapshot
from tasks.engine.work import Work, unwritable_is_a_service_down
from tasks.engine.write_shard import ShardDone, tables_of

N_WHOLE_SHARDS = 2  # shards that are done, the newest, of which all tables are read; of the others only the outcomes
ANY = "any"  # in the place of a shard's id: none has come yet


# --- The shard that goes first -------------------------------------------------------------------


def so_far_path(work: Work) -> AnyPath:
    path: AnyPath = work.root / "so_far" / "first.json"
    return path


def invite(work: Work) -> None:
    """The next shard that begins may go first; what an earlier run had done so far is forgotten."""
    _write(work, Shard[Any](shard_id=ANY, rows=[]))


def goes_first(work: Work, shard: Shard[Any]) -> bool:
    """May this shard go first? From now on, no other may. False, too, if no run asked for it.

    Two that ask in the same instant may both go first; the later one is seen then.
    """
    first = read(work, type(shard.rows[0].payload))
    if first is None or first.shard_id not in (ANY, shard.shard_id):
        return False
    tell(work, shard, [])
    return True


def tell(work: Work, shard: Shard[Any], rows: Sequence[Row[Any]]) -> None:
    """The rows that have ended so far of the shard that goes first."""
    _write(work, shard.model_copy(update={"rows": list(rows)}))


def read(work: Work, payload: type[P]) -> Shard[P] | None:
    """The shard that goes first, with the rows that have ended; None if no run asked for one, or it is damaged."""
    try:
        return load_shard(so_far_path(work), payload)
    except (FileNotFoundError, ValidationError):
        return None


def _write(work: Work, shard: Shard[Any]) -> None:
    with unwritable_is_a_service_down("so_far", work.root):
        write_atomic(so_far_path(work), shard.model_dump_json().encode())


# --- A snapshot of it ----------------------------------------------------------------------------


def assemble_so_far(
    folder: Path,
    work: Work,
    name: str,
    dataset: Dataset,
    ledger: Ledger,
    shards: Sequence[tuple[Shard[Any], ShardDone]],
    first: Shard[Any] | None,
    configs: dict[str, Any],
    stages: Sequence[str],
    made_by: Sequence[MadeBy],
) -> Snapshot:
    """What a snapshot would hold if the run ended now, in a folder of this machine; its name is its id.

    shards: those that are done, the newest last; first: the one that goes first, with its rows that have ended
    configs, stages, made_by: as `publish_snapshot` takes them
    The ledger is not checked: most rows are still missing.
    """
    records = write_ledger(folder, dataset, ledger)
    whole = shards[-N_WHOLE_SHARDS:]
    named = [
        (work.shard_path(s.shard_id, f"{done.folder}/{table}.parquet"), folder / table / shard_file(dataset, s))
        for place, (s, done) in enumerate(shards, start=len(whole) - len(shards))
        for table, n_rows in done.tables.items()
        if n_rows and (table == "outcomes" or place >= 0)
    ]
    at_once(work.root, lambda pair: _bring(*pair), named)
    seen = [shard for shard, _ in whole]
    if first is not None and first.rows:
        for table, rows in tables_of(work, first.rows, dataset).items():
            if rows:
                write_table(dataset.shard_tables[table], rows, folder / table / shard_file(dataset, first))
        seen.append(first)
    write_empty_tables(folder, dataset)
    n_rows = sum(len(shard.rows) for shard, _ in shards) + (len(first.rows) if first else 0)
    manifest = SnapshotManifest(
        snapshot_id=folder.name,
        **content_of(folder, name, dataset, records, ledger, n_rows, read_outcomes(folder), configs, stages, made_by),
        shards=[ShardEntry(shard_id=s.shard_id, clip_ids=[row.payload.row_id for row in s.rows]) for s in seen],
        files=[
            DataFile(path=path.relative_to(folder).as_posix(), table=path.parent.name, rows=0, sha256="")
            for path in sorted(folder.rglob("*.parquet"))
        ],
    )
    write_atomic(folder / MANIFEST, manifest.model_dump_json().encode())
    return Snapshot(folder)


def _bring(path: AnyPath, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(path, ObjectPath):
        path.download(target)
    else:
        os.symlink(path.absolute(), target)  # tables may hold videos
