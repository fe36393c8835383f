"""A changed prompt, threshold, model or input byte computes again exactly what depends on it, and nothing else.

Each test runs the flow, changes one thing, runs it again and looks at which results were made.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.curate_matrix11k import CurateMatrix11k
from schemas.matrix11k import TABLES
from tasks import check_tracks, extract_triplets, ground_instances
from tasks.backends.chat import captions
from tasks.check_tracks import CheckConfig
from tasks.engine.snapshots import Snapshot
from tasks.extract_triplets import ExtractConfig
from tasks.ground_instances import GroundConfig
from tasks.prompts import Prompt, load_prompt
from tests.support.endpoint import LocalEndpoint
from tests.support.flow_runs import (
    DRAWN,
    SCENES,
    answer_of,
    assert_same_snapshot,
    carry,
    computed_for,
    draw_input,
    draw_video,
    ends,
    files_of,
    point_at,
    run_here,
    table,
    tiny_config,
    watch,
    write_manifest,
)

PASSED_GROUNDING = 4  # of the 6 clips of SCENES, one is rejected by its caption and one by grounding


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> CurateMatrix11k:
    """A finished run; tests work on copies of it."""
    folder = tmp_path_factory.mktemp("first")
    config = tiny_config(draw_input(folder / "in"), folder / "out")
    run_here(config)
    return config


@pytest.fixture
def config(first_run: CurateMatrix11k, tmp_path: Path) -> CurateMatrix11k:
    return copied(first_run, tmp_path)


def copied(run: CurateMatrix11k, folder: Path) -> CurateMatrix11k:
    """A finished run with its input and its work, in another folder."""
    shutil.copytree(run.manifest.parent.parent, folder, dirs_exist_ok=True)
    return run.model_copy(update={"manifest": folder / "in" / "manifest.jsonl", "root": folder / "out"})


def published(config: CurateMatrix11k) -> Path:
    return config.snapshots / (config.snapshots / "LATEST").read_text().strip()


# --- Nothing changed ---------------------------------------------------------------------------


def test_nothing_changed_computes_nothing_and_publishes_the_same(config: CurateMatrix11k) -> None:
    before = files_of(config.root)
    with watch(config) as made:
        snapshot = run_here(config)
    assert made.counts == {}
    assert snapshot == published(config)
    assert files_of(config.root) == before


@pytest.mark.slow
def test_two_roots_hold_the_same_bytes(config: CurateMatrix11k, tmp_path: Path) -> None:
    other = run_here(config.model_copy(update={"root": tmp_path / "elsewhere"}))
    assert_same_snapshot(other, published(config))
    assert any(name.endswith(".parquet") for name in files_of(other))


def test_the_manifests_order_and_place_change_no_result(config: CurateMatrix11k) -> None:
    folder = config.manifest.parent
    folder.rename(folder.with_name("moved"))
    manifest = write_manifest(folder.with_name("moved"), [s.line for s in reversed(SCENES)])
    with watch(config) as made:
        run_here(config.model_copy(update={"manifest": manifest}))
    assert made.counts == {}


# --- Settings ----------------------------------------------------------------------------------


def test_a_check_threshold_checks_again_and_nothing_else(config: CurateMatrix11k) -> None:
    changed = config.model_copy(update={"check": CheckConfig(min_presence=0.35)})
    with watch(config) as made:
        snapshot = run_here(changed)
    assert made.counts == {"check_tracks": PASSED_GROUNDING}
    assert set(table(snapshot, "track_checks").filter(measure="presence")["threshold"]) == {0.35}


def test_a_grounding_setting_that_finds_the_same_anchors_propagates_nothing(config: CurateMatrix11k) -> None:
    changed = config.model_copy(update={"ground": GroundConfig(**DRAWN, n_frames=2, max_candidates=4)})
    with watch(config) as made:
        run_here(changed)
    assert made.counts == {"ground_instances": 5}


@pytest.mark.slow
def test_a_grounding_setting_that_finds_other_anchors_propagates_those(config: CurateMatrix11k) -> None:
    before = anchors_of(published(config))
    changed = config.model_copy(update={"ground": GroundConfig(**DRAWN, n_frames=1)})
    with watch(config) as made:
        snapshot = run_here(changed)
    moved = {clip for clip, anchors in anchors_of(snapshot).items() if anchors != before[clip]}
    assert moved
    assert made.counts["ground_instances"] == 5
    assert made.counts["propagate_masks"] == len(moved)
    assert set(made.counts) <= {"ground_instances", "propagate_masks", "check_tracks"}
    assert made.counts.get("check_tracks", 0) <= len(moved)


def anchors_of(snapshot: Path) -> dict[str, list[tuple[Any, ...]]]:
    """{clip: (instance, frame, box) of each anchor}"""
    rows = table(snapshot, "instances").select("clip_id", "instance_id", "anchor_frame", "anchor_box_xyxy").to_dicts()
    found: dict[str, list[tuple[Any, ...]]] = {}
    for row in rows:
        found.setdefault(row["clip_id"], []).append((row["instance_id"], row["anchor_frame"], row["anchor_box_xyxy"]))
    return found


def test_a_triplet_threshold_that_changes_no_triplet_stops_there(config: CurateMatrix11k) -> None:
    changed = config.model_copy(update={"extract": ExtractConfig(min_confidence=0.51)})
    with watch(config) as made:
        run_here(changed)
    assert made.counts == {"extract_triplets": 5}  # one a caption: two clips share theirs


@pytest.mark.parametrize(
    ("module", "following"),
    [
        (extract_triplets, {"extract_triplets": 5}),
        (ground_instances, {"ground_instances": 5}),
        (check_tracks, {"check_tracks": PASSED_GROUNDING}),
    ],
    ids=["extract_triplets", "ground_instances", "check_tracks"],
)
def test_a_stages_new_version_computes_that_stage_again(
    config: CurateMatrix11k, monkeypatch: pytest.MonkeyPatch, module: Any, following: dict[str, int]
) -> None:
    stage = module.stage
    monkeypatch.setattr(module, "stage", lambda *args: dataclasses.replace(stage(*args), version=99))
    with watch(config) as made:
        run_here(config)
    assert made.counts == following


# --- Inputs ------------------------------------------------------------------------------------


def test_one_changed_caption_computes_its_row_only(config: CurateMatrix11k) -> None:
    lines = [scene.line for scene in SCENES]
    lines[0]["caption"] = "A yellow dog carries a red ball across the ground."
    write_manifest(config.manifest.parent, lines)
    with watch(config) as made:
        snapshot = run_here(config)
    assert {s: dict(videos) for s, videos in computed_for(config, snapshot, made).items()} == {
        "extract_triplets": {SCENES[0].video: 1},
        "ground_instances": {SCENES[0].video: 1},
        "check_tracks": {SCENES[0].video: 1},
    }
    # The same anchors on the same pictures: no new mask. The source is another one, and so is cut again. The verifier
    # is given the caption, and asked again.
    assert made.counts == {"split_scenes": 1, "extract_triplets": 1, "ground_instances": 1, "check_tracks": 1}


def test_one_changed_video_computes_its_row_only(config: CurateMatrix11k) -> None:
    before = {row["clip_id"] for row in table(published(config), "clips").to_dicts()}
    draw_video(config.manifest.parent / SCENES[1].video, SCENES[1].shots, seed=7)
    with watch(config) as made:
        snapshot = run_here(config)
    computed = computed_for(config, snapshot, made)
    assert {video for videos in computed.values() for video in videos} == {SCENES[1].video}
    # The caption is the same, so its triplets are.
    assert made.counts["split_scenes"] == made.counts["ground_instances"] == made.counts["propagate_masks"] == 1
    assert "extract_triplets" not in made.counts
    after = {row["clip_id"] for row in table(snapshot, "clips").to_dicts()}
    assert len(before - after) == len(after - before) == 1


def test_a_renamed_video_is_published_under_its_new_path_and_not_computed(config: CurateMatrix11k) -> None:
    folder = config.manifest.parent
    os.renames(folder / SCENES[0].video, folder / "new" / "name.mp4")
    lines = [scene.line for scene in SCENES]
    lines[0]["video"] = "new/name.mp4"
    write_manifest(folder, lines)
    first = published(config)
    before = table(first, "clips")
    with watch(config) as made:
        snapshot = run_here(config)
    assert made.counts == {}
    assert snapshot != first
    after = table(snapshot, "clips")
    assert sorted(after["clip_id"]) == sorted(before["clip_id"])
    assert set(after["video"]) - set(before["video"]) == {"new/name.mp4"}
    assert SCENES[0].video not in set(after["video"])


def test_one_more_source_computes_that_one_and_leaves_the_earlier_files_as_they_are(config: CurateMatrix11k) -> None:
    first = published(config)
    more = carry("orange", "blue")
    draw_input(config.manifest.parent, [*SCENES, more])
    with watch(config) as made:
        second = run_here(config)
    assert made.counts == dict.fromkeys(
        ("check_tracks", "extract_triplets", "ground_instances", "propagate_masks", "split_scenes"), 1
    )
    shards = {name: digest for name, digest in files_of(first).items() if "/shard-" in name}
    assert shards
    assert shards.items() <= files_of(second).items()
    assert len(ends(second)) == len(ends(first)) + 1
    assert read_all(first), "the older snapshot can still be read"


def read_all(snapshot: Path) -> int:
    """Rows of all tables, each checked against its record."""
    return sum(len(Snapshot(snapshot).rows(record, table=name)) for name, record in TABLES.items())


def test_a_removed_row_disappears_and_comes_back_for_nothing(config: CurateMatrix11k) -> None:
    first = published(config)
    draw_input(config.manifest.parent, SCENES[1:])
    with watch(config) as made:
        second = run_here(config)
    assert made.counts == {}
    assert len(ends(second)) == len(ends(first)) - 1
    for name in TABLES:
        if "video" in table(second, name).columns:
            assert SCENES[0].video not in set(table(second, name)["video"])
    draw_input(config.manifest.parent, SCENES)
    with watch(config) as made:
        third = run_here(config)
    assert made.counts == {}
    assert ends(third) == ends(first)
    assert second != first
    assert read_all(first)


# --- Prompts and models ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asked_run(
    first_run: CurateMatrix11k, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[CurateMatrix11k, LocalEndpoint]]:
    """The same input, its captions read by an LLM."""
    with LocalEndpoint(answers=answer_of) as server, pytest.MonkeyPatch.context() as monkeypatch:
        point_at(server, monkeypatch)
        config = copied(first_run, tmp_path_factory.mktemp("asked"))
        config = config.model_copy(update={"extract": ExtractConfig(llm="openai")})
        snapshot = run_here(config)
        assert [end[0] for end in ends(snapshot).values()].count("accepted") == PASSED_GROUNDING
        yield config, server


@pytest.fixture
def asking(asked_run: tuple[CurateMatrix11k, LocalEndpoint], tmp_path: Path) -> CurateMatrix11k:
    return copied(asked_run[0], tmp_path)


@pytest.fixture
def endpoint(asked_run: tuple[CurateMatrix11k, LocalEndpoint]) -> LocalEndpoint:
    """The server, which forgets what it was asked before."""
    asked_run[1].requests.clear()
    return asked_run[1]


def test_an_endpoint_is_not_asked_again_when_nothing_changed(asking: CurateMatrix11k, endpoint: LocalEndpoint) -> None:
    snapshot = published(asking)
    with watch(asking) as made:
        assert run_here(asking) == snapshot
    assert made.counts == {}
    assert endpoint.calls == 0


@pytest.mark.parametrize(
    ("prompt", "n_asked"),
    [("count_interactions", 5), ("list_interactions", 4), ("rate_interaction", 4), ("describe_instances", 4)],
)
def test_a_changed_prompt_asks_its_own_turn_again_and_grounds_nothing_for_the_same_triplets(
    asking: CurateMatrix11k, endpoint: LocalEndpoint, monkeypatch: pytest.MonkeyPatch, prompt: str, n_asked: int
) -> None:
    changed = Prompt(prompt, load_prompt(prompt).text + "\nBe brief.\n", "0" * 64)
    monkeypatch.setattr(captions, "load_prompt", lambda name: changed if name == prompt else load_prompt(name))
    with watch(asking) as made:
        run_here(asking)
    assert made.counts == {"extract_triplets": 5}  # every caption: which turns' prompts it needs is not known before
    assert endpoint.calls == n_asked  # the other turns are answered from the cache
    assert {request["messages"][0]["content"] for request in endpoint.requests} == {changed.text}


def test_another_model_reads_all_captions_again(
    asking: CurateMatrix11k, endpoint: LocalEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_LLM_MODEL", "another")
    with watch(asking) as made:
        snapshot = run_here(asking)
    assert made.counts == {"extract_triplets": 5}
    assert endpoint.calls == 5 + 4 + 4 + 4
    makers = {
        m["model"] for row in table(snapshot, "clips")["made_by"] for m in row if m["stage"] == "extract_triplets"
    }
    assert makers == {"another"}


def test_another_address_of_the_same_model_asks_nothing(
    asking: CurateMatrix11k, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_LLM_BASE_URL", "http://127.0.0.1:9/v1")  # where nobody listens
    with watch(asking) as made:
        run_here(asking)
    assert made.counts == {}
