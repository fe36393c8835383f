"""The demo of curate-kinemask: simulate and render a handful of clips with Blender, and show them on a page.

python -m flows.commands.demo_kinemask --folder demo-kinemask        # or: make demo-kinemask
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

from flows.curate_kinemask import CurateKinemask, curate_kinemask
from schemas.kinemask import KinemaskStatistics
from tasks.engine.snapshots import read_snapshot
from tasks.render_clips import RenderConfig
from tasks.simulate_scenes import SceneConfig


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.commands.demo_kinemask", description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("demo-kinemask"), help="where everything is put")
    parser.add_argument("--renderer", choices=["cycles", "raster"], default="cycles", help="raster needs no Blender")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)

    started_s = time.monotonic()
    config = CurateKinemask(
        root=arguments.folder,
        dataset="demo",
        n_train=2,
        n_test=1,
        scenes=SceneConfig(width=360, height=240),
        render=RenderConfig(renderer=arguments.renderer),
    )
    snapshot = curate_kinemask(config)
    manifest = read_snapshot(snapshot)
    print(manifest.tally)
    print(headline(KinemaskStatistics.model_validate(manifest.statistics)))
    print(f"{time.monotonic() - started_s:.0f} s. Open this in a browser:")
    print((arguments.folder / "reports" / snapshot.name / "index.html").resolve().as_uri())


def headline(statistics: KinemaskStatistics) -> str:
    """What was made, in two lines."""
    n_objects = sum(n * clips for n, clips in enumerate(statistics.objects_per_clip))
    made = ", ".join(f"{part.n} {part.name}" for part in statistics.clips)
    rejected = ", ".join(f"{draw.n} {draw.name}" for draw in statistics.rejected_draws) or "none"
    return "\n".join(
        [
            f"clips: {made}; {n_objects} objects, {sum(statistics.collisions_per_frame)} collisions",
            f"draws that were no clip of their set: {rejected}",
        ]
    )


if __name__ == "__main__":
    main()
