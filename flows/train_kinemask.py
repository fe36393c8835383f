"""train-kinemask: samples of KineMask -> a ControlNet for velocity masks (KineMask, section 3.2).

python -m flows.train_kinemask --samples training/kinemask --runs runs
triptych run train-kinemask --watch     once it is deployed, on a worker with GPUs
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from flows.engine.options import Profiles
from flows.engine.training import TrainConfig, TrainingFlow, choices_of, training_flow
from tasks.training.recipes.kinemask.config import VARIANTS, KinemaskTraining


class TrainKinemask(TrainConfig):
    """Everything the training can be told. Defaults are the paper's where it states a number."""

    recipe_name: ClassVar[str] = "kinemask"
    profiles: ClassVar[Profiles] = choices_of(VARIANTS)
    first_options: ClassVar[Sequence[str]] = (
        *("samples", "runs", "variant", "launch.n_processes", "launch.micro_batch", "training.model"),
        *("training.backbone", "training.first.n_steps", "training.second.n_steps"),
    )

    variant: Literal[
        "paper",
        "simple_motion",
        "second_stage_only",
        "first_stage_only",
        "constant_prompt",
        "wan",
        "v_0",
        "uniform_dropout",
    ] = Field(
        "paper",
        description="The row of the tables where nothing else is asked for; wan: the other backbone, of table 4",
    )
    training: KinemaskTraining = Field(KinemaskTraining(), description="The recipe's settings")


train_kinemask = training_flow(TrainKinemask)

FLOW = TrainingFlow(TrainKinemask, train_kinemask)


if __name__ == "__main__":
    FLOW.main()
