"""a snapshot of simulated scenes -> the page that a person opens in a browser after a run.

    write_report(snapshot, folder, PageContext(work)) ->
        index.html                  the yield, rejected draws, statistics, clips
        clips/clip-81b2....mp4      a clip, its velocity mask beside it
        clips/clip-81b2...-0.jpg    its first frame
        velocity-colours.png        what the colours of velocity masks mean
        usage.json                  what model servers were asked, if any was

It lays out views (tasks/datasets/kinemask/view.py). The page stays small whatever the size of the snapshot: what is
left out is counted. `report.html.j2` is what it adds to the pages of all datasets (tasks/pages), `report.css.j2` its
looks, charts.py and top_view.py its own charts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.kinemask import KinemaskStatistics, SceneOutcomeRow
from schemas.storage import AnyPath, write_atomic
from tasks.datasets.kinemask.report.charts import rose, speed_chart, speed_columns, typical_colours
from tasks.datasets.kinemask.report.top_view import ARROW_S, top_view
from tasks.datasets.kinemask.view import scene_views
from tasks.engine.snapshots import Snapshot
from tasks.media.png import encode_png
from tasks.media.velocity_masks import V_MAX_MPS, velocity_legend
from tasks.pages.funnel import ended_groups
from tasks.pages.page import PageContext, write_page
from tasks.pages.views import evenly_spaced

logger = logging.getLogger(__name__)

EMBEDDED_BACKENDS = frozenset({"raster", "events"})
MAX_CLIPS = 24  # accepted clips that are shown, spread evenly over sets, splits and shards
COLOURS_FILE = "velocity-colours.png"
COLOURS_PX = 240


def write_report(snapshot: Snapshot, folder: AnyPath, context: PageContext) -> AnyPath:
    """Write the page of a published snapshot and return its index.html, which appears last."""
    statistics = snapshot.statistics(KinemaskStatistics)
    groups = choose_clips(snapshot, context.most(MAX_CLIPS), context.choose)
    clip_ids = [clip_id for group in groups for clip_id in group.shown]
    logger.info("page of %s: %d of %d accepted clips", snapshot.id, len(clip_ids), snapshot.manifest.n_accepted)
    write_colours(folder / COLOURS_FILE)
    return write_page(
        Path(__file__).parent,
        snapshot,
        folder,
        context,
        EMBEDDED_BACKENDS,
        ended_groups(snapshot, SceneOutcomeRow, ("set", "split", "seed")),
        groups=groups,
        views=scene_views(snapshot, clip_ids, folder),
        statistics=statistics,
        colours=typical_colours(snapshot),
        rose=rose,
        speed_chart=speed_chart,
        speed_columns=speed_columns,
        top_view=top_view,
        colours_file=COLOURS_FILE,
        v_max_mps=V_MAX_MPS,
        arrow_s=ARROW_S,
    )


def write_colours(path: AnyPath) -> None:
    """The colours of velocity masks for motion on the floor, as a PNG: exactly what the films show."""
    write_atomic(path, encode_png(velocity_legend(COLOURS_PX)))


# --- Which clips -----------------------------------------------------------------------------


@dataclass(frozen=True)
class ClipGroup:
    """The accepted clips of a set and split: how many there are, and which of them are shown."""

    name: str
    n: int
    shown: list[str]


def choose_clips(
    snapshot: Snapshot, max_clips: int, choose: Callable[[list[str], int], list[str]] = evenly_spaced
) -> list[ClipGroup]:
    """As many of each set and split, as far as there are; evenly over its shards, unless told otherwise."""
    columns = snapshot.scan("clips").select("clip_id", "set", "split").collect()
    name_of = {clip_id: f"{set_}/{split}" for clip_id, set_, split in columns.iter_rows()}
    groups: dict[str, list[str]] = {}
    for clip_id in snapshot.accepted_ids():
        groups.setdefault(name_of[clip_id], []).append(clip_id)
    shares = fair_shares([len(clip_ids) for clip_ids in groups.values()], max_clips)
    return [
        ClipGroup(name, len(clip_ids), choose(clip_ids, share))
        for (name, clip_ids), share in zip(groups.items(), shares, strict=True)
    ]


def fair_shares(sizes: Sequence[int], n: int) -> list[int]:
    """n in parts as equal as the sizes allow.

    fair_shares([100, 3, 50], 24) -> [11, 3, 10]
    """
    shares = [0] * len(sizes)
    for _ in range(min(n, sum(sizes))):
        growing = [place for place, size in enumerate(sizes) if shares[place] < size]
        shares[min(growing, key=lambda place: shares[place])] += 1
    return shares
