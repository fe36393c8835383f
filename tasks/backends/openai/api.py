"""The one client of LLM and VLM servers: every question under a reply model, every fault told apart.

    client = ChatClient(Endpoint.from_env("LLM"), EndpointConfig(), cache_dir)
    client.ask(CountReply, load_prompt("count_interactions"), {"caption": "A boy kicks a ball."}) -> CountReply(count=1)

A reply is returned only if it validates strictly; nothing that goes wrong is ever a value:

    ServiceDown                   no row can be done; the message says what to do
        unreachable               connection refused, unknown host, TLS: after the retries
        the key, quota, model     401, 402, 403, 404, 429 insufficient_quota: at once
        too many failed rows      `max_failed_rows` in a row, each after its retries
    RowFailed                     this row cannot be done; the others go on
        endpoint_timeout          no whole answer within the deadline (hanging, dripping)
        connection_lost           reset, closed or truncated on the way
        rate_limited, server_error, invalid_response (no chat completion: HTML, no choices, half a JSON)
        invalid_reply             the model's words do not fit the reply model or its check
        content_filtered          the server's filter cut the reply
        refused, request_refused, request_too_large: not asked again
"""

from __future__ import annotations

import asyncio
import base64
import email.utils
import functools
import json
import logging
import math
import os
import random
import re
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

import httpx2
import openai
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from schemas.config import StageConfig
from schemas.outcome import RowFailed, ServiceDown
from schemas.record import content_hash
from schemas.storage import AnyPath, write_atomic
from schemas.usage import ModelRole, Usage, count_usage
from tasks.prompts import Prompt

logger = logging.getLogger(__name__)

Json = str | int | float | bool | None | Sequence["Json"] | Mapping[str, "Json"]
ReplyT = TypeVar("ReplyT", bound="Reply")

MAX_RETRIES = 99  # each attempt has seeds of its own for so many retries


class EndpointConfig(StageConfig):
    """How a model server is asked. Where it is and its key come from the environment: see `Endpoint`.

    One question takes at most (1 + max_retries) * deadline_s + max_retries * max_retry_after_s, and its
    turn in the queue.
    """

    deadline_s: float = Field(60, gt=0, description="Longest a request may take, from connecting to its last byte")
    connect_timeout_s: float = Field(5, gt=0, description="Longest a connection may take")
    max_retries: int = Field(
        3, ge=0, le=MAX_RETRIES, description="How often a question is asked again before its row fails"
    )
    backoff_s: float = Field(0.5, ge=0, description="First wait before a retry; doubles, with jitter")
    max_retry_after_s: float = Field(20, ge=0, description="Longest wait before a retry, whatever Retry-After asks")
    concurrency: int = Field(8, ge=1, description="Requests at once")
    requests_per_s: float | None = Field(None, gt=0, description="Token bucket that holds one second; null: unlimited")
    temperature: float | None = Field(0.0, ge=0, le=2, description="Sampling temperature; null: the server's own")
    retry_temperature: float | None = Field(
        0.5, ge=0, le=2, description="Temperature when a question is asked afresh: at 0 the same words would come again"
    )
    seed: int | None = Field(0, description="Sampling seed; null: none is sent")
    max_tokens: int = Field(2048, ge=1, description="Longest reply")
    max_failed_rows: int = Field(
        5, ge=1, description="Rows the server fails one after the other before it counts as down"
    )


