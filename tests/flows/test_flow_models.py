"""Whole runs with every production backend at once: tiny random networks, saved and loaded as a user's checkpoints
are, and a real endpoint that answers under each request's JSON schema."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from flows.curate_dsr import CurateDsr
from flows.curate_matrix11k import CurateMatrix11k
from schemas.mask_track import Tracks
from schemas.matrix11k import TABLES
from tasks.backends.sam2_video import Sam2Config
from tasks.engine.snapshots import Snapshot
from tests.support.dsr_runs import sample_here
from tests.support.endpoint import LocalEndpoint, sample
from tests.support.flow_runs import (
    LENIENT,
    REPOSITORY,
    assert_same_snapshot,
    carry,
    clip_rows,
    draw_input,
    ends,
    point_at,
    run_anyway,
    run_here,
    table,
    watch,
    write_manifest,
)
from tests.support.reader import read_caption

pytestmark = pytest.mark.models

# Five captioned videos that lie beside a developer's checkout.
CLIPS = Path(os.environ.get("TRIPTYCH_CLIPS", REPOSITORY.parent / "shared" / "clips"))


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Checkpoints of tiny networks: the config sections that name them."""
    from tests.support import tiny_dino, tiny_sam2

    folder = tmp_path_factory.mktemp("weights")
    (folder / "dino").mkdir()
    (folder / "sam2").mkdir()
    architecture, checkpoint = tiny_sam2.save_native(folder / "sam2")
    return {
        "dino": tiny_dino.save_native(folder / "dino").model_copy(update={"box_threshold": 0.3}),
        "sam2": Sam2Config(architecture=str(architecture), checkpoint=str(checkpoint), precision="float32"),
    }


@pytest.fixture(scope="module")
def ported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same for transformers' networks."""
    from tests.support import tiny_dino, tiny_sam2

    folder = tmp_path_factory.mktemp("ported")
    return {
        "dino": tiny_dino.save_port(folder / "dino").model_copy(update={"box_threshold": 0.3}),
        "sam2": Sam2Config(checkpoint=str(tiny_sam2.save_ported(folder / "sam2")), precision="float32"),
    }


def answer(request: dict[str, Any]) -> dict[str, Any] | None:
    """The caption rules' answers to the LLM's turns, and a VLM that is content with most boxes."""
    if request["response_format"]["json_schema"]["name"] != "VerifyReply":
        return read_caption(request)
    pictures = json.dumps(request["messages"])
    content = hashlib.sha256(pictures.encode()).digest()[0] % 4 > 0
    return {"match": content, "confidence": 0.9, "rationale": "so it seems"}


def run_paper(manifest: Path, root: Path, sections: dict[str, Any], **others: Any) -> tuple[CurateMatrix11k, Path]:
    config = CurateMatrix11k(profile="paper", manifest=manifest, root=root, check=LENIENT, **sections, **others)
    return config, run_anyway(config, report=True)  # of random networks


def makers(snapshot: Path) -> dict[str, str]:
    """{stage: backend} as the snapshot tells."""
    return {maker.stage: maker.backend for maker in Snapshot(snapshot).manifest.made_by}


def test_every_production_backend_at_once(networks, tmp_path, monkeypatch) -> None:
    manifest = draw_input(tmp_path / "in", [carry("yellow", "red"), carry("blue", "orange")])
    with LocalEndpoint(answers=answer) as server:
        point_at(server, monkeypatch)
        config, snapshot = run_paper(manifest, tmp_path / "out", networks)
        assert makers(snapshot) == {
            "split_scenes": "scenedetect",
            "extract_triplets": "openai",
            "ground_instances.detector": "groundingdino",
            "ground_instances.verifier": "openai",
            "propagate_masks": "sam2",
            "check_tracks.propagator": "sam2",
            "check_tracks.verifier": "openai",
        }
        # What becomes of random masks is chance; that every clip got one a frame and an end is not.
        assert {stage for _, stage, _ in ends(snapshot).values()} == {"check_tracks"}
        for row in clip_rows(config, snapshot):
            tracks = config.work.result(row, Tracks)
            assert [len(track.counts) for track in tracks.tracks] == [12, 12]
            assert [maker.backend for maker in tracks.made_by] == ["sam2"]
        calls = server.calls
        with watch(config) as made:
            again = run_here(config)
        assert made.counts == {}
        assert server.calls == calls
    assert_same_snapshot(again, snapshot)


