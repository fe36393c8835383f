"""A snapshot of samples as `triptych prepare` publishes it, as far as a training's flow looks at it."""

from __future__ import annotations

from pathlib import Path

from schemas.record import write_table
from schemas.snapshot import DataFile, ShardEntry, SnapshotManifest
from schemas.tables import Named
from schemas.training_samples import SampleRow
from tasks.engine.snapshots import LATEST, MANIFEST


def publish_samples(root: Path, dataset: str, n_train: int = 6, n_test: int = 2) -> Path:
    """Rows without encodings; returns the snapshot's folder."""
    rows = [
        SampleRow(
            clip_id=f"clip-{number}",
            split="train" if number < n_train else "test",
            prompt="A ball.",
            fps=16,
            n_frames=1,
            width=16,
            height=16,
            source_frames=[0],
            source_box_xyxy=(0, 0, 16, 16),
            made_by=[],
        )
        for number in range(n_train + n_test)
    ]
    folder = root / "snapshots" / f"{dataset}-{n_train:06x}{n_test:06x}"
    write_table(SampleRow, rows, folder / "samples" / "shard-1.parquet")
    manifest = SnapshotManifest(
        snapshot_id=folder.name,
        flow=f"prepare-{dataset}",
        dataset=dataset,
        format_version=2,
        record_versions=[Named(name="samples", n=1)],
        configs="{}",
        made_by=[],
        n_given=len(rows),
        n_inputs=len(rows),
        n_accepted=len(rows),
        n_rejected=0,
        n_failed=0,
        funnel=[],
        outcomes=[],
        statistics={},
        shards=[ShardEntry(shard_id="shard-1", clip_ids=[row.clip_id for row in rows])],
        files=[DataFile(path="samples/shard-1.parquet", table="samples", rows=len(rows), sha256="0" * 64)],
    )
    (folder / MANIFEST).write_bytes(manifest.to_json())
    (root / "snapshots" / LATEST).write_text(folder.name)
    return folder
