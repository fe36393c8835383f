"""flows.curate_matrix11k: one config for the command line, the deployment and the tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from pydantic_settings import CliApp

from flows.curate_matrix11k import FLOW, CurateMatrix11k, look_ahead, read_listing
from flows.engine.pipeline import run_shard, shard_before
from schemas.clip import Clip
from schemas.source import Source
from tasks.backends.local_models import DINO, LLM, SAM2, VLM
from tasks.check_tracks import CheckConfig
from tasks.engine.shards import Shard, load_shard
from tasks.engine.snapshots import Snapshot
from tasks.engine.stage import run_stage, state_path
from tasks.ground_instances import GroundConfig
from tasks.split_scenes import result_of
from tests.support.builders import make_clip
from tests.support.flow_runs import (
    SCENES,
    draw_input,
    ends,
    ends_by_video,
    run_here,
    tiny_config,
    told_ahead,
    write_manifest,
)

ROOT = Path(__file__).parents[2]
STAGES = ["extract_triplets", "ground_instances", "propagate_masks", "check_tracks"]


def test_the_deployments_parameters_are_a_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_MANIFEST", "/videos/m.jsonl")
    monkeypatch.setenv("TRIPTYCH_ROOT", "/data")
    text = (ROOT / "prefect.yaml").read_text()
    for name in ("TRIPTYCH_MANIFEST", "TRIPTYCH_ROOT"):
        text = text.replace("{{ $" + name + " }}", os.environ[name])
    parents = [d for d in yaml.safe_load(text)["deployments"] if d["entrypoint"].endswith(".curate_matrix11k")]
    assert [d["name"] for d in parents] == ["default", "nightly", "paper"]
    for deployment in parents:
        config = CurateMatrix11k.model_validate(deployment["parameters"]["config"])
        assert (config.manifest, config.root) == (Path("/videos/m.jsonl"), Path("/data"))
        assert config.dispatch.deployment == "curate-matrix11k-shard/default"
        assert config.min_yield == (0.2 if deployment["name"] == "nightly" else 0)


def test_a_profile_fills_in_what_is_not_named() -> None:
    def backends(**given: Any) -> tuple[str, ...]:
        config = CurateMatrix11k(manifest=Path("m.jsonl"), **given)
        assert CurateMatrix11k.model_validate_json(config.model_dump_json()) == config
        return config.extract.llm, config.ground.grounding, config.ground.vlm, config.propagate.masks

    assert backends() == backends(profile="embedded") == ("rules", "colour", "rules", "flow")
    assert backends(profile="paper") == ("openai", "groundingdino", "openai", "sam2")
    assert backends(profile="local") == ("transformers",) * 4
    assert backends(profile="paper", ground={"vlm": "rules"}) == ("openai", "groundingdino", "rules", "sam2")
    assert backends(profile="paper", ground=GroundConfig(n_frames=3)) == ("openai", "groundingdino", "openai", "sam2")
    with pytest.raises(ValidationError, match="profile"):
        backends(profile=["paper"])


def test_the_local_profile_names_small_models_by_their_commits() -> None:
    config = CurateMatrix11k(manifest=Path("m.jsonl"), profile="local")
    assert (config.dino.checkpoint, config.sam2.checkpoint, config.sam2.architecture) == (DINO, SAM2, "hiera_t")
    assert (config.local.llm, config.local.vlm) == (LLM, VLM)
    models = [maker.model for stage in config.shard_stages for maker in stage.made_by]
    assert models[:4] == [LLM, DINO, VLM, SAM2]
    own = CurateMatrix11k(manifest=Path("m.jsonl"), profile="local", dino={"checkpoint": "owner/name"})
    assert (own.dino.checkpoint, own.dino.batch_frames) == ("owner/name", 1)
    paper = CurateMatrix11k(manifest=Path("m.jsonl"), profile="paper")
    assert (paper.dino.checkpoint, paper.sam2.checkpoint) == (None, None)


def test_planning_the_papers_run_needs_no_model_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parents and CPU workers name every stage's answers; only GPU workers have the models extra."""
    for role in ("LLM", "VLM"):
        monkeypatch.setenv(f"TRIPTYCH_{role}_BASE_URL", "http://127.0.0.1:9/v1")
        monkeypatch.setenv(f"TRIPTYCH_{role}_MODEL", "tiny")
    monkeypatch.setitem(sys.modules, "torch", None)
    for given in ({}, {"ground": {"grounding": "transformers"}, "propagate": {"masks": "transformers"}}):
        config = CurateMatrix11k.model_validate({"manifest": "m.jsonl", "profile": "paper", **given})
        assert all(stage.fingerprint for stage in config.stages)
    local = CurateMatrix11k(manifest=Path("m.jsonl"), profile="local")
    assert all(stage.fingerprint for stage in local.stages)


def test_the_config_is_strict_and_described() -> None:
    with pytest.raises(ValueError, match="Extra inputs"):
        CurateMatrix11k.model_validate({"manifest": "m.jsonl", "manifset": "typo"})
    schema = CurateMatrix11k.model_json_schema()
    for section in ("split", "extract", "ground", "propagate", "check", "endpoint"):
        _, settings = schema["properties"][section]["anyOf"]
        assert settings["additionalProperties"] is False
        for name, field in settings["properties"].items():
            assert field.get("description"), f"{section}.{name}"


@pytest.mark.parametrize("manifest", ["", "."])
def test_a_manifest_that_was_left_empty_is_refused(manifest: str) -> None:
    """An unset $TRIPTYCH_MANIFEST must not mean the folder that the worker happens to stand in."""
    with pytest.raises(ValueError, match="manifest"):
        CurateMatrix11k.model_validate({"manifest": manifest})


