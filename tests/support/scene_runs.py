"""Whole runs of curate-kinemask over a few tiny clips.

config = tiny_scenes(tmp_path)
snapshot = simulate_here(config)        the flow's own code without Prefect's engine
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.curate_kinemask import CurateKinemask, curate_kinemask
from tasks.simulate_scenes import SceneConfig

# A second and a half: long enough for a body to reach another one.
TINY = SceneConfig(width=96, height=64, fps=8, n_frames=12)


def tiny_scenes(root: Path, **changes: Any) -> CurateKinemask:
    """Two training clips and a test clip of each set, two clips a shard."""
    values: dict[str, Any] = {"n_train": 2, "n_test": 1, "shard_size": 2, "scenes": TINY}
    return CurateKinemask(root=root, **values | changes)


def simulate_here(config: CurateKinemask, *, report: bool = False) -> Path:
    """The flow's own code, top to bottom, in this process and without Prefect's engine; returns the snapshot."""
    return curate_kinemask.fn(config.model_copy(update={"report": report}))
