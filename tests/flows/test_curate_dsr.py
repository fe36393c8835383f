"""flows.curate_dsr: the config, and what is planned; whole runs are in test_dsr_flow.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from flows.curate_dsr import CurateDsr, main, plan_prompts, plan_videos
from tasks.datasets.dsr.tables import CLIP_STAGES
from tests.support.dsr_runs import tiny_samples


def test_the_defaults_are_the_papers(tmp_path: Path) -> None:
    config = CurateDsr(root=tmp_path)
    assert (config.grammar.n_train, config.grammar.n_test) == (500, 120)
    assert (config.seeds_train, config.seeds_test) == (10, 5)
    assert (config.generate.n_frames, config.generate.width, config.generate.height) == (81, 832, 480)
    assert (config.score.score, config.score.end_frames, config.score.min_found) == ("official", 3, 20)
    assert (config.pair.tau, config.pair.reward, config.pair.rule) == (0.7, "dsr_score", "threshold")


def test_profiles_fill_what_is_not_asked_for(tmp_path: Path) -> None:
    paper = CurateDsr(root=tmp_path, profile="paper")
    assert (paper.generate.generator, paper.propagate.masks) == ("diffusers", "sam2")
    assert (paper.ground.grounding, paper.ground.vlm, paper.ground.n_frames) == ("groundingdino", "none", 81)
    assert paper.dino.box_threshold == 0.4
    mixed = CurateDsr(root=tmp_path, profile="paper", ground={"vlm": "openai"})
    assert (mixed.ground.grounding, mixed.ground.vlm) == ("groundingdino", "openai")


def test_every_stage_is_named_as_it_is_called(tmp_path: Path) -> None:
    config = CurateDsr(root=tmp_path)
    names = ("rewrite_prompts", *CLIP_STAGES)
    assert [config.stage(name).name for name in names] == list(names)
    with pytest.raises(ValueError, match="no stage 'split_scenes'; there are rewrite_prompts, generate_samples"):
        config.stage("split_scenes")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generate": {"generator": "folder"}}, "name both or neither"),
        ({"videos": "videos"}, "name both or neither"),
        ({"seeds_train": -1}, "seeds_train"),
        ({"grammar": {"n_train": 10_000_000}}, "the grammar holds .* ask for at most"),
        ({"pair": {"tau": "high"}}, "tau"),
        ({"generate": {"width": 417}}, "multiple of 16"),
        ({"root": ""}, "the root is empty"),
        ({"colour": "red"}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_config_is_told_before_anything_runs(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CurateDsr(**{"root": tmp_path} | changes)


@pytest.mark.parametrize("given", [["--prompts"], ["--generate.generator", "folder", "--videos"]])
def test_the_command_tells_of_inputs_that_are_not_there_before_it_starts(tmp_path: Path, given: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"ManifestError: .*missing"):
        main(["--root", str(tmp_path), *given, str(tmp_path / "missing")])


def test_every_prompt_is_sampled_with_every_seed_of_its_split(tmp_path: Path) -> None:
    config = tiny_samples(tmp_path)
    given = plan_prompts(config)
    assert [prompt.split for prompt in given.prompts] == ["train", "train", "test"]
    plan = plan_videos(config, given.prompts)
    assert [(s.prompt_id, s.seed) for s in plan.samples] == [
        (prompt.prompt_id, seed) for prompt in given.prompts for seed in range(3 if prompt.split == "train" else 1)
    ]
    assert len({sample.clip_id for sample in plan.samples}) == 7
    assert (plan.outcomes, plan.n_videos) == ([], 0)


def test_a_dataset_that_grows_keeps_its_samples(tmp_path: Path) -> None:
    def ids(n_train: int, seeds: int) -> set[str]:
        config = tiny_samples(tmp_path, grammar={"n_train": n_train, "n_test": 0}, seeds_train=seeds)
        return {sample.clip_id for sample in plan_videos(config, plan_prompts(config).prompts).samples}

    assert ids(2, 2) < ids(2, 3) < ids(4, 3)
