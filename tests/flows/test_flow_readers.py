"""decord in place of PyAV through the whole flow: the same snapshot, and what it refuses is asked of PyAV again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.flow_runs import (
    assert_same_snapshot,
    carry,
    draw_video,
    ends_by_video,
    run_here,
    tiny_config,
    watch,
    write_manifest,
)

MP4, STREAM = carry("yellow", "red"), carry("blue", "orange")
ACCEPTED = [("accepted", "check_tracks", None)]


def test_decord_makes_the_same_snapshot_or_fails_the_row(tmp_path: Path) -> None:
    pytest.importorskip("decord", reason="decord has wheels for x86-64 only")
    stream = Path(STREAM.video).with_suffix(".ts").name
    lines = [MP4.line, STREAM.line | {"video": stream}]
    folder = tmp_path / "in"
    folder.mkdir()
    draw_video(folder / MP4.video, MP4.shots)
    draw_video(folder / stream, STREAM.shots)
    manifest = write_manifest(folder, lines)

    config = tiny_config(manifest, tmp_path / "decord").model_copy(update={"reader": "decord"})
    ends = ends_by_video(run_here(config))
    assert ends[MP4.video] == ACCEPTED
    assert [end[:3] for end in ends[stream]] == [("failed", "ground_instances", "unsupported_by_decord")]

    expected = run_here(tiny_config(manifest, tmp_path / "pyav"))
    with watch(config) as made:
        again = run_here(config.model_copy(update={"reader": "pyav"}))
    assert made.counts == {"ground_instances": 1, "propagate_masks": 1, "check_tracks": 1}
    assert_same_snapshot(again, expected)
