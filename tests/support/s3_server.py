"""A server that speaks S3 on loopback: moto's, with a log of what it was asked and faults on demand.

    def test_...(s3: S3Server, bucket: ObjectPath): ...      with the environment that a user exports
    s3.count("PUT", r"/rows/")                               requests so far
    s3.refuse("PUT", r"manifest\\.json$", 503)               from now on

The client's HTTP, its retries and its parsing of the answers are those of a run against any S3 server. The store itself
is one a process.
"""

from __future__ import annotations

import re
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from schemas import storage
from schemas.storage import AnyPath, list_files, parse_path

ACCESS_KEY, SECRET_KEY, REGION = "loopback-key", "loopback-secret-of-forty-characters-000000", "us-east-1"


class Asked(NamedTuple):
    method: str
    path: str  # with the query: "/bucket/key?list-type=2"


@dataclass
class Fault:
    """Requests that are refused, and how often yet."""

    method: str
    pattern: re.Pattern[str]
    status: int
    times: int | None

    def strikes(self, asked: Asked) -> bool:
        if self.times == 0 or asked.method != self.method or not self.pattern.search(asked.path):
            return False
        if self.times is not None:
            self.times -= 1
        return True

    @property
    def body(self) -> bytes:
        code = {403: "AccessDenied", 503: "SlowDown"}[self.status]
        return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>refused</Message></Error>".encode()


class S3Server:
    """The server in a thread, on a port that was free."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._faults: list[Fault] = []
        self._acts: list[tuple[str, re.Pattern[str], Callable[[], object]]] = []
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Silent)
        self._thread = threading.Thread(target=self._server.serve_forever, name="s3_server")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def env(self) -> dict[str, str]:
        """What a user exports."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
            "NO_PROXY": "127.0.0.1",
        }

    def __enter__(self) -> S3Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def clear(self) -> None:
        """No buckets, no faults, no log."""
        self.relent()
        self._command("reset")
        self.asked.clear()

    @cached_property
    def client(self) -> Any:
        """Another client than the one that is tested."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
        )

    def make_bucket(self, name: str) -> None:
        self.client.create_bucket(Bucket=name)

    def upload(self, folder: Path, bucket: str, prefix: str) -> None:
        client = self.client
        for path in list_files(folder):
            client.upload_file(str(path), bucket, f"{prefix}/{path.relative_to(folder).as_posix()}")

    def objects(self, bucket: str, prefix: str) -> dict[str, bytes]:
        """{key below the prefix: bytes}"""
        client = self.client
        found = {}
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
            for entry in page.get("Contents", []):
                body = client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
                found[entry["Key"].removeprefix(f"{prefix}/")] = body
        return found

    @contextmanager
    def knowing_no_keys(self) -> Iterator[None]:
        """Check who asks; nobody is known."""
        self._command("reset-auth", b"0")
        try:
            yield
        finally:
            self._command("reset-auth", b"inf")

    @contextmanager
    def only_a_user_with(self, policy: str) -> Iterator[dict[str, str]]:
        """Check who asks; one is known, whose policy this is. Gives what that user exports."""
        iam = boto3.client(
            "iam",
            endpoint_url=self.url,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
        )
        iam.create_user(UserName="limited")
        iam.put_user_policy(UserName="limited", PolicyName="limited", PolicyDocument=policy)
        key = iam.create_access_key(UserName="limited")["AccessKey"]
        self._command("reset-auth", b"0")
        try:
            yield {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        finally:
            self._command("reset-auth", b"inf")

    def _command(self, name: str, data: bytes = b"") -> None:
        request = urllib.request.Request(
            f"{self.url}/moto-api/{name}", data, {"Content-Type": "text/plain"}, method="POST"
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request):
            self.asked.clear()

    def count(self, method: str, pattern: str = "") -> int:
        return sum(asked.method == method and bool(re.search(pattern, asked.path)) for asked in self.asked)

    def refuse(self, method: str, pattern: str, status: int, times: int | None = None) -> Fault:
        """Answer such requests with an HTTP error, 403 or 503: the next few, or until `relent`."""
        fault = Fault(method, re.compile(pattern), status, times)
        self._faults.append(fault)
        return fault

    def on(self, method: str, pattern: str, act: Callable[[], object]) -> None:
        """Do this once, before the first such request is answered."""
        self._acts.append((method, re.compile(pattern), act))

    def relent(self) -> None:
        self._faults.clear()
        self._acts.clear()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        query = f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
        asked = Asked(environ["REQUEST_METHOD"], environ["PATH_INFO"] + query)
        self.asked.append(asked)
        for act in [act for act in self._acts if act[0] == asked.method and act[1].search(asked.path)]:
            self._acts.remove(act)
            act[2]()
        for fault in self._faults:
            if fault.strikes(asked):
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start_response(f"{fault.status} Refused", [("Content-Type", "application/xml")])
                return [] if asked.method == "HEAD" else [fault.body]
        return self._moto(environ, start_response)


class _Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """moto's answers are no news."""


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    storage.open_store.cache_clear()  # it is connected to another module's server
    with S3Server() as server:
        yield server
    storage.open_store.cache_clear()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> S3Server:
    """An empty server that this process's environment leads to, and an empty cache of its objects."""
    for name, value in s3_server.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    s3_server.clear()
    return s3_server


@pytest.fixture
def bucket(s3: S3Server) -> AnyPath:
    s3.make_bucket("videos")
    s3.asked.clear()
    return parse_path("s3://videos")


@pytest.fixture
def new_environment() -> Iterator[Callable[[], None]]:
    """To be called when a test has changed the environment: the store is connected anew, then and after the test."""
    yield storage.open_store.cache_clear
    storage.open_store.cache_clear()
