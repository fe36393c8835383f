"""train-matrix: samples of MATRIX -> a LoRA that attends to who does what to whom (MATRIX, section 5).

python -m flows.train_matrix --samples training/matrix --runs runs
triptych run train-matrix --watch     once it is deployed, on a worker with GPUs
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from flows.engine.options import Profiles
from flows.engine.training import TrainConfig, TrainingFlow, choices_of, training_flow
from tasks.training.recipes.matrix.config import VARIANTS, MatrixTraining


class TrainMatrix(TrainConfig):
    """Everything the training can be told. Defaults are the paper's where it states a number."""

    recipe_name: ClassVar[str] = "matrix"
    profiles: ClassVar[Profiles] = choices_of(VARIANTS)
    first_options: ClassVar[Sequence[str]] = (
        *("samples", "runs", "variant", "launch.n_processes", "launch.micro_batch", "training.model"),
        *("training.lora.rank", "training.optimisation.n_steps", "training.optimisation.learning_rate"),
    )

    variant: Literal["paper", "no_layer_selection", "selection_only", "spa_only", "sga_only", "official"] = Field(
        "paper",
        description="The row of table 2 where nothing else is asked for; official: the settings of the authors' code",
    )
    training: MatrixTraining = Field(MatrixTraining(), description="The recipe's settings")


train_matrix = training_flow(TrainMatrix)

FLOW = TrainingFlow(TrainMatrix, train_matrix)


if __name__ == "__main__":
    FLOW.main()
