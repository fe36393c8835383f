"""a snapshot of videos -> the page that a person opens in a browser after a run.

    write_report(snapshot, folder, PageContext(work)) ->
        index.html                  the yield, clips, verdicts with reasons, figure 10 of MATRIX
        clips/clip-81b2....mp4      a clip with its masks painted on
        clips/clip-81b2...-24.jpg   its review frame 24
        usage.json                  what model servers were asked, if any was

It lays out views (tasks/datasets/matrix11k/view.py). The page stays small whatever the size of the snapshot: what is
left out is counted. `report.html.j2` is what it adds to the pages of all datasets (tasks/pages), `report.css.j2` its
looks, charts.py its own charts.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import polars as pl

from schemas.matrix11k import MatrixStatistics, OutcomeRow
from schemas.storage import AnyPath
from tasks.datasets.matrix11k.accuracy import accuracy_of
from tasks.datasets.matrix11k.report.charts import heat_map, presence_bar
from tasks.datasets.matrix11k.view import clip_views, rejected_views
from tasks.engine.snapshots import Snapshot
from tasks.metrics.compare_truth import TruthReport
from tasks.pages.funnel import ended_groups
from tasks.pages.page import PageContext, write_page
from tasks.pages.wording import percent, score

logger = logging.getLogger(__name__)

EMBEDDED_BACKENDS = frozenset({"rules", "colour", "packaged", "nanodet", "flow"})
MAX_CLIPS = 48  # accepted clips that are shown, spread evenly over all of them
MAX_REJECTED = 24  # clips rejected in ground_instances that are shown with pictures
MAX_SCORES = 60  # instances that are compared with the truth, the worst first
BY_PLACE = (pl.col("video").fill_null(""), pl.col("start_s").fill_null(0.0))


def write_report(snapshot: Snapshot, folder: AnyPath, context: PageContext) -> AnyPath:
    """Write the page of a published snapshot and return its index.html, which appears last."""
    statistics = snapshot.statistics(MatrixStatistics)
    snapshot = replace(snapshot, inputs=context.work.inputs.folder)
    clip_ids = context.choose(snapshot.accepted_ids(), MAX_CLIPS)
    logger.info("page of %s: %d of %d accepted clips", snapshot.id, len(clip_ids), snapshot.manifest.n_accepted)
    ended = ended_groups(snapshot, OutcomeRow, BY_PLACE)
    ungrounded = [group for group in ended if (group.stage, group.status) == ("ground_instances", "rejected")]
    truth = context.truth
    return write_page(
        Path(__file__).parent,
        snapshot,
        folder,
        context,
        EMBEDDED_BACKENDS,
        ended,
        accuracy=accuracy_of(snapshot.manifest.made_by),
        truth=truth,
        tiles=truth_tiles(truth) if truth else [],
        worst=sorted(truth.instances, key=lambda s: (s.iou, s.clip_id, s.instance_id))[:MAX_SCORES] if truth else [],
        views=clip_views(snapshot, clip_ids, folder, truth),
        rejected=rejected_views(
            snapshot, [row.row_id for group in ungrounded for row in group.rows], folder, context.most(MAX_REJECTED)
        ),
        statistics=statistics,
        heat_map=heat_map,
        presence_bar=presence_bar,
    )


class Tile(NamedTuple):
    """One number, large."""

    label: str
    value: str
    hint: str


def truth_tiles(truth: TruthReport) -> list[Tile]:
    def rates(label: str, precision: float | None, recall: float | None, hint: str) -> Tile:
        return Tile(label, f"{percent(precision)} / {percent(recall)}", hint)

    return [
        Tile("Mean IoU", score(truth.mean_iou), f"{truth.instances_delivered} tracks, every frame"),
        Tile("Visible-frame IoU", score(truth.mean_visible_iou), "only frames where the thing can be seen"),
        rates("Presence", truth.presence_precision, truth.presence_recall, "precision / recall of frames with a mask"),
        rates("Cuts", truth.cut_precision, truth.cut_recall, "precision / recall"),
        rates("Triplets", truth.triplet_precision, truth.triplet_recall, "precision / recall"),
        Tile("Instances found", percent(truth.instance_recall), f"{len(truth.missed)} without a track"),
        Tile("Hidden frames", percent(truth.hidden_recall), "have no mask where nothing can be seen"),
        Tile("Rows as expected", f"{truth.rows_met} of {truth.rows_expected}", "accepted, rejected or failed as due"),
    ]
