"""A PostgreSQL server of the test run's own, on loopback, with an empty database.

    with Postgres() as database:
        database.url                           "postgresql+asyncpg://prefect@127.0.0.1:40123/prefect"
        database.stop(), database.start()      a restart; nothing is lost
        database.ask("SELECT count(*) FROM flow_run")

Needs the server's programs, not a running server: `apt-get install postgresql`.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support.other_user import as_other_user
from tests.support.prefect_stack import free_port

NAME = "prefect"  # of the user and of the database
START_S, STOP_S, POLL_S = 60.0, 30.0, 0.2
DEBIAN = Path("/usr/lib/postgresql")  # a folder a version, none of them on the PATH


def find_programs() -> Path | None:
    """The folder with initdb and postgres, or None if PostgreSQL's server is not installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return versions[-1].parent if versions else None


class Postgres:
    """The server; started and ended as a context manager. Raises FileNotFoundError if it is not installed."""

    def __init__(self) -> None:
        programs = find_programs()
        if programs is None:
            raise FileNotFoundError("no PostgreSQL: apt-get install postgresql, or set TRIPTYCH_WITHOUT_POSTGRES=1")
        self.port = free_port()
        self._programs = programs
        # Not under pytest's own folder, which no other user may enter.
        self._folder = Path(tempfile.mkdtemp(prefix="triptych-postgres-"))
        self._log = self._folder / "log"
        self._as_other_user = as_other_user(self._folder)  # it refuses to run as root
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://{NAME}@127.0.0.1:{self.port}/{NAME}"

    def __enter__(self) -> Postgres:
        try:
            self._call("initdb", "--pgdata", "data", "--username", NAME, "--auth", "trust", "--encoding", "UTF8")
            self.start()
            self._call("createdb", *self._login, NAME)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self._folder)

    def start(self) -> None:
        options = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        with self._log.open("ab") as log:
            self._server = subprocess.Popen(
                [self._programs / "postgres", "-D", "data", *(f"--{name}={value}" for name, value in options.items())],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._as_other_user,
            )
        give_up = time.monotonic() + START_S
        while subprocess.run([self._programs / "pg_isready", *self._login], capture_output=True).returncode != 0:
            if self._server.poll() is not None or time.monotonic() > give_up:
                raise AssertionError(f"PostgreSQL does not start:\n{self._log.read_text()}")
            time.sleep(POLL_S)

    def stop(self, signum: signal.Signals = signal.SIGINT) -> None:
        """End it and its connections: SIGINT in good order, SIGQUIT as a crash does."""
        if self._server is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._server.send_signal(signum)
        self._server.wait(STOP_S)
        self._server = None

    def ask(self, query: str) -> str:
        """What psql answers, bare."""
        return self._call("psql", *self._login, "--tuples-only", "--no-align", "--command", query, NAME).strip()

    def dump(self) -> str:
        """Everything in it, as SQL."""
        return self._call("pg_dump", *self._login, NAME)

    @property
    def _login(self) -> tuple[str, ...]:
        return ("--host=127.0.0.1", f"--port={self.port}", f"--username={NAME}")

    def _call(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [self._programs / program, *arguments],
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **self._as_other_user,
        )
        assert done.returncode == 0, f"{program} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout
