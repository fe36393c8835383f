"""Starts a training's job, follows it and ends it: one process, or several by torchrun or accelerate.

    with Job.started(folder, LaunchConfig(n_processes=2), log) as job:
        for _ in job.follow():      its lines go to the log; a look every LOOK_S
            ...
    job.require_done()              JobStopped: it has saved and can go on; JobFailed: with its last lines

The job runs under a guard (guard.py) in a session of its own: if this process is killed, even by SIGKILL, the job is
told to stop, saves within `save_s`, and ends with everything that it started. Until then it holds the run's lock, for
which the next start waits. What it prints goes to log.txt in the run's folder: it can print when nobody is left.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from pydantic import Field

from schemas.config import Settings
from schemas.outcome import printable

logger = logging.getLogger(__name__)

JOB = "tasks.training.job"  # the module that is started with the run's folder
GO_ON_LATER = 75  # its exit status after SIGTERM: all is saved (sysexits.h: EX_TEMPFAIL)
RANK = "tasks.training.rank"
LOG = "log.txt"  # in the run's folder: what all starts of the job have printed
GUARD = Path(__file__).with_name("guard.py")
STATUSES = "TRIPTYCH_RANK_STATUSES"  # rank.py's

GOES_ON = "the same command, or Retry, goes on from there"
LOOK_S = 0.5
KILL_S = 15.0  # what torchrun and the guard take beyond `save_s`
TOLD_LINES = 20  # of a failed job's last ones
MAX_LINE = 2000  # characters


class LaunchConfig(Settings):
    """How the job is started."""

    n_processes: int = Field(
        1,
        ge=1,
        description="Processes on this machine, each with a device: a run goes on with the number it began with",
    )
    micro_batch: int = Field(
        1, ge=1, description="Samples that a process takes at once; the rest of a batch is accumulated. Part of the run"
    )
    accelerate_config: Path | None = Field(
        None,
        description="File that `accelerate config` wrote, for FSDP or DeepSpeed: `accelerate launch` starts the job "
        "then; null: torchrun, for one process none",
    )
    save_s: float = Field(
        600.0,
        gt=0,
        title="Time to save (s)",
        description="How long a job that is told to stop may take to save and end before it is killed: a ControlNet "
        "with its optimiser is 12 to 16 GB",
    )


class RunRefused(ValueError):
    """Such a run cannot be, or cannot go on from what is there."""


class JobFailed(RuntimeError):
    """The job ended, and not because anybody wanted it to."""


class JobStopped(RuntimeError):
    """The job was told to stop; the same command, or Retry, goes on."""


def at_work_of(folder: Path) -> Path:
    """Where it is told who works at a run: beside the runs, as what lies in a run's folder is published."""
    return folder.parent / ".at-work" / folder.name


def command_of(config: LaunchConfig, folder: Path) -> list[str]:
    """The job's command line."""
    rank = ["-m", RANK, JOB, str(folder)]
    if config.accelerate_config is not None:
        options = ["--config_file", str(config.accelerate_config), "--num_processes", str(config.n_processes)]
        return [sys.executable, "-m", "accelerate.commands.launch", *options, *rank]
    if config.n_processes > 1:
        options = ["--standalone", "--nproc-per-node", str(config.n_processes)]
        return [sys.executable, "-m", "torch.distributed.run", *options, *rank]
    return [sys.executable, "-m", JOB, str(folder)]