class Reply(BaseModel):
    """A model's answer. Subclasses have required fields only, and neither dict nor set: strict schemas know none."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank")
    return text


# Checked here and not in the schema: strict schemas know no minLength.
Text = Annotated[str, AfterValidator(_not_blank)]


class InvalidReply(ValueError):
    """Raised by a check: the reply fits its model, but contradicts itself or the question."""


@dataclass(frozen=True)
class Endpoint:
    """A server and a model on it. The key shows in no repr."""

    role: ModelRole
    base_url: str
    model: str
    key: SecretStr | None = None

    @classmethod
    def from_env(cls, role: ModelRole) -> Endpoint:
        """From TRIPTYCH_<role>_BASE_URL, _MODEL and _API_KEY; the key may be unset: local servers want none.

        Raises ServiceDown that names the variable which is missing or wrong.
        """
        base_url, model = (os.environ.get(_variable(role, what), "").strip() for what in ("BASE_URL", "MODEL"))
        key = os.environ.get(_variable(role, "API_KEY"), "").strip()
        for what, value, example in (
            ("BASE_URL", base_url, "https://api.openai.com/v1"),
            ("MODEL", model, "gpt-4o-2024-08-06"),
        ):
            if not value:
                raise ServiceDown(f"no {role} is configured: export {_variable(role, what)}, for example {example}")
        url = urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ServiceDown(f"{_variable(role, 'BASE_URL')} is no http(s) URL: export one, with its /v1")
        if url.username is not None or url.query:
            # They would end up in messages and logs.
            raise ServiceDown(
                f"{_variable(role, 'BASE_URL')} holds a user or a query; export the key in {_variable(role, 'API_KEY')}"
            )
        if not (key.isascii() and key.isprintable()):
            raise ServiceDown(f"{_variable(role, 'API_KEY')} holds characters that no key has; export it again")
        return cls(role, base_url, model, SecretStr(key) if key else None)


def _variable(role: ModelRole, what: str) -> str:
    return f"TRIPTYCH_{role}_{what}"


@dataclass(frozen=True)
class RequestFault:
    """Why a request gave no reply.

    at_fault:      service: no row can be done. transport: the server failed this request. reply: the model's words
    again:         is it worth asking again now?
    retry_after_s: how long the server asks to wait first
    """

    reason: str
    detail: str
    at_fault: Literal["service", "transport", "reply"]
    again: bool = True
    retry_after_s: float | None = None


class ChatClient:
    """Asks one model on one server; any number of threads may share it. Counts on the caller's `Meter` what it spends.

    Requests run on an event loop of their own, in a thread of its own: the library's timeouts are per
    read, and only a cancelled coroutine ends a dripping answer in time and closes its connection.
    """

    def __init__(self, endpoint: Endpoint, config: EndpointConfig, cache_dir: AnyPath) -> None:
        self.endpoint, self.config, self.cache_dir = endpoint, config, cache_dir
        self._key = endpoint.key.get_secret_value() if endpoint.key else ""
        self._slots = threading.BoundedSemaphore(config.concurrency)
        self._bucket = TokenBucket(config.requests_per_s)
        self._breaker = Breaker(config.max_failed_rows)
        # Two clips of one source ask the same: the second waits for the first one's cached reply.
        self._key_locks = [threading.Lock() for _ in range(256)]
        self._openai = openai.AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key=self._key or "none",  # unset, the library would look for another service's key
            max_retries=0,
            timeout=openai.Timeout(config.deadline_s, connect=config.connect_timeout_s),
        )
        # Taken from the environment, and no business of whichever server this is.
        self._openai.organization = self._openai.project = None
        self._loop = _event_loop()
        self.close = weakref.finalize(self, _close, self._loop, self._openai)
        self.close.atexit = False

    def identity(self, prompts: Sequence[Prompt], replies: Sequence[type[Reply]]) -> dict[str, str]:
        """What the answers depend on. Not the base URL: the same model may move to another server."""
        config = self.config
        return {
            "backend": "openai",
            "model": self.endpoint.model,
            **{f"prompt.{p.name}": p.sha256 for p in prompts},
            "temperature": str(config.temperature),
            "retry_temperature": str(config.retry_temperature),
            "seed": str(config.seed),
            "reply_schemas": content_hash([_schema(r) for r in replies]),
        }

    def ask(
        self,
        reply_model: type[ReplyT],
        prompt: Prompt,
        data: Mapping[str, Json],
        *,
        images: Sequence[bytes] = (),
        attempt: int = 0,
        check: Callable[[ReplyT], None] | None = None,
    ) -> ReplyT:
        """The model's reply, from the cache if this very question was answered before.

        data:    what the prompt is about; sent as JSON in a message apart from the prompt's instructions
        images:  JPEG files, in the order in which the prompt names them
        attempt: another number asks the same question afresh
        check:   raises InvalidReply for a reply that fits the model and still cannot be right

        Raises RowFailed or ServiceDown; see the module.
        """
        request = _request(self.endpoint.model, reply_model, prompt, data, images)
        retry_temperature = self.config.retry_temperature
        key = content_hash("reply-1", request, self._sampling(attempt, 0), retry_temperature, attempt, length=64)
        path = self.cache_dir / key[:2] / f"{key}.json"
        with self._key_locks[int(key[:2], 16)]:
            cached = self._cached(path, reply_model, check)
            if cached is not None:
                self._count(Usage(cached=1))
                return cached
            reply = self._ask_until_valid(reply_model, prompt.name, request, attempt, check)
            self._keep(path, reply)
        return reply

    def _ask_until_valid(
        self,
        reply_model: type[ReplyT],
        name: str,
        request: dict[str, Any],
        attempt: int,
        check: Callable[[ReplyT], None] | None,
    ) -> ReplyT:
        """Ask, and ask again, until a reply validates or the retries are used up."""
        # A server that failed its last rows is only probed, so that the shard ends soon.
        n_tries = 1 if self._breaker.is_open else 1 + self.config.max_retries
        number = invalid = 0
        while True:
            number += 1
            answer = self._exchange(request | self._sampling(attempt, invalid))
            reply = answer if isinstance(answer, RequestFault) else _read_reply(answer, reply_model, check)
            if not isinstance(reply, RequestFault):
                self._breaker.record(failed=False)
                return reply
            if not reply.again or number == n_tries:
                raise self._error(reply, number)
            invalid += reply.at_fault == "reply"
            wait_s = self._wait_s(reply, number)
            logger.warning("%s: try %d of %d: %s; again in %.1f s", name, number, n_tries, self._told(reply), wait_s)
            time.sleep(wait_s)

    def _sampling(self, attempt: int, invalid: int) -> dict[str, Any]:
        """Sampling parameters; a question that is asked afresh gets another seed and the retry temperature."""
        config = self.config
        afresh = attempt * (1 + MAX_RETRIES) + invalid
        sampling = {
            "temperature": config.retry_temperature if afresh else config.temperature,
            "seed": None if config.seed is None else config.seed + afresh,
            "max_completion_tokens": config.max_tokens,
        }
        return {name: value for name, value in sampling.items() if value is not None}

    def _wait_s(self, fault: RequestFault, number: int) -> float:
        if fault.at_fault == "reply":
            return 0.0
        backoff_s = self.config.backoff_s * 2 ** (number - 1) * random.uniform(0.5, 1.0)
        return min(max(backoff_s, fault.retry_after_s or 0.0), self.config.max_retry_after_s)

    def _error(self, fault: RequestFault, n_tries: int) -> RowFailed | ServiceDown:
        """What a question ends with that got no reply."""
        role, base_url, told = self.endpoint.role, self.endpoint.base_url, self._told(fault)
        if fault.at_fault == "service":
            return ServiceDown(f"{role} endpoint {base_url}: {told}")
        if self._breaker.record(failed=fault.at_fault == "transport"):
            return ServiceDown(
                f"{role} endpoint {base_url}: {self.config.max_failed_rows} rows failed one after the other, the last "
                f"with {told}. Look after the server (or export another {_variable(role, 'BASE_URL')}) "
                "and rerun the shard."
            )
        detail = f"{told} ({n_tries} tries)" if n_tries > 1 else told
        # The same words to the same model are refused again, however often they are paid for.
        final = fault.at_fault == "reply" and not fault.again
        return RowFailed(fault.reason, detail, retryable=not final)

    def _told(self, fault: RequestFault) -> str:
        """A fault in one line, without the key: servers quote it in their errors."""
        return _one_line(self._without_key(f"{fault.reason}: {fault.detail}"))

    def _without_key(self, text: str) -> str:
        # Shorter ones are placeholders ("none", "EMPTY"), and words of honest replies.
        return text.replace(self._key, "[key]") if len(self._key) >= 8 else text

    # --- One request ---------------------------------------------------------------------------

    def _exchange(self, body: dict[str, Any]) -> _Completion | RequestFault:
        """Send one request and wait for its whole answer, at most `deadline_s`."""
        with self._slots:
            self._bucket.take()
            future = asyncio.run_coroutine_threadsafe(self._send(body), self._loop)
            try:
                answer = future.result()
            except BaseException:
                future.cancel()  # Ctrl-C: the connection is not left open behind our back
                raise
        completion = answer if isinstance(answer, RequestFault) else _read_completion(self._without_key(answer))
        self._count(Usage(calls=1, unanswered=1) if isinstance(completion, RequestFault) else _tokens_of(completion))
        return completion

    def _count(self, usage: Usage) -> None:
        count_usage(self.endpoint.role, self.endpoint.model, usage)

    async def _send(self, body: dict[str, Any]) -> str | RequestFault:
        """The answer's text. The library's own parser is not used: it takes "5" for 5 and HTML for an object."""
        endpoint = self.endpoint
        try:
            async with asyncio.timeout(self.config.deadline_s):
                response = await self._openai.chat.completions.with_raw_response.create(**body)
                return response.http_response.content.decode("utf-8", "replace")
        except (TimeoutError, openai.APITimeoutError) as error:
            if isinstance(error.__cause__, httpx2.ConnectTimeout):
                return _unreachable(endpoint, f"no connection within {self.config.connect_timeout_s:g} s")
            return RequestFault("endpoint_timeout", f"no whole answer within {self.config.deadline_s:g} s", "transport")
        except openai.APIConnectionError as error:
            cause = error.__cause__
            if isinstance(cause, (httpx2.ConnectError, httpx2.ProxyError)):
                return _unreachable(endpoint, str(cause))
            return RequestFault("connection_lost", f"{type(cause).__name__}: {cause}", "transport")
        except openai.APIStatusError as error:
            return _status_fault(error, endpoint)

    # --- Cache ---------------------------------------------------------------------------------

    def _cached(self, path: AnyPath, model: type[ReplyT], check: Callable[[ReplyT], None] | None) -> ReplyT | None:
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return None
        reply = _validate(text, model, check)
        if isinstance(reply, RequestFault):
            logger.warning("cached reply %s is asked again: %s", path.name, self._told(reply))
            return None
        return reply

    def _keep(self, path: AnyPath, reply: Reply) -> None:
        write_atomic(path, reply.model_dump_json().encode())


@functools.cache
def _event_loop() -> asyncio.AbstractEventLoop:
    """The loop that all clients share; its thread ends with the process."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="openai_api", daemon=True).start()
    return loop


