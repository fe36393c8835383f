"""The Prefect API that the runs of a command show in, where one is configured. Without one, they need none.

    api = configured_api()      None: nothing of Prefect's is asked
    api.require()               it answers, or ServiceDown
    with api.followed(): ...    it is told if the command is stopped
    with prefect_server() as client: ...    for commands that do nothing without one

A run bears an API that is away for a while, as when its server starts again. It needs one where a shard begins or ends:
there Prefect's client asks again for a minute, without a word, and then each error is followed by another minute. In
`followed` there is a word at once, and the first such minute is the last.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from signal import Signals
from typing import Any, NoReturn
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.context import get_settings_context
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelled

from flows.engine.process import LAST_WORDS_S, at_stop, leave
from flows.engine.steps import runs_of_this_process
from schemas.outcome import ServiceDown

logger = logging.getLogger(__name__)

CONNECT_S, ANSWER_S = 3.0, 30.0  # a server on SQLite is slow while others work with it
LOOK_EVERY_S, HEALTH_S = 5.0, 10.0
PATIENCE_S = 45.0  # less than Prefect's own, whose client asks six times: 2, 4, 8, 16 and 32 s after one another


@dataclass(frozen=True)
class Api:
    """A configured API.

    url:   without name and password
    where: what configures it
    undo:  how to do without it; empty for what cannot
    """

    url: str
    where: str
    undo: str

    @contextmanager
    def followed(self) -> Iterator[None]:
        """While a command runs: tells when the API goes away, and it of a stop."""
        ended = threading.Event()
        with Outage().heard() as outage, at_stop(report_stop):
            threading.Thread(target=self._watch, args=(ended, outage), name="prefect-api", daemon=True).start()
            try:
                yield
            finally:
                ended.set()

    def require(self) -> None:
        """Raises ServiceDown if it does not answer, or does not let this user in."""
        try:
            with asked_once(ANSWER_S) as client:
                client.read_flow_runs(limit=1)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise self._is_none(str(error)) from error
        except PrefectHTTPStatusError as error:
            status = error.response.status_code
            if is_outage(error) or status == httpx.codes.TOO_MANY_REQUESTS:
                raise self.is_away(f"it answers {status}") from error
            if status in (401, 403):
                raise ServiceDown(
                    f"{self} refuses this user ({status}): PREFECT_API_AUTH_STRING is what the server's "
                    "PREFECT_SERVER_API_AUTH_STRING is, PREFECT_API_KEY a key of Prefect Cloud"
                ) from error
            raise self._is_none(f"it answers {status}") from error
        except httpx.TransportError as error:
            raise self.is_away(error) from error
        except httpx.RequestError as error:  # redirects without end, bytes that are no text
            raise self._is_none(str(error)) from error
        except (ValueError, TypeError) as error:  # JSON or records
            raise self._is_none("its answer is none of Prefect's") from error

    def is_away(self, why: object) -> ServiceDown:
        without = f", or run without it: {self.undo}" if self.undo else ""
        return ServiceDown(f"{self} does not answer ({why}). Start it (prefect server start){without}")

    def _is_none(self, why: str) -> ServiceDown:
        return ServiceDown(f"{self} is no Prefect API ({why}): an address is like http://127.0.0.1:4200/api")

    def __str__(self) -> str:
        return f"the Prefect API at {self.url} ({self.where})"

    def _watch(self, ended: threading.Event, outage: Outage) -> None:
        told = False
        while not ended.wait(LOOK_EVERY_S):
            why = why_away()
            if why is None:
                if told:
                    logger.warning("%s answers again", self)
                told, outage.waiting_since_s = False, None
                continue
            if not told:
                logger.warning("%s does not answer (%s): where a shard begins or ends, the run waits", self, why)
                told = True
            waits_s = 0.0 if outage.waiting_since_s is None else time.monotonic() - outage.waiting_since_s
            if waits_s > PATIENCE_S and not ended.is_set():
                self._give_up(why)

    def _give_up(self, why: object) -> NoReturn:
        error = self.is_away(why)
        leave(f"{type(error).__name__}: {error}. What is done is kept: the same command goes on from here", 1)


class Outage(logging.Filter):
    """Hears in Prefect's log that the run waits for the API, and keeps out of it what `Api` tells.

    waiting_since_s: when the run first asked in vain, by time.monotonic; None: it does not wait
    """

    LOGS = ("prefect.client", "prefect.events.clients", "prefect._internal.concurrency")
    SAID_BY_API = ("Unable to connect to ", "Service 'EventsWorker' failed to process item")

    def __init__(self) -> None:
        super().__init__()
        self.waiting_since_s: float | None = None
        self._client = logging.getLogger("prefect.client")
        self._level = self._client.getEffectiveLevel()

    @contextmanager
    def heard(self) -> Iterator[Outage]:
        own_level, raises = self._client.level, logging.raiseExceptions
        self._client.setLevel(logging.DEBUG)
        logging.raiseExceptions = False  # else Prefect prints each batch of log lines that the API does not take
        for name in self.LOGS:
            logging.getLogger(name).addFilter(self)
        try:
            yield self
        finally:
            for name in self.LOGS:
                logging.getLogger(name).removeFilter(self)
            self._client.setLevel(own_level)
            logging.raiseExceptions = raises

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        # Log lines and events are sent from a thread of their own; the run does not wait for them.
        if message.startswith("Encountered retryable") and record.threadName != "GlobalEventLoopThread":
            self.waiting_since_s = self.waiting_since_s or time.monotonic()
        if record.name == self._client.name and record.levelno < self._level:
            return False
        return not message.startswith(self.SAID_BY_API)


def configured_api() -> Api | None:
    """The API that the environment, Prefect's profile or a settings file of the project names."""
    url = PREFECT_API_URL.value()
    if not url:
        return None
    profile = get_settings_context().profile
    if os.environ.get("PREFECT_API_URL") == url:
        where, undo = "PREFECT_API_URL", "unset PREFECT_API_URL"
    elif profile.settings.get(PREFECT_API_URL) == url:
        where, undo = f"of the Prefect profile {profile.name}", "prefect config unset PREFECT_API_URL"
    else:
        where, undo = "of a settings file here", "remove it from .env, prefect.toml or pyproject.toml"
    return Api(_without_user(url), where, undo)


