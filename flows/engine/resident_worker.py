"""A Prefect worker whose flow runs share one process, so that models are loaded once and not once a shard.

    prefect work-pool create --type resident triptych-gpu
    prefect worker start --pool triptych-gpu

Prefect's process worker starts a process for every flow run: each shard would load gigabytes again. This one
keeps its process and gives it one run after the other. States, heartbeats, logs, retries and hooks on completion
are the flow engine's, as everywhere; hooks on crashes and cancellations are not run.

Nothing that went wrong stays in memory. The next run gets a fresh process, which loads its models anew, after a run
that did not complete (an error of the GPU spoils a process for good), that was cancelled (its process is killed), or
whose process died (it is reported as crashed), and when it wants another environment. The process ends with its
worker, however that ends. Code is loaded once as well: start the worker again after an update.

`--limit N` lets N runs share the machine, each in a process with models of its own; without it, one.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from queue import SimpleQueue
from typing import Any, BinaryIO
from uuid import UUID

import anyio
import anyio.abc
import httpx
from anyio.streams.buffered import BufferedByteReceiveStream
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import Abort, ObjectNotFound, Pause
from prefect.flow_engine import load_flow, load_flow_run, run_flow
from prefect.flows import Flow
from prefect.logging.loggers import flow_run_logger
from prefect.states import Cancelled, Crashed
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

OF_THE_RUN = "PREFECT__"  # environment variables that differ from run to run begin with this
CANCELLATION_POLL_S = 5.0
LAST_WORDS_S = 10.0  # how long a worker that is being stopped may take to report its run
DONE = b"done\n"  # the process's answer to a run that completed: it waits for the next


class ResidentWorker(BaseWorker[BaseJobConfiguration, BaseVariables, BaseWorkerResult]):
    """Runs flow runs in processes that outlive them."""

    type = "resident"
    job_configuration = BaseJobConfiguration
    _display_name = "Resident process"
    _description = "Flow runs share a process, so that models are loaded once."

    def __init__(self, work_pool_name: str, *, limit: int | None = None, **options: Any) -> None:
        super().__init__(work_pool_name, limit=limit or 1, **options)
        self._idle: list[Process] = []

    async def run(
        self,
        flow_run: FlowRun,
        configuration: BaseJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> BaseWorkerResult:
        """Give a flow run to a process and wait for its end; the engine there reports its states."""
        env = {name: value for name, value in {**os.environ, **configuration.env}.items() if value is not None}
        process = await self._process_for(env)
        if task_status is not None:
            task_status.started(process.pid)
        try:
            status = await self._follow(flow_run, process, env)
        except anyio.get_cancelled_exc_class():
            process.kill()
            with (
                anyio.CancelScope(shield=True),
                anyio.move_on_after(LAST_WORDS_S),
                contextlib.suppress(httpx.HTTPError),  # the server is away: silence will tell
            ):
                await self.client.set_flow_run_state(flow_run.id, Crashed(message="Its worker was stopped."))
            raise
        if status is None:
            self._idle.append(process)
        elif await self._is_cancelling(flow_run):
            await self.client.set_flow_run_state(flow_run.id, Cancelled(), force=True)
            status = 0
        return BaseWorkerResult(identifier=str(process.pid), status_code=status or 0)

    async def teardown(self, *exc_info: Any) -> None:
        await super().teardown(*exc_info)
        for process in self._idle:
            process.kill()

    async def _process_for(self, env: dict[str, str]) -> Process:
        """An idle process with the run's environment, or a fresh one in place of those that are of no use."""
        shared = {name: value for name, value in env.items() if not name.startswith(OF_THE_RUN)}
        while self._idle:
            process = self._idle.pop()
            if process.is_alive and process.env == shared:
                return process
            process.kill()
        return await Process.start(shared)

    async def _follow(self, flow_run: FlowRun, process: Process, env: dict[str, str]) -> int | None:
        """Returns None if the run completed, else how the process ended. A run that is cancelled is killed."""

        async def kill_if_cancelled() -> None:
            while not await self._is_cancelling(flow_run):
                await anyio.sleep(CANCELLATION_POLL_S)
            process.kill()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kill_if_cancelled)
            status = await process.run({name: value for name, value in env.items() if name.startswith(OF_THE_RUN)})
            tasks.cancel_scope.cancel()
        return status

    async def _is_cancelling(self, flow_run: FlowRun) -> bool:
        try:
            state = (await self.client.read_flow_run(flow_run.id)).state
        except (httpx.HTTPError, ObjectNotFound):
            return False  # the server is away, or the run was deleted: nobody asks for it
        return state is not None and state.is_cancelling()


