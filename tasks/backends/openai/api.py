"""The client of LLM and VLM servers: every reply has a model that it must fit, every fault its own reason.

    client = ChatClient(Endpoint.from_env("LLM"), EndpointConfig(), cache_dir)
    client.ask(CountReply, load_prompt("count_interactions"), {"caption": "A boy kicks a ball."}) -> CountReply(count=1)

How a question is asked until its reply is valid: tasks/backends/chat/asking.py. Its faults are exceptions:

    ServiceDown                   no row can succeed; the message says what to do
        unreachable               connection refused, unknown host, TLS: after the retries
        the key, quota, model     401, 402, 403, 404, 429 insufficient_quota: at once
        too many failed rows      `max_failed_rows` in a row, each after its retries
    RowFailed                     this row fails; the others go on
        endpoint_timeout          no complete answer within the deadline (hanging, too slow)
        connection_lost           reset, closed or truncated
        rate_limited, server_error, invalid_response (no chat completion: HTML, no choices, half a JSON)
        invalid_reply             the model's words hold no answer, or none that fits the reply model and its check
        content_filtered          the server's filter cut the reply
        refused, request_refused, request_too_large: not asked again
"""

from __future__ import annotations

import asyncio
import functools
import random
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import httpx2
from pydantic import Field

from schemas.config import StageConfig
from schemas.outcome import RowFailed, ServiceDown, Suspicion
from schemas.storage import AnyPath
from schemas.usage import Usage
from tasks.backends.chat.asking import MAX_RETRIES, ChatModel, Sampling
from tasks.backends.chat.faults import RequestFault, one_line
from tasks.backends.chat.replies import Completion, read_completion, tokens_of
from tasks.backends.openai.endpoint import Endpoint, variable
from tasks.backends.openai.faults import status_fault, unreachable

if TYPE_CHECKING:  # half a second, for which nobody waits who only wants the config
    import openai


class EndpointConfig(StageConfig):
    """How a model server is asked. Its address and key come from the environment: see `Endpoint`.

    One question takes at most (1 + max_retries) * deadline_s + max_retries * max_retry_after_s, plus its
    time in the queue.
    """

    deadline_s: float = Field(60, gt=0, description="Timeout of a request, from connecting to its last byte")
    connect_timeout_s: float = Field(5, gt=0, description="Timeout of a connection")
    max_retries: int = Field(3, ge=0, le=MAX_RETRIES, description="Retries of a question before its row fails")
    backoff_s: float = Field(0.5, ge=0, description="Wait before the first retry; doubles each time, with jitter")
    max_retry_after_s: float = Field(
        20, ge=0, description="Longest wait before a retry, even if Retry-After asks for more"
    )
    concurrency: int = Field(8, ge=1, description="Requests at once")
    requests_per_s: float | None = Field(
        None, gt=0, description="Rate limit: a token bucket of one second; null: unlimited"
    )
    temperature: float | None = Field(0.0, ge=0, le=2, description="Sampling temperature; null: the server's own")
    retry_temperature: float | None = Field(
        0.5, ge=0, le=2, description="Temperature when a question is asked anew: at 0 the same reply would come again"
    )
    seed: int | None = Field(0, description="Sampling seed; null: none is sent")
    max_tokens: int = Field(2048, ge=1, description="Longest reply")
    max_failed_rows: int = Field(
        5,
        ge=1,
        description="Rows that may fail before the server counts as down: in a row by its fault, or first in a shard "
        "with replies unreadable alike",
    )

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.temperature, self.retry_temperature, self.seed, self.max_tokens, self.max_retries)


