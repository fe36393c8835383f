"""a snapshot of prompts, samples and pairs -> the page that a person opens in a browser after a run.

    write_report(snapshot, folder, PageContext(work)) ->
        index.html                  Correctness@tau, scores, pairs, examples, what a VLM says of it
        clips/clip-81b2....mp4      a sample with the boxes of its animal and its object
        clips/clip-81b2...-0.jpg    its first frame
        usage.json                  what model servers were asked, if any was

It lays out views (tasks/datasets/dsr/view.py). The page stays small whatever the size of the snapshot: of videos and
tracks only those of the examples are held. `report.html.j2` is what it adds to the pages of all datasets
(tasks/pages), `report.css.j2` its looks, and:

    tables    the numbers of all samples, as tables      charts    curves, bars and a sample's two curves, as SVG
    examples  which samples are shown
"""

from __future__ import annotations

import logging
from pathlib import Path

from schemas.dsr import DsrStatistics, SampleOutcomeRow
from schemas.storage import AnyPath
from tasks.datasets.dsr.report.charts import LARGE, SMALL, agreement_chart, curve_chart, score_chart, ssr_chart
from tasks.datasets.dsr.report.examples import choose_examples
from tasks.datasets.dsr.report.tables import (
    answer_tables,
    correctness_table,
    curves_of,
    drawn_table,
    pair_table,
    prompts_by_split,
    reasons_of,
    sum_of,
)
from tasks.datasets.dsr.view import TAU, Settings, sample_views, type_letter, type_name
from tasks.engine.snapshots import Snapshot
from tasks.pages.funnel import ended_groups
from tasks.pages.page import PageContext, write_page

logger = logging.getLogger(__name__)

EMBEDDED_BACKENDS = frozenset({"template", "drawn", "colour", "rules", "flow", "boxes"})
MAX_PAIRS = 6  # that are shown, of each type in turn; a few single samples come with them


def write_report(snapshot: Snapshot, folder: AnyPath, context: PageContext) -> AnyPath:
    """Write the page of a published snapshot and return its index.html, which appears last."""
    statistics = snapshot.statistics(DsrStatistics)
    settings = Settings.of(snapshot.manifest)
    examples = choose_examples(snapshot, settings.tau, MAX_PAIRS)
    logger.info("page of %s: %d of %d valid samples", snapshot.id, len(examples.clip_ids), snapshot.manifest.n_accepted)
    table = correctness_table(statistics)
    return write_page(
        Path(__file__).parent,
        snapshot,
        folder,
        context,
        EMBEDDED_BACKENDS,
        ended_groups(snapshot, SampleOutcomeRow, ("split", "type", "prompt_id", "seed")),
        statistics=statistics,
        settings=settings,
        tau=TAU,
        n_prompts=prompts_by_split(statistics),
        correctness=table,
        judged=sum_of(table[""].values()),
        curves=curves_of(statistics),
        drawn=drawn_table(snapshot, settings.tau),
        pairs=pair_table(snapshot, settings.pairing),
        pair_reasons=reasons_of(settings.pairing),
        answers=answer_tables(snapshot),
        examples=examples,
        views={view.clip_id: view for view in sample_views(snapshot, examples.clip_ids, folder)},
        curve_chart=curve_chart,
        large=LARGE,
        small=SMALL,
        score_chart=score_chart,
        agreement_chart=agreement_chart,
        ssr_chart=ssr_chart,
        type_letter=type_letter,
        type_name=type_name,
    )
