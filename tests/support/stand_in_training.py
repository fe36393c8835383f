"""A training whose job is the stand-in: a recipe with two variants, and its flow.

monkeypatch.setitem(RECIPES, "counting", "tests.support.stand_in_training:RECIPE")
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from flows.engine import training
from flows.engine.options import Profiles
from flows.engine.training import TrainConfig, TrainingFlow, choices_of, training_flow
from schemas.config import StageConfig
from schemas.outcome import ServiceDown
from tasks.engine.snapshots import Snapshot
from tasks.training import launch
from tasks.training.optimisation import Optimisation
from tasks.training.recipe import RECIPES, Phase, Recipe
from tests.support.stand_in_job import STAND_IN

LIBRARIES = ["torch 2.13.0", "numpy 2.5.1"]


class LoraConfig(StageConfig):
    rank: int = Field(8, ge=1, description="Rank")
    blocks: tuple[int, ...] | None = Field((1, 2), description="Blocks; null: all")
    biased: bool = Field(True, description="With biases")


class CountingTraining(StageConfig):
    model: str = Field("tiny", description="Its weights")
    lora: LoraConfig = LoraConfig()
    optimisation: Optimisation = Optimisation(n_steps=3, batch_size=4, betas=(0.9, 0.95))


class CountingTrainer:
    def __init__(self, config: CountingTraining, samples: Snapshot) -> None:
        self.phases = [Phase("only", config.optimisation)]
        self.n_samples = samples.scan("samples").collect()["split"].to_list().count("train")


def base_model(config: CountingTraining) -> str:
    if config.model == "gone":
        raise ServiceDown("no checkpoint at gone")
    return f"{config.model} sha256:1234"


VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "everywhere": {"lora": {"blocks": None, "biased": False}, "optimisation": {"n_steps": 5}},
}
RECIPE = Recipe("counting", "counting-samples", CountingTraining, VARIANTS, CountingTrainer, base_model)  # type: ignore[arg-type]


class TrainCounting(TrainConfig):
    """Everything the training can be told."""

    recipe_name: ClassVar[str] = "counting"
    profiles: ClassVar[Profiles] = choices_of(VARIANTS)
    first_options: ClassVar[Sequence[str]] = (
        "samples",
        "runs",
        "variant",
        "training.lora.rank",
        "training.lora.blocks",
    )

    variant: Literal["paper", "everywhere"] = Field("paper", description="Which row")
    training: CountingTraining = Field(CountingTraining(), description="The recipe's settings")


train_counting = training_flow(TrainCounting)
FLOW = TrainingFlow(TrainCounting, train_counting)


def replace_job() -> None:
    """For good: in a process of its own, where torch and the recipe are not."""
    launch.JOB = STAND_IN
    RECIPES["counting"] = f"{__name__}:RECIPE"
    setattr(training, "library_versions", lambda: LIBRARIES)  # noqa: B010


def main() -> None:
    replace_job()
    FLOW.main()
