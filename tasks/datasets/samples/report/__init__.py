"""a snapshot of samples -> the page that a person opens in a browser after a run.

    write_report(snapshot, folder, PageContext(work)) ->
        index.html                  the yield, statistics, samples with their prompts
        clips/clip-81b2....mp4      the video that was encoded

A dataset that has more to show than its videos gives `write_sample_report` its views and the folder of a template that
extends `samples.html.j2`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from schemas.storage import AnyPath
from schemas.training_samples import SampleOutcomeRow, SampleRow, SampleStatistics
from tasks.engine.snapshots import Snapshot
from tasks.pages.funnel import ended_groups
from tasks.pages.page import PageContext, write_page
from tasks.pages.prompted import prompted_views
from tasks.pages.views import ClipView

logger = logging.getLogger(__name__)

ROOM = Path(__file__).parent
MAX_SAMPLES = 24  # that are shown, spread evenly

Views = Callable[[Snapshot, Sequence[str], AnyPath], Sequence["SampleView"]]


class SampleView(ClipView):
    """A sample."""

    row: SampleRow


def sample_views(snapshot: Snapshot, clip_ids: Sequence[str], folder: AnyPath) -> list[SampleView]:
    """Samples in the given order; writes their films below `folder`."""
    return prompted_views(snapshot, SampleRow, SampleView, clip_ids, folder)


def write_report(snapshot: Snapshot, folder: AnyPath, context: PageContext) -> AnyPath:
    """Write the page of a published snapshot that has no more to show than its videos; returns its index.html."""
    return write_sample_report(snapshot, folder, context, sample_views, ROOM)


def write_sample_report(snapshot: Snapshot, folder: AnyPath, context: PageContext, views: Views, room: Path) -> AnyPath:
    """Write the page of a published snapshot and return its index.html, which appears last.

    room: the folder of its report.html.j2, which extends samples.html.j2 and is given the views
    """
    clip_ids = context.choose(snapshot.accepted_ids(), MAX_SAMPLES)
    logger.info("page of %s: %d of %d samples", snapshot.id, len(clip_ids), snapshot.manifest.n_accepted)
    return write_page(
        (room, ROOM),
        snapshot,
        folder,
        context,
        (),
        ended_groups(snapshot, SampleOutcomeRow, ["split"]),
        views=views(snapshot, clip_ids, folder),
        statistics=snapshot.statistics(SampleStatistics),
    )