class Process:
    """The worker's end of a process that runs flow runs."""

    def __init__(self, process: anyio.abc.Process, env: dict[str, str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.env, self.pid = env, process.pid
        self._process, self._orders = process, process.stdin
        self._answers = BufferedByteReceiveStream(process.stdout)

    @classmethod
    async def start(cls, env: dict[str, str]) -> Process:
        # Not `-m`: this module would be there twice. In a session of its own it hears no Ctrl-C; its worker does.
        program = [sys.executable, "-c", "from flows.engine.resident_worker import run_flow_runs; run_flow_runs()"]
        pipe = subprocess.PIPE
        process = await anyio.open_process(
            program, stdin=pipe, stdout=pipe, stderr=None, env=env, start_new_session=True
        )
        return cls(process, env)

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    async def run(self, env: dict[str, str]) -> int | None:
        """Have one flow run run. Returns None if the process is ready for the next, else its exit status."""
        with contextlib.suppress(anyio.BrokenResourceError, anyio.IncompleteRead, OSError):
            await self._orders.send(json.dumps(env).encode() + b"\n")
            await self._answers.receive_exactly(len(DONE))
            return None
        return await self._process.wait()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


# --- In the process --------------------------------------------------------------------------------


def run_flow_runs() -> None:
    """Run the flow run that each line of standard input names, by its environment; answer what completed.

    Ends after a run that did not complete, and at once when standard input does, in the midst of a run too.
    """
    orders, answers = _take_standard_streams()
    todo: SimpleQueue[dict[str, str]] = SimpleQueue()
    threading.Thread(target=_receive, args=(orders, todo), daemon=True).start()
    loaded: dict[UUID | None, Flow[..., Any]] = {}  # by their deployments
    while True:
        env = todo.get()
        for name in [name for name in os.environ if name.startswith(OF_THE_RUN)]:
            del os.environ[name]
        os.environ.update(env)
        if not _run(UUID(env["PREFECT__FLOW_RUN_ID"]), loaded):
            return
        answers.write(DONE)


def _take_standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """The worker's pipes, out of reach of what flows start and print: that goes to the worker's log."""
    orders, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return orders, answers


def _receive(orders: BinaryIO, todo: SimpleQueue[dict[str, str]]) -> None:
    for line in orders:
        todo.put(json.loads(line))
    os._exit(0)  # the worker is gone; who would take care of the run?


def _run(flow_run_id: UUID, loaded: dict[UUID | None, Flow[..., Any]]) -> bool:
    """Run one flow run, with the flow as it was loaded for its deployment; True if it completed."""
    # Here, as every `prefect` command imports this module to know its worker.
    from tasks.backends.torch_runtime import loaded as loaded_models

    flow_run = load_flow_run(flow_run_id)
    log: Any = flow_run_logger(flow_run)
    try:
        if flow_run.deployment_id not in loaded:
            loaded[flow_run.deployment_id] = load_flow(flow_run)
        flow = loaded[flow_run.deployment_id]
    except Exception:
        log.exception("cannot load the flow of this run")
        raise
    log.info("process %d; models loaded by earlier runs: %s", os.getpid(), ", ".join(loaded_models()) or "none")
    with contextlib.suppress(Abort, Pause):  # the server decided otherwise
        state: Any = run_flow(flow, flow_run=flow_run, return_type="state", error_logger=log)
        return bool(state.is_completed())
    return False
