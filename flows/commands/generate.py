"""Generate videos with the weights of a training run.

triptych generate --run runs/kinemask-3f9c2a71b0de --inputs mugs.jsonl --out generated
"""

from __future__ import annotations

from flows.registry import load_flow


def main(arguments: list[str]) -> None:
    load_flow("videos").main([_as_root(argument) for argument in arguments])


def _as_root(argument: str) -> str:
    """Where a folder of videos is asked for, --out says it better than --root; both are the same."""
    return f"--root{argument.removeprefix('--out')}" if argument.partition("=")[0] == "--out" else argument
