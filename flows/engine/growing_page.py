"""A look before the wait: the preview page of a run, written after its first row and again while the run goes on.

    page = GrowingPage(config, ledger, log)
    curate_shards(config, curate_matrix11k_shard, shards, log, page)

    preview: file:///home/anna/data/reports/preview/index.html (it grows while the run goes on)

The page is the report of the rows that have ended so far (tasks/engine/so_far.py, tasks/pages/preview.py). The run that
waits for its shards writes it, here between the rows of a shard, else while it looks at those that are deployed.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.engine.config import CurationConfig
from tasks.engine.dataset import Ledger
from tasks.engine.progress import Clock
from tasks.engine.shards import Shard
from tasks.engine.so_far import N_WHOLE_SHARDS, assemble_so_far, invite, read
from tasks.engine.write_shard import ShardDone, require_done
from tasks.pages.page import PageContext, Unfinished
from tasks.pages.preview import PREVIEW, preview_address, write_preview

EVERY_S = 10.0  # no page comes sooner after another
SHARE = 0.05  # of the run's time, at most, is spent on its pages, but for the first

_growing: ContextVar[GrowingPage | None] = ContextVar("growing_page", default=None)


def let_grow() -> None:
    """Some more rows have ended: the page of the run that goes on in this process, if any, may be written again."""
    page = _growing.get()
    if page is not None:
        page.look()


class GrowingPage:
    """The preview page of one run; none where the run is to write no report.

    ledger: what went in, as far as it is known before the shards
    A page that cannot be written is told once and stops no run.
    """

    def __init__(self, config: CurationConfig, ledger: Ledger, log: Any, clock: Clock = time.monotonic) -> None:
        self._config, self._ledger, self._log, self._clock = config, ledger, log, clock
        self._is_wanted, self._is_told, self._is_begun = config.report, False, False
        self._todo: dict[str, Shard[Any]] = {}
        self._done: list[tuple[Shard[Any], ShardDone]] = []
        self._chain, self._n_earlier, self._n_shown, self._next_s = "", 0, 0, 0.0

    @contextmanager
    def follow(self, todo: Sequence[Shard[Any]], chain: str, n_earlier: int) -> Iterator[None]:
        """While shards are at work.

        todo: those; chain: of a shard that is done; n_earlier: rows of the others, which were done before
        """
        self._todo |= {shard.shard_id: shard for shard in todo}
        self._chain, self._n_earlier = chain, self._n_earlier + n_earlier
        if self._is_wanted and not self._is_begun and sum(len(shard.rows) for shard in todo) > 1:
            invite(self._config.work)
            self._is_begun = True
        token = _growing.set(self)
        try:
            yield
        finally:
            _growing.reset(token)

    def look(self, shard_id: str | None = None) -> None:
        """Write the page again if there is more to show, and the last one was not just now. shard_id: is done now"""
        if not self._is_begun or not self._is_wanted:
            return
        try:
            if shard_id is not None:
                done = require_done(self._config.work, shard_id, self._chain)
                self._done.append((self._todo.pop(shard_id), done))
            began_s = self._clock()
            if self._todo and began_s >= self._next_s and self._write():
                cost_s = self._clock() - began_s
                self._next_s = self._clock() + max(EVERY_S, cost_s / SHARE)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run itself is worth more than its preview
            self._is_wanted = False
            self._log.warning("no preview is written any more: %s: %s", type(error).__name__, error)

    def _write(self) -> bool:
        """Is there more to show than before?"""
        config, first = self._config, read(self._config.work, self._config.row_payload)
        if first is not None and first.shard_id not in self._todo:  # it is done: its tables tell more
            first = None
        n_by_shard = [len(shard.rows) for shard, _ in self._done]
        n_first = len(first.rows) if first else 0
        if sum(n_by_shard) + n_first <= self._n_shown:
            return False
        self._n_shown = sum(n_by_shard) + n_first
        n_early = len(self._ledger.early_outcomes())
        with tempfile.TemporaryDirectory(prefix="triptych-") as folder:
            snapshot = assemble_so_far(
                Path(folder) / "snapshots" / PREVIEW,
                config.work,
                config.dataset,
                config.product,
                self._ledger,
                self._done,
                first,
                **config.in_manifest,
            )
            unfinished = Unfinished(
                written=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
                n_rows=len(self._ledger.row_ids) - self._n_earlier + n_early,
                n_earlier=self._n_earlier,
                n_charted=sum(n_by_shard[-N_WHOLE_SHARDS:]) + n_first + n_early,
            )
            write_preview(config.product, snapshot, config.root, PageContext(config.work, unfinished=unfinished))
        if not self._is_told:
            self._is_told = True
            self._log.info("preview: %s (it grows while the run goes on)", preview_address(config.root))
        return True
