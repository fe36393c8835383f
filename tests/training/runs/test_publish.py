"""tasks.training.runs.publish: only whole runs, the same bytes again, later damage seen."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas import storage
from schemas.training_run import MANIFEST, METRICS, REQUEST, VALIDATION, WEIGHTS, RunManifest
from tasks.engine.snapshots import SnapshotError
from tasks.training.runs import publish
from tasks.training.runs.publish import publish_run, verify
from tasks.training.runs.reading import Run, RunError
from tests.support.training_runs import CURATED, SAMPLES, write_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("made"))


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made.parent.parent, tmp_path / "made")
    folder = tmp_path / "made" / "runs" / made.name
    request = Run.open(folder).request
    samples = tmp_path / "made" / "training" / "snapshots" / SAMPLES
    (folder / REQUEST).write_bytes(request.model_copy(update={"samples": str(samples)}).to_json())
    return folder


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_published_run_tells_what_it_is(folder: Path) -> None:
    manifest = publish_run(folder)
    assert manifest == RunManifest.from_json((folder / MANIFEST).read_bytes())
    assert manifest.run_id == folder.name == manifest.request.run_id
    assert (manifest.n_steps, manifest.seconds) == (12, 12 * 900.0)
    assert [(one.snapshot_id, one.flow) for one in manifest.lineage] == [
        (SAMPLES, "prepare-toy-samples"),
        (CURATED, "curate-toy"),
    ]
    assert manifest.environment[0].startswith("python 3.")
    assert manifest.environment[-1] == "cpu, 1 threads"
    assert json.loads(manifest.final_metrics)["phase"] == "second"
    named = {file.path: file for file in manifest.files}
    there = bytes_of(folder)
    assert named.keys() == {n for n in there if not n.startswith("checkpoints/")} - {MANIFEST}
    assert {"index.html", "curves/loss.svg", "curves/AAS.svg", "weights/lora.safetensors", METRICS} <= named.keys()
    for name, file in named.items():
        assert (file.sha256, file.n_bytes) == (hashlib.sha256(there[name]).hexdigest(), len(there[name]))


def test_again_it_has_the_same_bytes_wherever_that_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_run(folder)
    before = bytes_of(folder.parent)
    monkeypatch.setattr("platform.platform", lambda: "another machine")
    shutil.rmtree(folder.parent.parent / "training")
    shutil.rmtree(folder / "checkpoints")
    publish_run(folder)
    assert bytes_of(folder.parent) == {name: data for name, data in before.items() if "checkpoints/" not in name}


def cut(path: str, n: int) -> Callable[[Path], object]:
    return lambda folder: (folder / path).write_bytes((folder / path).read_bytes()[:n])


def lines_without(step: int) -> Callable[[Path], None]:
    def drop(folder: Path) -> None:
        lines = (folder / METRICS).read_text().splitlines(keepends=True)
        (folder / METRICS).write_text("".join(line for line in lines if json.loads(line)["step"] != step))

    return drop


def name_outside(folder: Path) -> None:
    index = folder / VALIDATION / "index.json"
    index.write_text(index.read_text().replace(f"{VALIDATION}/step-000004/clip-a.mp4", f"{VALIDATION}/../request.json"))


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lines_without(12), "ends at step 11 of 12"),
        (lines_without(5), "lacks 1 of its steps"),
        (lines_without(1), "lacks 1 of its steps"),
        (lambda folder: (folder / METRICS).unlink(), "ends at step 0 of 12"),
        (lambda folder: shutil.rmtree(folder / WEIGHTS), "holds no .safetensors"),
        (cut("weights/lora.safetensors", -1), "cut off"),
        (cut("weights/lora.safetensors", 4), "cut off"),
        (lambda folder: (folder / VALIDATION / "step-000008" / "clip-b.mp4").unlink(), "clip-b.mp4 is missing"),
        (cut("validation/step-000004/clip-a.mp4", 900), "clip-a.mp4 is damaged"),
        (cut("validation/step-000004/clip-a-attention.mp4", 0), "clip-a-attention.mp4 is empty"),
        (lambda folder: (folder / VALIDATION / "conditions" / "clip-a.png").unlink(), "clip-a.png is missing"),
        (name_outside, "lies outside"),
        (cut("validation/index.json", 20), "is damaged"),
    ],
)
def test_half_a_run_is_never_published(folder: Path, harm: Callable[[Path], object], told: str) -> None:
    harm(folder)
    before = bytes_of(folder)
    with pytest.raises(RunError, match=told):
        publish_run(folder)
    assert bytes_of(folder) == before


def test_lineage_that_is_lost_is_not_left_out(folder: Path) -> None:
    shutil.rmtree(folder.parent.parent / "training")
    with pytest.raises(SnapshotError):
        publish_run(folder)
    assert not (folder / MANIFEST).exists()


def test_a_kill_while_it_is_published_leaves_a_run_that_is_not(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest comes last, and at once."""
    written: list[str] = []
    real = storage.write_atomic

    def killed_at_the_manifest(path: Path, data: bytes) -> None:
        written.append(path.name)
        if path.name == MANIFEST:
            raise KeyboardInterrupt
        real(path, data)

    monkeypatch.setattr(publish, "write_atomic", killed_at_the_manifest)
    with pytest.raises(KeyboardInterrupt):
        publish_run(folder)
    assert written == [MANIFEST]
    assert not Run.open(folder).is_published
    assert (folder / "index.html").is_file()
    monkeypatch.undo()
    publish_run(folder)
    assert verify(folder) == []


def test_later_damage_is_seen(folder: Path) -> None:
    publish_run(folder)
    assert verify(folder) == []
    weights = folder / WEIGHTS / "lora.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    os.utime(weights, ns=(1, 1))
    (folder / VALIDATION / "step-000008" / "clip-b.mp4").unlink()
    (folder / "notes.txt").write_text("mine")
    assert verify(folder) == [
        "validation/step-000008/clip-b.mp4 is gone",
        "notes.txt came later",
        "weights/lora.safetensors has changed",
    ]


def test_an_unpublished_run_cannot_be_verified(folder: Path) -> None:
    with pytest.raises(RunError, match="not published"):
        verify(folder)
