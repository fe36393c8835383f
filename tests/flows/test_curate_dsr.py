"""flows.curate_dsr: the config, and what is planned; whole runs are in test_flow_dsr.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_settings import CliApp

from flows.curate_dsr import FLOW, CurateDsr, look_ahead, plan_prompts, plan_videos
from flows.engine.pipeline import run_shard
from tasks.engine.shards import plan_shards
from tasks.engine.snapshots import Snapshot
from tests.support.dsr_runs import sample_here, tiny_samples
from tests.support.flow_runs import told_ahead

STAGES = ["generate_samples", "ground_instances", "propagate_masks", "score_dsr", "ask_relations"]


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
    assert (paper.score.score, paper.score.validity) == ("official", "official")
    assert CurateDsr(root=tmp_path).score.validity == "rivals"
    assert CurateDsr(root=tmp_path, profile="paper", score={"validity": "rivals"}).score.validity == "rivals"
    mixed = CurateDsr(root=tmp_path, profile="paper", ground={"vlm": "openai"})
    assert (mixed.ground.grounding, mixed.ground.vlm) == ("groundingdino", "openai")


def test_given_videos_may_be_shorter_than_generated_ones(tmp_path: Path) -> None:
    given = {"videos": tmp_path, "generate": {"generator": "folder"}, "ground": {"n_frames": 49}}
    assert CurateDsr(root=tmp_path, score={"validity": "official"}, **given).ground.n_frames == 49


def test_every_stage_is_named_as_it_is_called(tmp_path: Path) -> None:
    config = CurateDsr(root=tmp_path)
    assert [config.stage(step.stage).name for step in config.steps] == ["rewrite_prompts", *STAGES]
    assert config.shard_stage_names == [stage.name for stage in config.stages] == STAGES
    rewriting = CurateDsr(root=tmp_path, rewrite={"form": "rewritten"})
    assert [stage.name for stage in rewriting.stages] == ["rewrite_prompts", *STAGES]
    with pytest.raises(ValueError, match="no stage 'split_scenes'; there are rewrite_prompts, generate_samples"):
        config.stage("split_scenes")


def test_a_route_names_a_stage(tmp_path: Path) -> None:
    routes = dict.fromkeys(["rewrite_prompts", *STAGES, "write_shard"], "curate-dsr-shard/gpu")
    assert CurateDsr(root=tmp_path, dispatch={"routes": routes}).dispatch.routes == routes
    there = f"rewrite_prompts, {', '.join(STAGES)}, write_shard"
    with pytest.raises(ValidationError, match=f"routes: there is no stage check_tracks; there are {there}"):
        CurateDsr(root=tmp_path, dispatch={"routes": routes | {"check_tracks": "a/b"}})
    with pytest.raises(SystemExit, match=f"there is no stage score; there are {there}"):
        FLOW.main(["--root", str(tmp_path), "--dispatch.routes", '{"score": "a/b"}'])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generate": {"generator": "folder"}}, "name both or neither"),
        ({"videos": "videos"}, "name both or neither"),
        ({"seeds_train": -1}, "seeds_train"),
        ({"limit": 0}, "limit"),
        ({"grammar": {"n_train": 10_000_000}}, "the grammar holds .* ask for at most"),
        ({"pair": {"tau": "high"}}, "tau"),
        ({"generate": {"width": 417}}, "multiple of 16"),
        (
            {"score": {"validity": "official"}},
            "16 of 81 were searched: set ground.n_frames to 81, or score.validity to",
        ),
        ({"profile": "paper", "ground": {"max_candidates": 1}}, "set ground.max_candidates to 2 or more"),
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
        FLOW.main(["--root", str(tmp_path), *given, str(tmp_path / "missing")])


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


def test_a_limit_takes_the_first_prompts_of_the_grammar(tmp_path: Path) -> None:
    options = ["--root", str(tmp_path), "--grammar.n-train", "3", "--grammar.n-test", "1"]
    every, first = (CliApp.run(CurateDsr, cli_args=words) for words in (options, [*options, "--limit", "2"]))
    assert plan_prompts(first).prompts == plan_prompts(every).prompts[:2]
    assert len(plan_prompts(every).prompts) == 4
    assert len(plan_prompts(every.model_copy(update={"limit": 9})).prompts) == 4


def test_a_limit_takes_the_first_lines_of_a_file_and_they_are_accounted_for(tmp_path: Path) -> None:
    said = [prompt.text for prompt in plan_prompts(tiny_samples(tmp_path)).prompts]
    lines = [{"prompt_id": f"p{n}", "prompt": text} for n, text in enumerate(["A dog barks.", *said])]
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = tiny_samples(tmp_path, prompts=file, limit=2)
    given = plan_prompts(config)
    assert [prompt.prompt_id for prompt in given.prompts] == ["p1"]
    assert [outcome.reason for outcome in given.outcomes] == ["no_relation"]
    assert len(plan_prompts(config.model_copy(update={"limit": None})).prompts) == 3

    manifest = Snapshot(sample_here(config)).manifest
    assert (manifest.n_given, manifest.n_inputs, manifest.n_failed) == (2, 2, 1), "two lines; a sample and a line"
    assert manifest.n_inputs == manifest.n_accepted + manifest.n_rejected + manifest.n_failed


@pytest.mark.slow
def test_what_a_run_would_do_is_told_before_it_within_it_and_after_it(tmp_path: Path) -> None:
    config = tiny_samples(tmp_path, grammar={"n_train": 1, "n_test": 1}, seeds_train=2, shard_size=1)
    assert told_ahead(look_ahead, config) == {"generate_samples": (0, 3, 0)} | dict.fromkeys(STAGES[1:], (0, 0, 3))
    samples = plan_videos(config, plan_prompts(config).prompts).samples
    first, second, _ = (config.work.save_shard(shard) for shard in plan_shards(samples, 1))
    run_shard(config, first, STAGES[:1])
    run_shard(config, second, STAGES[:1])
    run_shard(config, first, STAGES[1:2])
    assert told_ahead(look_ahead, config) | dict.fromkeys(STAGES[2:]) == {
        "generate_samples": (2, 1, 0),
        "ground_instances": (1, 1, 1),
        **dict.fromkeys(STAGES[2:]),
    }
    manifest = Snapshot(sample_here(config)).manifest
    assert manifest.n_failed == 0
    given = {step.stage: (step.given, 0, 0) for step in manifest.funnel if step.stage in STAGES}
    assert given["generate_samples"] == (3, 0, 0)
    assert told_ahead(look_ahead, config) == given


def test_what_rewriting_would_do_is_told_first(tmp_path: Path) -> None:
    few: dict[str, Any] = {"grammar": {"n_train": 2, "n_test": 0}, "seeds_train": 1}
    config = tiny_samples(tmp_path, **few, rewrite={"form": "rewritten"})
    assert told_ahead(look_ahead, config) == {"rewrite_prompts": (0, 2, 0)} | dict.fromkeys(STAGES, (0, 0, 2))
    first, second = (config.work.save_shard(shard) for shard in plan_shards(plan_prompts(config).prompts, 1))
    run_shard(config, first, ["rewrite_prompts"])
    assert told_ahead(look_ahead, config) == {
        "rewrite_prompts": (1, 1, 0),
        "generate_samples": (0, 1, 1),
        **dict.fromkeys(STAGES[1:], (0, 0, 2)),
    }
    run_shard(config, second, ["rewrite_prompts"])
    every_sample = {"generate_samples": (0, 2, 0)} | dict.fromkeys(STAGES[1:], (0, 0, 2))
    assert told_ahead(look_ahead, config) == {"rewrite_prompts": (2, 0, 0)} | every_sample
    for form in ("from_to", "structured", None):  # these are functions of the labels: no stage
        assert told_ahead(look_ahead, tiny_samples(tmp_path, **few, rewrite={"form": form})) == every_sample
