"""flows.generate_videos: a published run and a file of inputs become a snapshot, and a folder that evaluations read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from flows.generate_videos import FLOW, GenerateVideos, generate_videos
from schemas.training_run import MANIFEST, WEIGHTS, RunFile, RunManifest, RunRequest
from tasks.engine.snapshots import Snapshot
from tasks.media.video import decode_bytes
from tests.support.tiny_wan import N_FRAMES, SIDE, save_lora, save_wan


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
    return publish_run(folder, "dsr", save_wan(folder / "wan"), **size)


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
    assert [line["video"] for line in lines] == ["videos/fox_seed00.mp4", "videos/fox_seed01.mp4"]
    first, second = [(tmp_path / line["video"]).read_bytes() for line in lines]
    assert decode_bytes(first).shape == (N_FRAMES, SIDE, SIDE, 3)
    assert first != second

    # Fewer seeds: what is no longer asked for leaves the folder; what was made is not made again.
    less = config(dsr_run, tmp_path).model_copy(update={"seeds": [1]})
    assert [line.to_compute for line in FLOW.look_ahead(less)] == [0]
    generate_videos.fn(less)
    assert [path.name for path in (tmp_path / "videos").iterdir()] == ["fox_seed01.mp4"]
    assert (tmp_path / "videos/fox_seed01.mp4").read_bytes() == second


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
