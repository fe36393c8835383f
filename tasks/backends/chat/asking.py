"""One question to a language model: asked until its reply is valid, kept, never made up.

    model.ask(CountReply, load_prompt("count_interactions"), {"caption": "A boy kicks a ball."}) -> CountReply(count=1)

A reply is returned only if it validates strictly; a fault is always an exception, never a value. What differs between
a server and a network in this process is a ChatModel's `_exchange`: a chat completion's request in, a completion out.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.outcome import RowFailed, ServiceDown
from schemas.record import content_hash
from schemas.storage import AnyPath, write_atomic
from schemas.usage import ModelRole, Usage, count_usage
from tasks.backends.chat.faults import RequestFault, one_line
from tasks.backends.chat.replies import Check, Completion, Reply, ReplyT, read_reply, validate
from tasks.prompts import Prompt

logger = logging.getLogger(__name__)

Json = str | int | float | bool | None | Sequence["Json"] | Mapping[str, "Json"]

MAX_RETRIES = 99  # each attempt has its own seeds for this many retries


@dataclass(frozen=True)
class Sampling:
    """How replies are drawn, and how often a question is asked; None leaves a number to the server."""

    temperature: float | None
    retry_temperature: float | None
    seed: int | None
    max_tokens: int
    max_retries: int

    def parameters(self, attempt: int, invalid: int) -> dict[str, Any]:
        """Of one request; a question asked anew gets another seed and the retry temperature."""
        afresh = attempt * (1 + MAX_RETRIES) + invalid
        sampling = {
            "temperature": self.retry_temperature if afresh else self.temperature,
            "seed": None if self.seed is None else self.seed + afresh,
            "max_completion_tokens": self.max_tokens,
        }
        return {name: value for name, value in sampling.items() if value is not None}


class ChatModel(ABC):
    """Asks one model; threads may share it. Usage is counted on the caller's `Meter`."""

    def __init__(
        self, role: ModelRole, model: str, sampling: Sampling, cache_dir: AnyPath, *, concurrency: int = 1
    ) -> None:
        """model: what replies depend on, but for the question: requests and the cache's keys hold it"""
        self.role, self.model, self.sampling, self.cache_dir = role, model, sampling, cache_dir
        self.concurrency = concurrency
        # Two clips of one source ask the same question: the second waits for the cached reply of the first.
        self._key_locks = [threading.Lock() for _ in range(256)]

    def identity(self, prompts: Sequence[Prompt], replies: Sequence[type[Reply]]) -> dict[str, str]:
        """What the answers depend on."""
        return {
            **self._made_by(),
            **{f"prompt.{p.name}": p.sha256 for p in prompts},
            "temperature": str(self.sampling.temperature),
            "retry_temperature": str(self.sampling.retry_temperature),
            "seed": str(self.sampling.seed),
            "reply_schemas": content_hash([schema_of(r) for r in replies]),
        }

    def ask(
        self,
        reply_model: type[ReplyT],
        prompt: Prompt,
        data: Mapping[str, Json],
        *,
        images: Sequence[bytes] = (),
        attempt: int = 0,
        check: Check[ReplyT] | None = None,
    ) -> ReplyT:
        """The model's reply, from the cache if the same question was answered before.

        data:    the prompt's subject; sent as JSON in a separate message from the instructions
        images:  JPEG files, in the order in which the prompt names them
        attempt: another number asks the same question anew
        check:   raises InvalidReply for a reply that fits the model but cannot be right

        Raises RowFailed or ServiceDown.
        """
        request = request_of(self.model, reply_model, prompt, data, images)
        sampling = self.sampling.parameters(attempt, 0)
        key = content_hash("reply-1", request, sampling, self.sampling.retry_temperature, attempt, length=64)
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
        check: Check[ReplyT] | None,
    ) -> ReplyT:
        """Ask until a reply validates or the retries are used up."""
        n_tries = self._n_tries()
        number = invalid = 0
        while True:
            number += 1
            answer = self._exchange(request | self.sampling.parameters(attempt, invalid))
            reply = answer if isinstance(answer, RequestFault) else read_reply(answer, reply_model, check)
            if not isinstance(reply, RequestFault):
                self._answered()
                return reply
            if not reply.again or number == n_tries:
                raise self._error(reply, number)
            invalid += reply.at_fault == "reply"
            wait_s = self._wait_s(reply, number)
            logger.warning("%s: try %d of %d: %s; again in %.1f s", name, number, n_tries, self._told(reply), wait_s)
            time.sleep(wait_s)

    def _count(self, usage: Usage) -> None:
        count_usage(self.role, self._made_by()["model"], usage)

    # --- What differs --------------------------------------------------------------------------

    @abstractmethod
    def _made_by(self) -> dict[str, str]:
        """Backend, model and all else that replies depend on, but for prompts and sampling."""

    @abstractmethod
    def _exchange(self, request: dict[str, Any]) -> Completion | RequestFault:
        """One try: the body of a chat completion's request in, the completion out."""

    @abstractmethod
    def _error(self, fault: RequestFault, n_tries: int) -> RowFailed | ServiceDown:
        """The exception for a question without a valid reply."""

    def _n_tries(self) -> int:
        return 1 + self.sampling.max_retries

    def _wait_s(self, fault: RequestFault, number: int) -> float:
        """The time before the next try."""
        return 0.0

    def _answered(self) -> None:  # noqa: B027 - only servers break down
        """A reply was valid."""

    def _told(self, fault: RequestFault) -> str:
        """A fault in one line."""
        return one_line(f"{fault.reason}: {fault.detail}")

    # --- Cache ---------------------------------------------------------------------------------

    def _cached(self, path: AnyPath, model: type[ReplyT], check: Check[ReplyT] | None) -> ReplyT | None:
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return None
        reply = validate(text, model, check)
        if isinstance(reply, RequestFault):
            logger.warning("cached reply %s is asked again: %s", path.name, self._told(reply))
            return None
        return reply

    def _keep(self, path: AnyPath, reply: Reply) -> None:
        write_atomic(path, reply.model_dump_json().encode())


# --- The request ---------------------------------------------------------------------------------


def request_of(
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
            "json_schema": {"name": reply_model.__name__, "schema": schema_of(reply_model), "strict": True},
        },
    }


def _as_data(data: Mapping[str, Json]) -> str:
    """JSON from which no text inside can break out.

    "<" is escaped: servers turn a caption's "<|im_end|>" into the control token that ends a message. A lone
    surrogate, which UTF-8 cannot hold, becomes its JSON escape.
    """
    text = json.dumps(data, ensure_ascii=False, sort_keys=True, allow_nan=False)
    return text.replace("<", "\\u003c").encode("utf-8", "backslashreplace").decode()


def schema_of(reply_model: type[Reply]) -> dict[str, object]:
    """The reply's strict JSON schema, by the public function that reaches the library's own conversion."""
    import openai

    return openai.pydantic_function_tool(reply_model)["function"]["parameters"]
