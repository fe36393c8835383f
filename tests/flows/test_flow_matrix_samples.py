"""prepare-matrix-samples from a curated snapshot to samples, with a tiny CogVideoX; and what is encoded anew."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from flows.commands import cli
from flows.prepare_matrix_samples import PrepareMatrixSamples, look_ahead, prepare_matrix_samples
from schemas.training_samples import (
    EncodingRow,
    RoleRow,
    SampleMaskRow,
    SampleOutcomeRow,
    SampleRow,
    SampleVideoRow,
)
from tasks.engine.publish import YieldTooLow
from tasks.engine.snapshots import Snapshot
from tasks.media.id_map import ID_COLOURS
from tasks.media.png import decode_png
from tasks.media.video import decode_bytes
from tests.support.flow_runs import RGB, SCENES, carry, draw_input, run_here, tiny_config, write_manifest

pytestmark = pytest.mark.models

FIT = {"n_frames": 5, "width": 96, "height": 64}


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with in/ and its curated snapshot below data/."""
    folder = tmp_path_factory.mktemp("curated")
    run_here(tiny_config(draw_input(folder / "in"), folder / "data"))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tasks.training.models.tiny import save_tiny_cogvideox

    return save_tiny_cogvideox(tmp_path_factory.mktemp("models") / "cogvideox")


