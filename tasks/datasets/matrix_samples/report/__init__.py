"""a snapshot of samples of matrix11k -> its page: the videos that were encoded beside their masks, ID maps, roles.

write_report(snapshot, folder, PageContext(work))       index.html, clips/clip-81b2....mp4, clips/...-id-map.png
"""

from __future__ import annotations

from pathlib import Path

from schemas.storage import AnyPath
from tasks.datasets.matrix_samples.view import matrix_views
from tasks.datasets.samples.report import write_sample_report
from tasks.engine.snapshots import Snapshot
from tasks.pages.page import PageContext


def write_report(snapshot: Snapshot, folder: AnyPath, context: PageContext) -> AnyPath:
    """Write the page of a published snapshot and return its index.html, which appears last."""
    return write_sample_report(snapshot, folder, context, matrix_views, Path(__file__).parent)
