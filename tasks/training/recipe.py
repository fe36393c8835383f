"""What a recipe's room gives to the job that trains it: the one interface between them.

    recipe = load_recipe("matrix")                 the room's RECIPE, in tasks/training/recipes/matrix/recipe.py
    config = recipe.config.model_validate(...)
    trainer = recipe.trainer(config, samples)      one in each process
    trainer.build(device)                          networks loaded and drawn
    for phase in trainer.phases: ...               the job's loop: tasks/training/job/loop.py

A batch is what the recipe's loss takes; the job neither looks into it nor knows any dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from schemas.config import StageConfig
from schemas.training_run import Validation
from tasks.training.identity import code_digest
from tasks.training.optimisation import Optimisation

if TYPE_CHECKING:
    import numpy as np
    import torch

    from tasks.engine.snapshots import Snapshot

RECIPES: dict[str, str] = {
    "matrix": "tasks.training.recipes.matrix.recipe:RECIPE",
    "kinemask": "tasks.training.recipes.kinemask.recipe:RECIPE",
    "dsr": "tasks.training.recipes.dsr.recipe:RECIPE",
}


class Phase(NamedTuple):
    """A stretch of a training with an optimiser and a schedule of its own: KineMask has two, others one."""

    name: str  # "first"; part of the metrics
    optimisation: Optimisation


class Loss(NamedTuple):
    """What an update minimises, and what to watch."""

    total: torch.Tensor  # a scalar: the mean over the micro-batch
    metrics: dict[str, float]  # {"loss": ..., "denoising": ...}: for metrics.jsonl, averaged over ranks as well


class Randomness(NamedTuple):
    """Generators of one micro-batch, keyed by (seed, phase, step, micro-batch, rank): a resumed run draws the same.

    torch's global generators (dropout) are seeded with the same key before every micro-batch.
    """

    torch: torch.Generator  # on the CPU
    numpy: np.random.Generator


class Trainer(Protocol):
    """One training in one process."""

    phases: Sequence[Phase]

    def build(self, device: torch.device) -> torch.nn.Module:
        """Load the base model and add what is trained, drawn from torch's global generator, which the job has seeded.

        Returns the module that holds all that is trained: its parameters that require a gradient, in float32. Nothing
        else is saved in a checkpoint, so nothing else may change (no running statistics). What is frozen is in the
        precision of Optimisation; `loss` is called under autocast of it. Raises ServiceDown.
        """

    def begin_phase(self, phase: Phase, module: torch.nn.Module) -> None:
        """Called before the phase's first step, and on every resume within it, when the weights are loaded.

        The module is in training mode; parts may be set to `eval`. Changes no weights, and not what is trained.
        """

    @property
    def n_samples(self) -> int:
        """Samples that an epoch goes through."""

    def collate(self, indices: Sequence[int], epoch: int) -> Any:
        """Read and stack samples, on the CPU. Called in several threads while the networks run, after `begin_phase`.

        No CUDA, no networks, no global randomness: what it draws is keyed by seed, epoch and sample.
        """

    def loss(self, module: torch.nn.Module, batch: Any, randomness: Randomness, phase: Phase) -> Loss:
        """module: what `build` gave; batch: `collate`'s, on the device (`to_device`)."""

    def to_device(self, batch: Any, device: torch.device) -> Any: ...

    def save(self, module: torch.nn.Module, folder: Path) -> None:
        """The trained weights as others load them: safetensors."""

    def validate(self, module: torch.nn.Module, folder: Path, step: int) -> list[Validation]:
        """Videos with fixed seeds at a step, below folder / "validation" / f"step-{step:06d}". In the first process.

        Paths are within folder. No global randomness.
        """


@dataclass(frozen=True)
class Recipe:
    """A paper's training."""

    name: str
    samples: str  # the dataset that it reads: "matrix-samples"
    config: type[StageConfig]
    variants: dict[str, dict[str, Any]]  # named rows of the paper's tables -> values of the config
    trainer: Callable[[Any, Snapshot], Trainer]  # (config, snapshot of samples)
    base_model: Callable[[Any], str]  # (config) -> its identity: folder with digest, or OWNER/NAME@commit
    loading: str = ""  # Python that loads the weights, for a run's page; {weights} is their folder


def load_recipe(name: str) -> Recipe:
    """By its name in RECIPES, or MODULE:NAME of another's. Raises KeyError."""
    module, _, attribute = _place_of(name).partition(":")
    recipe: Recipe = getattr(import_module(module), attribute)
    return recipe


def code_version(name: str) -> str:
    """SHA-256 of the code that trains with a recipe: the job, the recipe, and all of ours that they import."""
    return code_digest("tasks.training.job", _place_of(name).partition(":")[0])


def _place_of(name: str) -> str:
    return name if ":" in name else RECIPES[name]
