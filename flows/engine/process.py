"""The process of a command: how it ends when it is told to.

    begin_command()              first of all, before the imports that take seconds
    with at_stop(report): ...    what else is to be done when the process is told to end, within LAST_WORDS_S
    with at_stop(save, 600): ... the same, within ten minutes; a second signal ends the waiting

Ctrl-C, SIGTERM (systemd, Slurm, containers) and SIGHUP (the terminal was closed) end the process at once, with one line
and the exit status 128 + the signal's number. Results appear whole, so that nothing is lost; the threads in the midst
of a row would take minutes. What the process has started ends with it (tasks/backends/cycles/process.py).
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LAST_WORDS_S = 1.5  # how long all that is to be done at a stop may take
POLL_S = 0.05
SHOW_CURSOR = "\x1b[?25h"  # a progress bar has hidden it

_at_stop: list[tuple[Callable[[signal.Signals], None], float]] = []
_begun = threading.Lock()


def begin_command() -> None:
    """From here on this process is a command: signals end it. In its main thread."""
    if not _begun.acquire(blocking=False):
        return
    warnings.filterwarnings("ignore", "Failed to create the Prefect home")  # nothing here needs it
    # `nohup` has SIGHUP ignored, a script's background jobs SIGINT.
    stops = [stop for stop in STOPS if signal.getsignal(stop) != signal.SIG_IGN]
    # Blocked, and taken by a thread that does nothing else. Python's own handlers run in the main thread, which may
    # be in the midst of a long call, and Prefect sets one that first tells its server, however long that takes.
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    threading.Thread(target=lambda: _stop(signal.Signals(signal.sigwait(stops))), name="signals", daemon=True).start()


@contextmanager
def at_stop(act: Callable[[signal.Signals], None], within_s: float = LAST_WORDS_S) -> Iterator[None]:
    """If a signal ends the process in here, act first: in a thread of its own, which is not waited for any longer."""
    entry = act, within_s
    _at_stop.append(entry)
    try:
        yield
    finally:
        _at_stop.remove(entry)


@contextmanager
def quietly_cut_off() -> Iterator[None]:
    """Around a command: `| head` ends it without a word.

    SIGPIPE itself would, too, but also where a server closes a connection that something is sent through.
    """
    try:
        yield
        if sys.stdout:  # `>&-` has closed it
            sys.stdout.flush()
    except BrokenPipeError:
        cut_off()


def cut_off() -> NoReturn:
    """The end of a command that nobody reads: Python would flush once more, and complain."""
    os._exit(128 + signal.SIGPIPE)


def leave(line: str, status: int) -> NoReturn:
    """End the process at once, from any thread; nothing waits for work that goes on."""
    begin = f"{SHOW_CURSOR}\n" if os.isatty(2) else ""  # below a bar, or the ^C that a terminal shows
    with suppress(OSError, ValueError):  # the terminal is gone
        if select.select([], [2], [], 0.1)[1]:  # nobody reads what was written before: a full pipe, Ctrl-S
            os.write(2, f"{begin}{line}\n".encode())
    os._exit(status)


def _stop(stop: signal.Signals) -> NoReturn:
    acts = [(threading.Thread(target=act, args=(stop,), daemon=True), within_s) for act, within_s in _at_stop]
    for act, _ in acts:
        act.start()
    began_s = time.monotonic()
    while any(act.is_alive() and time.monotonic() - began_s < within_s for act, within_s in acts):
        # Whoever asks a second time has no patience; one that follows at once is the same asking.
        if signal.sigtimedwait(STOPS, POLL_S) and time.monotonic() - began_s > LAST_WORDS_S:
            break
    leave("stopped; the same command goes on from here", 128 + stop)
