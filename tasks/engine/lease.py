"""One run at a time in a root: `running.json` there says whose it is, and other runs wait.

    with held(root, Holder.here("curate-matrix11k", "matrix11k"), log):
        ...

    data is held by curate-matrix11k, dataset matrix11k (process 4321 of anna on host-a, since 2026-11-30 12:03 UTC,
    http://.../runs/flow-run/...). This run waits until that one ends; Ctrl-C or the UI's Cancel ends the waiting

The holder renews the file as long as it lives, and removes it at its end. A file is nobody's

- at once, if its process on this machine is gone, or if it is this very flow run's, which is tried again;
- after SILENCE_S without a change, by the clock of who waits: clocks of machines differ.

Who waits has no place in a queue: the first that looks goes on.

The lease saves two runs from computing the same rows; no result rests on it. Stores have no lock that all of them
know, and a machine that slept may wake beside its successor: then two runs work at once, and publish what each of them
would have published alone, as results are kept by content and files appear whole.
"""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from schemas.outcome import printable
from schemas.regular_files import NotRegular, open_regular
from schemas.service import ServiceDown
from schemas.storage import AnyPath, ObjectPath, write_atomic
from tasks.engine.work import unwritable_is_a_service_down

logger = logging.getLogger(__name__)

RUNNING = "running.json"
MAX_BYTES = 2**16  # of a file that is no lease
RENEW_S = 15.0
SILENCE_S = 90.0  # six renewals; also how long a deployed run may send no heartbeat (flows/engine/dispatch.py)
POLL_S = 2.0
REMIND_S = 300.0
SETTLE_S = 0.5  # longer than another run takes from its look at the file to its own writing of it
FREE = b"null"  # in a store, where a key need not have the right to delete
_IS_FREE = "it is free"


class Holder(BaseModel):
    """Who works in a root."""

    model_config = ConfigDict(frozen=True)

    token: str = Field(description="Another for each holding")
    flow: str
    dataset: str
    flow_run_id: str | None = Field(description="None outside of Prefect")
    url: str | None = Field(description="The flow run's page")
    host: str
    user: str
    pid: int = Field(gt=0, lt=2**31)
    machine: str = Field(description="Process ids mean the same wherever this is equal")
    started: int | None = Field(description="When the process started, in ticks since boot: ids are used again")
    since: AwareDatetime
    renewals: int = 0

    @classmethod
    def here(cls, flow: str, dataset: str, flow_run_id: str | None = None, url: str | None = None) -> Holder:
        """This process."""
        return cls(
            token=uuid4().hex,
            flow=flow,
            dataset=dataset,
            flow_run_id=flow_run_id,
            url=url,
            host=socket.gethostname(),
            user=_user(),
            pid=os.getpid(),
            machine=_machine(),
            started=_started(os.getpid()),
            since=datetime.now(UTC),
        )

    def __str__(self) -> str:
        page = f", {self.url}" if self.url else ""
        said = (
            f"{self.flow}, dataset {self.dataset} (process {self.pid} of {self.user} on {self.host}, "
            f"since {self.since:%Y-%m-%d %H:%M %Z}{page})"
        )
        return printable(said)  # whoever may write in the root may have written it

    @property
    def has_died(self) -> bool:
        """Is its process on this machine gone? False for those of other machines and containers: nobody knows."""
        if self.machine != _machine():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # somebody else's
            pass
        return _started(self.pid) not in (self.started, None)


@contextmanager
def held(root: AnyPath, holder: Holder, log: Any = logger) -> Iterator[Lease]:
    """Hold a root; waits until nobody else does. Raises OSError or ServiceDown if it cannot be written to."""
    lease = Lease(root, holder, log)
    with unwritable_is_a_service_down("lease", root):
        lease.take()
    ended = threading.Event()
    renewing = threading.Thread(target=lease.renew_until, args=(ended,), name="lease", daemon=True)
    renewing.start()
    try:
        yield lease
    finally:
        ended.set()
        renewing.join()
        lease.release()


