"""A Prefect server, the deployments of prefect.yaml and their workers, as real processes on loopback.

    with PrefectStack(folder, env) as stack:
        stack.deploy()                                 `triptych deploy`: the work pools, too
        workers = [stack.start_worker(pool) for pool in (PLAN, SHARDS)]
        run_id = stack.start("curate-matrix11k/default", {"config": {...}})
        stack.wait_for(run_id, "COMPLETED")
        stack.shards_of(run_id)                        its shards' flow runs, as the API's JSON
        with retry_button(stack) as press: press(run_id)

Everything lies in `folder`, and every process that was started is ended with all that it started, whatever happens.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from flows.engine.tags import PARENT_TAG
from tests.support.flow_runs import REPOSITORY

logger = logging.getLogger(__name__)

PLAN, SHARDS, GPU, BLENDER = "triptych-plan", "triptych-shards", "triptych-gpu", "triptych-blender"
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
HEARTBEAT = "prefect.flow-run.heartbeat"
RUN_ID, MARK = "PREFECT__FLOW_RUN_ID", "TRIPTYCH_TEST_PROGRAM"  # environment variables that tell processes apart

START_S, STOP_S, CLI_S, RUN_S = 120.0, 15.0, 120.0, 180.0  # generous: two cores may be busy with other things
BUSY_S = 30.0
POLL_S = 0.5
TAIL_LINES = 40

Run = dict[str, Any]  # a flow run as the API gives it


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class PrefectStack:
    """One server with its database, and the workers started for it. Ended with `stop` or as a context manager.

    env:        what workers and their flow runs see beside this process's own environment
    server_env: what the server alone sees
    password:   USER:PASSWORD, which the server then asks of everybody
    """

    def __init__(
        self,
        folder: Path,
        env: Mapping[str, str],
        server_env: Mapping[str, str] | None = None,
        password: str | None = None,
    ) -> None:
        self.folder = folder
        self.port = free_port()
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "TRIPTYCH_"))
        }
        self.env = inherited | {
            "PREFECT_HOME": str(folder / "home"),
            "PREFECT_API_URL": self.api,
            "PREFECT_WORKER_QUERY_SECONDS": "2",  # how often a worker asks for work; 10 by default
            "NO_COLOR": "1",
            "COLUMNS": "200",
            **env,
        }
        self.server_env = {**self.env, **(server_env or {})}
        if password:
            self.env["PREFECT_API_AUTH_STRING"] = self.server_env["PREFECT_SERVER_API_AUTH_STRING"] = password
        self.server: Program | None = None
        self._programs: list[Program] = []
        login = httpx.BasicAuth(*password.split(":", 1)) if password else None
        self._client = httpx.Client(base_url=self.api, timeout=30, auth=login)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api(self) -> str:
        return f"{self.url}/api"

    def __enter__(self) -> PrefectStack:
        try:
            self.start_server()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End every process. Workers first: a worker without its server retries for a while."""
        for program in reversed(self._programs):
            program.kill()
        self._client.close()

    # --- Processes -----------------------------------------------------------------------------

    def start_server(self) -> None:
        """Start the server, for the first time or again on the same port and database."""
        arguments = ("server", "start", "--host", "127.0.0.1", "--port", str(self.port))
        self.server = self._spawn("server", *arguments, env=self.server_env)
        self.wait_until(self._is_healthy, "the server answers", START_S)

    @contextlib.contextmanager
    def elsewhere(self, env: Mapping[str, str]) -> Iterator[None]:
        """What is started meanwhile sees these variables too, as on another machine."""
        here, self.env = self.env, {**self.env, **env}
        try:
            yield
        finally:
            self.env = here

    def stop_server(self) -> None:
        assert self.server is not None
        self.server.end()

    def deploy(self) -> None:
        command = [sys.executable, "-m", "flows.commands.cli", "deploy"]
        done = subprocess.run(command, cwd=REPOSITORY, env=self.env, capture_output=True, text=True, timeout=CLI_S)
        if done.returncode:
            raise self.failure(f"triptych deploy ended with {done.returncode}:\n{done.stdout}{done.stderr}")

    def start_worker(self, pool: str, limit: int = 2, env: Mapping[str, str] | None = None) -> Program:
        """A worker that takes up to `limit` flow runs at once; returns when the server knows it.

        env: what it has beside the others' environment
        """
        name = f"{pool}-{len(self._programs)}"
        arguments = ("worker", "start", "--pool", pool, "--name", name, "--limit", str(limit))
        worker = self._spawn(name, *arguments, env={**self.env, **(env or {})})
        path = f"/work_pools/{pool}/workers/filter"
        self.wait_until(lambda: name in [w["name"] for w in self.post(path, {})], f"{name} has come up", START_S)
        return worker

    def cli(self, *arguments: str, ok: bool = True) -> str:
        """What `prefect ...` prints; fails unless it succeeds (`ok`) or refuses (not `ok`)."""
        try:
            done = subprocess.run(
                [_prefect(), *arguments],
                cwd=REPOSITORY,
                env=self.env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=CLI_S,
            )
        except subprocess.TimeoutExpired as error:
            raise self.failure(f"prefect {' '.join(arguments)} did not end: {error.output!r}") from error
        if (done.returncode == 0) != ok:
            raise self.failure(f"prefect {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def _spawn(self, name: str, *arguments: str, env: Mapping[str, str] | None = None) -> Program:
        program = Program(name, [_prefect(), *arguments], env or self.env, self.folder / f"{name}.log")
        self._programs.append(program)
        return program

    # --- Flow runs -----------------------------------------------------------------------------

    def start(self, deployment: str, parameters: dict[str, Any] | None = None) -> str:
        """Create a flow run of FLOW/NAME, as the UI's Run button does; returns its id."""
        found = self.get(f"/deployments/name/{deployment}")
        return str(self.post(f"/deployments/{found['id']}/create_flow_run", {"parameters": parameters or {}})["id"])

    def retry(self, run_id: str) -> None:
        """What the UI's Retry button asks of the API."""
        body = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": False}
        answer = self.post(f"/flow_runs/{run_id}/set_state", body)
        assert answer["status"] == "ACCEPT", answer

    def cancel(self, run_id: str) -> None:
        """What the UI's Cancel button asks of the API, of both UIs."""
        body = {"state": {"type": "CANCELLING", "name": "Cancelling"}, "force": True}
        answer = self.post(f"/flow_runs/{run_id}/set_state", body)
        # The server makes it Cancelled at once if no worker ever had the run.
        assert answer["state"]["type"] in ("CANCELLING", "CANCELLED"), answer

    def run(self, run_id: str) -> Run:
        return dict(self.get(f"/flow_runs/{run_id}"))

    def shards_of(self, parent_id: str) -> list[Run]:
        """The flow runs that a parent created for its shards, by name."""
        tags = {"tags": {"all_": [f"{PARENT_TAG}{parent_id}"]}}
        return sorted(self.post("/flow_runs/filter", {"flow_runs": tags}), key=lambda run: str(run["name"]))

    def history(self, run_id: str) -> list[tuple[str, str]]:
        """(name, message) of every state that a flow run was in, in their order."""
        states = self.get(f"/flow_run_states/?flow_run_id={run_id}")
        return [(s["name"], s["message"] or "") for s in sorted(states, key=lambda s: str(s["timestamp"]))]

    def log_of(self, run_id: str) -> list[str]:
        """The lines of a flow run's log, as the UI shows them."""
        logs = {"flow_run_id": {"any_": [run_id]}}
        return [str(line["message"]) for line in self.post("/logs/filter", {"logs": logs, "sort": "TIMESTAMP_ASC"})]

    def heartbeats(self, run_id: str) -> int:
        resource = {"id": [f"prefect.flow-run.{run_id}"]}
        chosen = {"filter": {"event": {"name": [HEARTBEAT]}, "resource": resource}, "limit": 50}
        return len(self.post("/events/filter", chosen)["events"])

    def wait_for(self, run_id: str, state_type: str, timeout_s: float = RUN_S, run_count: int = 1) -> Run:
        """Wait until the run has ended in this state, in its run_count-th try at least, and its process too.

        Its hooks have run by then. A worker that is given a run again whose process it still holds dies of it.
        """
        run: Run = {}

        def has_ended() -> bool:
            run.update(self.run(run_id))
            return run["state_type"] in FINAL and run["run_count"] >= run_count

        self.wait_until(has_ended, f"run {run_id} ends", timeout_s)
        if run["state_type"] != state_type:
            raise self.failure(f"{run['name']} ended {run['state_name']}, not {state_type}: {run['state']['message']}")
        self.wait_until(lambda: not _processes_with(RUN_ID, run_id), f"the process of {run['name']} is gone", timeout_s)
        return run

    def kill_run(self, run_id: str) -> None:
        """SIGKILL the process of one flow run; its worker lives on."""
        assert _kill(_processes_with(RUN_ID, run_id)), f"run {run_id} has no process"

    # --- The API -------------------------------------------------------------------------------

    def get(self, path: str) -> Any:
        return self._request("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._request("POST", path, body)

    def delete(self, path: str) -> None:
        self._request("DELETE", path, None)

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        give_up = time.monotonic() + BUSY_S
        while True:
            response = self._client.request(method, path, json=body)
            # SQLite is locked now and then, and nothing was done: Prefect's own client asks again too.
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > give_up:
                response.raise_for_status()
                return response.json() if response.content else None
            time.sleep(POLL_S)

    def _is_healthy(self) -> bool:
        return self.get("/health") is True

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float = RUN_S) -> None:
        """Poll until the condition holds; fails with the logs' tails.

        A server that does not answer counts as not yet: it may be starting.
        """
        give_up = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(httpx.TransportError, httpx.HTTPStatusError):
                if condition():
                    return
            if time.monotonic() > give_up:
                raise self.failure(f"waited {timeout_s:.0f} s in vain until {what}")
            time.sleep(POLL_S)

    def failure(self, message: str) -> AssertionError:
        """An error with the last lines of every process's log."""
        tails = [f"--- {program.name}\n{program.tail()}" for program in self._programs]
        return AssertionError("\n".join([message, *tails]))


class Program:
    """A program with its output in a file; what it starts bears its mark in the environment.

    Prefect gives flow runs a session of their own, so that no process group holds a worker with its runs.
    """

    def __init__(self, name: str, arguments: list[str], env: Mapping[str, str], log: Path) -> None:
        self.name, self.log, self._mark = name, log, uuid.uuid4().hex
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                arguments,
                cwd=REPOSITORY,
                env={**env, MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal is the tests' alone
            )

    def end(self) -> None:
        """Ask it to stop, and kill what does not."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_S)
        self.kill()

    def signal_alone(self, signum: signal.Signals) -> None:
        """Signal it and wait for its end; what it started is left to itself."""
        self._process.send_signal(signum)
        self._process.wait(STOP_S)

    def kill(self) -> None:
        """SIGKILL it and all that it started: a machine that loses its power."""
        self._process.kill()
        self._process.wait(STOP_S)
        give_up = time.monotonic() + STOP_S
        while _kill(_processes_with(MARK, self._mark)) and time.monotonic() < give_up:
            time.sleep(0.05)  # one of them may just have started another

    def tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-TAIL_LINES:])


def _prefect() -> str:
    return str(Path(sys.executable).parent / "prefect")


def _processes_with(variable: str, value: str) -> list[int]:
    """Ids of the living processes that have this in the environment they were started with."""
    mark = f"{variable}={value}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile, or somebody else's
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def _kill(pids: list[int]) -> bool:
    """SIGKILL; False if there was nothing to kill."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(pids)


# --- The browser -----------------------------------------------------------------------------------


@contextlib.contextmanager
def browser_page(base_url: str | None = None) -> Iterator[Any]:
    """A page of a real browser; None without Playwright or an installed Chromium."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        yield None
        return
    with sync_playwright() as playwright:
        # Without a sandbox it runs as root too, as in a container; it opens no page but the server's.
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_page(base_url=base_url, viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(60_000)
        try:
            yield page
        finally:
            browser.close()


@contextlib.contextmanager
def retry_button(stack: PrefectStack) -> Iterator[Callable[[str], None]]:
    """press(run_id): the Retry button of a flow run's page, in a real browser.

    Without Playwright or an installed Chromium, what the button asks of the API (and the log says so).
    """
    with browser_page(stack.url) as page:
        if page is None:
            logger.warning("no Playwright or no Chromium: Retry is asked of the API instead of pressed")
            yield stack.retry
            return

        def press(run_id: str) -> None:
            page.goto(f"/runs/flow-run/{run_id}")
            page.get_by_role("button", name="Retry").first.click()
            dialog = page.get_by_role("dialog")
            dialog.get_by_role("button", name="Retry").click()
            dialog.wait_for(state="hidden")

        yield press