@contextmanager
def prefect_server() -> Iterator[SyncPrefectClient]:
    """A client of the configured API, which has answered. Raises ServiceDown if there is none."""
    api = configured_api()
    if api is None:
        raise ServiceDown(
            "no Prefect server is configured: start one (prefect server start), then "
            "export PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    api = replace(api, undo="")
    api.require()
    try:
        with get_client(sync_client=True) as client:
            yield client
    except httpx.TransportError as error:
        raise api.is_away(error) from error


def _without_user(url: str) -> str:
    with suppress(httpx.InvalidURL):
        return str(httpx.URL(url).copy_with(userinfo=b""))
    return url


@contextmanager
def asked_once(answer_s: float) -> Iterator[SyncPrefectClient]:
    """A client that does not ask again."""
    timeout = httpx.Timeout(answer_s, connect=min(answer_s, CONNECT_S))
    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
        get_client(sync_client=True, httpx_settings={"timeout": timeout}) as client,
    ):
        yield client


def is_outage(error: httpx.HTTPError) -> bool:
    """Is the server away, rather than of another opinion?"""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR
    return isinstance(error, httpx.TransportError)


def why_away() -> Exception | None:
    """What is wrong with the API now; None if it answers, whatever it says."""
    with asked_once(HEALTH_S) as client:
        error = client.api_healthcheck()
    is_answer = isinstance(error, PrefectHTTPStatusError) and not is_outage(error)
    return None if is_answer else error


def report_stop(stop: Signals) -> None:
    """Say of this process's runs that they were stopped: else they stay Running for ever."""
    state: State[Any] = Cancelled(message=f"Stopped by {stop.name}; the same command goes on from here.")
    tellers = [threading.Thread(target=_set_state, args=(run_id, state)) for run_id in runs_of_this_process()]
    for teller in tellers:  # side by side: a busy server has time for one of them only
        teller.start()
    for teller in tellers:
        teller.join()


def _set_state(run_id: UUID, state: State[Any]) -> None:
    with suppress(Exception), asked_once(LAST_WORDS_S) as client:
        client.set_flow_run_state(run_id, state, force=True)
