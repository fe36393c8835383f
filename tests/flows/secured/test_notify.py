"""`triptych notify`: a nightly run that fails, a crash and a run that nobody takes reach a webhook or a mailbox."""

from __future__ import annotations

import json
import socketserver
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import pytest

from flows.curate_matrix11k import CurateMatrix11k
from flows.engine.config import DispatchConfig
from tasks.backends.openai.api import EndpointConfig
from tasks.extract_triplets import ExtractConfig
from tests.flows.secured.conftest import Secured
from tests.support.endpoint import LocalEndpoint
from tests.support.flow_runs import FEW_FRAMES, answer_of, carry, draw_input, start_command
from tests.support.prefect_stack import PLAN

pytestmark = pytest.mark.slow


class Webhook(ThreadingHTTPServer):
    """Keeps what is posted to it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), WebhookCall)
        self.posted: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/secret-of-the-webhook"

    @property
    def texts(self) -> list[str]:
        return [body["text"] for body in self.posted]


class WebhookCall(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/json"
        self.server.posted.append(json.loads(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *message: object) -> None: ...


class Mailbox(socketserver.ThreadingTCPServer):
    """An SMTP server that takes every mail."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), MailCall)
        self.mails: list[str] = []

    @property
    def address(self) -> str:
        return f"mailto://127.0.0.1:{self.server_address[1]}?from=triptych@example.org&to=on-call@example.org"


class MailCall(socketserver.StreamRequestHandler):
    server: Mailbox

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        for line in self.rfile:
            match line.strip().upper().split(b" ")[0]:
                case b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    self.server.mails.append(b"".join(iter(self.rfile.readline, b".\r\n")).decode())
                    self.wfile.write(b"250 taken\r\n")
                case b"QUIT":
                    self.wfile.write(b"221 bye\r\n")
                    return
                case _:
                    self.wfile.write(b"250 yes\r\n")


S = TypeVar("S", bound=socketserver.BaseServer)


def serving(receiver: S) -> Iterator[S]:
    with receiver as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    yield from serving(Webhook())


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    yield from serving(Mailbox())


def notify(secured: Secured, *arguments: str) -> str:
    command = start_command([sys.executable, "-m", "flows.commands.cli", "notify", *arguments], secured.stack.env)
    said, _ = command.communicate(timeout=120)
    assert command.returncode == 0, said
    return said


def end(secured: Secured, run_id: str, state: str, message: str) -> None:
    """As the server does with a run whose machine is gone."""
    body = {"state": {"type": state.upper(), "name": state, "message": message}, "force": True}
    secured.stack.post(f"/flow_runs/{run_id}/set_state", body)


def test_a_nightly_run_that_fails_is_told(secured: Secured, webhook: Webhook, tmp_path: Path) -> None:
    stack = secured.stack
    assert "secret-of-the-webhook" not in notify(secured, webhook.url)
    config = CurateMatrix11k(
        manifest=draw_input(tmp_path / "in", [carry("yellow", "red")]),
        root=tmp_path / "root",
        extract=ExtractConfig(llm="openai"),
        ground=FEW_FRAMES,
        endpoint=EndpointConfig(max_retries=0),
        dispatch=DispatchConfig(deployment="curate-matrix11k-shard/default", poll_s=1),
        min_yield=0.2,
    )
    with LocalEndpoint(answers=answer_of, port=secured.llm_port, always="500"):
        nightly = stack.start(
            "curate-matrix11k/nightly", {"config": config.model_dump(mode="json", exclude_unset=True)}
        )
        stack.wait_for(nightly, "FAILED")
    stack.wait_until(lambda: bool(webhook.posted), "the webhook is called")
    (text,) = webhook.texts
    first, link = text.splitlines()
    run = stack.run(nightly)
    assert first.startswith(
        f"curate-matrix11k/nightly {run['name']}: Failed. YieldTooLow: none of 1 rows was accepted; most: 1 failed in"
    )
    assert link == f"{stack.url}/runs/flow-run/{nightly}"
    assert webhook.url not in secured.database.dump()
    assert "secret-of-the-webhook" not in json.dumps(stack.post("/block_documents/filter", {}))


def test_a_run_that_no_worker_takes_and_a_crash_are_told(secured: Secured, webhook: Webhook, mailbox: Mailbox) -> None:
    stack = secured.stack
    notify(secured, webhook.url)
    notify(secured, webhook.url, "--late-after-s", "10")  # the first are replaced
    stack.cli("work-pool", "pause", PLAN)
    try:
        waiting = stack.start("curate-kinemask/default")
        stack.wait_until(lambda: bool(webhook.posted), "the webhook is told of a run that waits")
        end(secured, waiting, "Crashed", "Flow run infrastructure exited\nof <!channel> & 'others'")
        stack.wait_until(lambda: len(webhook.posted) > 1, "the webhook is told of a crash")
        notify(secured, mailbox.address)
        shard = stack.start("curate-kinemask-shard/default", {"shard": "none", "config": {}, "stages": []})
        end(secured, shard, "Failed", "of its parent's concern")
        end(secured, stack.start("curate-dsr/default"), "Completed", "no news")
        failing = stack.start("curate-dsr/default")
        end(secured, failing, "Failed", "ServiceDown: no disk")
        stack.wait_until(lambda: bool(mailbox.mails), "the mail arrives")
    finally:
        stack.cli("work-pool", "resume", PLAN)
    late, crashed = webhook.texts
    assert late.startswith(
        f"curate-kinemask/default {stack.run(waiting)['name']}: no worker has taken it. It was to start at 2"
    )
    assert f": Crashed. of &lt;!channel&gt; &amp; 'others'\n{stack.url}/runs/flow-run/{waiting}" in crashed
    (mail,) = mailbox.mails
    assert f"Subject: curate-dsr/default {stack.run(failing)['name']}" in mail
    assert "Failed. ServiceDown: no disk" in mail
    assert f"runs/flow-run/{failing}" in mail

    notify(secured, "--off")
    assert stack.post("/automations/filter", {"automations": {"name": {"any_": ["triptych: a run failed"]}}}) == []
    assert stack.post("/block_documents/filter", {"block_documents": {"name": {"any_": ["triptych-notify"]}}}) == []
