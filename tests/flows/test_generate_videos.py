"""flows.generate_videos: a published run and a file of inputs become a snapshot, and a folder that evaluations read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest

from flows.generate_videos import FLOW, GenerateVideos, generate_videos
from schemas.training_run import MANIFEST, WEIGHTS, RunFile, RunManifest, RunRequest
from tasks.engine.snapshots import Snapshot
from tasks.media.video import decode_bytes
from tasks.training.models.tiny import save_tiny_wan
from tests.support.tiny_wan import N_FRAMES, SIDE, save_lora


def publish_run(folder: Path, recipe: str, base: Path, **config: object) -> Path:
    """A run's folder whose weights are there already."""
    request = RunRequest(
        recipe=recipe,
        config=json.dumps({"model": str(base), **config}),
        snapshot_id="dsr-samples-1",
        samples="samples",
        base_model="tiny",
        n_processes=1,
        micro_batch=1,
        code="c",
        libraries=[],
    )
    files = [
        RunFile(
            path=str(path.relative_to(folder)),
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            n_bytes=path.stat().st_size,
        )
        for path in sorted((folder / WEIGHTS).rglob("*"))
        if path.is_file()
    ]
    manifest = RunManifest(
        run_id=request.run_id,
        request=request,
        n_steps=1,
        seconds=1.0,
        environment=[],
        final_metrics="{}",
        files=files,
    )
    (folder / MANIFEST).write_bytes(manifest.to_json())
    return folder


@pytest.fixture(scope="module")
def dsr_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    save_lora(folder / WEIGHTS)
    size = {"n_frames": N_FRAMES, "width": SIDE, "height": SIDE}
    return publish_run(folder, "dsr", save_tiny_wan(folder / "wan"), **size)


def config(run: Path, root: Path, **settings: object) -> GenerateVideos:
    inputs = root / "prompts.jsonl"
    if not inputs.exists():
        root.mkdir(parents=True, exist_ok=True)
        inputs.write_text(json.dumps({"prompt": "a fox walks to the left of the stump", "name": "fox"}) + "\n{}\n")
    options = {"steps": 2, "precision": "float32"}
    return GenerateVideos(
        run=run, inputs=inputs, root=root, seeds=[0, 1], generate=options, torch={"device": "cpu"}, **settings
    )


@pytest.mark.models
def test_a_dsr_run_makes_the_videos_that_its_inputs_ask_for(dsr_run: Path, tmp_path: Path) -> None:
    snapshot = Snapshot(generate_videos.fn(config(dsr_run, tmp_path)))
    assert str(snapshot.manifest.tally) == "3 inputs = 2 accepted + 0 rejected + 1 failed"
    assert json.loads(snapshot.manifest.configs)["run"]["run_id"].startswith("dsr-")
    lines = [json.loads(line) for line in (tmp_path / "videos.jsonl").read_text().splitlines()]
    assert [line["video"] for line in lines] == ["videos/fox_F5_seed00.mp4", "videos/fox_F5_seed01.mp4"]
    first, second = [(tmp_path / line["video"]).read_bytes() for line in lines]
    assert decode_bytes(first).shape == (N_FRAMES, SIDE, SIDE, 3)
    assert first != second

    # Fewer seeds: what is no longer asked for leaves the folder; what was made is not made again.
    less = config(dsr_run, tmp_path).model_copy(update={"seeds": [1]})
    assert [line.to_compute for line in FLOW.look_ahead(less)] == [0]
    generate_videos.fn(less)
    assert [path.name for path in (tmp_path / "videos").iterdir()] == ["fox_F5_seed01.mp4"]
    assert (tmp_path / "videos/fox_F5_seed01.mp4").read_bytes() == second