def test_generated_videos_are_tracked_and_scored(networks, tmp_path) -> None:
    from tasks.training.models.tiny import save_tiny_wan

    wan = {"model": str(save_tiny_wan(tmp_path / "wan", seed=1)), "steps": 1, "precision": "float32"}
    config = CurateDsr(
        profile="paper",
        root=tmp_path / "out",
        diffusers=wan,
        grammar={"n_train": 1, "n_test": 1},
        generate={"n_frames": 9, "width": 64, "height": 64},
        ground={"n_frames": 3},
        score={"validity": "rivals", "min_found": 1, "min_rival_score": 1},
        seeds_train=2,
        seeds_test=1,
        **networks,
    )
    snapshot = sample_here(config, report=True)
    assert makers(snapshot) == {
        "generate_samples": "diffusers",
        "ground_instances.detector": "groundingdino",
        "ground_instances.verifier": "none",
        "propagate_masks": "sam2",
        "ask_relations": "boxes",
    }
    # What random networks make of a prompt is chance; that every sample was generated and tracked is not.
    manifest = Snapshot(snapshot).manifest
    assert manifest.n_inputs == manifest.n_accepted + manifest.n_rejected == 3
    assert {end["stage"] for end in table(snapshot, "outcomes").to_dicts()} <= {"score_dsr", "ask_relations"}
    with watch(config) as made:
        assert_same_snapshot(sample_here(config), snapshot)
    assert made.counts == {}


def test_transformers_in_both_places(ported, tmp_path, monkeypatch) -> None:
    manifest = draw_input(tmp_path / "in", [carry("yellow", "red")])
    with LocalEndpoint(answers=answer) as server:
        point_at(server, monkeypatch)
        choice = {"ground": {"grounding": "transformers"}, "propagate": {"masks": "transformers"}}
        _, snapshot = run_paper(manifest, tmp_path / "out", ported, **choice)
    assert makers(snapshot)["ground_instances.detector"] == makers(snapshot)["propagate_masks"] == "transformers"
    assert makers(snapshot)["ground_instances.verifier"] == "openai"
    assert len(ends(snapshot)) == 1


