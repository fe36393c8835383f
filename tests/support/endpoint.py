"""A real OpenAI-compatible server on loopback, which answers under the request's own schema and can misbehave.

    with LocalEndpoint(faults=["500", "ok"]) as server:      the first request fails, all others are answered
        server.base_url                                      "http://127.0.0.1:40123/v1"
    LocalEndpoint(always="hang"), LocalEndpoint(chance=("429", 0.3, 7))
    LocalEndpoint(answers=lambda request: {"count": 1})      a meaningful reply; None: a sampled one
    LocalEndpoint(dress=lambda text: f"<think>Hm.</think>{text}")    what the model says around it

    python -m tests.support.endpoint --port 8000 --fail 500

Replies are sampled byte by byte under the schema: valid, meaningless, and always the same for the same request.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import logging
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import llguidance
import llguidance.numpy
import numpy as np

logger = logging.getLogger(__name__)

Answers = Callable[[dict[str, Any]], dict[str, Any] | str | None]
Dress = Callable[[str], str | dict[str, Any] | bytes]

# Answers that are no chat completion: status, error body.
STATUS_FAULTS: dict[str, tuple[int, dict[str, Any]]] = {
    "400": (400, {"message": "unknown parameter", "code": "unknown_parameter"}),
    "401": (401, {"message": "Incorrect API key provided: {key}", "code": "invalid_api_key"}),
    "403": (403, {"message": "Not allowed for {key}", "code": "forbidden"}),
    "404": (404, {"message": "The model does not exist", "code": "model_not_found"}),
    "413": (413, {"message": "request entity too large", "code": None}),
    "429": (429, {"message": "Rate limit reached", "code": "rate_limit_exceeded"}),
    "500": (500, {"message": "The server had an error", "code": None}),
    "503": (503, {"message": "Overloaded", "code": None}),
    "quota": (429, {"message": "You exceeded your quota", "code": "insufficient_quota"}),
    "too_long": (400, {"message": "maximum context length is 8192", "code": "context_length_exceeded"}),
    "filtered_prompt": (400, {"message": "prompt triggered the policy", "code": "content_filter"}),
}
TOKENS = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
FAULTS = (
    *STATUS_FAULTS,
    *("hang", "drip", "drip_headers", "truncate", "half_json", "html200", "empty_choices", "fenced", "not_json"),
    *("wrong_types", "refusal", "length", "content_filter", "close"),
)


class LocalEndpoint:
    """The server. Start it with `start` or as a context manager.

    faults:        one for each request in the order of arrival ("ok" for none); then `always`
    always:        the fault of every further request, or "ok"
    chance:        (fault, probability, seed): drawn from the request's content and how often it came
    answers:       the reply to a request as a JSON object or, word for word, as text; None for a sampled one
    dress:         makes of a reply's text the content, or the message's fields (finish_reason too), or the whole body
    delay_s:       time that each answer takes
    retry_after:   the header's value with 429 and 503
    drip_s:        time between two bytes of a dripping answer
    usage:         what each completion tells of its tokens
    """

    def __init__(
        self,
        *,
        faults: Iterable[str] = (),
        always: str = "ok",
        chance: tuple[str, float, int] | None = None,
        answers: Answers | None = None,
        dress: Dress = str,
        delay_s: float = 0.0,
        retry_after: str | None = None,
        drip_s: float = 0.02,
        usage: Any = TOKENS,
        port: int = 0,
    ) -> None:
        self.script, self.always, self.chance, self.answers = list(faults), always, chance, answers
        self.dress = dress
        self.delay_s, self.retry_after, self.drip_s, self.usage = delay_s, retry_after, drip_s, usage
        if unknown := {*self.script, always, chance[0] if chance else "ok"} - {*FAULTS, "ok"}:
            raise ValueError(f"unknown faults {sorted(unknown)}; known: {', '.join(FAULTS)}")
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []  # names in lower case
        self.arrived_s: list[float] = []  # time.monotonic()
        self.in_flight = self.max_in_flight = 0
        self.hung_up = 0  # clients that closed the connection before their answer was over
        self.stopping = threading.Event()
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.endpoint = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def calls(self) -> int:
        return len(self.requests)

    def start(self) -> LocalEndpoint:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends every answer that is under way, hanging ones too, and frees the port."""
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    __enter__ = start

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def arrive(self, request: dict[str, Any], headers: dict[str, str]) -> str:
        """Take a request in and say which fault its answer has."""
        digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        with self._lock:
            self.arrived_s.append(time.monotonic())
            self.requests.append(request)
            self.headers.append(headers)
            self._seen[digest] += 1
            self.in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self.in_flight)
            if self.script:
                return self.script.pop(0)
            if self.chance:
                fault, probability, seed = self.chance
                drawn = random.Random(f"{seed}:{digest}:{self._seen[digest]}").random()
                return fault if drawn < probability else self.always
            return self.always

    def leave(self) -> None:
        with self._lock:
            self.in_flight -= 1

    def hang_up(self) -> None:
        with self._lock:
            self.hung_up += 1

    def reply(self, request: dict[str, Any]) -> Any:
        """The answer's JSON value, or its text."""
        answer = self.answers(request) if self.answers else None
        return sample(request["response_format"]["json_schema"]["schema"], request) if answer is None else answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    endpoint: LocalEndpoint


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms between its header and its body
    server: _Server

    def do_POST(self) -> None:
        endpoint = self.server.endpoint
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fault = endpoint.arrive(request, {name.lower(): value for name, value in self.headers.items()})
        try:
            endpoint.stopping.wait(endpoint.delay_s)
            self._answer(request, fault)
        except (BrokenPipeError, ConnectionResetError):
            endpoint.hang_up()
            self.close_connection = True
        finally:
            endpoint.leave()

    def _answer(self, request: dict[str, Any], fault: str) -> None:
        if fault in STATUS_FAULTS:
            status, error = STATUS_FAULTS[fault]
            key = self.headers.get("Authorization", "").removeprefix("Bearer ")
            error = error | {"message": error["message"].format(key=key), "type": "error"}
            self._send(json.dumps({"error": error}).encode(), status=status)
            return
        reply, usage = self.server.endpoint.reply, self.server.endpoint.usage
        match fault:
            case "hang":
                self._wait_for_the_client_to_give_up()
            case "close":
                self._reset()
            case "html200":
                self._send(b"<html><body>Please log in</body></html>", content_type="text/html")
            case "drip" | "drip_headers":
                self._drip(headers_too=fault == "drip_headers")
            case "truncate":
                body = _completion(request, reply(request), usage)
                self._send(body[: len(body) // 2], length=len(body))
                self.close_connection = True
            case "half_json":
                body = _completion(request, reply(request), usage)
                self._send(body[: len(body) // 2])
            case _:
                self._send(_completion(request, reply(request), usage, fault, self.server.endpoint.dress))

    def _send(
        self, body: bytes, *, status: int = 200, content_type: str = "application/json", length: int | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if status in (429, 503) and self.server.endpoint.retry_after is not None:
            self.send_header("Retry-After", self.server.endpoint.retry_after)
        self.end_headers()
        self.wfile.write(body)

    def _drip(self, *, headers_too: bool) -> None:
        """A byte at a time, endlessly: blanks before the JSON, or before a header's end."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nX-Drip: ")
        if not headers_too:
            self.wfile.write(b"now\r\n\r\n")
        while not self.server.endpoint.stopping.wait(self.server.endpoint.drip_s):
            self.wfile.write(b"." if headers_too else b"1\r\n \r\n")
        self.close_connection = True

    def _wait_for_the_client_to_give_up(self) -> None:
        self.connection.settimeout(0.02)
        while not self.server.endpoint.stopping.is_set():
            with contextlib.suppress(TimeoutError):
                if not self.connection.recv(1):
                    raise BrokenPipeError
        self.close_connection = True

    def _reset(self) -> None:
        """Close with a reset, as a crashed server does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RD)
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)


def _completion(request: dict[str, Any], reply: Any, usage: Any, fault: str = "ok", dress: Dress = str) -> bytes:
    """A chat completion that holds the reply, or the fault."""
    text = reply if isinstance(reply, str) else json.dumps(reply)
    dressed = dress(text)
    if isinstance(dressed, bytes):
        return dressed
    fields = dressed if isinstance(dressed, dict) else {"content": dressed}
    content, finish_reason = fields.get("content"), fields.get("finish_reason", "stop")
    refusal = None
    match fault:
        case "fenced":
            content = f"```json\n{text}\n```"
        case "not_json":
            content = f"Certainly! Here is what I found: {text}"
        case "wrong_types":
            content = json.dumps(wrong_types(reply))
        case "refusal":
            content, refusal = None, "I can't help with that."
        case "length":
            content, finish_reason = text[: len(text) // 2], "length"
        case "content_filter":
            content, finish_reason = "", "content_filter"
    message = {"role": "assistant", **fields, "content": content, "refusal": refusal}
    choices = [] if fault == "empty_choices" else [{"index": 0, "finish_reason": finish_reason, "message": message}]
    return json.dumps(
        {
            "id": "chatcmpl-local",
            "object": "chat.completion",
            "created": 0,
            "model": request["model"],
            "choices": choices,
            "usage": usage,
        }
    ).encode()


def wrong_types(value: Any) -> Any:
    """The same reply with every value of a type that is easily taken for the right one: 5 -> "5", true -> 1."""
    match value:
        case dict():
            return {name: wrong_types(item) for name, item in value.items()}
        case list():
            return [wrong_types(item) for item in value] or {}
        case bool():
            return int(value)
        case str():
            return [value]
        case None:
            return "null"
        case _:
            return str(value)


# --- Sampling ------------------------------------------------------------------------------------

MAX_REPLY_BYTES = 20_000
CLOSERS = b'",]}'


def sample(schema: dict[str, Any], request: dict[str, Any]) -> Any:
    """A value that the schema allows, drawn from the request's content."""
    rng = random.Random(json.dumps(request, sort_keys=True))
    # Its bytes are the vocabulary's first 256 tokens.
    tokenizer = _byte_tokenizer()
    matcher = llguidance.LLMatcher(tokenizer, _grammar(json.dumps(schema)))
    bitmask = llguidance.numpy.allocate_token_bitmask(1, tokenizer.vocab_size)
    text = bytearray()
    while not matcher.is_stopped():
        llguidance.numpy.fill_next_token_bitmask(matcher, bitmask)
        token = _draw(np.flatnonzero(np.unpackbits(bitmask.view(np.uint8), bitorder="little")).tolist(), rng)
        if not matcher.consume_token(token):
            break
        text += bytes([token] if token < 256 else [])
        if len(text) > MAX_REPLY_BYTES:
            raise RuntimeError(f"the sampled reply does not end: {bytes(text[:200])!r}")
    if matcher.is_error():
        raise RuntimeError(f"cannot sample under this schema: {matcher.get_error()}")
    return json.loads(text)


def _draw(allowed: list[int], rng: random.Random) -> int:
    """One of the allowed tokens: plain ASCII where possible, and now and then what ends a string or a list."""
    closers = [t for t in allowed if t < 256 and t in CLOSERS]
    plain = [t for t in allowed if 32 <= t < 127 and t != ord("\\")]
    return rng.choice(closers) if closers and rng.random() < 0.3 else rng.choice(plain or allowed)


@functools.cache
def _byte_tokenizer() -> llguidance.LLTokenizer:
    return llguidance.LLTokenizer("byte")


@functools.cache
def _grammar(schema: str) -> str:
    return llguidance.LLMatcher.grammar_from_json_schema(schema, defaults={"whitespace_flexible": False})


def main() -> None:
    parser = argparse.ArgumentParser(description="A local chat server with sampled replies, for trying things by hand")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--fail", choices=FAULTS, help="every answer has this fault")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(message)s")
    with LocalEndpoint(port=arguments.port, always=arguments.fail or "ok") as server:
        logger.info("listening: export TRIPTYCH_LLM_BASE_URL=%s TRIPTYCH_LLM_MODEL=local", server.base_url)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