def test_a_bad_option_is_one_readable_message() -> None:
    with pytest.raises(
        SystemExit, match=r"^--extract\.min-contactness: Input should be less than or equal to 5, got '9'\n"
    ):
        FLOW.main(["--manifest", "m.jsonl", "--extract.min-contactness", "9"])


def test_every_stage_is_named_as_it_is_called() -> None:
    config = CurateMatrix11k(manifest=Path("m.jsonl"))
    assert config.shard_stage_names == STAGES
    assert [step.stage for step in config.steps] == [stage.name for stage in config.stages] == ["split_scenes", *STAGES]
    assert [config.stage(name).name for name in STAGES] == STAGES
    with pytest.raises(ValueError, match="no stage 'score_dsr'; there are split_scenes, extract_triplets"):
        config.stage("score_dsr")


def test_a_route_names_a_stage() -> None:
    routes = dict.fromkeys(["split_scenes", *STAGES, "write_shard"], "curate-matrix11k-shard/gpu")
    config = {"manifest": "m.jsonl", "dispatch": {"routes": routes}}
    assert CurateMatrix11k.model_validate(config).dispatch.routes == routes
    there = f"split_scenes, {', '.join(STAGES)}, write_shard"
    with pytest.raises(ValidationError, match=f"routes: there is no stage ground; there are {there}"):
        CurateMatrix11k.model_validate(config | {"dispatch": {"routes": routes | {"ground": "a/b"}}})
    with pytest.raises(SystemExit, match=f"there is no stage publish_snapshot; there are {there}"):
        FLOW.main(["--manifest", "m.jsonl", "--dispatch.routes", '{"publish_snapshot": "a/b"}'])


def test_a_limit_takes_the_first_lines_and_they_are_accounted_for(tmp_path: Path) -> None:
    """A line that is no source counts as one."""
    draw_input(tmp_path / "in", SCENES[:2])
    lines = [{"video": "gone.mp4"}, *(scene.line for scene in SCENES[:2])]
    manifest = write_manifest(tmp_path / "in", lines)
    options = ["--manifest", str(manifest), "--root", str(tmp_path / "out"), "--ground.n-frames", "2"]
    snapshot = run_here(CliApp.run(CurateMatrix11k, cli_args=[*options, "--limit", "2"]))
    assert Snapshot(snapshot).manifest.n_given == 2
    assert sorted(ends(snapshot).values()) == [
        ("accepted", "check_tracks", None),
        ("failed", "read_manifest", "missing_file"),
    ]
    assert ends_by_video(snapshot).keys() == {SCENES[0].video}
    with pytest.raises(SystemExit, match="limit"):
        FLOW.main([*options, "--limit", "0"])


def test_what_a_run_would_do_is_told_before_it_within_it_and_after_it(tmp_path: Path) -> None:
    """Five sources: two shots in one, one in each other; one is rejected by its caption, one by grounding."""
    config = tiny_config(draw_input(tmp_path / "in"), tmp_path / "out")
    sources = read_listing(config).sources
    assert told_ahead(look_ahead, config) == {"split_scenes": (0, 5, 0)} | dict.fromkeys(STAGES, (0, 0, 5))
    planned = config.work.save_shard(Shard[Source].of(sources[2:3]))
    run_shard(config, planned, ["split_scenes"])
    assert told_ahead(look_ahead, config) == {
        "split_scenes": (1, 4, 0),
        "extract_triplets": (0, 2, 4),
        **dict.fromkeys(STAGES[1:], (0, 0, 6)),
    }
    (row,) = load_shard(state_path(config.work, planned.parent.name, [config.stage("split_scenes")]), Source).rows
    planned = config.work.save_shard(Shard[Clip].of(result_of(config.work, row).clips))
    run_shard(config, planned, STAGES[:1])
    assert told_ahead(look_ahead, config) == {
        "split_scenes": (1, 4, 0),
        "extract_triplets": (2, 0, 4),
        "ground_instances": (0, 2, 4),
        **dict.fromkeys(STAGES[2:], (0, 0, 6)),
    }
    run_shard(config, planned, [*STAGES[1:], "write_shard"])
    assert told_ahead(look_ahead, config) == {"split_scenes": (1, 4, 0)} | dict.fromkeys(STAGES, (2, 0, 4))
    run_here(config)
    after = {
        "split_scenes": (5, 0, 0),
        "extract_triplets": (6, 0, 0),
        "ground_instances": (5, 0, 0),
        "propagate_masks": (4, 0, 0),
        "check_tracks": (4, 0, 0),
    }
    assert told_ahead(look_ahead, config) == after
    stricter = config.model_copy(update={"check": CheckConfig(min_presence=0.35)})
    assert told_ahead(look_ahead, stricter) == after | {"check_tracks": (0, 4, 0)}


def test_a_later_leg_goes_on_from_what_the_earlier_one_left(tmp_path: Path) -> None:
    """Stages on another machine find the shard by the stages before them, without being told where."""
    config = CurateMatrix11k(manifest=tmp_path / "m.jsonl", root=tmp_path / "data")
    shard = Shard[Clip].of([make_clip()])
    planned = config.work.save_shard(shard)
    assert shard_before(config, planned, "extract_triplets") == state_path(config.work, shard.shard_id, [])
    after = run_stage(config.work, load_shard(planned, Clip), config.stage("extract_triplets"))
    assert shard_before(config, planned, "ground_instances") == after
    changed = config.model_copy(update={"extract": config.extract.model_copy(update={"min_dynamism": 3})})
    assert shard_before(changed, planned, "ground_instances") != after
