"""A snapshot as plain files, for what does not read Parquet: one of its dataset's layouts.

triptych export --root data --inputs videos --folder out         matrix11k; for the others, no --inputs
triptych export --root data/dsr --format webdataset --folder out

matrix11k   matrix          the folder that MATRIX's own trainer reads
kinemask    manifest        videos, a manifest and their truth, for curate-matrix11k
            kinemask        videos, velocity masks (npz) and captions, split by split
dsr         pairs           the authors' metadata.csv, one row a prompt; pairs.jsonl; videos
            spatialalign    the same, and each prompt's latents: what SpatialAlign's own training reads
all three   youtube-vis     frames as JPEG, tracks as YouTube-VIS JSON
            webdataset      tar files: videos with captions, tracks and interactions as JSON

The first of a dataset is its default. A killed export is run again: it goes on, and ends in the same files.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from flows.engine.display import step
from schemas.outcome import ServiceDown
from schemas.record import SchemaError
from schemas.storage import is_full_disk, parse_path
from tasks.datasets.registry import DATASETS, dataset_of, load_dataset
from tasks.engine.export import ExportOptions
from tasks.engine.snapshots import Snapshot, SnapshotError

logger = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    given = {name: value for name in ExportOptions.model_fields if (value := getattr(options, name)) is not None}
    try:
        snapshot = Snapshot.open(options.root, options.snapshot, options.inputs)
        print(export(snapshot, options.folder, options.format, ExportOptions(**given)))
    except (SchemaError, ServiceDown, SnapshotError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except OSError as error:
        more = "; free some and run the same again: what is finished is kept" if is_full_disk(error) else ""
        sys.exit(f"{error.filename or options.folder}: {error.strerror or error}{more}")


def export(snapshot: Snapshot, folder: Path, layout: str | None = None, options: ExportOptions | None = None) -> str:
    """Export a snapshot in one of its dataset's layouts, by default the first, and say what was written.

    Raises SnapshotError if its dataset has no such layout, or the snapshot nothing to export.
    """
    dataset, options = dataset_of(snapshot), options or ExportOptions()
    if not dataset.layouts:
        can = ", ".join(name for name in DATASETS if load_dataset(name).layouts)
        raise SnapshotError(f"{dataset.name} has no other form than its snapshot; these can be exported: {can}")
    name = layout or next(iter(dataset.layouts))
    if name not in dataset.layouts:
        there = "; ".join(f"{known}: {layout.about}" for known, layout in dataset.layouts.items())
        raise SnapshotError(f"{dataset.name} has no layout {name!r}. {there}")
    chosen = dataset.layouts[name]
    chosen.check(name, options)
    if not snapshot.manifest.n_accepted:
        raise SnapshotError(f"{snapshot.id} has no accepted row to export: {snapshot.manifest.tally}")
    with step(f"export {name}", logger):
        return chosen.write(snapshot, folder, options)


def _parser() -> argparse.ArgumentParser:
    fields = ExportOptions.model_fields
    parser = argparse.ArgumentParser(
        prog="triptych export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--root", type=parse_path, default="data", help="the flow's --root; a path or s3://bucket/prefix"
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the files are put")
    parser.add_argument("--format", help="the layout (default: the first of its dataset)")
    parser.add_argument("--snapshot", default="latest", help="id of the snapshot (default: the latest)")
    parser.add_argument("--inputs", type=parse_path, help="matrix11k: the folder of its manifest, where its videos are")
    parser.add_argument("--limit", type=_at_least_one, help="export only the first so many clips (default: all)")
    parser.add_argument("--n-frames", type=int, choices=(81, 49), help=fields["n_frames"].description)
    parser.add_argument("--tokenizer", help=fields["tokenizer"].description)
    parser.add_argument("--shard-mb", type=_at_least_one, help=fields["shard_mb"].description)
    parser.add_argument("--model", help=fields["model"].description)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help=fields["device"].description)
    return parser


def _at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError("at least 1")
    return number
