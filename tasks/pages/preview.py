"""The preview: a page of what a run has done so far, which grows while the run goes on and then leads to its report.

    write_preview(product, snapshot, Path("data"), context)    data/reports/preview/index.html, as the report draws it
    end_preview(Path("data"), "matrix11k-3f9c2a71b0de")        the same address leads to that snapshot's report

Its address never changes, so that a browser that has it open comes to the report by itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from schemas.storage import AnyPath, write_atomic
from tasks.engine.dataset import Dataset
from tasks.engine.snapshots import Snapshot
from tasks.pages.address import report_url
from tasks.pages.page import PageContext, environment

PREVIEW = "preview"  # in the place of a snapshot's id, which always ends in a hash


def preview_folder(root: AnyPath) -> AnyPath:
    folder: AnyPath = root / "reports" / PREVIEW
    return folder


def preview_address(root: AnyPath) -> str:
    """What a person opens in a browser; in a store without a server of reports, where the page lies."""
    index = preview_folder(root) / "index.html"
    return report_url(PREVIEW) or (index.resolve().as_uri() if isinstance(index, Path) else str(index))


def write_preview(product: Dataset, snapshot: Snapshot, root: AnyPath, context: PageContext) -> AnyPath:
    """Write the page anew and return it. context: says of which unfinished run it is"""
    folder = preview_folder(root)
    before = _pictures(folder)
    index = product.write_report(snapshot, folder, context)
    _forget(before, kept=index.read_text())
    return index


def end_preview(root: AnyPath, snapshot_id: str, *, has_report: bool = True) -> None:
    """The run has ended: the page, if there is one, leads to its report."""
    folder = preview_folder(root)
    index = folder / "index.html"
    if not index.is_file():
        return
    page = environment().get_template("preview_ended.html.j2").render(snapshot_id=snapshot_id, has_report=has_report)
    write_atomic(index, page.encode())
    if isinstance(folder, Path):
        shutil.rmtree(folder / "clips", ignore_errors=True)


def _pictures(folder: AnyPath) -> list[Path]:
    """Those of the page that is replaced; in a store nothing is deleted."""
    return [path for path in (folder / "clips").glob("*") if path.is_file()] if isinstance(folder, Path) else []


def _forget(pictures: Collection[Path], kept: str) -> None:
    for path in pictures:
        if path.name not in kept:
            path.unlink(missing_ok=True)
