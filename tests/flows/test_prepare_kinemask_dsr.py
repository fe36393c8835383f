"""Simulated clips and generated videos become samples, and the recipes train on them: whole flows, tiny networks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from flows.prepare_dsr_samples import PrepareDsrSamples, prepare_dsr_samples
from flows.prepare_kinemask_samples import PrepareKinemaskSamples, prepare_kinemask_samples
from schemas.dsr import SampleRow as DsrSampleRow
from schemas.kinemask import CollisionRow, ObjectRow, SceneClipRow
from schemas.training_samples import (
    EncodingRow,
    SampleObjectRow,
    SampleOutcomeRow,
    SampleRow,
    SampleSceneRow,
    SampleScoreRow,
    SampleVideoRow,
)
from tasks.datasets.kinemask.condition_clips import CONSTANT_PROMPT
from tasks.datasets.kinemask_samples.tables import frames_of
from tasks.datasets.registry import dataset_of
from tasks.engine.snapshots import Snapshot, SnapshotError
from tasks.media.velocity_masks import velocity_masks_of
from tasks.media.video import survey
from tests.support.dsr_runs import sample_here, tiny_samples
from tests.support.scene_runs import TINY, simulate_here, tiny_scenes

N_FRAMES = 13
FIT = {"n_frames": N_FRAMES, "width": 96, "height": 64, "fps": 8, "max_fps": 8}
DSR_FIT = {"n_frames": 5, "width": 64, "height": 48, "fps": 8, "max_fps": 8}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    root = tmp_path_factory.mktemp("kinemask")
    return Snapshot(simulate_here(tiny_scenes(root, scenes=TINY.model_copy(update={"n_frames": N_FRAMES}))))


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    root = tmp_path_factory.mktemp("dsr")
    return Snapshot(sample_here(tiny_samples(root, seeds_test=2, shard_size=4)))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tasks.training.models.tiny import save_tiny_cogvideox, save_tiny_wan

    folder = tmp_path_factory.mktemp("models")
    save_tiny_cogvideox(folder / "cogvideox")
    save_tiny_wan(folder / "wan")
    return folder


def kinemask(root: Path, scenes: Snapshot, models: Path, **changes: Any) -> Snapshot:
    encoder = {"model": str(models / "cogvideox"), "precision": "float32"}
    values = {"root": root, "snapshot": scenes.folder, "fit": FIT, "encoder": encoder, "torch": {"device": "cpu"}}
    return Snapshot(prepare_kinemask_samples.fn(PrepareKinemaskSamples.model_validate(values | changes)))


def dsr(root: Path, generated: Snapshot, models: Path, **changes: Any) -> Snapshot:
    encoder = {"model": str(models / "wan"), "precision": "float32"}
    values = {
        "root": root,
        "snapshot": generated.folder,
        "fit": DSR_FIT,
        "encoder": encoder,
        "torch": {"device": "cpu"},
    }
    return Snapshot(prepare_dsr_samples.fn(PrepareDsrSamples.model_validate(values | {"report": False} | changes)))


@pytest.mark.models
def test_velocity_masks_of_samples_are_those_of_the_clips(scenes: Snapshot, models: Path, tmp_path: Path) -> None:
    from tasks.training.recipes.kinemask.config import variant
    from tasks.training.recipes.kinemask.data import KinemaskSamples

    samples = kinemask(tmp_path, scenes, models)
    judged = {row.row_id: row for row in samples.rows(SampleOutcomeRow)}
    assert judged.keys() == set(scenes.accepted_ids())
    # The tiny tokenizer spells most words, so that a long caption is too long for it.
    assert {row.reason for row in judged.values()} <= {None, "prompt_too_long"}
    assert dataset_of(samples).name == "kinemask-samples"
    assert (tmp_path / "reports" / samples.id / "index.html").is_file()
    clips = {row.clip_id: row for row in scenes.rows(SceneClipRow, samples.accepted_ids())}
    assert {(row.set, row.split) for row in clips.values()} >= {("interactions", "train")}
    rows = {row.clip_id: row for row in samples.rows(SampleRow)}
    assert {clip_id: row.split for clip_id, row in rows.items()} == {c: row.split for c, row in clips.items()}
    assert {row.clip_id: row.set for row in samples.rows(SampleSceneRow)} == {c: row.set for c, row in clips.items()}
    assert all(rows[clip_id].prompt == clip.caption for clip_id, clip in clips.items())
    ours, theirs = samples.rows_by_clip(SampleObjectRow, [*clips]), scenes.rows_by_clip(ObjectRow, [*clips])
    for clip_id in clips:
        masks = velocity_masks_of(ours[clip_id])
        assert masks.shape == (N_FRAMES, 64, 96, 3)
        assert (masks == velocity_masks_of(theirs[clip_id])).all()
    collisions = scenes.rows_by_clip(CollisionRow, [*clips])
    for scene in samples.rows(SampleSceneRow):
        assert scene.collision_frames == sorted(one.frame for one in collisions[scene.clip_id])
    assert {survey(row.video)[1] for row in samples.rows(SampleVideoRow)} == {N_FRAMES}

    size = {"n_frames": N_FRAMES, "width": 96, "height": 64}
    trained = KinemaskSamples(samples, variant("paper", **size))
    assert {row.clip_id for row in trained.samples} == {
        clip_id for clip_id, row in clips.items() if (row.set, row.split) == ("interactions", "train")
    }
    batch: Any = trained.batch([0], 0, "first")
    assert batch.latents.shape == batch.image_latents.shape == (1, 4, 4, 8, 12)
    assert batch.text.shape == (1, 226, 16)


@pytest.mark.models
def test_masks_follow_the_samples_frames_and_size(scenes: Snapshot, models: Path, tmp_path: Path) -> None:
    half = {**FIT, "n_frames": 5, "width": 48, "height": 32, "fps": 4, "max_fps": 4}
    samples = kinemask(tmp_path, scenes, models, fit=half, limit=2, take={"prompt": "constant"}, report=False)
    assert {row.prompt for row in samples.rows(SampleRow)} == {CONSTANT_PROMPT}
    for row in samples.rows(SampleRow):
        frames = row.source_frames
        assert np.diff(frames).tolist() == [2] * 4
        ours = velocity_masks_of(samples.rows(SampleObjectRow, [row.clip_id]))
        whole = velocity_masks_of(scenes.rows(ObjectRow, [row.clip_id]))[frames]
        assert ours.shape == (5, 32, 48, 3)
        for mine, its in zip(ours, whole, strict=True):
            assert {tuple(v) for v in mine[mine.any(-1)]} <= {tuple(v) for v in its[its.any(-1)]}
        covered = whole.any(-1).reshape(5, 32, 2, 48, 2).mean((2, 4))
        assert (ours.any(-1) == (covered >= 0.5)).mean() > 0.99  # where objects touch, each has half a pixel


def test_collisions_outside_the_sample_are_left_out() -> None:
    assert frames_of([0, 2, 3, 4, 8, 9], [2, 4, 6, 8]) == [0, 1, 1, 3]


@pytest.mark.models
def test_generated_videos_become_samples_with_their_scores(generated: Snapshot, models: Path, tmp_path: Path) -> None:
    from tasks.training.recipes.dsr.config import variant
    from tasks.training.recipes.dsr.data import BestSamples

    samples = dsr(tmp_path, generated, models)
    curated = {row.clip_id: row for row in generated.rows(DsrSampleRow)}
    train = {clip_id for clip_id, row in curated.items() if row.split == "train"}
    prompts = {row.prompt_id for row in curated.values() if row.split == "test"}
    scores = {row.clip_id: row for row in samples.rows(SampleScoreRow)}
    assert {clip_id for clip_id, row in scores.items() if row.split == "train"} == train != set()
    assert [row.prompt_id for row in scores.values() if row.split == "test"] == sorted(prompts) != []
    assert all(row.model_dump() == curated[clip_id].model_dump() for clip_id, row in scores.items())
    assert all(row.prompt == curated[row.clip_id].text for row in samples.rows(SampleRow))
    assert all(row.image_latents is None and row.id_latents is None for row in samples.rows(EncodingRow))
    config = variant("sft_top2", n_frames=5, width=64, height=48)
    best = BestSamples(samples, config)
    assert {row.clip_id for row in best.samples} <= train
    assert best.batch([0]).latents.shape == (1, 4, 2, 6, 8)
    files = {Path(file.path).name.partition("-")[0] for file in samples.manifest.files}
    assert files == {"train", "test"}


@pytest.mark.models
def test_a_second_run_encodes_nothing(generated: Snapshot, models: Path, tmp_path: Path) -> None:
    from flows.prepare_dsr_samples import look_ahead

    first = dsr(tmp_path, generated, models, limit=2)
    encoder = {"model": str(models / "wan"), "precision": "float32"}
    config = PrepareDsrSamples(
        root=tmp_path, snapshot=generated.folder, fit=DSR_FIT, encoder=encoder, torch={"device": "cpu"}, limit=2
    )
    assert [(line.known, line.to_compute) for line in look_ahead(config)] == [(2, 0)] * 3
    assert dsr(tmp_path, generated, models, limit=2).id == first.id


def test_another_flows_snapshot_is_refused(generated: Snapshot, tmp_path: Path) -> None:
    config = PrepareKinemaskSamples(root=tmp_path, snapshot=generated.folder)
    with pytest.raises(SnapshotError, match="was made by curate-dsr; give a snapshot of curate-kinemask"):
        config.require_inputs()


@pytest.mark.parametrize("config", [PrepareKinemaskSamples, PrepareDsrSamples])
def test_its_deployment_is_a_config_of_it(
    config: type[PrepareKinemaskSamples | PrepareDsrSamples], tmp_path: Path
) -> None:
    project = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text())
    flow = config.product.flow.replace("-", "_")
    (found,) = [one for one in project["deployments"] if one["entrypoint"] == f"flows.{flow}.{flow}"]
    text = re.sub(r"\{\{ \$\w+ \}\}", str(tmp_path), json.dumps(found["parameters"]["config"]))
    given = config.model_validate_json(text)
    assert given.dispatch.routes == {"encode_samples": f"{config.product.flow}-shard/gpu"}
