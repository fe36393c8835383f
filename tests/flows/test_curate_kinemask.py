"""flows.curate_kinemask: the config, the seeds and their shards; whole runs are in test_kinemask_flow.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from flows.curate_kinemask import CurateKinemask, main, plan_seed_shards, plan_seeds
from tasks.datasets.kinemask.tables import CLIP_STAGES
from tasks.simulate_scenes import SceneConfig


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
    assert [config.stage(name).name for name in CLIP_STAGES] == list(CLIP_STAGES)
    with pytest.raises(ValueError, match="no stage 'split_scenes'; there are simulate_scenes, render_clips"):
        config.stage("split_scenes")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sets": ["interactions", "interactions"]}, "names a set twice"),
        ({"n_train": -1}, "n_train"),
        ({"scenes": {"fps": 7}}, "make it a multiple of fps, 7"),
        ({"root": ""}, "the root is empty"),
        ({"colour": "red"}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_config_is_told_before_anything_runs(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CurateKinemask(**{"root": tmp_path} | changes)


def test_the_command_tells_a_wrong_setting_without_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="n_test"):
        main(["--root", str(tmp_path), "--n-test", "-3"])


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