def _close(loop: asyncio.AbstractEventLoop, client: openai.AsyncOpenAI) -> None:
    asyncio.run_coroutine_threadsafe(client.close(), loop)


# --- The request ---------------------------------------------------------------------------------


def _request(
    model: str, reply_model: type[Reply], prompt: Prompt, data: Mapping[str, Json], images: Sequence[bytes]
) -> dict[str, Any]:
    """The request's body, without the sampling parameters."""
    content: str | list[dict[str, Any]] = _as_data(data)
    if images:
        urls = (f"data:image/jpeg;base64,{base64.b64encode(image).decode()}" for image in images)
        content = [
            {"type": "text", "text": content},
            *({"type": "image_url", "image_url": {"url": url}} for url in urls),
        ]
    return {
        "model": model,
        "messages": [{"role": "system", "content": prompt.text}, {"role": "user", "content": content}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": reply_model.__name__, "schema": _schema(reply_model), "strict": True},
        },
    }


def _as_data(data: Mapping[str, Json]) -> str:
    """JSON that no text inside can break out of.

    "<" is escaped because servers turn a caption's "<|im_end|>" into the control token that ends a
    message; a lone surrogate, which UTF-8 cannot hold, becomes the escape that JSON has for it.
    """
    text = json.dumps(data, ensure_ascii=False, sort_keys=True, allow_nan=False)
    return text.replace("<", "\\u003c").encode("utf-8", "backslashreplace").decode()


