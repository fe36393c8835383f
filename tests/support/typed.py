"""A command as a person types it: on a terminal of its own, where Ctrl-C goes to all that it has started.

with Typed([*TRIPTYCH, "demo", "--folder", "x"]) as typed:
    typed.wait_for("make_input")
    typed.press(CTRL_C)
    typed.end()                       130
    typed.shown                       what the terminal showed
    typed.left_over()                 ids of processes that it has left behind
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time
import uuid
from collections.abc import Mapping, Sequence

from tests.support.flow_runs import REPOSITORY
from tests.support.prefect_stack import MARK, _kill, _processes_with

TRIPTYCH = (sys.executable, "-m", "flows.commands.cli")
CTRL_C = "\x03"
PATIENCE_S = 120.0  # two cores may be busy with other things
AT_ONCE_S = 4.0  # what a person takes for at once, on such a machine; alone it is 0.02 s


class Typed:
    """The process and its terminal. All that bears its mark in the environment is ended with it."""

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self.shown = ""
        self._mark = uuid.uuid4().hex
        self._terminal, inner = pty.openpty()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self.process = subprocess.Popen(
            list(arguments),
            cwd=REPOSITORY,
            env={**inherited, "TERM": "xterm", "COLUMNS": "200", "NO_COLOR": "1", **(env or {}), MARK: self._mark},
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # its terminal: else no key is a signal
        )
        os.close(inner)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Typed:
        return self

    def __exit__(self, *exc: object) -> None:
        while _kill(_processes_with(MARK, self._mark)):
            self.process.poll()
        self.process.wait()
        self._reader.join()
        with contextlib.suppress(OSError):
            os.close(self._terminal)

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # nobody writes any more
            while data := os.read(self._terminal, 65536):
                self.shown += data.decode(errors="replace").replace("\r\n", "\n")

    def wait_for(self, text: str) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while text not in self.shown:
            assert self.process.poll() is None, self.shown
            assert time.monotonic() < give_up, f"no {text!r} in:\n{self.shown}"
            time.sleep(0.02)

    def press(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def close_terminal(self) -> None:
        """As when its window is closed."""
        terminal, self._terminal = self._terminal, os.open(os.devnull, os.O_RDWR)
        os.close(terminal)

    def send(self, signum: signal.Signals) -> None:
        """To the command alone, as systemd and Slurm do first."""
        self.process.send_signal(signum)

    def end(self) -> int:
        """Its exit status; fails if it is not out at once."""
        status = self.process.wait(AT_ONCE_S)
        self._reader.join(AT_ONCE_S)
        return status

    def living(self) -> list[int]:
        """Ids of the processes that bear its mark, it among them while it lives."""
        return sorted(_processes_with(MARK, self._mark))

    def left_over(self) -> list[int]:
        """What still lives of all that it has started, after a moment to end."""
        give_up = time.monotonic() + AT_ONCE_S
        while self.living() and time.monotonic() < give_up:
            time.sleep(0.05)
        return self.living()
