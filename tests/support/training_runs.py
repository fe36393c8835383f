"""Run folders as a job leaves them: a request, metrics of two phases, validation videos, weights. No torch, no network.

    folder = write_run(tmp_path)                      runs/toy-1f0c...: done, and not published
    write_run(tmp_path, seed=1, n_steps=(6, 4), done=7, weights=False)      another one, stopped in its second phase

The recipe is TOY, which `tests.support.training_runs:TOY` names; its samples lie in a snapshot beside the runs.
"""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydantic import Field

from schemas.config import StageConfig
from schemas.storage import write_atomic
from schemas.training_run import METRICS, REQUEST, VALIDATION, WEIGHTS, Condition, Measured, RunRequest, Validation
from tasks.media.encoding import write_video
from tasks.training import recipe
from tasks.training.optimisation import Optimisation
from tests.support.snapshots import write_snapshot

SAMPLES, CURATED = "toy-samples-81b2", "toy-3f9c"
FIRST, SECOND = 8, 4  # steps of the phases


class ToyTraining(StageConfig):
    """A recipe's settings."""

    stages: str = "both"
    first: Optimisation = Optimisation(n_steps=FIRST, batch_size=2)
    second: Optimisation = Optimisation(n_steps=SECOND, batch_size=2)
    rank: int = Field(128, description="Rank")
    blocks: tuple[int, ...] = (7, 11)
    seed: int = 0


def _none(*_: Any) -> Any:
    raise NotImplementedError


TOY = recipe.Recipe(
    "toy",
    "toy-samples",
    ToyTraining,
    {"paper": {}, "second_only": {"stages": "second"}, "small": {"rank": 4, "blocks": (7,)}},
    _none,
    _none,
    loading='pipeline.load_lora_weights("{weights}")',
)
recipe.RECIPES.setdefault("toy", "tests.support.training_runs:TOY")


def write_run(root: Path, *, done: int | None = None, weights: bool = True, prompt: str = "", **config: Any) -> Path:
    """A run below root / "runs", with its samples' snapshot below root / "training".

    done: steps that were made, all by default; a validation was made after every fourth
    """
    training = ToyTraining(**config)
    samples = root / "training" / "snapshots" / SAMPLES
    if not samples.exists():
        configs = json.dumps({"snapshot": {"snapshot_id": CURATED, "flow": "curate-toy"}})
        write_snapshot(samples, "prepare-toy-samples", {}, configs=configs)
    request = RunRequest(
        recipe="toy",
        config=training.model_dump_json(),
        snapshot_id=SAMPLES,
        samples=str(samples),
        base_model="somebody/base@0123456789abcdef0123456789abcdef01234567",
        n_processes=2,
        micro_batch=1,
        code="c0de" * 16,
        libraries=["torch 2.9.1", "diffusers 0.39.0"],
    )
    folder = root / "runs" / request.run_id
    write_atomic(folder / REQUEST, request.to_json())
    phases = [("first", training.first.n_steps), ("second", training.second.n_steps)]
    names = [name for name, n in phases for _ in range(n) if training.stages in ("both", name)]
    made = names[:done]
    lines = [json.dumps(line_of(step, name, training.seed)) for step, name in enumerate(made, 1)]
    write_atomic(folder / METRICS, "".join(f"{line}\n" for line in lines).encode())
    steps = [step for step in range(1, len(made) + 1) if step % 4 == 0]
    found = [_validation(folder, step, sample, prompt) for step in steps for sample in ("clip-a", "clip-b")]
    listed = json.dumps([one.model_dump() for one in found])
    write_atomic(folder / VALIDATION / "index.json", listed.encode())
    if weights and len(made) == len(names):
        write_atomic(folder / WEIGHTS / "lora.safetensors", safetensors(training.rank))
    checkpoint = folder / "checkpoints" / f"step-{len(made):06}"
    write_atomic(checkpoint / "state.json", b'{"step": 12, "seconds": 1.0, "machine": "cpu, 1 threads"}')
    return folder


def line_of(step: int, phase: str, seed: int = 0) -> dict[str, Any]:
    """A line of metrics.jsonl: a loss that falls, with noise."""
    noise = np.random.default_rng([seed, step]).normal(0, 0.03)
    loss = math.exp(-step / 30) + noise + (0.2 if phase == "second" else 0)
    return {
        "step": step,
        "phase": phase,
        "loss": loss,
        "denoising": 0.8 * loss,
        "sga": None if step == 1 else 0.2 * loss,
        "learning_rate": 1e-4 / step,
        "gradient_norm": 0.7 + noise,
        "seconds": 900.0 * step,
        "samples_per_s": 1.4 + noise,
    }


def safetensors(n_floats: int) -> bytes:
    """A whole file of one tensor."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [n_floats], "data_offsets": [0, 4 * n_floats]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4 * n_floats)


def _validation(folder: Path, step: int, sample: str, prompt: str) -> Validation:
    """A square that is sharper and further with every step; its first frame; a map that belongs to the step alone."""
    place = f"{VALIDATION}/step-{step:06}"
    frames = [_frame(8 + (x * step) % 60, min(250, 60 + 15 * step)) for x in range(6)]
    write_video(folder / place / f"{sample}.mp4", frames, Fraction(8))
    write_video(folder / place / f"{sample}-attention.mp4", [255 - frame for frame in frames], Fraction(8))
    first = folder / VALIDATION / "conditions" / f"{sample}.png"
    write_atomic(first, cv2.imencode(".png", frames[0])[1].tobytes()) if not first.exists() else None
    return Validation(
        step=step,
        sample_id=sample,
        prompt=prompt or f"The square of {sample} pushes a ball across the table.",
        video=f"{place}/{sample}.mp4",
        conditions=[
            Condition(name="first frame", path=f"{VALIDATION}/conditions/{sample}.png"),
            Condition(name="attention to 'ball'", path=f"{place}/{sample}-attention.mp4"),
        ],
        measured=[Measured(name="AAS", value=0.2 + step / 100 + (0.05 if sample == "clip-b" else 0))],
    )


def _frame(x: int, bright: int) -> np.ndarray:
    frame = np.full((48, 72, 3), 30, np.uint8)
    frame[16:32, x : x + 12] = (bright, bright // 2, 40)
    return frame
