"""Whole runs of curate-kinemask: what is published, what is computed again, what a fault costs."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import av
import duckdb
import numpy as np
import polars as pl
import pytest
import yaml

from flows.commands import ask
from flows.curate_kinemask import CurateKinemask
from flows.engine.config import DispatchConfig
from flows.engine.dispatch import ShardsFailed
from schemas.kinemask import SHARD_TABLES, KinemaskStatistics, ObjectRow
from schemas.mask_track import decode_masks
from schemas.outcome import RowFailed, ServiceDown
from tasks.backends.raster import RasterRenderer
from tasks.engine.snapshots import Snapshot
from tasks.media.velocity_masks import velocity_masks_of
from tasks.render_clips import RenderConfig
from tests.support.flow_runs import REPOSITORY, assert_same_snapshot, rows_by_split, table, watch
from tests.support.scene_runs import TINY, simulate_here, tiny_scenes
from tests.support.stages import KINEMASK_STAGES


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[CurateKinemask, Path]:
    """A run of six tiny clips, with its report. Not to be written to."""
    config = tiny_scenes(tmp_path_factory.mktemp("kinemask"))
    return config, simulate_here(config, report=True)


@pytest.fixture
def again(run: tuple[CurateKinemask, Path], tmp_path: Path) -> tuple[CurateKinemask, Path]:
    """A copy of that run's folder, to go on in."""
    config, snapshot = run
    shutil.copytree(config.root, tmp_path / "root")
    return config.model_copy(update={"root": tmp_path / "root"}), snapshot


# --- What is published -------------------------------------------------------------------------


def test_every_seed_is_accounted_for(run: tuple[CurateKinemask, Path]) -> None:
    manifest = Snapshot(run[1]).manifest
    assert manifest.tally == "6 inputs = 6 accepted + 0 rejected + 0 failed"
    assert (manifest.flow, manifest.n_given) == ("curate-kinemask", 6)
    assert [(step.stage, step.given, step.passed) for step in manifest.funnel] == [
        ("simulate_scenes", 6, 6),
        ("render_clips", 6, 6),
        ("caption_clips", 6, 6),
    ]
    assert {part.name: part.n for part in Snapshot(run[1]).statistics(KinemaskStatistics).clips} == {
        f"{set_}/{split}": n for set_ in ("interactions", "simple_motion") for split, n in (("train", 2), ("test", 1))
    }
    assert len(manifest.shards) == 4


def test_polars_duckdb_and_datasets_read_every_table(run: tuple[CurateKinemask, Path], tmp_path: Path) -> None:
    import datasets

    for name, record in SHARD_TABLES.items():
        files = f"{run[1]}/{name}/*.parquet"
        columns = record.arrow_schema().names
        in_polars = pl.read_parquet(files)
        assert in_polars.columns == columns == duckdb.sql(f"select * from read_parquet('{files}')").columns
        loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "hf"))
        assert loaded.column_names == columns
        assert loaded.num_rows == len(in_polars)


def test_datasets_finds_training_and_test_rows_apart(run: tuple[CurateKinemask, Path], tmp_path: Path) -> None:
    found = rows_by_split(run[1], tmp_path)
    assert {split: len(rows) for split, rows in found["clips"].items()} == {"train": 4, "test": 2}
    assert {clip["split"] for clip in found["clips"]["train"]} == {"train"}
    assert {name for name, table in found.items() if set(table) == {"train", "test"}} >= {
        "videos",
        "objects",
        "outcomes",
    }


def test_a_split_without_rows_is_not_in_the_card(again: tuple[CurateKinemask, Path], tmp_path: Path) -> None:
    found = rows_by_split(simulate_here(again[0].model_copy(update={"n_test": 0})), tmp_path)
    assert {split for table in found.values() for split in table} == {"train"}


def test_a_clips_rows_are_looked_for_in_its_shards_file_alone(run: tuple[CurateKinemask, Path]) -> None:
    snapshot = Snapshot(run[1])
    split_of = dict(table(run[1], "clips").select("clip_id", "split").iter_rows())
    for shard in snapshot.manifest.shards:
        [clips] = snapshot.files("clips", shard.clip_ids[:1])
        assert clips.name == f"{split_of[shard.clip_ids[0]]}-{shard.shard_id}.parquet"


def test_the_asked_velocity_is_the_measured_one_to_the_last_bit(run: tuple[CurateKinemask, Path]) -> None:
    asked = {
        (clip["clip_id"], body["instance_id"]): body["velocity"]
        for clip in table(run[1], "clips").to_dicts()
        for body in clip["scene"]["bodies"]
    }
    objects = table(run[1], "objects").to_dicts()
    assert {(thing["clip_id"], thing["instance_id"]): thing["velocity"][0] for thing in objects} == asked
    moving = [thing for thing in objects if any(thing["velocity"][0])]
    assert moving == [thing for thing in objects if thing["controlled"]] != []