@pytest.fixture(scope="module")
def prepared(curated: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> PrepareMatrixSamples:
    """A config whose snapshot is published, with its page."""
    config = config_for(curated, model, tmp_path_factory.mktemp("prepared"))
    prepare_matrix_samples.fn(config)
    return config


def config_for(curated: Path, model: Path, root: Path, **changes: Any) -> PrepareMatrixSamples:
    values = {"snapshot": curated / "data", "inputs": curated / "in", "root": root, "fit": FIT, "test_share": 0.4}
    return PrepareMatrixSamples.model_validate({**values, "encoder": {"model": str(model)}, **changes})


def copied(curated: Path, prepared: PrepareMatrixSamples, folder: Path) -> tuple[Path, Path]:
    """Both roots, for a test that changes something. Returns (the curated folder, the samples' root)."""
    shutil.copytree(curated, folder / "curated")
    shutil.copytree(prepared.root, folder / "samples")
    return folder / "curated", folder / "samples"


def to_compute(config: PrepareMatrixSamples) -> dict[str, int]:
    return {line.stage: line.to_compute for line in look_ahead(config)}


def test_every_clip_becomes_a_sample_that_a_training_can_read(prepared: PrepareMatrixSamples) -> None:
    from safetensors.torch import load

    snapshot = Snapshot.open(prepared.root)
    assert snapshot.manifest.tally == "4 inputs = 4 accepted + 0 rejected + 0 failed"
    samples = {row.clip_id: row for row in snapshot.rows(SampleRow)}
    splits = {row.row_id: row.split for row in snapshot.rows(SampleOutcomeRow)}
    assert {clip_id: row.split for clip_id, row in samples.items()} == splits
    assert set(splits.values()) == {"train", "test"}
    for row in snapshot.rows(EncodingRow):
        sample = samples[row.clip_id]
        assert (sample.n_frames, sample.width, sample.height, sample.fps) == (5, 96, 64, 8)
        latents, image, ids = (
            load(data)["latents"] for data in (row.latents, row.image_latents, row.id_latents) if data
        )
        assert latents.shape == (2, 4, 8, 12)
        assert image.shape == ids.shape == (1, 4, 8, 12)
        assert not image.equal(ids)
        assert load(row.text)["text"].shape == (226, 16)
        assert [maker.stage for maker in sample.made_by] == ["place_roles", "fit_clips", "encode_samples"]


def test_tokens_are_those_of_the_words(prepared: PrepareMatrixSamples, model: Path) -> None:
    from transformers import AutoTokenizer

    snapshot, tokenizer = Snapshot.open(prepared.root), AutoTokenizer.from_pretrained(model / "tokenizer")
    prompts = {row.clip_id: row.prompt for row in snapshot.rows(SampleRow)}
    for role in snapshot.rows(RoleRow):
        ids = tokenizer(prompts[role.clip_id]).input_ids
        said = tokenizer.decode([ids[token] for token in role.tokens], skip_special_tokens=True)
        assert said.replace("▁", "").replace(" ", "") == role.words.replace(" ", "")
    kinds = sorted((role.kind, role.words.split()[-1]) for role in snapshot.rows(RoleRow))
    assert set(kinds) == {("subject", "dog"), ("object", "ball"), ("verb", "carries")}


def test_masks_and_the_id_map_are_of_the_pixels_that_were_encoded(prepared: PrepareMatrixSamples) -> None:
    snapshot = Snapshot.open(prepared.root)
    masks = snapshot.rows_by_clip(SampleMaskRow, snapshot.accepted_ids())
    prompts = {row.clip_id: row.prompt for row in snapshot.rows(SampleRow)}
    for video in snapshot.rows(SampleVideoRow):
        frames, tracks = decode_bytes(video.video), {row.instance_id: row for row in masks[video.clip_id]}
        colours = [RGB[word] for word in prompts[video.clip_id].lower().rstrip(".").split() if word in RGB]
        for instance_id, colour in zip(("id1", "id2"), colours, strict=True):
            found, error = tracks[instance_id].masks(), np.abs(frames.astype(int) - colour).sum(axis=-1)
            assert np.median(error[found]) < 60
        assert video.id_map is not None
        picture, first = decode_png(video.id_map), tracks["id2"].masks()[0]
        assert (picture[first & ~tracks["id1"].masks()[0]] == ID_COLOURS[1]).all()


def test_the_page_shows_each_sample(prepared: PrepareMatrixSamples) -> None:
    folder = prepared.root / "reports" / Snapshot.open(prepared.root).id
    page = (folder / "index.html").read_text()
    for clip_id in Snapshot.open(prepared.root).accepted_ids():
        assert f'id="{clip_id}"' in page
        assert (folder / "clips" / f"{clip_id}.mp4").stat().st_size > 1000
        assert cv2.imread(str(folder / "clips" / f"{clip_id}-id-map.png")).shape == (64, 96, 3)
    assert "id1-carry-id2" in page


def test_only_what_has_changed_is_made_anew(
    curated: Path, prepared: PrepareMatrixSamples, model: Path, tmp_path: Path
) -> None:
    known = {"place_roles": 0, "fit_clips": 0, "encode_samples": 0}
    assert to_compute(prepared) == known
    faster = config_for(curated, model, prepared.root, fit={**FIT, "fps": 6.0})
    assert to_compute(faster) == {**known, "fit_clips": 4}
    folder, root = copied(curated, prepared, tmp_path)
    config = config_for(folder, model, root)
    assert to_compute(config) == known  # no path is part of a key
    first, *others = SCENES
    os.rename(folder / "in" / first.video, folder / "in" / "renamed.mp4")
    renamed = {**first.line, "video": "renamed.mp4"}
    run_here(tiny_config(write_manifest(folder / "in", [renamed, *(s.line for s in others)]), folder / "data"))
    assert to_compute(config_for(folder, model, root)) == known
    reworded = {**renamed, "caption": carry("yellow", "red", "lifts").caption}
    run_here(tiny_config(write_manifest(folder / "in", [reworded, *(s.line for s in others)]), folder / "data"))
    after = config_for(folder, model, root)
    assert to_compute(after)["place_roles"] == 1
    assert to_compute(after)["fit_clips"] == 0
    before = {path.name for path in (root / "work" / "rows" / "encode_samples").rglob("*.json")}
    prepare_matrix_samples.fn(after)
    assert len({path.name for path in (root / "work" / "rows" / "encode_samples").rglob("*.json")} - before) == 1
    assert any("lifts" in row.prompt for row in Snapshot.open(root).rows(SampleRow))


def test_a_source_that_moved_or_changed_fails_its_clips_and_no_other(
    curated: Path, model: Path, tmp_path: Path
) -> None:
    shutil.copytree(curated, tmp_path / "curated")
    folder = tmp_path / "curated" / "in"
    config = config_for(tmp_path / "curated", model, tmp_path / "samples", report=False)
    os.rename(folder / SCENES[0].video, tmp_path / "away.mp4")
    (folder / SCENES[1].video).write_bytes(b"another")
    snapshot = Snapshot(prepare_matrix_samples.fn(config))
    failed = {row.reason: row.detail or "" for row in snapshot.rows(SampleOutcomeRow) if row.status == "failed"}
    assert failed.keys() == {"missing_file", "input_changed"}
    assert SCENES[0].video in failed["missing_file"]
    assert snapshot.manifest.n_accepted == 2
    os.rename(tmp_path / "away.mp4", folder / SCENES[0].video)
    assert Snapshot(prepare_matrix_samples.fn(config)).manifest.n_accepted == 3


def test_clips_of_one_video_are_of_one_split(curated: Path, model: Path, tmp_path: Path) -> None:
    for share in (0.2, 0.4, 0.6, 0.8):
        config = config_for(curated, model, tmp_path, test_share=share)
        sources = dict(config.tables.snapshot.scan("clips").select("clip_id", "video").collect().iter_rows())
        splits: dict[str, set[str]] = {}
        for row in config.read_rows():
            splits.setdefault(sources[row.clip_id], set()).add(row.split)
        assert len(splits) == 3
        assert all(len(of_source) == 1 for of_source in splits.values())


def test_a_run_over_the_paper_size_says_what_does_not_fit(curated: Path, model: Path, tmp_path: Path) -> None:
    config = config_for(curated, model, tmp_path, fit={}, report=False)
    with pytest.raises(YieldTooLow, match="4 rejected in fit_clips \\(too_small\\)"):
        prepare_matrix_samples.fn(config)


def test_inputs_that_are_no_folder_are_one_line(curated: Path, tmp_path: Path) -> None:
    asked = ["--snapshot", str(curated / "data"), "--inputs", str(tmp_path / "no"), "--root", str(tmp_path)]
    with pytest.raises(SystemExit, match="is no folder; name the one of the snapshot's videos"):
        cli.main(["prepare", "matrix-samples", *asked])
