"""Deployed runs that nothing disturbs: what they publish, show, refuse and reuse."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flows.engine.config import DispatchConfig
from tasks.engine.snapshots import Snapshot
from tests.support.deployed import NIGHTLY, PARENT, SCENES, Deployed, clip_shards, name_scenes
from tests.support.dsr_runs import sample_here, tiny_samples
from tests.support.flow_runs import (
    DRAWN_OPTIONS,
    assert_same_snapshot,
    ends,
    start_command,
    watch,
)
from tests.support.prefect_stack import (
    BLENDER,
    GPU,
)
from tests.support.scene_runs import simulate_here, tiny_scenes
from tests.support.snapshots import latest_folder
from tests.support.stages import MATRIX11K_STAGES

pytestmark = pytest.mark.slow


def test_the_deployed_run_publishes_what_the_command_publishes(
    deployed: Deployed, published: Path, tmp_path: Path
) -> None:
    shutil.copytree(deployed.inputs, tmp_path / "input")
    manifest = name_scenes(tmp_path / "input", SCENES[:2])
    program = [sys.executable, "-m", "flows.curate_matrix11k", "--manifest", str(manifest), "--root", str(tmp_path)]
    program += DRAWN_OPTIONS
    # The stack's server, not one of its own, which takes another ten seconds to start.
    command = start_command(program, {"PREFECT_API_URL": deployed.stack.api})
    log, _ = command.communicate(timeout=180)
    assert command.returncode == 0, log
    assert_same_snapshot(published, latest_folder(tmp_path / "snapshots"))
    assert [end[0] for end in ends(published).values()] == ["accepted"] * 2


def test_simulated_clips_are_rendered_by_another_pools_worker(deployed: Deployed, tmp_path: Path) -> None:
    stack = deployed.stack
    stack.start_worker(BLENDER)
    dispatch = DispatchConfig(
        deployment="curate-kinemask-shard/default",
        routes={"render_clips": "curate-kinemask-shard/blender"},
        poll_s=1,
    )
    config = tiny_scenes(tmp_path / "there", n_test=0, dispatch=dispatch)
    parent = stack.start("curate-kinemask/blender", {"config": config.model_dump(mode="json")})
    stack.wait_for(parent, "COMPLETED")
    asked = Counter(tuple(run["parameters"]["stages"]) for run in stack.shards_of(parent))
    before, after = ("simulate_scenes",), ("caption_clips", "write_shard")
    assert asked == {before: 2, ("render_clips",): 2, after: 2}
    assert_same_snapshot(latest_folder(config.snapshots), simulate_here(tiny_scenes(tmp_path / "here", n_test=0)))


def test_samples_are_generated_and_tracked_by_a_resident_worker(deployed: Deployed, tmp_path: Path) -> None:
    stack = deployed.stack
    stack.start_worker(GPU)
    on_gpu = ("generate_samples", "ground_instances", "propagate_masks")
    dispatch = DispatchConfig(
        deployment="curate-dsr-shard/default", routes=dict.fromkeys(on_gpu, "curate-dsr-shard/gpu"), poll_s=1
    )
    few: dict[str, Any] = {"grammar": {"n_train": 2, "n_test": 0}, "seeds_train": 1, "shard_size": 1}
    config = tiny_samples(tmp_path / "there", **few, rewrite={"form": "rewritten"}, dispatch=dispatch)
    parent = stack.start("curate-dsr/default", {"config": config.model_dump(mode="json")})
    stack.wait_for(parent, "COMPLETED")
    asked = Counter(tuple(run["parameters"]["stages"]) for run in stack.shards_of(parent))
    assert asked == {("rewrite_prompts",): 2, on_gpu: 2, ("score_dsr", "ask_relations", "write_shard"): 2}
    assert_same_snapshot(
        latest_folder(config.snapshots),
        sample_here(tiny_samples(tmp_path / "here", **few, rewrite={"form": "rewritten"})),
    )


def test_wrong_parameters_are_refused_with_their_name(deployed: Deployed) -> None:
    wrong = json.dumps({"manifest": "captions.jsonl", "shard_size": 0})
    assert "shard_size" in deployed.stack.cli("deployment", "run", PARENT, "--param", f"config={wrong}", ok=False)


def test_a_run_that_fails_fails_the_command(deployed: Deployed, tmp_path: Path) -> None:
    config = json.dumps({"manifest": str(tmp_path / "missing.jsonl"), "root": str(tmp_path)})
    deployed.stack.cli("deployment", "run", PARENT, "--watch", "--param", f"config={config}", ok=False)


def test_the_nightly_refresh_is_on_the_schedule(deployed: Deployed) -> None:
    listed = deployed.stack.cli("deployment", "schedule", "ls", NIGHTLY)
    assert re.search(r"cron: 0 2 \* \* \*\W+True", listed), listed


def test_a_refresh_computes_only_what_is_new(deployed: Deployed, published: Path) -> None:
    stack, earlier = deployed.stack, Snapshot(published).manifest
    name_scenes(deployed.inputs, SCENES)
    with watch(deployed.config) as computed:
        refresh = stack.start(NIGHTLY, deployed.parameters_of(NIGHTLY))
        stack.wait_for(refresh, "COMPLETED")
    assert computed.counts == dict.fromkeys(("split_scenes", *MATRIX11K_STAGES), 1)
    refreshed = Snapshot(deployed.snapshot).manifest
    assert refreshed.n_accepted == 3
    old, new = {s.shard_id for s in earlier.shards}, {s.shard_id for s in refreshed.shards}
    assert old < new
    assert {Path(run["parameters"]["shard"]).parent.name for run in clip_shards(stack, refresh)} == new - old
    assert [run["name"] for run in clip_shards(stack, refresh)] == ["shard 2 of 2, clip 2"]

    with watch(deployed.config) as computed:
        nothing_new = stack.start(NIGHTLY, deployed.parameters_of(NIGHTLY))
        stack.wait_for(nothing_new, "COMPLETED")
    assert not computed.counts
    assert stack.shards_of(nothing_new) == []
    assert deployed.snapshot.name == refreshed.snapshot_id
    assert published.is_dir()
