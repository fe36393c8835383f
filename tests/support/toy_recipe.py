"""A recipe of a tiny network for the tests of the job: `request.recipe` is "tests.support.toy_recipe:RECIPE".

TOY_PAUSE="loss 9" in the environment: the first process stops before its ninth micro-batch, tells so in the file
TOY_PAUSED, and goes on when that is deleted. "saving 2": it stops before the second file of a checkpoint's draft is
synchronised. TOY_FULL="1": from its first micro-batch on no file can grow beyond 8 KiB, as on a full disk.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import nn

from schemas.config import StageConfig
from schemas.training_run import RunRequest, Validation
from tasks.training.identity import library_versions
from tasks.training.optimisation import Optimisation
from tasks.training.recipe import Loss, Phase, Randomness, Recipe, code_version

NAME = "tests.support.toy_recipe:RECIPE"
WIDTH = 48
N_SAMPLES = 13

FIRST = Optimisation(n_steps=4, batch_size=8, schedule="constant", precision="float32", checkpoint_every=3)
SECOND = Optimisation(
    n_steps=6, batch_size=8, n_warmup_steps=2, precision="bfloat16", checkpoint_every=3, validate_every=5
)


class ToyTraining(StageConfig):
    """A tiny regression."""

    first: Optimisation = FIRST
    second: Optimisation = SECOND
    seed: int = Field(0, description="Of everything")
    scale: float = Field(1.0, description="Of the samples")


class ToyTrainer:
    def __init__(self, config: ToyTraining, snapshot: Any) -> None:
        self.phases = [Phase("first", config.first), Phase("second", config.second)]
        self._samples = np.load(snapshot.folder / "samples.npy") * config.scale
        self._kind, _, self._at = os.environ.get("TOY_PAUSE", "").partition(" ")
        self._n_done = 0

    def build(self, device: torch.device) -> nn.Module:
        module = nn.Sequential(
            nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Dropout(0.25), nn.Linear(WIDTH, WIDTH), nn.Dropout(0.1)
        )
        module[0].requires_grad_(False)
        if self._kind == "saving" and os.environ.get("RANK", "0") == "0":
            self._pause_in_fsync()
        return module.to(device)

    def begin_phase(self, phase: Phase, module: nn.Module) -> None:
        self.begun = phase.name

    @property
    def n_samples(self) -> int:
        return len(self._samples)

    def collate(self, indices: Sequence[int], epoch: int) -> torch.Tensor:
        jitter = np.random.default_rng([epoch, *indices]).normal(size=(len(indices), WIDTH)) / 10
        return torch.from_numpy(self._samples[indices] + jitter).float()

    def to_device(self, batch: torch.Tensor, device: torch.device) -> torch.Tensor:
        return batch.to(device)

    def loss(self, module: nn.Module, batch: torch.Tensor, randomness: Randomness, phase: Phase) -> Loss:
        self._n_done += 1
        if os.environ.get("RANK", "0") == "0":
            if self._kind == "loss" and self._n_done == int(self._at):
                _pause()
            if "TOY_FULL" in os.environ:
                resource.setrlimit(resource.RLIMIT_FSIZE, (2**13, 2**13))
        noise = torch.randn(batch.shape, generator=randomness.torch) * float(randomness.numpy.uniform(0.5, 1.5))
        predicted = module(batch + noise.to(batch))
        total = nn.functional.mse_loss(predicted.float(), batch)
        return Loss(total, {"loss": total.item(), "phase_two": float(phase.name == "second"), "never": float("nan")})

    def save(self, module: nn.Module, folder: Path) -> None:
        save_file({"weight": module[3].weight.detach().cpu().contiguous()}, folder / "toy.safetensors")

    def validate(self, module: nn.Module, folder: Path, step: int) -> list[Validation]:
        module.eval()
        path = Path("validation") / f"step-{step:06d}" / "sum.txt"
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(repr(module(torch.ones(1, WIDTH)).sum().item()))
        return [Validation(step=step, sample_id="ones", prompt="all ones", video=str(path))]

    def _pause_in_fsync(self) -> None:
        synchronise, n_files = os.fsync, 0

        def fsync(descriptor: int) -> None:
            nonlocal n_files
            n_files += "/checkpoints/.step-" in os.readlink(f"/proc/self/fd/{descriptor}")
            if n_files == int(self._at):
                _pause()
            synchronise(descriptor)

        os.fsync = fsync


def _pause() -> None:
    paused = Path(os.environ["TOY_PAUSED"])
    paused.touch()
    while paused.exists():
        time.sleep(0.02)


def publish_samples(root: Path, samples: np.ndarray | None = None) -> None:
    """A snapshot `toy-1`, as far as the job looks at it. samples: (n, WIDTH)"""
    folder = root / "snapshots" / "toy-1"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    given = np.random.default_rng(0).normal(size=(N_SAMPLES, WIDTH)) if samples is None else samples
    np.save(folder / "samples.npy", given)


def write_request(run: Path, samples: Path, config: ToyTraining | None = None, **changes: Any) -> RunRequest:
    """The run's request.json, as for this code and these libraries."""
    asked = {
        "recipe": NAME,
        "config": json.dumps((config or ToyTraining()).model_dump(mode="json")),
        "snapshot_id": "toy-1",
        "samples": str(samples / "snapshots" / "toy-1"),
        "base_model": "drawn",
        "n_processes": 1,
        "micro_batch": 2,
        "code": code_version(NAME),
        "libraries": library_versions(),
    }
    request = RunRequest(**asked | changes)
    run.mkdir(parents=True, exist_ok=True)
    (run / "request.json").write_bytes(request.to_json())
    return request


RECIPE = Recipe("toy", "toy-samples", ToyTraining, {"paper": {}}, ToyTrainer, lambda config: "drawn")
