"""flows.curate_matrix11k: one config for the command line, the deployment and the tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from flows.curate_matrix11k import CLIP_STAGES, CurateMatrix11k, main
from flows.engine.pipeline import shard_before
from schemas.clip import Clip
from tasks.engine.shards import Shard, load_shard
from tasks.engine.stage import run_stage, state_path
from tasks.ground_instances import GroundConfig
from tests.support.builders import make_clip

ROOT = Path(__file__).parents[2]


def test_the_deployments_parameters_are_a_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_MANIFEST", "/videos/m.jsonl")
    monkeypatch.setenv("TRIPTYCH_ROOT", "/data")
    text = (ROOT / "prefect.yaml").read_text()
    for name in ("TRIPTYCH_MANIFEST", "TRIPTYCH_ROOT"):
        text = text.replace("{{ $" + name + " }}", os.environ[name])
    parents = [d for d in yaml.safe_load(text)["deployments"] if d["entrypoint"].endswith(":curate_matrix11k")]
    assert [d["name"] for d in parents] == ["default", "nightly", "paper"]
    for deployment in parents:
        config = CurateMatrix11k.model_validate(deployment["parameters"]["config"])
        assert (config.manifest, config.root) == (Path("/videos/m.jsonl"), Path("/data"))
        assert config.dispatch.deployment == "curate-matrix11k-shard/default"


def test_a_profile_fills_in_what_is_not_named() -> None:
    def backends(**given: Any) -> tuple[str, ...]:
        config = CurateMatrix11k(manifest=Path("m.jsonl"), **given)
        assert CurateMatrix11k.model_validate_json(config.model_dump_json()) == config
        return config.extract.llm, config.ground.grounding, config.ground.vlm, config.propagate.masks

    assert backends() == backends(profile="embedded") == ("rules", "colour", "rules", "flow")
    assert backends(profile="paper") == ("openai", "groundingdino", "openai", "sam2")
    assert backends(profile="paper", ground={"vlm": "rules"}) == ("openai", "groundingdino", "rules", "sam2")
    assert backends(profile="paper", ground=GroundConfig(n_frames=3)) == ("openai", "groundingdino", "openai", "sam2")
    with pytest.raises(ValidationError, match="profile"):
        backends(profile=["paper"])


def test_planning_the_papers_run_needs_no_model_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parents and CPU workers name every stage's answers; only GPU workers have the models extra."""
    for role in ("LLM", "VLM"):
        monkeypatch.setenv(f"TRIPTYCH_{role}_BASE_URL", "http://127.0.0.1:9/v1")
        monkeypatch.setenv(f"TRIPTYCH_{role}_MODEL", "tiny")
    monkeypatch.setitem(sys.modules, "torch", None)
    for given in ({}, {"ground": {"grounding": "transformers"}, "propagate": {"masks": "transformers"}}):
        config = CurateMatrix11k.model_validate({"manifest": "m.jsonl", "profile": "paper", **given})
        assert all(config.stage(name).fingerprint for name in CLIP_STAGES)


def test_the_config_is_strict_and_described() -> None:
    with pytest.raises(ValueError, match="Extra inputs"):
        CurateMatrix11k.model_validate({"manifest": "m.jsonl", "manifset": "typo"})
    schema = CurateMatrix11k.model_json_schema()
    for stage in ("SplitConfig", "ExtractConfig", "GroundConfig", "PropagateConfig", "CheckConfig", "EndpointConfig"):
        for name, field in schema["$defs"][stage]["properties"].items():
            assert field.get("description"), f"{stage}.{name}"


@pytest.mark.parametrize("manifest", ["", "."])
def test_a_manifest_that_was_left_empty_is_refused(manifest: str) -> None:
    """An unset $TRIPTYCH_MANIFEST must not mean the folder that the worker happens to stand in."""
    with pytest.raises(ValueError, match="manifest"):
        CurateMatrix11k.model_validate({"manifest": manifest})


def test_a_bad_option_is_one_readable_message() -> None:
    with pytest.raises(SystemExit, match=r"extract\.min_contactness\n +Input should be less than or equal to 5"):
        main(["--manifest", "m.jsonl", "--extract.min-contactness", "9"])


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
    assert [config.stage(name).name for name in CLIP_STAGES] == list(CLIP_STAGES)