@pytest.mark.models
def test_other_weights_make_other_videos(dsr_run: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    generate_videos.fn(config(dsr_run, tmp_path).model_copy(update={"seeds": [0]}))
    other = tmp_path / "other"
    (weights,) = (dsr_run / WEIGHTS).iterdir()
    (other / WEIGHTS).mkdir(parents=True)
    louder = {name: 20 * weight for name, weight in load_file(weights).items()}
    save_file({name: torch.Tensor(weight) for name, weight in louder.items()}, other / WEIGHTS / weights.name)
    size = {"n_frames": N_FRAMES, "width": SIDE, "height": SIDE}
    publish_run(other, "dsr", dsr_run / "wan", **size)
    (line,) = FLOW.look_ahead(config(other, tmp_path).model_copy(update={"seeds": [0]}))
    assert (line.known, line.to_compute) == (0, 1)


def test_a_run_that_is_not_published_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text("{}\n")
    with pytest.raises(SystemExit, match=r"ManifestError: .* is no published run: .* the command that trains it"):
        FLOW.main(
            ["--run", str(tmp_path / "run"), "--inputs", str(tmp_path / "prompts.jsonl"), "--root", str(tmp_path)]
        )


# --- KineMask ----------------------------------------------------------------------------------

KINEMASK = {"n_frames": 9, "width": 96, "height": 64, "control": {"n_layers": 1, "encoded_channels": 4}}


@pytest.fixture(scope="module")
def kinemask_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    from tasks.training.models.base import load_base
    from tasks.training.models.tiny import save_tiny_cogvideox
    from tasks.training.recipes.kinemask.config import KinemaskTraining
    from tasks.training.recipes.kinemask.model import new_control_net
    from tasks.training.recipes.kinemask.recipe import CONTROL_NET

    folder = tmp_path_factory.mktemp("run")
    base = folder / "base"
    save_tiny_cogvideox(base)
    torch.manual_seed(0)
    net = new_control_net(load_base(str(base), "float32").transformer, KinemaskTraining.model_validate(KINEMASK))
    with torch.no_grad():
        for weight in net.parameters():  # a new one changes nothing
            weight.add_(0.3 * torch.randn_like(weight))
    net.save_pretrained(folder / WEIGHTS / CONTROL_NET)
    return publish_run(folder, "kinemask", base, **KINEMASK)


@pytest.mark.models
def test_arrows_steer_a_kinemask_run_and_a_broken_mask_loses_nothing_else(kinemask_run: Path, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (128, 240, 3), np.uint8)
    mask = np.zeros((128, 240), np.uint8)
    mask[40:90, 90:140] = 255
    cv2.imwrite(str(tmp_path / "mug.png"), picture)
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    cv2.imwrite(str(tmp_path / "small.png"), mask[:50])

    def line(name: str, arrow: list[int], mask: str = "mask.png") -> str:
        pushed = {"mask": mask, "arrow_px": arrow, "speed_mps": 1.0}
        return json.dumps({"name": name, "image": "mug.png", "prompt": "A mug slides.", "instances": [pushed]})

    inputs = tmp_path / "prompts.jsonl"
    lines = [line("right", [0, 0, 9, 0]), line("left", [9, 0, 0, 0]), line("broken", [0, 0, 9, 0], "small.png")]
    inputs.write_text("\n".join(lines))
    snapshot = Snapshot(generate_videos.fn(config(kinemask_run, tmp_path).model_copy(update={"seeds": [0]})))
    assert str(snapshot.manifest.tally) == "3 inputs = 2 accepted + 0 rejected + 1 failed"
    (broken,) = snapshot.scan("outcomes").filter(pl.col("status") == "failed").collect().to_dicts()
    assert (broken["name"], broken["reason"]) == ("broken", "unusable_input")
    right, left = [decode_bytes((tmp_path / f"videos/{name}_F9_seed00.mp4").read_bytes()) for name in ("right", "left")]
    assert right.shape == (9, 64, 96, 3)
    assert (right != left).any()


# --- MATRIX ------------------------------------------------------------------------------------

MATRIX: dict[str, Any] = {
    "n_frames": 9,
    "width": 96,
    "height": 64,
    "lora": {"rank": 2, "alpha": 2, "blocks": [0]},
    "alignment": {"sga_blocks": [0], "spa_blocks": [1]},
}


@pytest.fixture(scope="module")
def matrix_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    from tasks.training.models.base import load_base
    from tasks.training.models.tiny import save_tiny_cogvideox
    from tasks.training.recipes.matrix.config import MatrixTraining
    from tasks.training.recipes.matrix.model import new_model, save_trained, trained_weights

    folder = tmp_path_factory.mktemp("run")
    base = folder / "base"
    save_tiny_cogvideox(base)
    torch.manual_seed(0)
    model = new_model(load_base(str(base), "float32").transformer, MatrixTraining.model_validate(MATRIX))
    with torch.no_grad():
        for weight in trained_weights(model).values():  # a new one does not look at the ID map
            weight.add_(0.3 * torch.randn_like(weight))
    save_trained(model, folder / WEIGHTS)
    return publish_run(folder, "matrix", base, **MATRIX)


@pytest.mark.models
def test_the_masks_of_a_picture_steer_a_matrix_run(matrix_run: Path, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "boy.png"), picture)
    for name, columns in (("left", slice(0, 40)), ("right", slice(50, 90))):
        mask = np.zeros((64, 96), np.uint8)
        mask[10:60, columns] = 255
        cv2.imwrite(str(tmp_path / f"{name}.png"), mask)

    def line(*masks: str) -> str:
        instances = [{"mask": f"{mask}.png"} for mask in masks]
        return json.dumps({"name": "-".join(masks), "image": "boy.png", "prompt": "A boy.", "instances": instances})

    (tmp_path / "prompts.jsonl").write_text("\n".join([line("left", "right"), line("right", "left")]))
    snapshot = Snapshot(generate_videos.fn(config(matrix_run, tmp_path).model_copy(update={"seeds": [0]})))
    assert str(snapshot.manifest.tally) == "2 inputs = 2 accepted + 0 rejected + 0 failed"
    names = ("left-right", "right-left")
    one, other = [decode_bytes((tmp_path / f"videos/{name}_F9_seed00.mp4").read_bytes()) for name in names]
    assert one.shape == (9, 64, 96, 3)
    assert (one != other).any()  # who is who is told by the order of the masks alone
