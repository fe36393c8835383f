"""a snapshot of samples of simulated clips -> its page: the videos that were encoded beside their velocity masks.

write_report(snapshot, folder, PageContext(work))       index.html, clips/clip-81b2....mp4
"""

from __future__ import annotations

from pathlib import Path

from schemas.storage import AnyPath
from tasks.datasets.kinemask_samples.view import kinemask_views
from tasks.datasets.samples.report import write_sample_report
from tasks.engine.snapshots import Snapshot
from tasks.pages.page import PageContext


def write_report(snapshot: Snapshot, folder: AnyPath, context: PageContext) -> AnyPath:
    """Write the page of a published snapshot and return its index.html, which appears last."""
    return write_sample_report(snapshot, folder, context, kinemask_views, Path(__file__).parent)
