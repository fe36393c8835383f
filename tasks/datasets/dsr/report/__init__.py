"""a snapshot of prompts, samples and pairs -> the report that a person opens in a browser after a run.

    write_dsr_report(Path("snapshots/dsr-3f9c2a71b0de"), Path("report")) ->
        report/index.html                  Correctness@tau, scores, pairs, examples, what a VLM says of it
        report/clips/clip-81b2....mp4      a sample with the boxes of its animal and its object
        report/clips/clip-81b2....jpg      its first frame
        report/usage.json                  what model servers were asked, if any was

All it tells comes from the snapshot's tables, but for what model servers were asked, which is about the work
and no part of a snapshot. The page stays small whatever the size of the snapshot: of videos and tracks only those of
the examples are held. Prompts, reasons and models' names are other people's text: the template escapes them, and no
file is named after them.

    headline     the numbers on top               settings      what the snapshot's stages were told
    correctness  Correctness@tau, as a table      curve_chart   and as curves, as SVG
    scores       the histogram, as SVG            drawn         what was drawn on purpose, and how it was judged
    pairs        pairs, and prompts without       answers       yes and no by SSR-Score (figure 4)
    examples     which samples are shown          cards         what is shown of them
    film         a sample with its boxes          ssr_chart     its two SSR curves (figure 2b), as SVG

`dsr_report.html.j2` is what this page adds to those of all datasets (tasks/pages/), `dsr.css.j2` its looks.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from schemas.dsr import DsrStatistics, SampleOutcomeRow
from schemas.storage import AnyPath
from schemas.usage import TokenPrices
from tasks.datasets.dsr.report.answers import answer_charts
from tasks.datasets.dsr.report.cards import make_cards
from tasks.datasets.dsr.report.correctness import TAU, correctness_table
from tasks.datasets.dsr.report.curve_chart import curve_charts
from tasks.datasets.dsr.report.drawn import drawn_view
from tasks.datasets.dsr.report.examples import choose_examples
from tasks.datasets.dsr.report.headline import make_headline
from tasks.datasets.dsr.report.pairs import pairs_view
from tasks.datasets.dsr.report.scores import score_chart
from tasks.datasets.dsr.report.settings import Settings
from tasks.engine.snapshots import read_snapshot
from tasks.pages import write_page
from tasks.pages.ended import ended_groups
from tasks.pages.usage import StageUsage, count_verdicts, usage_report

logger = logging.getLogger(__name__)

TEMPLATE = Path(__file__).parent / "dsr_report.html.j2"
EMBEDDED_BACKENDS = frozenset({"template", "drawn", "colour", "rules", "flow", "boxes"})  # no weights, no server


def write_dsr_report(
    snapshot: AnyPath,
    folder: AnyPath,
    max_pairs: int = 6,
    *,
    spent: Sequence[StageUsage] = (),
    prices: TokenPrices | None = None,
) -> AnyPath:
    """Write the report of a published snapshot and return its index.html, which appears last.

    max_pairs: pairs that are shown, of each type in turn; a few single samples come with them
    spent:     what model servers were asked for it: `read_usage`
    prices:    what their tokens cost; without prices the report tells only how many there were
    """
    manifest = read_snapshot(snapshot)
    if manifest.flow != "curate-dsr":
        raise ValueError(f"{manifest.snapshot_id} is of {manifest.flow}, whose report this is not")
    statistics = DsrStatistics.model_validate(manifest.statistics)
    settings = Settings.of(manifest)
    examples = choose_examples(snapshot, settings.tau, max_pairs)
    n_shown, n_valid = len(examples.clip_ids), manifest.n_accepted
    logger.info("report of %s: %d of %d valid samples", manifest.snapshot_id, n_shown, n_valid)
    verdicts = count_verdicts(snapshot) if spent else None
    return write_page(
        TEMPLATE,
        folder,
        snapshot,
        manifest,
        usage_report(snapshot, manifest, spent, prices or TokenPrices(), verdicts),
        embedded_stages=[maker.stage for maker in manifest.made_by if maker.backend in EMBEDDED_BACKENDS],
        settings=settings,
        headline=make_headline(statistics),
        invalid=statistics.invalid,
        tau=TAU,
        correctness=correctness_table(statistics),
        curves=curve_charts(statistics),
        scores=score_chart(statistics.scores, settings.span, settings.tau),
        drawn=drawn_view(snapshot, settings.tau),
        pairs=pairs_view(snapshot, settings.pairing),
        answers=answer_charts(snapshot),
        examples=examples,
        cards=make_cards(snapshot, manifest, examples.clip_ids, settings, folder),
        ended=ended_groups(snapshot, manifest, SampleOutcomeRow, ("split", "type", "prompt_id", "seed")),
    )
