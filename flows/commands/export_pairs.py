"""The preference pairs of a dsr snapshot as plain files: the authors' training metadata, one row a pair, videos.

python -m flows.commands.export_pairs --root data --folder out
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from flows.commands.export_clips import find_snapshot
from schemas.outcome import ServiceDown
from schemas.record import SchemaError
from schemas.storage import parse_path
from tasks.datasets.dsr.export import export_pairs
from tasks.datasets.kinemask.export import ExportError


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.commands.export_pairs", description=__doc__.split("\n")[0])
    parser.add_argument("--root", default="data", help="where curate-dsr ran; a path or s3://bucket/prefix")
    parser.add_argument("--folder", type=Path, required=True, help="where the files are put")
    parser.add_argument("--snapshot", help="id of the snapshot (default: the latest)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        snapshot = find_snapshot(parse_path(options.root) / "snapshots", options.snapshot)
        metadata = export_pairs(snapshot, options.folder)
    except (ExportError, SchemaError, ServiceDown) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except OSError as error:
        sys.exit(f"{error.filename or options.folder}: {error.strerror or error}")
    print(f"{metadata} lists the training prompts of {snapshot.name}; its pairs: {metadata.parent / 'pairs.jsonl'}")


if __name__ == "__main__":
    main()
