"""How far a run is, for the person who started it: a bar on a terminal, lines in the run's log everywhere else.

    run_stage(work, shard, stage, log, listener_for(log))
    with step("read_manifest", log): ...         `counted` and `advance` (tasks/engine/progress.py) tell of it

    propagate_masks shard-1f0c  ━━━━━━━╸━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
    12/64 rows (10 done, 2 rejected), 6.1 s/row, about 5 min left
      clip-81b2  ━━━━━━━╸━━━━━━━━━━━  120 of 300 frames forward

A bar goes when its work ends; the line that run_stage logs then stays.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console, Group, RenderableType
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tasks.engine.progress import AtWork, Followed, Listener, LogLines, Part

BAR_AFTER_S = 0.5  # work that ends sooner shows none
MAX_ROWS_SHOWN = 8
BAR_WIDTH, ROW_BAR_WIDTH = 40, 20  # columns of the terminal


def listener_for(log: Any) -> Listener:
    """The listener of a run with this log."""
    console = terminal()
    return Bar(console) if is_watched(console) else LogLines(log)


@contextmanager
def step(name: str, log: Any) -> Iterator[None]:
    """Around a step outside of stages: what it counts is shown."""
    at_work = AtWork(name)
    with listener_for(log).follow(at_work) as at_work.look, at_work.current():
        yield


def terminal() -> Console:
    """Where the bar stands: the console through which Prefect logs to stderr, so that neither writes into the other."""
    handlers = logging.getLogger().handlers
    own = next((handler.console for handler in handlers if isinstance(handler, PrefectConsoleHandler)), None)
    return own or Console(stderr=True)


def is_watched(console: Console) -> bool:
    """Does a person watch this terminal? Nobody watches a worker's: the logs of its runs are read in Prefect's UI."""
    of_worker = "PREFECT__FLOW_RUN_ID" in os.environ
    # rich takes a file for a terminal if the environment forces colours, and knows a file that is closed.
    return not of_worker and console.is_terminal and console.file.isatty() and console.is_interactive


class Bar:
    """A bar for the stage or the step, and under it the rows at work (`Listener`)."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def follow(self, work: Followed) -> Iterator[Callable[[], None]]:
        live = Live(
            console=self._console,
            get_renderable=lambda: draw(work.parts()),
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # what is piped elsewhere goes there
        )
        began_s = time.monotonic()

        def look() -> None:
            if not live.is_started and time.monotonic() - began_s >= BAR_AFTER_S:
                live.start(refresh=True)

        with _through(self._console):
            try:
                yield look
            finally:
                live.stop()


@contextmanager
def _through(console: Console) -> Iterator[None]:
    """Log handlers that write to the terminal by themselves write through its console: above the bar."""
    direct = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler)
        and not isinstance(handler, PrefectConsoleHandler)
        and handler.stream is console.file
    ]
    file = console.file
    for handler in direct:
        handler.setStream(FileProxy(console, file))
    try:
        yield
    finally:
        for handler in direct:
            handler.setStream(file)


def draw(parts: list[Part]) -> RenderableType:
    """The whole on two lines, each row at work on one."""
    whole, *rows = parts
    head = Table.grid(padding=(0, 2))
    head.add_column(no_wrap=True)
    head.add_column(width=BAR_WIDTH)
    head.add_row(Text(whole.name), _bar(whole.share))
    body = Table.grid(padding=(0, 2))
    body.add_column(no_wrap=True)
    body.add_column(width=ROW_BAR_WIDTH)
    body.add_column(no_wrap=True)
    for row in rows[:MAX_ROWS_SHOWN]:
        body.add_row(Text(row.name), _bar(row.share), Text(row.text))
    if len(rows) > MAX_ROWS_SHOWN:
        body.add_row(Text(f"{len(rows) - MAX_ROWS_SHOWN} more"))
    return Group(head, Text(whole.text), Padding(body, (0, 0, 0, 2)))


def _bar(share: float | None) -> RenderableType:
    if share is None:
        return ""
    # Colours are spelled out: the theme of Prefect's console lacks rich's own names.
    return ProgressBar(1.0, share, style="bright_black", complete_style="cyan", finished_style="green")
