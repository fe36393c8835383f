"""a snapshot of videos -> the report that a person opens in a browser after a run.

    write_report(Path("snapshots/matrix11k-3f9c2a71b0de"), work, Path("report")) ->
        report/index.html                  the yield, clips, verdicts with reasons, figure 10 of MATRIX
        report/clips/clip-81b2....mp4      a clip with its masks painted on
        report/clips/clip-81b2...-24.jpg   its review frame 24
        report/usage.json                  what model servers were asked, if any was

All it tells comes from the snapshot's tables, but for what model servers were asked, which is about the
work and no part of a snapshot; the pictures come from the videos themselves. The page
stays small whatever the size of the snapshot: what is left out is counted. Captions, paths, reasons and
models' rationales are other people's text: the template escapes them, and no file is named after them.

    cards      accepted clips                  truth      the result against the truth, if there is one
    captions   phrases that name an instance   ended      what was looked at in clips that were rejected
    pictures   videos and frames with masks    charts     figure 10 and timelines, as SVG

`report.html.j2` is what this page adds to those of all datasets (tasks/pages/), `matrix.css.j2` its looks.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from schemas.matrix11k import MatrixStatistics, OutcomeRow
from schemas.storage import AnyPath
from schemas.usage import TokenPrices
from tasks.datasets.matrix11k.report.cards import make_cards
from tasks.datasets.matrix11k.report.charts import charts
from tasks.datasets.matrix11k.report.ended import make_cases
from tasks.datasets.matrix11k.report.truth import truth_view
from tasks.engine.snapshots import read_snapshot
from tasks.engine.work import Work
from tasks.metrics.compare_truth import TruthReport
from tasks.pages import write_page
from tasks.pages.ended import ended_groups
from tasks.pages.rows import accepted_clip_ids, spread
from tasks.pages.usage import StageUsage, count_verdicts, usage_report

logger = logging.getLogger(__name__)

TEMPLATE = Path(__file__).parent / "report.html.j2"
EMBEDDED_BACKENDS = frozenset({"rules", "colour", "flow"})  # no weights; the page says what that means
BY_PLACE = (pl.col("video").fill_null(""), pl.col("start_s").fill_null(0.0))


def write_report(
    snapshot: AnyPath,
    work: Work,
    folder: AnyPath,
    truth: TruthReport | None = None,
    max_clips: int = 48,
    *,
    spent: Sequence[StageUsage] = (),
    prices: TokenPrices | None = None,
) -> AnyPath:
    """Write the report of a published snapshot and return its index.html, which appears last.

    work:      where the videos lie; one that is gone or unreadable is missing from the report, no more
    truth:     how the result compares with the truth, if there is any
    max_clips: accepted clips that are shown, spread evenly over all of them
    spent:     what model servers were asked for it: `read_usage`
    prices:    what their tokens cost; without prices the report tells only how many there were
    """
    manifest = read_snapshot(snapshot)
    if manifest.flow != "curate-matrix11k":
        raise ValueError(f"{manifest.snapshot_id} is of {manifest.flow}, whose report this is not")
    statistics = MatrixStatistics.model_validate(manifest.statistics)
    clip_ids = spread(accepted_clip_ids(snapshot, manifest), max_clips)
    logger.info("report of %s: %d of %d accepted clips", manifest.snapshot_id, len(clip_ids), manifest.n_accepted)
    ended = ended_groups(snapshot, manifest, OutcomeRow, BY_PLACE)
    verdicts = count_verdicts(snapshot) if spent else None
    return write_page(
        TEMPLATE,
        folder,
        snapshot,
        manifest,
        usage_report(snapshot, manifest, spent, prices or TokenPrices(), verdicts),
        embedded_stages=[maker.stage for maker in manifest.made_by if maker.backend in EMBEDDED_BACKENDS],
        truth=truth_view(truth) if truth else None,
        cards=make_cards(snapshot, work, clip_ids, folder, truth),
        ended=ended,
        cases=make_cases(snapshot, ended, work, folder),
        statistics=charts(statistics),
    )
