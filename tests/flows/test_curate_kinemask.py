"""flows.curate_kinemask: the config, the seeds and their shards; whole runs are in test_flow_kinemask.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_settings import CliApp

from flows.curate_kinemask import FLOW, CurateKinemask, look_ahead, plan_seed_shards, plan_seeds
from flows.engine.pipeline import run_shard
from schemas.kinemask import SceneClipRow
from tasks.engine.snapshots import Snapshot
from tasks.simulate_scenes import SceneConfig
from tests.support.flow_runs import told_ahead
from tests.support.scene_runs import simulate_here, tiny_scenes

STAGES = ["simulate_scenes", "render_clips", "caption_clips"]


def test_the_defaults_are_the_papers(tmp_path: Path) -> None:
    config = CurateKinemask(root=tmp_path)
    assert (config.n_train, config.n_test) == (10_000, 100)
    assert config.sets == ["simple_motion", "interactions"]
    scenes = config.scenes
    assert (scenes.n_frames, scenes.width, scenes.height, scenes.speed_mps) == (49, 720, 480, (0.5, 1.5))


def test_profiles_fill_what_is_not_asked_for(tmp_path: Path) -> None:
    paper = CurateKinemask(root=tmp_path, profile="paper")
    assert (paper.render.renderer, paper.caption.captioner) == ("cycles", "openai")
    mixed = CurateKinemask(root=tmp_path, profile="paper", caption={"captioner": "events"})
    assert (mixed.render.renderer, mixed.caption.captioner) == ("cycles", "events")
    assert CurateKinemask(root=tmp_path).render.renderer == "raster"


def test_every_stage_is_named_as_it_is_called(tmp_path: Path) -> None:
    config = CurateKinemask(root=tmp_path)
    assert config.shard_stage_names == [step.stage for step in config.steps] == STAGES
    assert [stage.name for stage in config.stages] == [config.stage(name).name for name in STAGES] == STAGES
    with pytest.raises(ValueError, match="no stage 'split_scenes'; there are simulate_scenes, render_clips"):
        config.stage("split_scenes")


def test_a_route_names_a_stage(tmp_path: Path) -> None:
    routes = dict.fromkeys([*STAGES, "write_shard"], "curate-kinemask-shard/gpu")
    assert CurateKinemask(root=tmp_path, dispatch={"routes": routes}).dispatch.routes == routes
    there = "simulate_scenes, render_clips, caption_clips, write_shard"
    with pytest.raises(ValidationError, match=f"routes: there is no stage render, split_scenes; there are {there}"):
        CurateKinemask(root=tmp_path, dispatch={"routes": routes | {"split_scenes": "a/b", "render": "a/b"}})
    with pytest.raises(SystemExit, match=f"there is no stage render; there are {there}"):
        FLOW.main(["--root", str(tmp_path), "--dispatch.routes", '{"render": "a/b"}'])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sets": ["interactions", "interactions"]}, "names a set twice"),
        ({"n_train": -1}, "n_train"),
        ({"limit": 0}, "limit"),
        ({"scenes": {"fps": 7}}, "make it a multiple of fps, 7"),
        ({"root": ""}, "the root is empty"),
        ({"colour": "red"}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_config_is_told_before_anything_runs(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CurateKinemask(**{"root": tmp_path} | changes)


def test_the_command_tells_a_wrong_setting_without_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^--n-test: Input should be greater than or equal to 0, got '-3'"):
        FLOW.main(["--root", str(tmp_path), "--n-test", "-3"])


def test_every_set_and_split_has_its_seeds_and_ids(tmp_path: Path) -> None:
    parts = plan_seeds(CurateKinemask(root=tmp_path, n_train=5, n_test=2))
    assert [(seeds[0].set, seeds[0].split, len(seeds)) for seeds in parts] == [
        ("simple_motion", "train", 5),
        ("simple_motion", "test", 2),
        ("interactions", "train", 5),
        ("interactions", "test", 2),
    ]
    assert len({seed.clip_id for seeds in parts for seed in seeds}) == 14


def test_a_shard_is_a_range_of_seeds_of_one_set_and_split(tmp_path: Path) -> None:
    shards = plan_seed_shards(plan_seeds(CurateKinemask(root=tmp_path, n_train=5, n_test=2)), 2)
    assert [len(shard.rows) for shard in shards] == [2, 2, 1, 2] * 2
    for shard in shards:
        seeds = [row.payload for row in shard.rows]
        assert len({(seed.set, seed.split) for seed in seeds}) == 1
        assert [seed.seed for seed in seeds] == list(range(seeds[0].seed, seeds[0].seed + len(seeds)))


def test_a_set_that_grows_keeps_its_full_shards(tmp_path: Path) -> None:
    def ids(n_train: int) -> set[str]:
        config = CurateKinemask(root=tmp_path, n_train=n_train, n_test=0, sets=["interactions"])
        return {shard.shard_id for shard in plan_seed_shards(plan_seeds(config), 2)}

    assert len(ids(4)) == 2
    assert ids(4) < ids(7)


def test_clips_of_other_scenes_have_other_ids_and_those_of_other_pictures_have_not(tmp_path: Path) -> None:
    def ids(**changes: object) -> list[str]:
        config = CurateKinemask(root=tmp_path, n_train=2, n_test=1, **changes)
        return [seed.clip_id for seeds in plan_seeds(config) for seed in seeds]

    assert ids() == ids(render={"crf": 30}) == ids(profile="paper")
    assert not set(ids()) & set(ids(scenes=SceneConfig(fps=12)))


def test_a_limit_takes_the_first_seeds_of_all_sets(tmp_path: Path) -> None:
    def taken(**changes: Any) -> list[int]:
        config = CliApp.run(CurateKinemask, cli_args=["--root", str(tmp_path), "--limit", "2"])
        return [len(seeds) for seeds in plan_seeds(config.model_copy(update=changes))]

    assert taken() == [2, 0, 0, 0]
    assert taken(n_train=1) == [1, 1, 0, 0]
    assert taken(n_train=1, n_test=0) == [1, 0, 1, 0]
    assert taken(n_train=1, n_test=0, limit=None) == [1, 0, 1, 0]


def test_with_a_limit_the_seeds_that_are_taken_are_accounted_for(tmp_path: Path) -> None:
    snapshot = Snapshot(simulate_here(tiny_scenes(tmp_path, n_train=1, n_test=0, limit=2)))
    assert (snapshot.manifest.n_given, snapshot.manifest.tally) == (
        2,
        "2 inputs = 2 accepted + 0 rejected + 0 failed",
    )
    assert {(clip.set, clip.split, clip.seed) for clip in snapshot.rows(SceneClipRow)} == {
        ("simple_motion", "train", 0),
        ("interactions", "train", 0),
    }


def test_what_a_run_would_do_is_told_before_it_within_it_and_after_it(tmp_path: Path) -> None:
    config = tiny_scenes(tmp_path, n_train=3, sets=["simple_motion"])
    assert told_ahead(look_ahead, config) == {
        "simulate_scenes": (0, 4, 0),
        "render_clips": (0, 0, 4),
        "caption_clips": (0, 0, 4),
    }
    first, second, _ = (config.work.save_shard(shard) for shard in plan_seed_shards(plan_seeds(config), 2))
    run_shard(config, first, [*STAGES, "write_shard"])  # of two seeds
    run_shard(config, second, STAGES[:1])  # of one
    assert told_ahead(look_ahead, config) == {
        "simulate_scenes": (3, 1, 0),
        "render_clips": (2, 1, 1),
        "caption_clips": (2, 0, 2),
    }
    simulate_here(config)
    assert told_ahead(look_ahead, config) == dict.fromkeys(STAGES, (4, 0, 0))
    assert told_ahead(look_ahead, config.model_copy(update={"n_test": 2})) == {
        "simulate_scenes": (4, 1, 0),
        "render_clips": (4, 0, 1),
        "caption_clips": (4, 0, 1),
    }
