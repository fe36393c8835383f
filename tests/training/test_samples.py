"""Rows of samples, read one clip at a time; validation videos, written."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from schemas.training_samples import EncodingRow, SampleObjectRow, SampleRow, SampleScoreRow
from tasks.engine.snapshots import Snapshot, SnapshotError
from tasks.media.video import survey
from tasks.training.samples import RowsByClip, require_size
from tasks.training.validation import ValidationConfig, chosen, write_validation
from tests.support.recipe_samples import object_rows, sample_row
from tests.support.snapshots import write_snapshot

IDS = [f"clip-{n}" for n in range(6)]
SHARDS = {"shard-1": IDS[:4], "shard-2": IDS[4:]}


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    encodings = [EncodingRow(clip_id=clip_id, latents=clip_id.encode(), text=b"text") for clip_id in IDS]
    objects = [SampleObjectRow(**row.model_dump()) for clip_id in IDS for row in object_rows(clip_id)]
    tables = {"encodings": (EncodingRow, encodings), "objects": (SampleObjectRow, objects)}
    return write_snapshot(tmp_path / "samples-1", "prepare-samples", tables, SHARDS)


def test_a_clips_rows_are_found_in_every_file_and_by_every_process(snapshot: Snapshot) -> None:
    encodings = pickle.loads(pickle.dumps(RowsByClip(snapshot, EncodingRow)))
    assert list(encodings) == IDS
    assert [encodings.one(clip_id).latents for clip_id in reversed(IDS)] == [one.encode() for one in reversed(IDS)]
    objects = RowsByClip(snapshot, SampleObjectRow)
    assert [row.model_dump() for row in objects["clip-5"]] == [row.model_dump() for row in object_rows("clip-5")]
    with pytest.raises(SnapshotError, match="has no encodings of clip-9"):
        encodings["clip-9"]
    with pytest.raises(SnapshotError, match="no table 'scores'"):
        RowsByClip(snapshot, SampleScoreRow)


def test_an_encoding_is_a_row_group_of_its_own(snapshot: Snapshot) -> None:
    """One clip is read, not its shard."""
    (path, _) = snapshot.files("encodings")
    assert pq.ParquetFile(path).metadata.num_row_groups == 4


def test_a_sample_of_another_size_is_named(snapshot: Snapshot) -> None:
    require_size(snapshot, [sample_row("clip-0")], 9, 96, 64)
    with pytest.raises(SnapshotError, match="clip-0 of samples-1 has 9 frames of 96x64, the config 9 of 96x80"):
        require_size(snapshot, [sample_row("clip-0")], 9, 96, 80)


def test_the_same_samples_are_shown_whatever_else_there_is() -> None:
    rows = [sample_row(f"clip-{n}") for n in range(50)]
    picked: list[SampleRow] = chosen(rows, ValidationConfig(n_samples=3))
    assert picked == chosen(rows[::-1], ValidationConfig(n_samples=3))
    assert picked[:2] == chosen(rows, ValidationConfig(n_samples=2))
    assert chosen([*picked, rows[0]], ValidationConfig(n_samples=3)) == picked


def test_a_validation_names_what_it_wrote(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)
    frames = np.full((5, 32, 48, 3), 90, np.uint8)
    conditions = {"first frame": picture, "Velocity masks": frames}
    made = write_validation(tmp_path, 250, "clip-a", "a cube", frames, 8, conditions, {"AAS": 0.5})
    assert made.video == "validation/step-000250/clip-a.mp4"
    assert survey((tmp_path / made.video).read_bytes())[1] == 5
    assert [(one.name, one.path.rpartition("/")[2]) for one in made.conditions] == [
        ("first frame", "clip-a.first-frame.png"),
        ("Velocity masks", "clip-a.velocity-masks.mp4"),
    ]
    assert (cv2.imread(str(tmp_path / made.conditions[0].path))[..., ::-1] == picture).all()
    assert [(one.name, one.value) for one in made.measured] == [("AAS", 0.5)]
