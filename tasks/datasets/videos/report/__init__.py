"""a snapshot of generated videos -> the page that a person opens in a browser after a run.

write_report(snapshot, folder, PageContext(work)) ->
    index.html                  the yield, the videos with their prompts
    clips/clip-81b2....mp4      a video
"""

from __future__ import annotations

import logging
from pathlib import Path

from schemas.generated_videos import GeneratedVideoRow, GenerationOutcomeRow, VideoStatistics
from schemas.storage import AnyPath
from tasks.engine.snapshots import Snapshot
from tasks.pages.funnel import ended_groups
from tasks.pages.page import PageContext, write_page
from tasks.pages.prompted import prompted_views
from tasks.pages.views import ClipView

logger = logging.getLogger(__name__)

MAX_VIDEOS = 48  # that are shown, spread evenly


class VideoView(ClipView):
    """A generated video."""

    row: GeneratedVideoRow


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
        views=prompted_views(snapshot, GeneratedVideoRow, VideoView, clip_ids, folder),
        statistics=snapshot.statistics(VideoStatistics),
    )
