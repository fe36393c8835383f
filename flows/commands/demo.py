"""The demo: draw a small captioned input whose true masks are known, curate it, report it against the truth.

python -m flows.commands.demo --folder demo        # or: make demo
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

from flows.curate_matrix11k import CurateMatrix11k, curate_matrix11k
from flows.engine.steps import run_step
from schemas.truth import read_truths
from tasks.datasets.matrix11k.drawn_input import draw_scenes
from tasks.metrics.compare_truth import TruthReport, compare_snapshot


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.commands.demo", description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="where everything is put (default: demo)")
    parser.add_argument("--seed", type=int, default=0, help="of the drawing (default: 0)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)

    started_s = time.monotonic()
    folder: Path = arguments.folder
    print("drawing the scenes ...", flush=True)
    manifest = run_step("draw_scenes", draw_scenes, folder / "input", seed=arguments.seed)
    config = CurateMatrix11k(manifest=manifest, root=folder, dataset="demo", truth=folder / "input")
    snapshot = curate_matrix11k(config)
    truth = compare_snapshot(snapshot, read_truths(folder / "input"))
    print(headline(truth))
    print(f"{time.monotonic() - started_s:.0f} s. Open this in a browser:")
    print((folder / "reports" / snapshot.name / "index.html").resolve().as_uri())


def headline(truth: TruthReport) -> str:
    """The numbers that matter, in three lines."""

    def rate(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    return "\n".join(
        [
            f"masks against the truth: mean IoU {rate(truth.mean_iou)}, where visible {rate(truth.mean_visible_iou)}, "
            f"{truth.instances_delivered} tracks, {rate(truth.instance_recall)} of the instances",
            f"cuts: precision {rate(truth.cut_precision)}, recall {rate(truth.cut_recall)}; "
            f"triplets: precision {rate(truth.triplet_precision)}, recall {rate(truth.triplet_recall)}",
            f"rows that ended as expected: {truth.rows_met} of {truth.rows_expected}",
        ]
    )


if __name__ == "__main__":
    main()
