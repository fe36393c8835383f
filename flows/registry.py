"""Every curation flow by the name of its dataset: the one place that lists them.

load_flow("matrix11k").config       -> CurateMatrix11k
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it imports Prefect: two seconds, and a help that lists names needs none of it
    from flows.engine.command import CurationFlow

FLOWS: dict[str, str] = {
    "matrix11k": "flows.curate_matrix11k",
    "kinemask": "flows.curate_kinemask",
    "dsr": "flows.curate_dsr",
}


def names(verb: str) -> list[str]:
    """The datasets that are curated, or prepared from others: their flow files say which."""
    prepare = {name for name, module in FLOWS.items() if module.rpartition(".")[2].startswith("prepare_")}
    return [name for name in FLOWS if (name in prepare) == (verb == "prepare")]


def load_flow(name: str) -> CurationFlow:
    """The flow that curates a dataset. Its file is imported now, with what it needs. Raises KeyError."""
    flow: CurationFlow = import_module(FLOWS[name]).FLOW
    return flow
