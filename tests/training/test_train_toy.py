"""The whole way through the real job, on two processes: a flow that is stopped ends in the bits of one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pydantic import Field

from flows.engine.training import TrainConfig, TrainingFlow, plan_run, training_flow
from schemas.training_run import RunManifest
from tests.backends.test_cycles import wait_for
from tests.support.training_samples import publish_samples

toy_recipe = pytest.importorskip("tests.support.toy_recipe", reason="needs torch", exc_type=ImportError)
pytestmark = pytest.mark.models

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = (
    "from flows.engine.process import *; begin_command(); from tests.training.test_train_toy import *; FLOW.main()"
)


class TrainToy(TrainConfig):
    """Everything the training can be told."""

    recipe_name: ClassVar[str] = toy_recipe.NAME
    first_options: ClassVar[Sequence[str]] = ()

    training: toy_recipe.ToyTraining = Field(toy_recipe.ToyTraining(), description="The recipe's settings")  # type: ignore[name-defined]


train_toy = training_flow(TrainToy)
FLOW = TrainingFlow(TrainToy, train_toy)


def weights(folder: Path) -> bytes:
    return (folder / "weights" / "toy.safetensors").read_bytes()


def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    samples = publish_samples(tmp_path / "training", "toy-samples")
    given = np.random.default_rng(0).normal(size=(toy_recipe.N_SAMPLES, toy_recipe.WIDTH))
    np.save(samples / "samples.npy", given)
    launch = {"n_processes": 2, "micro_batch": 2}
    whole, stopped = (
        TrainToy(samples=tmp_path / "training", runs=tmp_path / name, launch=launch)  # type: ignore[arg-type]
        for name in ("whole", "stopped")
    )
    expected = Path(train_toy.fn(whole))

    folder, paused = plan_run(stopped).folder, tmp_path / "paused"
    options = ["--samples", str(stopped.samples), "--runs", str(stopped.runs)]
    options += ["--launch.n-processes", "2", "--launch.micro-batch", "2"]
    env = {"PYTHONPATH": str(REPOSITORY), "TOY_PAUSE": "loss 9", "TOY_PAUSED": str(paused)}
    command = subprocess.Popen([sys.executable, "-c", COMMAND, *options], cwd=REPOSITORY, env=os.environ | env)
    wait_for(lambda: paused.exists() or command.poll() is not None, 60)
    command.send_signal(signal.SIGTERM)
    wait_for(lambda: "closing signal SIGTERM" in (folder / "log.txt").read_text(), 20)
    paused.unlink()
    assert command.wait(60) == 128 + signal.SIGTERM
    assert not (folder / "weights").exists()
    assert [path.name for path in (folder / "checkpoints").iterdir()] != ["step-000010"]

    assert Path(train_toy.fn(stopped)) == folder
    assert weights(folder) == weights(expected)
    manifest = RunManifest.from_json((folder / "manifest.json").read_bytes())
    assert manifest.n_steps == 10
    assert "weights/toy.safetensors" in {file.path for file in manifest.files}
