"""Snapshot: what was published is read back, whole or clip by clip, and what is not there is told."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from schemas.dsr import TrackRow
from schemas.kinemask import ObjectRow, SceneClipRow
from schemas.matrix11k import ClipRow, InteractionRow, MaskTrackRow, OutcomeRow
from schemas.outcome import RowFailed
from schemas.record import SchemaError
from tasks.engine.snapshots import Snapshot, SnapshotError
from tasks.media.video import read_video
from tests.unchanged.make_roots import ARCHIVE


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("roots")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def matrix(roots: Path) -> Snapshot:
    return Snapshot.open(roots / "matrix11k", inputs=roots / "matrix11k" / "input")


def test_rows_are_records_in_the_published_order(matrix: Snapshot) -> None:
    clips = matrix.rows(ClipRow)
    assert [clip.clip_id for clip in clips] == matrix.accepted_ids()
    assert len(matrix.rows(OutcomeRow)) == matrix.manifest.n_inputs
    assert {row.kept for row in matrix.rows(InteractionRow)} == {True}
    assert {row.kept for row in matrix.rows(InteractionRow, table="dropped_interactions")} == {False}


def test_some_clips_are_read_from_their_shards_alone(matrix: Snapshot) -> None:
    first, *_, last = matrix.accepted_ids()
    assert {row.clip_id for row in matrix.rows(MaskTrackRow, [last])} == {last}
    assert len(matrix.files("mask_tracks", [first])) == 1
    assert len(matrix.files("all_clips", [first])) == 1  # one file for all: no shard's
    by_clip = matrix.rows_by_clip(OutcomeRow, [last, first, "clip-unknown"])
    assert {clip_id: len(rows) for clip_id, rows in by_clip.items()} == {last: 1, first: 1, "clip-unknown": 0}


def test_a_table_without_rows_can_be_scanned(matrix: Snapshot) -> None:
    assert matrix.scan("mask_tracks", ["clip-unknown"]).collect().is_empty()
    assert "counts" in matrix.scan("mask_tracks", ["clip-unknown"]).collect_schema().names()


@pytest.mark.parametrize(("flow", "record"), [("matrix11k", MaskTrackRow), ("kinemask", ObjectRow), ("dsr", TrackRow)])
def test_masks_and_videos_of_a_clip(roots: Path, flow: str, record: type) -> None:
    snapshot = Snapshot.open(roots / flow, inputs=roots / flow / "input")
    for clip_id in snapshot.accepted_ids():
        masks = snapshot.masks(clip_id)
        frames = read_video(snapshot.video(clip_id))
        rows = snapshot.rows(record, [clip_id])
        assert sorted(masks) == sorted(row.instance_id for row in rows)
        for row in rows:
            assert masks[row.instance_id].shape == frames.shape[:3]
            assert masks[row.instance_id].sum(axis=(1, 2)).tolist() == row.area
        assert np.array_equal(read_video(snapshot.video(clip_id), [0, 5]), frames[[0, 5]])


def test_frames_beyond_the_end_are_told(matrix: Snapshot) -> None:
    with pytest.raises(IndexError, match="999"):
        read_video(matrix.video(matrix.accepted_ids()[0]), [0, 999])


def test_what_is_not_there_is_told_with_what_to_do(matrix: Snapshot, roots: Path, tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="nothing was published"):
        Snapshot.open(tmp_path)
    with pytest.raises(SnapshotError, match="there are matrix11k-"):
        Snapshot.open(roots / "matrix11k", "matrix11k-0")
    with pytest.raises(SnapshotError, match="no table 'tracks'"):
        matrix.scan("tracks")
    with pytest.raises(SnapshotError, match="accepted clip"):
        matrix.masks("clip-unknown")
    with pytest.raises(SnapshotError, match="inputs="):
        Snapshot.open(roots / "matrix11k").video(matrix.accepted_ids()[0])
    with pytest.raises(SnapshotError, match="curate-kinemask"):
        matrix.require_flow("curate-kinemask")
    with pytest.raises(RowFailed):
        Snapshot(matrix.folder, inputs=tmp_path).video(matrix.accepted_ids()[0])


@pytest.mark.parametrize("damaged", ["", "..", "/etc", "a\nb", "x" * 5000, "a\0b", "\ufeffmatrix11k-0", "\x1b[31m"])
def test_a_damaged_latest_leads_nowhere(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "LATEST").write_text(damaged)
    with pytest.raises(SnapshotError, match=r"LATEST is damaged: .* is no id; name a snapshot by its id") as raised:
        Snapshot.open(tmp_path)
    assert str(raised.value).isprintable()
    assert Snapshot.latest_readable(tmp_path / "snapshots") is None


def test_a_table_of_another_record_is_refused(roots: Path, matrix: Snapshot) -> None:
    with pytest.raises(SchemaError, match="SceneClipRow version 1"):
        matrix.rows(SceneClipRow)


def test_a_damaged_snapshot_is_told_in_one_line(roots: Path, tmp_path: Path) -> None:
    root = tmp_path / "damaged"
    shutil.copytree(roots / "matrix11k", root)
    folder = Snapshot.open(root).folder
    (folder / "clips" / sorted(path.name for path in (folder / "clips").iterdir())[0]).unlink()
    with pytest.raises(SnapshotError, match=r"is gone: .* is not what was published"):
        Snapshot.open(root).rows(ClipRow)
    (folder / "manifest.json").write_bytes(b'{"snapshot_id": "x", "newer": 1}')
    with pytest.raises(SnapshotError, match=r"cannot be read .* newer version"):
        _ = Snapshot.open(root).manifest
    for name in ("../matrix11k", "/etc/passwd", "", "a\nb"):
        with pytest.raises(SnapshotError, match="no id of a snapshot"):
            Snapshot.open(root, name)


def test_a_video_in_memory_is_not_printed(roots: Path) -> None:
    snapshot = Snapshot.open(roots / "dsr")
    assert len(repr(snapshot.video(snapshot.accepted_ids()[0]))) < 100
