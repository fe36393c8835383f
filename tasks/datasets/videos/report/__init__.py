"""a snapshot of generated videos -> the page that a person opens in a browser after a run.

write_report(snapshot, folder, PageContext(work)) ->
    index.html                  the yield, the videos with their prompts
    clips/clip-81b2....mp4      a video
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from schemas.generated_videos import GeneratedVideoRow, GenerationOutcomeRow, VideoStatistics
from schemas.storage import AnyPath
from tasks.engine.snapshots import Snapshot
from tasks.pages.film import film_of
from tasks.pages.funnel import ended_groups
from tasks.pages.page import PageContext, write_page
from tasks.pages.views import ClipView, make_views

logger = logging.getLogger(__name__)

MAX_VIDEOS = 48  # that are shown, spread evenly


class VideoView(ClipView):
    """A generated video."""

    row: GeneratedVideoRow


def video_views(snapshot: Snapshot, clip_ids: Sequence[str], folder: AnyPath) -> list[VideoView]:
    """Videos in the given order; writes their films below `folder`."""
    rows = snapshot.rows_by_clip(GeneratedVideoRow, clip_ids)

    def view(clip_id: str) -> VideoView:
        (row,) = rows[clip_id]
        film, trouble = film_of(snapshot, clip_id, row.n_frames, Fraction(row.fps), _as_it_is, folder)
        return VideoView(clip_id=clip_id, text=[(row.prompt, None)], fps=row.fps, film=film, trouble=trouble, row=row)

    return make_views(view, clip_ids)


def _as_it_is(frame: np.ndarray, index: int) -> np.ndarray:
    return frame


def write_report(snapshot: Snapshot, folder: AnyPath, context: PageContext) -> AnyPath:
    """Write the page of a published snapshot and return its index.html, which appears last."""
    clip_ids = context.choose(snapshot.accepted_ids(), MAX_VIDEOS)
    logger.info("page of %s: %d of %d videos", snapshot.id, len(clip_ids), snapshot.manifest.n_accepted)
    return write_page(
        Path(__file__).parent,
        snapshot,
        folder,
        context,
        (),
        ended_groups(snapshot, GenerationOutcomeRow, ("name", "seed")),
        views=video_views(snapshot, clip_ids, folder),
        statistics=snapshot.statistics(VideoStatistics),
    )