def _schema(reply_model: type[Reply]) -> dict[str, object]:
    """The reply's JSON schema, strict: through the library's public door to its own conversion."""
    return openai.pydantic_function_tool(reply_model)["function"]["parameters"]


# --- The answer ----------------------------------------------------------------------------------


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Tokens(BaseModel):
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)


class _Completion(BaseModel):
    """What is read of a chat completion; servers add much more."""

    choices: list[_Choice] = Field(min_length=1)
    usage: Any = None  # no reason to refuse the reply, whatever the server counts here


def _read_completion(text: str) -> _Completion | RequestFault:
    try:
        return _Completion.model_validate_json(text)
    except ValidationError as error:
        return RequestFault(
            "invalid_response", f"no chat completion: {_summary(error)}; got {text[:80]!r}", "transport"
        )


def _tokens_of(completion: _Completion) -> Usage:
    """The usage of one answered call; tokens that the server does not tell are not guessed."""
    try:
        tokens = _Tokens.model_validate(completion.usage, strict=True)
    except ValidationError:
        return Usage(calls=1, uncounted=1)
    return Usage(calls=1, prompt_tokens=tokens.prompt_tokens, completion_tokens=tokens.completion_tokens)


def _read_reply(
    completion: _Completion, model: type[ReplyT], check: Callable[[ReplyT], None] | None
) -> ReplyT | RequestFault:
    choice = completion.choices[0]
    if choice.message.refusal:
        return RequestFault("refused", choice.message.refusal, "reply", again=False)
    match choice.finish_reason:
        case "length":
            return RequestFault("invalid_reply", "the reply was cut off at max_tokens", "reply")
        case "content_filter":
            return RequestFault("content_filtered", "the server's filter cut the reply", "reply")
    if choice.message.content is None:
        return RequestFault("invalid_reply", f"no content, finish_reason {choice.finish_reason!r}", "reply")
    return _validate(_unfenced(choice.message.content).encode("utf-8", "replace"), model, check)


