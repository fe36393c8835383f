"""export --format kinemask: videos, velocity masks and captions, split by split; what the manifest says of splits."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from flows.commands.export import export
from schemas.kinemask import CollisionRow, ObjectRow, SceneClipRow, VideoRow
from tasks.engine.snapshots import Snapshot
from tasks.readers.read_manifest import read_manifest
from tests.support.readers_of_exports import read_film, read_kinemask
from tests.unchanged.make_roots import ARCHIVE


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Two training clips and two of the test split, as the flow made them."""
    folder = tmp_path_factory.mktemp("roots")
    with tarfile.open(ARCHIVE) as archive:
        members = [member for member in archive if member.name.startswith("kinemask/snapshots/")]
        archive.extractall(folder, members, filter="data")
    return Snapshot.open(folder / "kinemask")


def test_a_trainer_reads_its_split_with_exact_masks(snapshot: Snapshot, tmp_path: Path) -> None:
    assert export(snapshot, tmp_path, "kinemask") == f"4 clips: {tmp_path}/SPLIT/metadata.jsonl"
    rows = {row.clip_id: row for row in snapshot.rows(SceneClipRow)}
    read = {split: read_kinemask(tmp_path / split) for split in ("train", "test")}
    assert {split: set(samples) for split, samples in read.items()} == {
        split: {row.clip_id for row in rows.values() if row.split == split} for split in ("train", "test")
    }
    n_moving = 0
    for clip_id, sample in (read["train"] | read["test"]).items():
        assert sample.caption == rows[clip_id].caption
        (video,) = snapshot.rows(VideoRow, [clip_id])
        np.testing.assert_array_equal(sample.film.frames, read_film(video.video).frames)
        masks, covered = snapshot.masks(clip_id), np.zeros(sample.instances.shape, bool)
        for row in snapshot.rows(ObjectRow, [clip_id]):
            mask = masks[row.instance_id]
            np.testing.assert_array_equal(sample.instances == int(row.instance_id[2:]), mask)
            for t, velocity in enumerate(row.velocity):
                expected = np.float32(velocity) if row.controlled else np.zeros(3, np.float32)
                assert (sample.velocity_mps[t][mask[t]] == expected).all()
            covered |= mask
            n_moving += row.controlled
        assert not sample.velocity_mps[~covered].any()
        assert sample.collision_frames == sorted({row.frame for row in snapshot.rows(CollisionRow, [clip_id])})
    assert n_moving >= 4


def test_the_manifest_says_whose_split_a_clip_is_and_is_read_all_the_same(snapshot: Snapshot, tmp_path: Path) -> None:
    export(snapshot, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert {line["id"]: line["split"] for line in lines} == {
        row.clip_id: row.split for row in snapshot.rows(SceneClipRow)
    }
    assert {line["split"] for line in lines} == {"train", "test"}
    listing = read_manifest(tmp_path / "manifest.jsonl")
    assert (len(listing.sources), listing.outcomes) == (4, [])
