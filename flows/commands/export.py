"""A snapshot as plain files, for what does not read Parquet.

triptych export --root data/kinemask --folder out    videos, a manifest and their truth, for curate-matrix11k
triptych export --root data/dsr --folder out         the authors' metadata.csv, one row a prompt; pairs.jsonl; videos
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from schemas.outcome import ServiceDown
from schemas.record import SchemaError
from schemas.storage import parse_path
from tasks.datasets.registry import DATASETS, dataset_of, load_dataset
from tasks.engine.snapshots import Snapshot, SnapshotError


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="triptych export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--root", type=parse_path, default="data", help="the flow's --root; a path or s3://bucket/prefix"
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the files are put")
    parser.add_argument("--snapshot", default="latest", help="id of the snapshot (default: the latest)")
    parser.add_argument("--limit", type=_at_least_one, help="export only the first so many clips (default: all)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        print(export(Snapshot.open(options.root, options.snapshot), options.folder, options.limit))
    except (SchemaError, ServiceDown, SnapshotError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except OSError as error:
        sys.exit(f"{error.filename or options.folder}: {error.strerror or error}")


def _at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError("at least 1")
    return number


def export(snapshot: Snapshot, folder: Path, limit: int | None = None) -> str:
    """Export a snapshot as its dataset does, and say what was written.

    Raises SnapshotError if its dataset does not, or if it has nothing to export.
    """
    dataset = dataset_of(snapshot)
    if dataset.export is None:
        can = ", ".join(name for name in DATASETS if load_dataset(name).export)
        raise SnapshotError(f"{dataset.name} has no other form than its snapshot; these can be exported: {can}")
    if not snapshot.manifest.n_accepted:
        raise SnapshotError(f"{snapshot.id} has no accepted row to export: {snapshot.manifest.tally}")
    return dataset.export(snapshot, folder, limit)
