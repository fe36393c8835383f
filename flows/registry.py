"""Every flow by the name of its dataset or recipe: the one place that lists them.

load_flow("matrix11k").config       -> CurateMatrix11k
load_training("matrix").config      -> TrainMatrix
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it imports Prefect: two seconds, and a help that lists names needs none of it
    from flows.engine.command import CurationFlow
    from flows.engine.training import TrainingFlow

FLOWS: dict[str, str] = {
    "matrix11k": "flows.curate_matrix11k",
    "kinemask": "flows.curate_kinemask",
    "dsr": "flows.curate_dsr",
}
TRAININGS: dict[str, str] = {
    "matrix": "flows.train_matrix",
    "kinemask": "flows.train_kinemask",
    "dsr": "flows.train_dsr",
}


def names(verb: str) -> list[str]:
    """The datasets that are curated, or prepared from others: their flow files say which."""
    return [name for name, module in FLOWS.items() if module.startswith(f"flows.{verb}_")]


def load_flow(name: str) -> CurationFlow:
    """The flow that curates a dataset. Its file is imported now, with what it needs. Raises KeyError."""
    flow: CurationFlow = import_module(FLOWS[name]).FLOW
    return flow


def load_training(recipe: str) -> TrainingFlow:
    """The flow that trains a recipe. Raises KeyError."""
    flow: TrainingFlow = import_module(TRAININGS[recipe]).FLOW
    return flow
