"""A clip that names more instances than are tracked, cut into parts: all are accounted for, and so is the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.curate_matrix11k import CurateMatrix11k, look_ahead, read_listing
from flows.engine.pipeline import run_shard
from schemas.clip import Clip
from schemas.source import Source
from tasks.engine.shards import Shard, load_shard
from tasks.engine.snapshots import Snapshot
from tasks.engine.stage import state_path
from tasks.extract_triplets import ExtractConfig
from tasks.split_scenes import result_of
from tests.support.flow_runs import (
    Scene,
    assert_same_snapshot,
    carry,
    draw_input,
    ends,
    run_here,
    tiny_config,
    told_ahead,
    watch,
)


@pytest.fixture
def config(tmp_path: Path) -> CurateMatrix11k:
    """Two clips, one of which tells of two dogs and two balls: twice as many as are tracked."""
    one = carry("yellow", "red")
    both = Scene(one.name, one.shots, f"{one.caption} A blue dog carries an orange ball.")
    manifest = draw_input(tmp_path / "in", [both, carry("green", "blue")])
    return tiny_config(manifest, tmp_path / "out").model_copy(
        update={"extract": ExtractConfig(max_instances=2, over_cap="split")}
    )


def test_a_crowded_clip_is_rejected_and_its_parts_are_curated(config: CurateMatrix11k) -> None:
    snapshot = run_here(config)
    published = Snapshot(snapshot).manifest
    assert published.n_inputs == 4 == len(ends(snapshot))
    clips = {clip.clip_id: clip for clip in Snapshot(snapshot).rows(Clip)}
    parts = [clip for clip in clips.values() if clip.n_parts == 2]
    assert [(p.part, p.n_frames) for p in parts] == [(0, 6), (1, 6)]
    crowded = [row for row, (status, stage, reason) in ends(snapshot).items() if reason == "crowded"]
    assert len(crowded) == 1
    assert ends(snapshot)[parts[0].clip_id][0] == "accepted", "the yellow dog is told of first, and is in the picture"
    assert ends(snapshot)[parts[1].clip_id][1] == "ground_instances", "there is no blue dog to be found"
    steps = {step.stage: step for step in published.funnel if step.unit == "clips"}
    assert (steps["extract_triplets"].given, steps["extract_triplets"].rejected) == (4, 1)

    with watch(config) as computed:
        assert_same_snapshot(run_here(config), snapshot)
    assert computed.counts == {}
    assert told_ahead(look_ahead, config) == {"split_scenes": (2, 0, 0)} | {
        stage: (steps[stage].given, 0, 0) for stage in config.shard_stage_names
    }


def test_its_parts_are_foretold_as_soon_as_it_is_known_to_be_crowded(config: CurateMatrix11k) -> None:
    later = ["propagate_masks", "check_tracks"]
    assert told_ahead(look_ahead, config) == {"split_scenes": (0, 2, 0)} | dict.fromkeys(
        config.shard_stage_names, (0, 0, 2)
    )
    planned = config.work.save_shard(Shard[Source].of(read_listing(config).sources))
    run_shard(config, planned, ["split_scenes"])
    rows = load_shard(state_path(config.work, planned.parent.name, [config.stage("split_scenes")]), Source).rows
    clips = [clip for row in rows for clip in result_of(config.work, row).clips]
    run_shard(config, config.work.save_shard(Shard[Clip].of(clips)), ["extract_triplets"])
    assert told_ahead(look_ahead, config) == {
        "split_scenes": (2, 0, 0),
        "extract_triplets": (2, 2, 0),
        "ground_instances": (0, 1, 2),
        **dict.fromkeys(later, (0, 0, 3)),
    }
