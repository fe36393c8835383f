"""What work tells of its progress.

told_by(renderer.render, scene, trajectories, floor)  ->  ["0 of 3 frames", "1 of 3 frames", ...]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.engine.progress import AtWork


def told_by(function: Callable[..., Any], *args: Any, **kwargs: Any) -> list[str]:
    """Call a function as a row's work; everything it tells, in order."""
    row, texts = AtWork("row"), []
    row.look = lambda: texts.append(row.parts()[0].text)
    row.run(function, *args, **kwargs)
    return texts