class ChatClient(ChatModel):
    """Asks one model on one server; threads may share it. Usage is counted on the caller's `Meter`.

    Requests run on a separate event loop in its own thread: the library's timeouts are per read, and only a cancelled
    coroutine ends a slow answer in time and closes its connection.
    """

    def __init__(self, endpoint: Endpoint, config: EndpointConfig, cache_dir: AnyPath) -> None:
        import openai

        super().__init__(endpoint.role, endpoint.model, config.sampling, cache_dir, concurrency=config.concurrency)
        self.endpoint, self.config = endpoint, config
        self._key = endpoint.key.get_secret_value() if endpoint.key else ""
        self._slots = threading.BoundedSemaphore(config.concurrency)
        self._bucket = TokenBucket(config.requests_per_s)
        self._breaker = Breaker(config.max_failed_rows)
        self._openai = openai.AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key=self._key or "none",  # if unset, the library would use another service's key
            max_retries=0,
            timeout=openai.Timeout(config.deadline_s, connect=config.connect_timeout_s),
        )
        # The library reads them from the environment; they must not go to other servers.
        self._openai.organization = self._openai.project = None
        self._loop = _event_loop()
        self.close = weakref.finalize(self, _close, self._loop, self._openai)
        self.close.atexit = False

    def _made_by(self) -> dict[str, str]:
        """The base URL is left out: the same model may move to another server."""
        return {"backend": "openai", "model": self.endpoint.model}

    def _n_tries(self) -> int:
        # A server that failed the last rows gets one try: the shard shall end soon.
        return 1 if self._breaker.is_open else super()._n_tries()

    def _answered(self) -> None:
        self._breaker.record(failed=False)

    def _wait_s(self, fault: RequestFault, number: int) -> float:
        if fault.at_fault == "reply":
            return 0.0
        backoff_s = self.config.backoff_s * 2 ** (number - 1) * random.uniform(0.5, 1.0)
        return min(max(backoff_s, fault.retry_after_s or 0.0), self.config.max_retry_after_s)

    def _error(self, fault: RequestFault, n_tries: int) -> RowFailed | ServiceDown:
        """The exception for a question without a valid reply."""
        role, base_url, told = self.endpoint.role, self.endpoint.base_url, self._told(fault)
        if fault.at_fault == "service":
            return ServiceDown(f"{role} endpoint {base_url}: {told}")
        if self._breaker.record(failed=fault.at_fault == "transport"):
            return ServiceDown(
                f"{role} endpoint {base_url}: {self.config.max_failed_rows} rows failed in a row, the last "
                f"with {told}. Check the server (or export another {variable(role, 'BASE_URL')}) "
                "and rerun the shard."
            )
        detail = f"{told} ({n_tries} tries)" if n_tries > 1 else told
        # The same request to the same model is refused again, and costs again.
        final = fault.at_fault == "reply" and not fault.again
        return RowFailed(fault.reason, detail, retryable=not final, suspicion=self._suspicion(fault))

    def _suspicion(self, fault: RequestFault) -> Suspicion | None:
        """What an unreadable reply says of the server if all rows get such ones."""
        if fault.alike is None:
            return None
        asked, max_rows = self.endpoint, self.config.max_failed_rows
        return Suspicion(
            alike=f"{asked.role} {fault.alike}",
            max_rows=max_rows,
            told=f"{asked.role} {asked.model!r} (backend openai) at {asked.base_url}: {self._told(fault)}. Then retry "
            "the shard; if these rows are at fault and not the server, raise --endpoint.max-failed-rows (now "
            f"{max_rows}).",
        )

    def _told(self, fault: RequestFault) -> str:
        """A fault in one line, without the key: servers quote it in their errors."""
        return one_line(self._without_key(f"{fault.reason}: {fault.detail}"))

    def _without_key(self, text: str) -> str:
        # Shorter keys are placeholders ("none", "EMPTY") and may be words of a reply.
        return text.replace(self._key, "[key]") if len(self._key) >= 8 else text

    # --- One request ---------------------------------------------------------------------------

    def _exchange(self, request: dict[str, Any]) -> Completion | RequestFault:
        """Send one request and wait at most `deadline_s` for the complete answer."""
        with self._slots:
            self._bucket.take()
            future = asyncio.run_coroutine_threadsafe(self._send(request), self._loop)
            try:
                answer = future.result()
            except BaseException:
                future.cancel()  # on Ctrl-C, close the connection
                raise
        completion = answer if isinstance(answer, RequestFault) else read_completion(self._without_key(answer))
        self._count(Usage(calls=1, unanswered=1) if isinstance(completion, RequestFault) else tokens_of(completion))
        return completion

    async def _send(self, body: dict[str, Any]) -> str | RequestFault:
        """The answer's text. The library's own parser is too lenient: it takes "5" for 5 and HTML for an object."""
        import openai

        endpoint = self.endpoint
        try:
            async with asyncio.timeout(self.config.deadline_s):
                response = await self._openai.chat.completions.with_raw_response.create(**body)
                return response.http_response.content.decode("utf-8", "replace")
        except (TimeoutError, openai.APITimeoutError) as error:
            if isinstance(error.__cause__, httpx2.ConnectTimeout):
                return unreachable(endpoint, f"no connection within {self.config.connect_timeout_s:g} s")
            return RequestFault("endpoint_timeout", f"no whole answer within {self.config.deadline_s:g} s", "transport")
        except openai.APIConnectionError as error:
            cause = error.__cause__
            if isinstance(cause, (httpx2.ConnectError, httpx2.ProxyError)):
                return unreachable(endpoint, str(cause))
            return RequestFault("connection_lost", f"{type(cause).__name__}: {cause}", "transport")
        except openai.APIStatusError as error:
            return status_fault(error, endpoint)


@functools.cache
def _event_loop() -> asyncio.AbstractEventLoop:
    """The event loop of all clients; its thread ends with the process."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="openai_api", daemon=True).start()
    return loop


def _close(loop: asyncio.AbstractEventLoop, client: openai.AsyncOpenAI) -> None:
    asyncio.run_coroutine_threadsafe(client.close(), loop)


# --- Limits --------------------------------------------------------------------------------------


class TokenBucket:
    """Limits to `per_s` takes a second on average; holds the tokens of one second, at least one."""

    def __init__(self, per_s: float | None) -> None:
        self._interval_s = 1 / per_s if per_s else 0.0
        self._next_s = time.monotonic()  # when the next take is due
        self._lock = threading.Lock()

    def take(self) -> None:
        """Wait for a token."""
        if not self._interval_s:
            return
        with self._lock:
            now_s = time.monotonic()
            # Unused tokens are kept for one second.
            self._next_s = max(self._next_s, now_s - max(0.0, 1 - self._interval_s))
            wait_s = self._next_s - now_s
            self._next_s += self._interval_s
        if wait_s > 0:
            time.sleep(wait_s)


class Breaker:
    """Opens after `limit` rows in a row failed by the server's fault; any other result closes it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._failed = 0
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        return self._failed >= self._limit

    def record(self, *, failed: bool) -> bool:
        """Count a row's result. Returns True if the breaker is open now."""
        with self._lock:
            self._failed = self._failed + 1 if failed else 0
            return self.is_open
