"""Between a launcher and its job: ends the job gently when it is told to, or when the launcher dies.

    python guard.py GRACE_S PROGRAM ARGUMENT...     standard input is a pipe of the launcher, which ends when that dies

SIGTERM here, or the end of that pipe, is SIGTERM for the program. After GRACE_S everything that it has started and that
still lives is killed. The exit status is the program's, 128 + N for signal N.

The launcher cannot do this itself: whoever cancels a flow run or stops a command kills it before gigabytes are saved.
Only the standard library, as it stays in memory for days.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

POLL_S = 0.1
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h

_libc = ctypes.CDLL(None)


def main(grace_s: float, command: list[str]) -> int:
    stopped = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, lambda *_: stopped.set())
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # a command has blocked some, and that is inherited
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)  # ranks whose torchrun was killed become children of this process
    # In a session of its own: signals for this one's group are not for the program. It inherits what the launcher has
    # locked, so that the lock is held as long as one of the two lives.
    program = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, start_new_session=True, close_fds=False, preexec_fn=_end_with_parent
    )
    threading.Thread(target=_watch_launcher, args=(stopped,), daemon=True).start()
    while program.poll() is None and not stopped.is_set():
        stopped.wait(POLL_S)
    if program.poll() is None:
        program.send_signal(signal.SIGTERM)  # torchrun sends it on to its ranks
        with suppress(subprocess.TimeoutExpired):
            program.wait(grace_s)
    status = program.poll()
    _kill_the_rest()
    return 128 + signal.SIGKILL if status is None else status if status >= 0 else 128 - status


def _end_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _watch_launcher(stopped: threading.Event) -> None:
    os.read(0, 1)  # nothing is ever sent
    stopped.set()


def _kill_the_rest() -> None:
    """Kill every process below this one; orphans become its children, so that none escapes."""
    while children := _children():
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children() -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name in parentheses may hold anything; the parent is the second field after it.
            if int(status.read_text(errors="replace").rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(status.parent.name))
    return found


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
