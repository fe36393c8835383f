"""Validation videos of a run: whole steps only, listed in validation/index.json.

validations = Validations(folder)
validations.cut_back(step)            what came after the checkpoint is made again
validations.add(trainer, module, 250)
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.training_run import VALIDATION, Validation
from tasks.training.job.checkpoints import publish_folder
from tasks.training.job.failures import JobError
from tasks.training.recipe import Trainer

if TYPE_CHECKING:
    import torch

INDEX = "index.json"


class Validations:
    """Written by the first process."""

    def __init__(self, folder: Path) -> None:
        self._run = folder
        self._folder = folder / VALIDATION
        self._draft = folder / f".{VALIDATION}"

    def read(self) -> list[Validation]:
        try:
            listed = json.loads((self._folder / INDEX).read_bytes())
        except FileNotFoundError:
            return []
        return [Validation.model_validate(one) for one in listed]

    def has(self, step: int) -> bool:
        return any(one.step == step for one in self.read())

    def cut_back(self, step: int) -> None:
        """Keep what was made up to a step; what a killed process left goes, too."""
        shutil.rmtree(self._draft, ignore_errors=True)
        kept = [one for one in self.read() if one.step <= step]
        if self._folder.exists():
            self._write(kept)
        used = {Path(path).relative_to(VALIDATION).parts[0] for one in kept for path in _paths(one)} | {INDEX}
        for path in self._folder.iterdir() if self._folder.exists() else ():
            if path.name not in used:
                _delete(path)

    def add(self, trainer: Trainer, module: torch.nn.Module, step: int) -> None:
        """Made aside, then moved. Raises JobError for files that the recipe tells of and did not write."""
        shutil.rmtree(self._draft, ignore_errors=True)
        self._draft.mkdir()
        modes = [(part, part.training) for part in module.modules()]
        try:
            made = trainer.validate(module, self._draft, step)
        finally:
            for part, training in modes:
                part.training = training
        missing = [path for one in made for path in _paths(one) if not (self._draft / path).is_file()]
        if missing:
            raise JobError(f"the recipe's validation of step {step} names {missing[0]}, which it did not write")
        self._folder.mkdir(exist_ok=True)
        for path in sorted((self._draft / VALIDATION).iterdir()) if made else ():
            _delete(self._folder / path.name)  # of a start that was killed before it was listed
            publish_folder(path, self._folder / path.name)
        self._write([*self.read(), *made])
        shutil.rmtree(self._draft)

    def _write(self, listed: list[Validation]) -> None:
        aside = self._folder / f".{INDEX}"
        with aside.open("w") as file:
            json.dump([one.model_dump() for one in listed], file)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(self._folder / INDEX)


def _paths(one: Validation) -> list[str]:
    return [one.video, *(condition.path for condition in one.conditions)]


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
