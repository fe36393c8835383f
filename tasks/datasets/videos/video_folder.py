"""generated videos -> the folder that evaluations read: plain files, and a line of JSON for each.

out/videos/mug_F49_seed00.mp4
out/videos.jsonl        {"video": "videos/mug_F49_seed00.mp4", "name": "mug", "seed": 0, "prompt": "A blue mug ...",
                         "clip_id": "clip-81b2...", "sha256": "9f3c..."}
"""

from __future__ import annotations

import json
from pathlib import Path

from schemas.generated_videos import GeneratedBytesRow, GeneratedVideoRow
from schemas.storage import AnyPath, write_atomic
from tasks.engine.clip_tables import ClipTables
from tasks.engine.export import ExportOptions, Layout
from tasks.engine.snapshots import Snapshot

FOLDER, LISTING = "videos", "videos.jsonl"


def _export(snapshot: Snapshot, folder: Path, options: ExportOptions) -> str:
    listing = write_folder(snapshot, folder, options.limit)
    return f"{listing} lists the videos of {snapshot.id}"


PLAIN = Layout("the videos as files, and videos.jsonl, which names them: as `triptych generate` leaves them", _export)


def write_folder(snapshot: Snapshot, folder: AnyPath, max_rows: int | None = None) -> AnyPath:
    """Write videos and listing; returns the listing's path, which appears last.

    What an earlier listing there names, and this one does not, is removed; from a store nothing is.
    """
    lines, tables = [], ClipTables(snapshot)  # a shard's videos lie in one file
    for clip_id in snapshot.accepted_ids()[:max_rows]:
        (clip,) = tables.rows(GeneratedVideoRow, clip_id)
        (stored,) = tables.rows(GeneratedBytesRow, clip_id)
        video = f"{FOLDER}/{clip.file}"
        write_atomic(folder / video, stored.video)
        told = {
            "name": clip.name,
            "seed": clip.seed,
            "prompt": clip.prompt,
            "clip_id": clip_id,
            "sha256": stored.sha256,
        }
        lines.append({"video": video, **told})
    listing = folder / LISTING
    kept = {line["video"] for line in lines}
    if isinstance(folder, Path):
        for stray in _listed(folder / LISTING) - kept:
            (folder / stray).unlink(missing_ok=True)
    write_atomic(listing, "".join(json.dumps(line) + "\n" for line in lines).encode())
    return listing


def _listed(listing: Path) -> set[str]:
    """The videos of an earlier listing: files of this folder, whatever its lines say."""
    try:
        lines = [json.loads(line) for line in listing.read_bytes().splitlines()]
    except (FileNotFoundError, ValueError):
        return set()
    names = {str(line.get("video")) for line in lines if isinstance(line, dict)}
    return {name for name in names if name.startswith(f"{FOLDER}/") and ".." not in name and name.count("/") == 1}
