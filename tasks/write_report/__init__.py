"""a snapshot -> the report that a person opens in a browser after a run.

    write_report(Path("snapshots/matrix11k-3f9c2a71b0de"), work, Path("report")) ->
        report/index.html                  the yield, clips, verdicts with reasons, figure 10 of MATRIX
        report/clips/clip-81b2....mp4      a clip with its masks painted on
        report/clips/clip-81b2...-24.jpg   its review frame 24
        report/usage.json                  what model servers were asked, if any was

All it tells comes from the snapshot's tables, but for what model servers were asked, which is about the
work and no part of a snapshot; the pictures come from the videos themselves. The page
stays small whatever the size of the snapshot: what is left out is counted. Captions, paths, reasons and
models' rationales are other people's text: the template escapes them, and no file is named after them.

    funnel     the yield, stage by stage       truth      the result against the truth, if there is one
    cards      accepted clips                  ended      what was rejected or failed, with its reasons
    captions   phrases that name an instance   charts     figure 10 and timelines, as SVG
    pictures   videos and frames with masks    palette    one colour an instance
    rows       the snapshot's tables           wording    numbers and texts as the page writes them
    usage      calls, tokens and cost

`report.html.j2` is the page, `usage.html.j2` one section of it, `style.css.j2` its looks.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

import jinja2

from schemas.storage import AnyPath, write_atomic
from schemas.usage import TokenPrices
from tasks.compare_truth import TruthReport
from tasks.publish_snapshot import read_snapshot
from tasks.stage import Work
from tasks.write_report.cards import make_cards
from tasks.write_report.charts import charts
from tasks.write_report.ended import ended_groups
from tasks.write_report.funnel import funnel_bars
from tasks.write_report.rows import accepted_clip_ids, spread
from tasks.write_report.truth import truth_view
from tasks.write_report.usage import MAX_SHARDS, StageUsage, UsageReport, read_usage, usage_report
from tasks.write_report.wording import percent, score, shorten, thousands

__all__ = ["read_usage", "usage_of", "write_report"]

logger = logging.getLogger(__name__)

USAGE_FILE = "usage.json"
EMBEDDED_BACKENDS = frozenset({"rules", "colour", "flow"})  # no weights; the page says what that means


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
    clip_ids = spread(accepted_clip_ids(snapshot, manifest), max_clips)
    logger.info("report of %s: %d of %d accepted clips", manifest.snapshot_id, len(clip_ids), manifest.n_accepted)
    usage = usage_report(snapshot, manifest, spent, prices or TokenPrices())
    if usage:
        write_atomic(folder / USAGE_FILE, usage.model_dump_json(indent=1).encode())
    page = _template().render(
        manifest=manifest,
        embedded_stages=[maker.stage for maker in manifest.made_by if maker.backend in EMBEDDED_BACKENDS],
        funnel=funnel_bars(snapshot, manifest),
        truth=truth_view(truth) if truth else None,
        cards=make_cards(snapshot, work, clip_ids, folder, truth),
        ended=ended_groups(snapshot, manifest, work, folder),
        statistics=charts(manifest.statistics),
        usage=usage,
        usage_file=USAGE_FILE,
        max_shards=MAX_SHARDS,
        root=shlex.quote(str(work.root.parent)),  # the flow's --root holds the work
    )
    index = folder / "index.html"
    write_atomic(index, page.encode())
    return index


def usage_of(report: AnyPath) -> UsageReport | None:
    """What model servers were asked for the snapshot of a report's folder; None if they were asked nothing."""
    try:
        return UsageReport.from_json((report / USAGE_FILE).read_bytes())
    except FileNotFoundError:
        return None


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "score": score, "shorten": shorten, "thousands": thousands}
    return environment.get_template("report.html.j2")
