"""a snapshot -> the report that a person opens in a browser after a run.

    write_report(Path("snapshots/matrix11k-3f9c2a71b0de"), work, Path("report")) ->
        report/index.html                  the yield, clips, verdicts with reasons, figure 10 of MATRIX
        report/clips/clip-81b2....mp4      a clip with its masks painted on
        report/clips/clip-81b2...-24.jpg   its review frame 24

All it tells comes from the snapshot's tables; the pictures come from the videos themselves. The page
stays small whatever the size of the snapshot: what is left out is counted. Captions, paths, reasons and
models' rationales are other people's text: the template escapes them, and no file is named after them.

    funnel     the yield, stage by stage       truth      the result against the truth, if there is one
    cards      accepted clips                  ended      what was rejected or failed, with its reasons
    captions   phrases that name an instance   charts     figure 10 and timelines, as SVG
    pictures   videos and frames with masks    palette    one colour an instance
    rows       the snapshot's tables           wording    numbers and texts as the page writes them

`report.html.j2` is the page, `style.css.j2` its looks.
"""

from __future__ import annotations

import logging
import shlex
from pathlib import Path

import jinja2

from schemas.record import write_atomic
from tasks.compare_truth import TruthReport
from tasks.publish_snapshot import read_snapshot
from tasks.stage import Work
from tasks.write_report.cards import make_cards
from tasks.write_report.charts import charts
from tasks.write_report.ended import ended_groups
from tasks.write_report.funnel import funnel_bars
from tasks.write_report.rows import accepted_clip_ids, spread
from tasks.write_report.truth import truth_view
from tasks.write_report.wording import percent, score, shorten

__all__ = ["write_report"]

logger = logging.getLogger(__name__)

EMBEDDED_BACKENDS = frozenset({"rules", "colour", "flow"})  # no weights; the page says what that means


def write_report(
    snapshot: Path, work: Work, folder: Path, truth: TruthReport | None = None, max_clips: int = 48
) -> Path:
    """Write the report of a published snapshot and return its index.html, which appears last.

    work:      where the videos lie; one that is gone or unreadable is missing from the report, no more
    truth:     how the result compares with the truth, if there is any
    max_clips: accepted clips that are shown, spread evenly over all of them
    """
    manifest = read_snapshot(snapshot)
    clip_ids = spread(accepted_clip_ids(snapshot, manifest), max_clips)
    logger.info("report of %s: %d of %d accepted clips", manifest.snapshot_id, len(clip_ids), manifest.n_accepted)
    page = _template().render(
        manifest=manifest,
        embedded_stages=[maker.stage for maker in manifest.made_by if maker.backend in EMBEDDED_BACKENDS],
        funnel=funnel_bars(snapshot, manifest),
        truth=truth_view(truth) if truth else None,
        cards=make_cards(snapshot, work, clip_ids, folder, truth),
        ended=ended_groups(snapshot, manifest, work, folder),
        statistics=charts(manifest.statistics),
        root=shlex.quote(str(work.root.parent)),  # the flow's --root holds the work
    )
    index = folder / "index.html"
    write_atomic(index, page.encode())
    return index


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "score": score, "shorten": shorten}
    return environment.get_template("report.html.j2")
