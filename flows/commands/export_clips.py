"""Simulated clips as plain files: videos, a manifest and the truth, for curate-matrix11k to be measured by.

python -m flows.commands.export_clips --root data --folder out
python -m flows.curate_matrix11k --manifest out/manifest.jsonl --truth out --extract.subjects any --root out/matrix
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from schemas.outcome import ServiceDown
from schemas.storage import AnyPath, parse_path
from tasks.datasets.kinemask.export import ExportError, export_clips, read_clips
from tasks.engine.snapshots import all_snapshots, is_snapshot, latest_snapshot


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.commands.export_clips", description=__doc__.split("\n")[0])
    parser.add_argument("--root", default="data", help="where curate-kinemask ran; a path or s3://bucket/prefix")
    parser.add_argument("--folder", type=Path, required=True, help="where the files are put")
    parser.add_argument("--snapshot", help="id of the snapshot (default: the latest)")
    parser.add_argument("--max-clips", type=int, help="no more clips than these (default: all)")
    options = parser.parse_args(arguments)
    try:
        snapshot = find_snapshot(parse_path(options.root) / "snapshots", options.snapshot)
        manifest = export_clips(read_clips(snapshot, options.max_clips), options.folder)
    except (ExportError, ServiceDown) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(f"{manifest} lists the clips of {snapshot.name}")


def find_snapshot(snapshots: AnyPath, snapshot_id: str | None) -> AnyPath:
    """The snapshot of that id, or the latest. Raises ExportError if there is none."""
    snapshot = snapshots / snapshot_id if snapshot_id else latest_snapshot(snapshots)
    if snapshot is None:
        raise ExportError(f"nothing was published in {snapshots}; run the flow first, or is --root another?")
    if not is_snapshot(snapshot):
        raise ExportError(f"{snapshot} is no snapshot; there are {', '.join(all_snapshots(snapshots)) or 'none'}")
    return snapshot


if __name__ == "__main__":
    main()