def test_what_only_a_collision_moves_is_not_in_the_velocity_mask(run: tuple[CurateKinemask, Path]) -> None:
    n_pushed = 0
    for of_clip in table(run[1], "objects").partition_by("clip_id"):
        rows = [ObjectRow(**row) for row in of_clip.to_dicts()]
        velocities = velocity_masks_of(rows)
        for row in rows:
            masks = decode_masks(row.counts, row.height, row.width)
            if row.controlled:
                painted = np.where(masks[..., None], np.float32(row.velocity)[:, None, None], 0)
                assert (velocities[masks] == painted[masks]).all()
            else:
                n_pushed += any(any(velocity) for velocity in row.velocity)
                assert not velocities[masks].any()
    assert n_pushed


def test_every_video_has_exactly_its_frames_and_every_object_its_masks(run: tuple[CurateKinemask, Path]) -> None:
    for video in table(run[1], "videos")["video"].to_list():
        with av.open(io.BytesIO(video)) as container:
            assert container.streams.video[0].codec_context.name == "h264"
            assert len(list(container.decode(video=0))) == TINY.n_frames
    objects = table(run[1], "objects")
    for of_clip in objects.partition_by("clip_id"):
        masks = np.stack([decode_masks(row["counts"], TINY.height, TINY.width) for row in of_clip.to_dicts()])
        assert masks.shape[1:] == (TINY.n_frames, TINY.height, TINY.width)
        assert masks.sum(axis=0).max() == 1  # visible pixels: no two objects share one
        assert masks.sum(axis=(2, 3)).T.tolist() == np.array(of_clip["area"].to_list()).T.tolist()


def test_sets_hold_what_they_promise(run: tuple[CurateKinemask, Path]) -> None:
    collisions = table(run[1], "collisions").join(table(run[1], "clips").select("clip_id", "set"), on="clip_id")
    assert set(collisions["set"]) == {"interactions"}
    controlled = {(t["clip_id"], t["instance_id"]) for t in table(run[1], "objects").filter("controlled").to_dicts()}
    hit = {(c["clip_id"], c[end]) for c in collisions.to_dicts() for end in ("first_id", "second_id")}
    clips = table(run[1], "clips").filter(pl.col("set") == "interactions")["clip_id"].to_list()
    assert all(any((clip, i) in hit for c, i in controlled if c == clip) for clip in clips)
    assert table(run[1], "clips")["caption_faults"].to_list() == [[]] * 6


def test_train_and_test_share_no_colour_and_no_floor(run: tuple[CurateKinemask, Path]) -> None:
    seen: dict[str, tuple[set[str], set[str]]] = {"train": (set(), set()), "test": (set(), set())}
    for clip in table(run[1], "clips").to_dicts():
        colours, floors = seen[clip["split"]]
        colours |= {body["colour"] for body in clip["scene"]["bodies"]}
        floors.add(clip["scene"]["floor"]["texture"])
    assert not seen["train"][0] & seen["test"][0]
    assert not seen["train"][1] & seen["test"][1]


def test_there_is_a_report(run: tuple[CurateKinemask, Path]) -> None:
    config, snapshot = run
    page = (config.root / "reports" / snapshot.name / "index.html").read_text()
    assert snapshot.name in page


def test_a_clips_story_can_be_asked_for(run: tuple[CurateKinemask, Path], capsys: pytest.CaptureFixture) -> None:
    config, snapshot = run
    for name in ("interactions/train/1", table(snapshot, "clips")["clip_id"].to_list()[0]):
        ask.main(["--root", str(config.root), "clip", name])
        told = capsys.readouterr().out
        assert "accepted" in told
        assert "made by    simulate_scenes: bullet" in told
        assert "made by    render_clips: raster" in told
        assert "caption    " in told
    ask.main(["--root", str(config.root), "failed"])
    assert "nothing failed" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="knows no 'train'"):
        ask.main(["--root", str(config.root), "clip", "train"])


# --- What is computed again --------------------------------------------------------------------


def test_the_same_seeds_elsewhere_are_the_same_bytes(run: tuple[CurateKinemask, Path], tmp_path: Path) -> None:
    assert_same_snapshot(simulate_here(tiny_scenes(tmp_path / "elsewhere")), run[1])


def test_a_rerun_computes_nothing(again: tuple[CurateKinemask, Path]) -> None:
    config, snapshot = again
    with watch(config) as computed:
        assert simulate_here(config).name == snapshot.name
    assert not computed.counts


