"""train-dsr: pairs of DSR -> a LoRA that follows spatial relations (SpatialAlign, section 3.3).

python -m flows.train_dsr --samples training/dsr --runs runs
triptych run train-dsr --watch     once it is deployed, on a worker with GPUs
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from flows.engine.options import Profiles
from flows.engine.training import TrainConfig, TrainingFlow, choices_of, training_flow
from tasks.training.recipes.dsr.config import VARIANTS, DsrTraining


class TrainDsr(TrainConfig):
    """Everything the training can be told. Defaults are the paper's where it states a number."""

    recipe_name: ClassVar[str] = "dsr"
    profiles: ClassVar[Profiles] = choices_of(VARIANTS)
    first_options: ClassVar[Sequence[str]] = (
        *("samples", "runs", "variant", "launch.n_processes", "launch.micro_batch", "training.model"),
        *("training.lora.rank", "training.optimisation.n_steps", "training.optimisation.learning_rate"),
    )

    variant: Literal[
        "paper",
        "dpo_only",
        "sft_top2",
        "no_threshold",
        "sft_regulariser",
        "vlm_reward",
        "endpoint_reward",
        "tau_0.6",
        "tau_0.8",
    ] = Field("paper", description="The alternative of the ablations where nothing else is asked for")
    training: DsrTraining = Field(DsrTraining(), description="The recipe's settings")


train_dsr = training_flow(TrainDsr)

FLOW = TrainingFlow(TrainDsr, train_dsr)


if __name__ == "__main__":
    FLOW.main()
