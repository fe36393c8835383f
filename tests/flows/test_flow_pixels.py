"""Pixels that are not square, HDR and interlaced video through the whole flow: told, rejected, or stretched."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from av.video.reformatter import ColorTrc

from flows.curate_matrix11k import FLOW, CurateMatrix11k
from schemas.matrix11k import ClipRow, MatrixStatistics
from tasks.datasets.matrix11k.story import STORY
from tasks.engine.snapshots import Snapshot
from tasks.media.video import decode_bytes, read_video
from tasks.split_scenes import SplitConfig
from tests.support.flow_runs import (
    HEIGHT,
    WIDTH,
    carry,
    draw_video,
    ends_by_video,
    run_here,
    table,
    tiny_config,
    watch,
    write_manifest,
)

SQUARE, WIDE, TURNED, PQ = (
    carry(dog, ball) for dog, ball in [("yellow", "red"), ("blue", "orange"), ("green", "red"), ("purple", "yellow")]
)
ACCEPTED = [("accepted", "check_tracks", None)]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> CurateMatrix11k:
    """A run over four videos as they are stored."""
    folder = tmp_path_factory.mktemp("pixels") / "in"
    folder.mkdir()
    draw_video(folder / SQUARE.video, SQUARE.shots)
    draw_video(folder / WIDE.video, WIDE.shots, sample_aspect=Fraction(4, 3))
    draw_video(folder / TURNED.video, TURNED.shots, sample_aspect=Fraction(3, 4))
    draw_video(folder / PQ.video, PQ.shots, transfer=ColorTrc.SMPTE2084)
    manifest = write_manifest(folder, [scene.line for scene in (SQUARE, WIDE, TURNED, PQ)])
    config = tiny_config(manifest, folder.parent / "out")
    run_here(config)
    return config


@pytest.fixture(scope="module")
def stretched(config: CurateMatrix11k) -> tuple[Snapshot, dict[str, int]]:
    """The snapshot of the same videos with square pixels, and what was computed for it."""
    with watch(config) as made:
        folder = run_here(config.model_copy(update={"split": SplitConfig(square_pixels=True)}), report=True)
    return Snapshot(folder, inputs=config.manifest.parent), made.counts


def test_each_source_is_told_of_once_in_every_run(config: CurateMatrix11k, caplog: pytest.LogCaptureFixture) -> None:
    with watch(config) as made:
        snapshot = run_here(config)
    assert made.counts == {}
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"{WIDE.video}: pixels of 4:3: used as stored",
        f"{TURNED.video}: pixels of 3:4: used as stored",
        f"{PQ.video}: HDR (smpte2084): used as stored",
        "--split.reject anamorphic,hdr drops such videos; --split.square-pixels stretches anamorphic ones",
    ]
    assert ends_by_video(snapshot) == {scene.video: ACCEPTED for scene in (SQUARE, WIDE, TURNED, PQ)}
    wide = next(clip.clip_id for clip in Snapshot(snapshot).rows(ClipRow) if clip.video == WIDE.video)
    told = STORY.tell(Snapshot(snapshot), STORY.find(Snapshot(snapshot), wide).row(0, named=True))
    assert "  file       pixels of 4:3: used as stored" in list(told)
    counted = Snapshot(snapshot).statistics(MatrixStatistics).unconverted
    assert [(kind.name, kind.n) for kind in counted] == [("anamorphic", 2), ("hdr", 1)]


def test_rejected_sources_are_accounted_for_once(config: CurateMatrix11k, caplog: pytest.LogCaptureFixture) -> None:
    snapshot = run_here(config.model_copy(update={"split": SplitConfig(reject=["hdr", "anamorphic"])}))
    assert ends_by_video(snapshot) == {
        SQUARE.video: ACCEPTED,
        WIDE.video: [("rejected", "split_scenes", "anamorphic")],
        TURNED.video: [("rejected", "split_scenes", "anamorphic")],
        PQ.video: [("rejected", "split_scenes", "hdr")],
    }
    details = dict(table(snapshot, "outcomes").select("video", "detail").iter_rows())
    assert (details[WIDE.video], details[PQ.video]) == ("pixels of 4:3", "HDR (smpte2084)")
    assert "used as stored" not in caplog.text


def test_clips_of_square_pixels_are_not_computed_again(stretched: tuple[Snapshot, dict[str, int]]) -> None:
    assert stretched[1] == {"split_scenes": 4, "ground_instances": 2, "propagate_masks": 2, "check_tracks": 2}


def test_every_reader_of_a_stretched_clip_sees_the_same_pictures(
    config: CurateMatrix11k, stretched: tuple[Snapshot, dict[str, int]]
) -> None:
    snapshot, _ = stretched
    sizes = {
        SQUARE.video: (WIDTH, HEIGHT),
        WIDE.video: (213, HEIGHT),
        TURNED.video: (WIDTH, 149),
        PQ.video: (WIDTH, HEIGHT),
    }
    clips = snapshot.rows(ClipRow)
    assert {clip.video: (clip.width, clip.height) for clip in clips} == sizes
    assert [kind.name for kind in snapshot.statistics(MatrixStatistics).unconverted] == ["hdr"]
    for clip in clips:
        pictures = read_video(snapshot.video(clip.clip_id))
        masks = snapshot.masks(clip.clip_id)
        assert len(masks) == 2
        for mask in masks.values():
            assert mask.shape == pictures.shape[:3] == (clip.n_frames, clip.height, clip.width)
        film = config.root / "reports" / snapshot.id / f"clips/{clip.clip_id}.mp4"
        assert decode_bytes(film.read_bytes()).shape[1:3] == (
            clip.height + clip.height % 2,
            clip.width + clip.width % 2,
        )
    boxes = table(snapshot.folder, "mask_tracks").explode("box_xyxy").drop_nulls("box_xyxy")
    right = boxes.group_by("clip_id").agg(pl.col("box_xyxy").arr.get(2).max())
    wide = next(clip.clip_id for clip in clips if clip.video == WIDE.video)
    assert WIDTH * 0.75 < right.filter(clip_id=wide)["box_xyxy"].item() <= 213


def test_masks_of_stretched_pictures_are_the_stretched_masks(
    config: CurateMatrix11k, stretched: tuple[Snapshot, dict[str, int]]
) -> None:
    stored = Snapshot(run_here(config))
    clip = next(clip for clip in stored.rows(ClipRow) if clip.video == WIDE.video)
    for instance_id, mask in stored.masks(clip.clip_id).items():
        assert mask.any()
        at = np.arange(213) * WIDTH // 213
        expected, found = mask[:, :, at], stretched[0].masks(clip.clip_id)[instance_id]
        assert (expected & found).sum() / (expected | found).sum() > 0.8


def test_the_options_are_as_the_page_says(config: CurateMatrix11k) -> None:
    command = ["--manifest", str(config.manifest), "--root", str(config.root)]
    parsed = FLOW.parse([*command, "--split.reject", "interlaced,hdr", "--split.square-pixels"])
    assert parsed.split == SplitConfig(reject=["hdr", "interlaced"], square_pixels=True)
    assert CurateMatrix11k.model_validate_json(parsed.model_dump_json()) == parsed
    with pytest.raises(SystemExit, match=r"Input should be 'hdr', 'interlaced' or 'anamorphic', got 'hrd'"):
        FLOW.parse([*command, "--split.reject", "hrd,interlaced"])
