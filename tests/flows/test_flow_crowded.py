"""A clip that names more instances than are tracked, cut into parts: all are accounted for, and so is the whole."""

from __future__ import annotations

from pathlib import Path

from schemas.clip import Clip
from tasks.engine.snapshots import Snapshot
from tasks.extract_triplets import ExtractConfig
from tests.support.flow_runs import Scene, assert_same_snapshot, carry, draw_input, ends, run_here, tiny_config, watch


def test_a_crowded_clip_is_rejected_and_its_parts_are_curated(tmp_path: Path) -> None:
    one = carry("yellow", "red")
    both = Scene(one.name, one.shots, f"{one.caption} A blue dog carries an orange ball.")
    manifest = draw_input(tmp_path / "in", [both, carry("green", "blue")])
    config = tiny_config(manifest, tmp_path / "out").model_copy(
        update={"extract": ExtractConfig(max_instances=2, over_cap="split")}
    )
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
