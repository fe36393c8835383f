"""Prepare a dataset for a training: a published snapshot in, samples that a model takes out.

triptych prepare matrix-samples --snapshot data --root training/matrix
"""

from __future__ import annotations

from flows.commands.curate import start


def main(arguments: list[str]) -> None:
    start("prepare", arguments)
