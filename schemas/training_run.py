"""A training run: what it is made from, where it stands, and what it published.

runs/matrix-3f9c2a71b0de/
    request.json              RunRequest, written before the job starts: what the run is
    metrics.jsonl             a line a step; the truth about progress: {"step": 12, "phase": "first", "loss": 0.18,
                              "learning_rate": 1e-4, "gradient_norm": 0.7, "seconds": 341.2, "samples_per_s": 1.4}
                              step: over all phases; seconds: at work so far, over all starts; null: no finite value
    checkpoints/step-000250/  the newest; whole or not there
    validation/               videos with fixed seeds at steps, their conditions, and index.json: [Validation]
    weights/                  what was trained, as others load it
    curves/                   pictures of the metrics
    manifest.json             RunManifest, written last: a folder without one is a run that goes on, or was stopped
    index.html                its page
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar

from schemas.record import Record, column, content_hash

REQUEST, METRICS, CHECKPOINTS, VALIDATION, WEIGHTS, MANIFEST = (
    *("request.json", "metrics.jsonl", "checkpoints", "validation", "weights", "manifest.json"),
)


class RunRequest(Record):
    """Everything that a training's weights are a function of."""

    schema_version: ClassVar[int] = 1

    recipe: str = column("matrix, kinemask, dsr")
    config: str = column("The recipe's settings, all of them, as JSON")
    snapshot_id: str = column("The samples' snapshot: lineage goes on in its manifest")
    samples: str = column("Where that snapshot lies: no part of the run's name")
    base_model: str = column("The model that is trained: a folder with its digest, or OWNER/NAME@commit")
    n_processes: int = column("Processes, each with a device: another number is another result", ge=1)
    micro_batch: int = column("Samples that a process takes at once; the rest of a batch is accumulated", ge=1)
    code: str = column("SHA-256 of the code that trains")
    libraries: list[str] = column("torch 2.9.1, diffusers 0.39.0, ...")

    @property
    def run_id(self) -> str:
        """'matrix-3f9c2a71b0de': by recipe, settings, samples and base model."""
        return f"{self.recipe}-{content_hash(self.config, self.snapshot_id, self.base_model, length=12)}"

    def differing(self, other: RunRequest) -> dict[str, tuple[object, object]]:
        """{"config.lora.rank": (mine, the other's), "n_processes": ...}: why one does not go on from the other."""
        mine, theirs = ({**one.model_dump(), "config": json.loads(one.config)} for one in (self, other))
        mine.pop("samples"), theirs.pop("samples")
        return dict(_differences(mine, theirs))


def _differences(mine: dict[str, Any], theirs: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name in sorted({*mine, *theirs}):
        one, other = mine.get(name), theirs.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _differences(one, other, f"{before}{name}.")
        elif one != other:
            yield before + name, (one, other)


class Condition(Record):
    """What a validation video was made from."""

    name: str = column("For people: 'first frame', 'ID map', 'velocity mask'")
    path: str = column("A picture or a video, within the run's folder")


class Measured(Record):
    """A number of a validation video."""

    name: str = column("'AAS'")
    value: float = column("The number")


class Validation(Record):
    """A video that the run made at a step, with a fixed seed."""

    step: int = column("After so many updates", ge=0)
    sample_id: str = column("The sample or prompt that it is made for")
    prompt: str = column("Its text")
    video: str = column("Within the run's folder: validation/step-000250/clip-9f3c.mp4")
    conditions: list[Condition] = column("What it was made from", default=[])
    measured: list[Measured] = column("What was measured in it", default=[])


class RunFile(Record):
    """A file of a published run."""

    path: str = column("Within the run's folder")
    sha256: str = column("Its SHA-256", unit="hex")
    n_bytes: int = column("Its size", unit="bytes", ge=0)


class Ancestor(Record):
    """A snapshot that a run comes from."""

    snapshot_id: str = column("Derived from its content")
    flow: str = column("The flow that published it")


class RunManifest(Record):
    """A published run."""

    schema_version: ClassVar[int] = 1

    run_id: str = column("The folder's name")
    request: RunRequest = column("What it was made from")
    lineage: list[Ancestor] = column("The samples, then the snapshot that they were prepared from", default=[])
    n_steps: int = column("Updates of the weights", ge=1)
    seconds: float = column("Time at work, over all its starts", unit="s", ge=0)
    environment: list[str] = column("Python, platform, device: 'python 3.11.9', 'cpu x 2', 'NVIDIA H200'")
    final_metrics: str = column("The last line of metrics.jsonl, as JSON")
    files: list[RunFile] = column("Every file of the run but this one and checkpoints")
