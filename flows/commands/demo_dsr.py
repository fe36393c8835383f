"""The demo of curate-dsr: prompts, drawn samples, scores, preference pairs, and a page that shows them.

python -m flows.commands.demo_dsr --folder demo-dsr        # or: make demo-dsr
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

from flows.curate_dsr import CurateDsr, curate_dsr
from schemas.dsr import DsrStatistics
from tasks.datasets.dsr.grammar import PromptConfig
from tasks.engine.snapshots import read_snapshot
from tasks.generate_samples import GenerateConfig
from tasks.ground_instances import GroundConfig

TAU = 0.7


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.commands.demo_dsr", description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("demo-dsr"), help="where everything is put")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)

    started_s = time.monotonic()
    config = CurateDsr(
        root=arguments.folder,
        dataset="demo",
        seeds_train=4,
        seeds_test=2,
        grammar=PromptConfig(n_train=6, n_test=6),
        generate=GenerateConfig(width=416, height=240, n_frames=41, fps=8),
        ground=GroundConfig(n_frames=8),
    )
    snapshot = curate_dsr(config)
    manifest = read_snapshot(snapshot)
    print(manifest.tally)
    print(headline(DsrStatistics.model_validate(manifest.statistics)))
    print(f"{time.monotonic() - started_s:.0f} s. Open this in a browser:")
    print((arguments.folder / "reports" / snapshot.name / "index.html").resolve().as_uri())


def headline(statistics: DsrStatistics) -> str:
    """What was measured, in three lines."""
    at = statistics.taus.index(TAU)
    correct = {curve.name: curve for curve in statistics.curves}
    shares = [
        f"{split} {correct[split].correctness[at]:.2f} of {correct[split].n_judged}"
        for split in ("train", "test")
        if split in correct
    ]
    invalid = ", ".join(f"{reason.n} {reason.name}" for reason in statistics.invalid) or "none"
    return "\n".join(
        [
            f"Correctness@{TAU}: {'; '.join(shares)} samples",
            f"invalid samples: {invalid}",
            f"{statistics.n_pairs} pairs of {statistics.n_paired_prompts} prompts",
        ]
    )


if __name__ == "__main__":
    main()
