"""a snapshot of samples -> the page that a person opens in a browser after a run.

    write_report(snapshot, folder, PageContext(work)) ->
        index.html                  the yield, statistics, samples with their prompts
        clips/clip-81b2....mp4      the video that was encoded

A dataset that has more to show than its video gives `views` and a template of its own, which extends `samples.html.j2`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from schemas.storage import AnyPath
from schemas.training_samples import SampleOutcomeRow, SampleRow, SampleStatistics
from tasks.engine.snapshots import Snapshot
from tasks.pages.film import film_of
from tasks.pages.funnel import ended_groups
from tasks.pages.page import PageContext, write_page
from tasks.pages.views import ClipView, make_views

logger = logging.getLogger(__name__)

ROOM = Path(__file__).parent
MAX_SAMPLES = 24  # that are shown, spread evenly

Views = Callable[[Snapshot, Sequence[str], AnyPath], Sequence["SampleView"]]


class SampleView(ClipView):
    """A sample."""

    row: SampleRow


def sample_views(snapshot: Snapshot, clip_ids: Sequence[str], folder: AnyPath) -> list[SampleView]:
    """Samples in the given order; writes their films below `folder`."""
    samples = snapshot.rows_by_clip(SampleRow, clip_ids)

    def view(clip_id: str) -> SampleView:
        (row,) = samples[clip_id]
        film, trouble = film_of(snapshot, clip_id, row.n_frames, Fraction(row.fps), _as_it_is, folder)
        return SampleView(clip_id=clip_id, text=[(row.prompt, None)], fps=row.fps, film=film, trouble=trouble, row=row)

    return make_views(view, clip_ids)


def _as_it_is(frame: np.ndarray, index: int) -> np.ndarray:
    return frame


def write_report(
    snapshot: Snapshot, folder: AnyPath, context: PageContext, views: Views = sample_views, room: Path = ROOM
) -> AnyPath:
    """Write the page of a published snapshot and return its index.html, which appears last.

    room: the folder of the template, which is given the views
    """
    clip_ids = context.choose(snapshot.accepted_ids(), MAX_SAMPLES)
    logger.info("page of %s: %d of %d samples", snapshot.id, len(clip_ids), snapshot.manifest.n_accepted)
    ended = ended_groups(snapshot, SampleOutcomeRow, ["split"])
    return write_page(
        room,
        snapshot,
        folder,
        context,
        (),
        ended,
        views=views(snapshot, clip_ids, folder),
        statistics=snapshot.statistics(SampleStatistics),
    )
