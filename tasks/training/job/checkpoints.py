"""A training's state on a disk: whole, or not there.

    checkpoints/step-000250/
        weights.safetensors      the trained parameters
        optimiser.safetensors    "blocks.7.to_q.exp_avg": ...
        state.json               {"step": 250, "seconds": 341.2, "machine": "cpu, 1 threads"}
        request.json             what the run is: nothing else goes on from here

No random state and no loader's: both follow from the step. A checkpoint is written aside, synchronised and renamed, and
the one before is deleted after that. safetensors and JSON: reading runs no code.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.training_run import REQUEST, RunRequest
from tasks.training.job.failures import JobError

if TYPE_CHECKING:
    import torch

WEIGHTS_FILE, OPTIMISER_FILE, STATE_FILE = "weights.safetensors", "optimiser.safetensors", "state.json"
_NAME = re.compile(r"step-(\d{6,})")


@dataclass(frozen=True)
class Checkpoint:
    """What a training goes on from."""

    step: int  # updates, over all phases
    seconds: float  # at work, over all starts
    machine: str  # what bits may depend on
    weights: Mapping[str, torch.Tensor]
    optimiser: Mapping[str, torch.Tensor]


class Checkpoints:
    """A run's folder of them. One process writes."""

    def __init__(self, folder: Path, request: RunRequest) -> None:
        self._folder, self._request = folder, request

    def newest(self) -> int | None:
        """Its step; None if there is none."""
        return max(self._steps(), default=None)

    def require_same(self) -> None:
        """Raises JobError if another run wrote the newest: weights, gigabytes, need not be read for that."""
        step = self.newest()
        if step is not None:
            path = self._path(step) / REQUEST
            try:
                written = RunRequest.from_json(path.read_bytes())
            except (OSError, ValueError) as error:
                raise _damaged(path, error) from error
            require_same(self._request, written, path.parent.name)

    def load(self) -> Checkpoint | None:
        """The newest. Raises JobError if another run wrote it, or it is damaged."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        self.require_same()
        step = self.newest()
        if step is None:
            return None
        folder = self._path(step)
        try:
            state = json.loads((folder / STATE_FILE).read_bytes())
            weights, optimiser = (load_file(folder / name) for name in (WEIGHTS_FILE, OPTIMISER_FILE))
            return Checkpoint(step, state["seconds"], state["machine"], weights, optimiser)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise _damaged(folder, error) from error

    def save(self, checkpoint: Checkpoint) -> None:
        """Raises JobError if it cannot be written, such as on a full disk; the one before stays then."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        self.clean()
        final = self._path(checkpoint.step)
        draft = final.with_name(f".{final.name}")
        try:
            draft.mkdir(parents=True)
            save_file(dict(checkpoint.weights), draft / WEIGHTS_FILE)
            save_file(dict(checkpoint.optimiser), draft / OPTIMISER_FILE)
            state = {"step": checkpoint.step, "seconds": checkpoint.seconds, "machine": checkpoint.machine}
            (draft / STATE_FILE).write_text(json.dumps(state))
            (draft / REQUEST).write_bytes(self._request.to_json())
            publish_folder(draft, final)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(draft, ignore_errors=True)
            last = self.newest()
            stays = "there is none before it" if last is None else f"that of step {last} stays"
            raise JobError(
                f"the checkpoint of step {checkpoint.step} cannot be written to {self._folder}: {error}; {stays}. "
                "Make room, and run again"
            ) from error
        self.clean()

    def clean(self) -> None:
        """Delete all but the newest, and what a killed process left."""
        newest = self.newest()
        for path in self._folder.iterdir() if self._folder.exists() else ():
            if newest is None or path != self._path(newest):
                shutil.rmtree(path, ignore_errors=True)

    def _path(self, step: int) -> Path:
        return self._folder / f"step-{step:06d}"

    def _steps(self) -> list[int]:
        names = [path.name for path in self._folder.iterdir()] if self._folder.exists() else []
        return [int(found[1]) for name in names if (found := _NAME.fullmatch(name))]


def _damaged(path: Path, error: Exception) -> JobError:
    return JobError(f"{path} cannot be read: {error}; delete the run's checkpoints to begin anew")


def require_same(request: RunRequest, other: RunRequest, where: str) -> None:
    """Raises JobError, which names what differs, if one training does not go on from the other."""
    differing = request.differing(other)
    if differing:
        told = "; ".join(f"{name} is {mine!r}, {where} has {theirs!r}" for name, (mine, theirs) in differing.items())
        raise JobError(f"this would be another training: {told}. Go on with what it was begun with, or begin a new run")


def publish_folder(draft: Path, final: Path) -> None:
    """Rename a folder when all in it is on the disk."""
    for path in sorted(draft.rglob("*")):
        _sync(path)
    _sync(draft)
    draft.rename(final)
    _sync(final.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