class Lease:
    """A root's `running.json` in the hands of one run."""

    def __init__(self, root: AnyPath, holder: Holder, log: Any) -> None:
        self.root, self.holder, self.log = root, holder, log
        self.path: AnyPath = root / RUNNING
        self._is_lost = False

    def take(self) -> None:
        """Wait until the root is nobody's, and hold it."""
        found, found_s = self._read(), time.monotonic()
        told, told_s = None, 0.0
        while True:
            other, now_s = _parse(found), time.monotonic()
            if why := self._why_free(found, other, now_s - found_s):
                if self._claim(found):
                    break
            # One that cannot be read may be about to be written: it is told of when it is seen again.
            elif other or now_s - found_s >= POLL_S:
                who = other.token if other else ""
                if who != told or now_s - told_s >= REMIND_S:
                    self._tell(other)
                    told, told_s = who, now_s
            time.sleep(POLL_S)
            if (again := self._read()) != found:
                found, found_s = again, time.monotonic()
        if told is not None or why != _IS_FREE:
            self.log.info("%s: this run goes on: %s", self.root, why)

    def _why_free(self, found: bytes | None, other: Holder | None, silent_s: float) -> str:
        """Why nobody holds the root; nothing if somebody does."""
        if found in (None, FREE):
            return _IS_FREE
        if other and other.flow_run_id and other.flow_run_id == self.holder.flow_run_id:
            return "its own try before this one has ended"
        if other and other.has_died:
            return f"process {other.pid}, which held it, has died"
        if silent_s >= SILENCE_S:
            return f"who held it has not been heard of for {silent_s:.0f} s"
        return ""

    def _claim(self, found: bytes | None) -> bool:
        """Write this run into the file, which was found so. False if another run was faster."""
        if found is None and isinstance(self.path, Path):
            return self._create(self.path)
        write_atomic(self.path, self._said)
        time.sleep(SETTLE_S)  # of runs that write at the same time, the last one reads itself
        return self._is_ours(_parse(self._read()))

    def _create(self, path: Path) -> bool:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("xb")
        except FileExistsError:
            if path.is_symlink() and not path.exists():  # it leads nowhere, and says nothing
                path.unlink(missing_ok=True)
            return False
        try:
            with file:
                file.write(self._said)
        except OSError:  # a full disk
            path.unlink(missing_ok=True)
            raise
        return True

    def _tell(self, other: Holder | None) -> None:
        if other is None:
            self.log.warning("%s cannot be read; unless it changes, this run goes on in %.0f s", self.path, SILENCE_S)
            return
        self.log.warning(
            "%s is held by %s. This run waits until that one ends; Ctrl-C or the UI's Cancel ends the waiting",
            *(self.root, other),
        )

    def renew_until(self, ended: threading.Event) -> None:
        while not ended.wait(RENEW_S):
            with contextlib.suppress(OSError, ServiceDown):  # the run itself meets it where the root fails
                self.renew()

    def renew(self) -> None:
        """Show that this run lives; take back what is free. If another run took it, say so once and leave it that."""
        other = _parse(self._read())
        if other and not self._is_ours(other):
            if not self._is_lost:
                self.log.warning(
                    "%s is now held by %s: this run was silent for so long that it was given up. Both go on; that does "
                    "no harm, but rows may be computed twice",
                    *(self.root, other),
                )
            self._is_lost = True
            return
        self._is_lost = False
        self.holder = self.holder.model_copy(update={"renewals": self.holder.renewals + 1})
        write_atomic(self.path, self._said)

    def release(self) -> None:
        """Let other runs go on. Never raises: the run has ended as it has."""
        try:
            if not self._is_ours(_parse(self._read())):
                return
            if isinstance(self.path, Path):
                self.path.unlink(missing_ok=True)
            else:
                write_atomic(self.path, FREE)
        except (OSError, ServiceDown) as error:
            self.log.warning("the next run in %s waits %.0f s: %s", self.root, SILENCE_S, error)

    @property
    def _said(self) -> bytes:
        return self.holder.model_dump_json(indent=1).encode()

    def _is_ours(self, found: Holder | None) -> bool:
        return found is not None and found.token == self.holder.token

    def _read(self) -> bytes | None:
        try:
            if isinstance(self.path, ObjectPath):
                return self.path.read_bytes()
            with open_regular(self.path) as file:
                return file.read(MAX_BYTES)
        except FileNotFoundError:
            return None
        except NotRegular as error:
            raise ServiceDown(f"{self.path} says who works in the root: {error.strerror}; remove it") from error


def _parse(found: bytes | None) -> Holder | None:
    """Who a file names; None for nobody and for a file that is not whole, or not a lease."""
    try:
        return Holder.model_validate_json(found or b"")
    except ValidationError:
        return None


# --- Processes ---------------------------------------------------------------------------------


def _machine() -> str:
    """A machine since its start, and the container on it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return socket.gethostname()


def _started(pid: int) -> int | None:
    """When a process started, in ticks since the machine's start: 0 if it has ended, None if that cannot be known."""
    try:
        # The name in parentheses may hold anything; state is the field after it, the start is 19 fields on.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return 0 if fields[0] in "ZX" else int(fields[19])


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's number without a name
        return str(os.getuid())
