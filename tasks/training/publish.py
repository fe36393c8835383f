"""The end of a training: its manifest, the last file of its folder."""

from __future__ import annotations

import json
import platform
from pathlib import Path

from schemas.local_copies import file_sha256
from schemas.storage import list_files, write_atomic
from schemas.training_run import CHECKPOINTS, MANIFEST, METRICS, REQUEST, RunFile, RunManifest, RunRequest
from tasks.training.progress import last_line


def publish_run(folder: Path) -> RunManifest:
    """Publish a run whose job is done."""
    last = last_line(folder / METRICS)
    if last is None:
        raise ValueError(f"{folder / METRICS} has no line: the job trained nothing")
    names = [path.relative_to(folder) for path in list_files(folder)]
    published = [name for name in names if name.parts[0] not in (CHECKPOINTS, MANIFEST)]
    manifest = RunManifest(
        run_id=folder.name,
        request=RunRequest.from_json((folder / REQUEST).read_bytes()),
        n_steps=last["step"],
        seconds=last["seconds"],
        environment=[f"python {platform.python_version()}", platform.platform()],
        final_metrics=json.dumps(last),
        files=[
            RunFile(path=str(name), sha256=file_sha256(folder / name), n_bytes=(folder / name).stat().st_size)
            for name in published
        ],
    )
    write_atomic(folder / MANIFEST, manifest.to_json())
    return manifest