@pytest.fixture(scope="module")
def local(ported, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same with language models in this process."""
    from tests.support import tiny_chat

    folder = tmp_path_factory.mktemp("language")
    llm, vlm = tiny_chat.save_llm(folder / "llm"), tiny_chat.save_vlm(folder / "vlm")
    return {**ported, "local": {"llm": str(llm), "vlm": str(vlm), "max_tokens": 1000}}


def curate_locally(manifest: Path, root: Path, sections: dict[str, Any]) -> tuple[CurateMatrix11k, Path]:
    config = CurateMatrix11k(profile="local", manifest=manifest, root=root, check=LENIENT, **sections)
    return config, run_anyway(config, report=True)


def test_the_local_profile_is_the_papers_chain_in_one_process(local, tmp_path, monkeypatch, caplog) -> None:
    """No server, no variable of one; what the language models say is told them, and their schemas hold them to it."""
    from tests.support import tiny_chat

    for role in ("LLM", "VLM"):
        monkeypatch.delenv(f"TRIPTYCH_{role}_BASE_URL", raising=False)
    tiny_chat.say(monkeypatch, answer)
    manifest = draw_input(tmp_path / "in", [carry("yellow", "red"), carry("blue", "orange")])
    with caplog.at_level("INFO"):
        config, snapshot = curate_locally(manifest, tmp_path / "out", local)
    assert makers(snapshot) == {
        "split_scenes": "scenedetect",
        **dict.fromkeys(("extract_triplets", "propagate_masks"), "transformers"),
        **dict.fromkeys(("ground_instances.detector", "ground_instances.verifier"), "transformers"),
        **dict.fromkeys(("check_tracks.propagator", "check_tracks.verifier"), "transformers"),
    }
    assert {stage for _, stage, _ in ends(snapshot).values()} == {"check_tracks"}
    told = [record.getMessage() for record in caplog.records]
    first = next(place for place, line in enumerate(told) if line.startswith("reads captions: llm sha256:"))
    for line, beginning in zip(
        told[first : first + 6],
        (
            "reads captions: llm",
            "finds boxes: ",
            "verifies boxes: vlm",
            "tracks masks: ",
            "memory of ",
            "a clip of 10 s",
        ),
        strict=True,
    ):
        assert line.startswith(beginning)
    assert all("a local path" in line for line in told[first : first + 4])
    assert first < next(place for place, line in enumerate(told) if "read_manifest" in line)
    with watch(config) as made:
        again = run_here(config)
    assert made.counts == {}
    assert_same_snapshot(again, snapshot)


@pytest.mark.parametrize("what", ["babble", "random networks"])
def test_whatever_local_models_say_every_row_has_its_end(local, tmp_path, monkeypatch, what) -> None:
    from tests.support import tiny_chat

    if what == "babble":  # replies that end, and mean nothing
        tiny_chat.say(monkeypatch, lambda request: sample(request["response_format"]["json_schema"]["schema"], request))
    else:
        local = {**local, "local": {**local["local"], "max_tokens": 50, "max_retries": 1}}
    manifest = draw_input(tmp_path / "in", [carry("yellow", "red"), carry("blue", "orange")])
    _, snapshot = curate_locally(manifest, tmp_path / "out", local)
    found = ends(snapshot)
    assert len(found) == 2
    if what == "random networks":
        assert {(status, stage) for status, stage, _ in found.values()} == {("failed", "extract_triplets")}


def test_sampled_replies_end_every_row(networks, tmp_path, monkeypatch) -> None:
    """Valid, meaningless replies to all four turns and to the verifier: nobody knows the end, but each row has one."""
    manifest = draw_input(tmp_path / "in")
    with LocalEndpoint() as server:
        point_at(server, monkeypatch)
        _, snapshot = run_paper(manifest, tmp_path / "out", networks)
    assert len(ends(snapshot)) == 6


def test_another_checkpoint_makes_only_what_it_makes(networks, tmp_path, monkeypatch) -> None:
    from tests.support import tiny_sam2

    manifest = draw_input(tmp_path / "in", [carry("yellow", "red")])
    (tmp_path / "other").mkdir()
    _, other = tiny_sam2.save_native(tmp_path / "other", seed=1)
    with LocalEndpoint(answers=answer) as server:
        point_at(server, monkeypatch)
        config, _ = run_paper(manifest, tmp_path / "out", networks)
        moved = config.model_copy(update={"sam2": config.sam2.model_copy(update={"checkpoint": str(other)})})
        with watch(config) as made:
            run_here(moved)
    assert set(made.counts) == {"propagate_masks", "check_tracks"}


@pytest.mark.skipif(
    not CLIPS.is_dir(), reason="no real clips beside this checkout: name their folder in TRIPTYCH_CLIPS"
)
def test_a_real_clip(networks, tmp_path, monkeypatch) -> None:
    lines = [json.loads(line) for line in (CLIPS / "captions.jsonl").read_text().splitlines()]
    dog = next(line for line in lines if line["video"] == "dog.mp4")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / dog["video"]).symlink_to(CLIPS / dog["video"])
    manifest = write_manifest(folder, [dog])
    with LocalEndpoint(answers=answer) as server:
        point_at(server, monkeypatch)
        _, snapshot = run_paper(manifest, tmp_path / "out", networks, allow_outside=True)
    found = ends(snapshot)
    assert found
    assert {stage for _, stage, _ in found.values()} <= {"check_tracks"}  # every clip came through the networks
    assert all(len(list((snapshot / name).glob("*.parquet"))) for name in TABLES)