def test_more_seeds_compute_only_what_is_new(again: tuple[CurateKinemask, Path]) -> None:
    config, snapshot = again
    with watch(config) as computed:
        grown = simulate_here(config.model_copy(update={"n_train": 3}))
    assert computed.counts == dict.fromkeys(KINEMASK_STAGES, 2)
    before, after = Snapshot(snapshot).manifest, Snapshot(grown).manifest
    assert after.n_accepted == 8
    assert {shard.shard_id for shard in before.shards} < {shard.shard_id for shard in after.shards}


def test_another_quality_renders_again_and_keeps_the_motion_and_the_captions(
    again: tuple[CurateKinemask, Path],
) -> None:
    config, _ = again
    with watch(config) as computed:
        simulate_here(config.model_copy(update={"render": RenderConfig(crf=30)}))
    assert computed.counts == {"render_clips": 6}


# --- Faults ------------------------------------------------------------------------------------


def test_a_clip_that_cannot_be_rendered_fails_alone_and_is_tried_again(
    again: tuple[CurateKinemask, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, snapshot = again
    render, n_asked = RasterRenderer.render, Counter[str]()

    def fail_once(self: RasterRenderer, *scene: object) -> object:
        n_asked["render"] += 1
        if n_asked["render"] == 1:
            raise RowFailed("renderer_died", "killed by signal 9", retryable=True)
        return render(self, *scene)  # type: ignore[arg-type]

    monkeypatch.setattr(RasterRenderer, "render", fail_once)
    fresh = config.model_copy(update={"root": tmp_path / "fresh"})
    assert Snapshot(simulate_here(fresh)).manifest.tally == "6 inputs = 5 accepted + 0 rejected + 1 failed"
    with watch(fresh) as computed:
        assert_same_snapshot(simulate_here(fresh), snapshot)
    assert computed.counts == {"caption_clips": 1, "render_clips": 1}


def test_a_missing_blender_fails_the_shards_with_what_to_do_and_loses_nothing(
    again: tuple[CurateKinemask, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config, _ = again
    monkeypatch.setenv("TRIPTYCH_BLENDER_PYTHON", str(tmp_path / "no-blender"))
    with watch(config) as computed, pytest.raises(ShardsFailed, match="make blender"):
        simulate_here(config.model_copy(update={"render": RenderConfig(renderer="cycles")}))
    assert not computed.counts


def test_a_service_that_is_down_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(self: RasterRenderer, *scene: object) -> object:
        raise ServiceDown("the renderer is away; call it back")

    monkeypatch.setattr(RasterRenderer, "render", down)
    with pytest.raises(ShardsFailed, match="call it back"):
        simulate_here(tiny_scenes(tmp_path, n_test=0, sets=["simple_motion"]))
    assert Snapshot.latest(tmp_path / "snapshots") is None


@pytest.mark.slow
def test_killed_anywhere_and_run_again_it_publishes_the_same(run: tuple[CurateKinemask, Path], tmp_path: Path) -> None:
    """SIGKILL as soon as a stage has left its first result, stage after stage; then it is let go on."""
    config = tiny_scenes(tmp_path / "killed")
    # Without Prefect's engine: a killed run would leave a server behind.
    script = (
        "import sys; from tests.support.scene_runs import *;"
        "simulate_here(CurateKinemask.model_validate_json(sys.argv[1]))"
    )
    command = [sys.executable, "-c", script, config.model_dump_json()]
    for stage in KINEMASK_STAGES:
        process = subprocess.Popen(command, cwd=REPOSITORY)
        deadline_s = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline_s:
            if any((config.work.root / "rows" / stage).glob("*/*.json")):
                process.kill()
            time.sleep(0.002)
        assert process.wait(10) == -signal.SIGKILL
    assert Snapshot.latest(config.snapshots) is None
    assert_same_snapshot(simulate_here(config), run[1])


# --- Deployments -------------------------------------------------------------------------------


def test_deployments_find_their_parameters(tmp_path: Path) -> None:
    """What prefect.yaml gives the flow is a config of it."""
    project = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())
    found = [d for d in project["deployments"] if d["entrypoint"].endswith(".curate_kinemask")]
    assert {d["name"] for d in found} == {"default", "blender", "paper"}
    for deployment in found:
        text = json.dumps(deployment["parameters"]["config"]).replace("{{ $TRIPTYCH_KINEMASK_ROOT }}", str(tmp_path))
        config = CurateKinemask.model_validate_json(text)
        assert isinstance(config.dispatch, DispatchConfig)
        assert (config.render.renderer == "cycles") == (deployment["name"] != "default")
