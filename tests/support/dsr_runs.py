"""Whole runs of curate-dsr over a few tiny samples.

config = tiny_samples(tmp_path)
snapshot = sample_here(config)        the flow's own code without Prefect's engine
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.curate_dsr import CurateDsr, curate_dsr
from tasks.datasets.dsr.grammar import PromptConfig
from tasks.generate_samples import GenerateConfig
from tasks.ground_instances import GroundConfig

# Three seconds: long enough to find both things in twenty frames.
TINY = GenerateConfig(width=208, height=128, n_frames=24, fps=8)


def tiny_samples(root: Path, **changes: Any) -> CurateDsr:
    """Three samples of each of two training prompts, and one of a test prompt; two samples a shard."""
    values: dict[str, Any] = {
        "grammar": PromptConfig(n_train=2, n_test=1),
        "seeds_train": 3,
        "seeds_test": 1,
        "shard_size": 2,
        "generate": TINY,
        "ground": GroundConfig(n_frames=4),
    }
    return CurateDsr(root=root, **values | changes)


def sample_here(config: CurateDsr, *, report: bool = False) -> Path:
    """The flow's own code, top to bottom, in this process and without Prefect's engine; returns the snapshot."""
    return curate_dsr.fn(config.model_copy(update={"report": report}))