def _unfenced(text: str) -> str:
    """The inside of a reply that is one fenced code block and nothing else."""
    fenced = re.fullmatch(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", text, re.DOTALL)
    return fenced[1] if fenced else text


def _validate(text: bytes, model: type[ReplyT], check: Callable[[ReplyT], None] | None) -> ReplyT | RequestFault:
    """Strictly: "5" is not 5, 1 is not true."""
    try:
        reply = model.model_validate_json(text, strict=True)
        if check:
            check(reply)
    except ValidationError as error:
        return RequestFault("invalid_reply", _summary(error), "reply")
    except InvalidReply as error:
        return RequestFault("invalid_reply", str(error), "reply")
    return reply


def _summary(error: ValidationError) -> str:
    """The first three errors, without the values."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'reply'}: {e['msg']}" for e in errors[:3])


# --- Faults --------------------------------------------------------------------------------------


def _unreachable(endpoint: Endpoint, cause: str) -> RequestFault:
    variable = _variable(endpoint.role, "BASE_URL")
    return RequestFault(
        "unreachable",
        f"{cause}. Start the server or export its address in {variable}, then rerun the shard.",
        "service",
    )


def _status_fault(error: openai.APIStatusError, endpoint: Endpoint) -> RequestFault:
    """A 4xx or 5xx answer."""
    status, code, told = error.status_code, error.code or "", f"HTTP {error.status_code}: {_error_text(error)}"
    key, model, base_url = (_variable(endpoint.role, what) for what in ("API_KEY", "MODEL", "BASE_URL"))
    if status in (401, 403):
        return RequestFault("key_refused", f"Export a valid {key} and rerun the shard. {told}", "service", again=False)
    if status == 402 or "insufficient_quota" in (code, error.type):
        return RequestFault(
            "quota_used_up", f"Top up the account or export another {key}, then rerun. {told}", "service", again=False
        )
    if status in (404, 405):
        return RequestFault(
            "no_such_model",
            f"No {endpoint.model!r} here. Check {model}, and that {base_url} ends as the server wants it "
            f"(often /v1), then rerun. {told}",
            "service",
            again=False,
        )
    if status == 429:
        return RequestFault("rate_limited", told, "transport", retry_after_s=_retry_after_s(error.response.headers))
    if status >= 500 or status in (408, 409, 425):
        return RequestFault("server_error", told, "transport", retry_after_s=_retry_after_s(error.response.headers))
    if status == 413 or code == "context_length_exceeded":
        return RequestFault("request_too_large", told, "reply", again=False)
    if code == "content_filter":
        return RequestFault("refused", told, "reply", again=False)
    # It may be this row, or a parameter that the server does not know: if it is every row's, the breaker tells.
    return RequestFault("request_refused", told, "transport", again=False)


def _error_text(error: openai.APIStatusError) -> str:
    message = error.body.get("message") if isinstance(error.body, dict) else None
    return str(message or error.response.text)


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds, from either of its forms; None if there is none or it makes no sense."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _one_line(text: str, max_chars: int = 400) -> str:
    line = " ".join(text.split())
    return line if len(line) <= max_chars else f"{line[: max_chars - 3]}..."


# --- Limits --------------------------------------------------------------------------------------


class TokenBucket:
    """At most `per_s` takes a second, over any longer time; holds one second's worth, and at least one."""

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
            # What was not taken is kept for a second and then lost.
            self._next_s = max(self._next_s, now_s - max(0.0, 1 - self._interval_s))
            wait_s = self._next_s - now_s
            self._next_s += self._interval_s
        if wait_s > 0:
            time.sleep(wait_s)


class Breaker:
    """Open once `limit` rows in a row failed for the server's fault; any other end closes it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._failed = 0
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        return self._failed >= self._limit

    def record(self, *, failed: bool) -> bool:
        """Count a row's end; True if the breaker is open now."""
        with self._lock:
            self._failed = self._failed + 1 if failed else 0
            return self.is_open
