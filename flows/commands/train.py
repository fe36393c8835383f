"""Train a model on prepared samples; the same command goes on after anything.

triptych train matrix --samples training/matrix --runs runs
triptych train matrix --samples training/matrix --variant spa_only --dry-run
triptych train dsr --samples training/dsr --launch.n-processes 4 --training.lora.rank 32
"""

from __future__ import annotations

import sys

from flows.registry import TRAININGS, load_training


def main(arguments: list[str]) -> None:
    recipe, *options = arguments or ["--help"]
    if recipe in TRAININGS:
        load_training(recipe).main(options)
        return
    usage = f"usage: triptych train RECIPE [options]\n\nRECIPE: {', '.join(TRAININGS)}; RECIPE --help tells more."
    if recipe in ("-h", "--help"):
        print(usage)
        return
    sys.exit(f"there is no recipe {recipe!r}\n\n{usage}")