class Job:
    """A training's job, and how it ended."""

    def __init__(self, folder: Path, config: LaunchConfig, lock: TextIO, statuses: Path, log: Any) -> None:
        self._folder, self._config, self._statuses, self._log = folder, config, statuses, log
        self._told_to_stop = False
        self._ends: list[int | None] = []
        self._last: deque[str] = deque(maxlen=TOLD_LINES)
        self._read_to = (folder / LOG).stat().st_size if (folder / LOG).exists() else 0
        environment = {
            STATUSES: str(statuses),
            "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(int(config.save_s)),  # torchrun's: 30 s, then it kills its ranks
            "PYTHONUNBUFFERED": "1",
        }
        with (folder / LOG).open("ab") as printed:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", GUARD, f"{config.save_s + KILL_S:g}", *command_of(config, folder)],
                stdin=subprocess.PIPE,  # it ends with this process
                stdout=printed,
                stderr=subprocess.STDOUT,
                env=os.environ | environment,
                pass_fds=[lock.fileno()],
                start_new_session=True,
            )

    @classmethod
    @contextmanager
    def started(cls, folder: Path, config: LaunchConfig, log: Any = logger) -> Iterator[Job]:
        """Start the job of a run; it is told to stop, and waited for, if this is left before it has ended.

        Waits first while the job of an earlier start, whose launcher was killed, still saves.
        """
        with _locked(folder, log) as lock, tempfile.TemporaryDirectory(prefix="triptych-job-") as statuses:
            job = cls(folder, config, lock, Path(statuses), log)
            try:
                yield job
            finally:
                job.stop()
                for _ in job.follow():
                    pass
                job._ends = job._rank_statuses()

    def stop(self) -> None:
        """Tell the job to save and end. Returns at once; any thread may call it."""
        if self._guard.poll() is None:
            self._told_to_stop = True
            self._guard.terminate()

    def wait(self) -> None:
        """Until it has ended. Any thread may call it."""
        self._guard.wait()

    def follow(self) -> Iterator[None]:
        """Pass on what it prints until it has ended; gives a chance to look every LOOK_S."""
        while True:
            has_ended = self._guard.poll() is not None
            self._pass_on()
            if has_ended:
                return
            yield
            with suppress(subprocess.TimeoutExpired):
                self._guard.wait(LOOK_S)

    def require_done(self) -> None:
        """After `started`. Raises JobStopped or JobFailed unless the job did all that it was to do."""
        status, ranks, name = self._guard.returncode, self._ends, self._folder.name
        if status == 0:
            return
        if any(one not in (GO_ON_LATER, None) for one in ranks):
            raise JobFailed(
                self._failure(next(f"exit status {one}" for one in ranks if one not in (GO_ON_LATER, None)))
            )
        if None not in ranks:
            raise JobStopped(f"{name} was told to stop and has saved; {GOES_ON}")
        if self._told_to_stop:
            raise JobStopped(
                f"{name} was told to stop and did not save (--launch.save-s: {self._config.save_s:g} s), so its "
                f"last checkpoint stays; {GOES_ON}"
            )
        how = f"signal {signal.Signals(status - 128).name}" if status > 128 else f"signal {-status}, its guard"
        raise JobFailed(self._failure(f"{how}; out of memory?" if "KILL" in how else how))

    def _rank_statuses(self) -> list[int | None]:
        """The exit status of each process; None for one that a signal ended."""
        status = self._guard.returncode
        if RANK not in command_of(self._config, self._folder):
            return [status if 0 <= status <= 128 else None]
        said = self._said()
        if not said and 0 <= status <= 128:  # torchrun itself failed, before it started any
            return [status]
        return [said[rank][0] if rank in said else None for rank in range(self._config.n_processes)]

    def _said(self) -> dict[int, tuple[int, int]]:
        """Rank -> its exit status, and the size of the log when it ended: rank.py's words."""
        files = {int(file.name): file.read_text().split() for file in self._statuses.glob("[0-9]*")}
        return {rank: (int(status), int(size)) for rank, (status, size) in files.items()}

    def _failure(self, how: str) -> str:
        lines = "\n".join(f"  {line}" for line in self._last)
        return f"{self._folder.name}: the job ended with {how}. Its last lines, of {self._folder / LOG}:\n{lines}"

    def _pass_on(self) -> None:
        """Whole lines since the last time; of a progress bar (carriage returns) as it stood last."""
        # Behind the end of a rank, torchrun complains of its exit status, whatever that means. log.txt has it all.
        end = min((size for _, size in self._said().values()), default=None)
        with (self._folder / LOG).open("rb") as printed:
            printed.seek(self._read_to)
            for line in printed:
                if not line.endswith(b"\n") or (end is not None and self._read_to >= end):
                    break
                self._read_to += len(line)
                text = printable(line.decode(errors="replace").rstrip("\r\n").rpartition("\r")[2][:MAX_LINE])
                if text:
                    self._last.append(text)
                    self._log.info("%s", text)


@contextmanager
def _locked(folder: Path, log: Any) -> Iterator[TextIO]:
    """Hold the run's lock. The job inherits it: it is free when the job has ended, too."""
    at_work_of(folder).mkdir(parents=True, exist_ok=True)
    with (at_work_of(folder) / "lock").open("a") as lock:
        told = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    log.warning("%s: the job of an earlier start still saves; this one waits for its end", folder.name)
                told = True
                time.sleep(LOOK_S)
        yield lock
