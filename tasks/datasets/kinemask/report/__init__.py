"""a snapshot of simulated scenes -> the report that a person opens in a browser after a run.

    write_scene_report(Path("snapshots/kinemask-3f9c2a71b0de"), Path("report")) ->
        report/index.html                  the yield, rejected draws, statistics, clips
        report/clips/clip-81b2....mp4      a clip, its velocity mask beside it
        report/clips/clip-81b2....jpg      its first frame
        report/velocity-colours.png        what the colours of velocity masks mean
        report/usage.json                  what model servers were asked, if any was

All it tells comes from the snapshot's tables, but for what model servers were asked, which is about the work
and no part of a snapshot. The page stays small whatever the size of the snapshot: what is left out is counted,
and of videos and masks only those of the clips shown are held. Captions, floors' names and reasons are other people's
text: the template escapes them, and no file is named after them.

    cards          accepted clips                   film     RGB and velocity mask, side by side
    top_view       a scene from above, as SVG       charts   statistics, as SVG
    speed_chart    speeds over time, as SVG         drawing  what drawings share

`scene_report.html.j2` is what this page adds to those of all datasets (tasks/pages/), `scene.css.j2` its looks.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import cv2

from schemas.kinemask import KinemaskStatistics, SceneOutcomeRow
from schemas.storage import AnyPath, write_atomic
from schemas.usage import TokenPrices
from tasks.datasets.kinemask.report.cards import choose_clips, make_cards
from tasks.datasets.kinemask.report.charts import charts, typical_colours
from tasks.datasets.kinemask.report.top_view import ARROW_S
from tasks.engine.snapshots import read_snapshot
from tasks.media.velocity_masks import V_MAX_MPS, velocity_legend
from tasks.pages import write_page
from tasks.pages.ended import ended_groups
from tasks.pages.usage import StageUsage, usage_report

logger = logging.getLogger(__name__)

TEMPLATE = Path(__file__).parent / "scene_report.html.j2"
EMBEDDED_BACKENDS = frozenset({"raster", "events"})  # no Blender, no server; the page says what that means
COLOURS_FILE = "velocity-colours.png"
COLOURS_PX = 240


def write_scene_report(
    snapshot: AnyPath,
    folder: AnyPath,
    max_clips: int = 24,
    *,
    spent: Sequence[StageUsage] = (),
    prices: TokenPrices | None = None,
) -> AnyPath:
    """Write the report of a published snapshot and return its index.html, which appears last.

    max_clips: accepted clips that are shown, spread evenly over sets, splits and shards
    spent:     what model servers were asked for it: `read_usage`
    prices:    what their tokens cost; without prices the report tells only how many there were
    """
    manifest = read_snapshot(snapshot)
    if manifest.flow != "curate-kinemask":
        raise ValueError(f"{manifest.snapshot_id} is of {manifest.flow}, whose report this is not")
    statistics = KinemaskStatistics.model_validate(manifest.statistics)
    groups = choose_clips(snapshot, manifest, max_clips)
    clip_ids = [clip_id for group in groups for clip_id in group.shown]
    logger.info("report of %s: %d of %d accepted clips", manifest.snapshot_id, len(clip_ids), manifest.n_accepted)
    write_colours(folder / COLOURS_FILE)
    return write_page(
        TEMPLATE,
        folder,
        snapshot,
        manifest,
        usage_report(snapshot, manifest, spent, prices or TokenPrices()),
        embedded_stages=[maker.stage for maker in manifest.made_by if maker.backend in EMBEDDED_BACKENDS],
        groups=groups,
        cards=make_cards(snapshot, manifest, clip_ids, folder),
        ended=ended_groups(snapshot, manifest, SceneOutcomeRow, ("set", "split", "seed")),
        rejected_draws=statistics.rejected_draws,
        statistics=charts(statistics, typical_colours(snapshot)),
        colours_file=COLOURS_FILE,
        v_max_mps=V_MAX_MPS,
        arrow_s=ARROW_S,
    )


def write_colours(path: AnyPath) -> None:
    """The colours of velocity masks for motion on the floor, as a PNG: exactly what the films show."""
    _, data = cv2.imencode(".png", cv2.cvtColor(velocity_legend(COLOURS_PX), cv2.COLOR_RGB2BGR))
    write_atomic(path, data.tobytes())
