"""flows.engine.prefect_api: a run shows in Prefect where an API is configured; what is wrong with that is one line."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prefect.context import use_profile
from prefect.settings import PREFECT_API_URL, Profile, temporary_settings

from flows.engine import prefect_api
from flows.engine.prefect_api import Api, Outage, configured_api
from flows.registry import FLOWS
from tasks.datasets.registry import DATASETS
from tests.support.prefect_stack import free_port
from tests.support.toy import flow as toy

WORDS = "the dog throws a ball to the boy who laughs at it"


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "toy", "tests.support.toy.dataset:TOY")
    monkeypatch.setitem(FLOWS, "toy", "tests.support.toy.flow")


class Says(BaseHTTPRequestHandler):
    """Answers with the status that the path names: /401/api/..."""

    def do_GET(self) -> None:
        body = b"<html>Welcome</html>"
        self.send_response(int(self.path.split("/")[1]))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Says) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def last_line(url: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the command says in the end with this API configured; fails unless it ends before it computes anything."""
    monkeypatch.setenv("PREFECT_API_URL", url)
    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(SystemExit) as ended:
        toy.FLOW.main(["--root", str(root), "--words", WORDS])
    assert not (root / "work").exists()
    line = str(ended.value.code)
    assert "\n" not in line
    return line


# --- Looked at before --------------------------------------------------------------------------------


def test_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://user:secret@127.0.0.1:{free_port()}/api"
    line = last_line(url, tmp_path, monkeypatch)
    shown = url.replace("user:secret@", "")
    assert line.startswith(f"ServiceDown: the Prefect API at {shown} (PREFECT_API_URL) does not answer")
    assert line.endswith("Start it (prefect server start), or run without it: unset PREFECT_API_URL")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("503/api", r"does not answer \(it answers 503\)"),
        ("429/api", r"does not answer \(it answers 429\)"),
        ("401/api", r"refuses this user \(401\): PREFECT_API_AUTH_STRING is"),
        ("403/api", r"refuses this user \(403\)"),
        ("404/api", r"is no Prefect API \(it answers 404\).*http://127.0.0.1:4200/api"),
        ("200/api", r"is no Prefect API \(its answer is none of Prefect's\)"),
        ("503/api", "it answers 503"),
    ],
)
def test_who_listens_is_no_prefect_or_lets_nobody_in(
    server: str, path: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert re.search(says, last_line(f"{server}/{path}", tmp_path, monkeypatch))


@pytest.mark.parametrize("url", ["localhost:4200", "nonsense", "ftp://host/api"])
def test_no_address(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"the Prefect API at {url} (PREFECT_API_URL) is no Prefect API" in last_line(url, tmp_path, monkeypatch)


def test_shards_that_a_server_is_to_send_need_one(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"--dispatch.deployment a/b: .* set PREFECT_API_URL, or leave the option out"):
        toy.FLOW.main(["--root", str(tmp_path), "--words", WORDS, "--dispatch.deployment", "a/b"])


def test_it_is_told_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    profile = Profile(name="mine", settings={PREFECT_API_URL: "http://h/api"})
    with use_profile(profile, include_current_context=False):
        of_profile = configured_api()
        with temporary_settings({PREFECT_API_URL: "http://other/api"}):
            of_file = configured_api()
    assert of_profile == Api("http://h/api", "of the Prefect profile mine", "prefect config unset PREFECT_API_URL")
    assert of_file is not None
    assert of_file.where == "of a settings file here"


# --- While a run goes on -----------------------------------------------------------------------------


class Left(Exception):
    """In place of the process's end."""


def watched(monkeypatch: pytest.MonkeyPatch, states: list[Exception | None], outage: Outage) -> None:
    """Follow an API that is in one state after the other, and then the run ends."""
    ended = threading.Event()

    def why_away() -> Exception | None:
        if len(states) == 1:
            ended.set()
        return states.pop(0)

    def leave(line: str, status: int) -> None:
        raise Left(line, status)

    monkeypatch.setattr(prefect_api, "LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(prefect_api, "why_away", why_away)
    monkeypatch.setattr(prefect_api, "leave", leave)
    Api("http://h/api", "PREFECT_API_URL", "unset PREFECT_API_URL")._watch(ended, outage)


def test_an_outage_is_told_at_its_begin_and_its_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gone = ConnectionRefusedError("refused")
    watched(monkeypatch, [None, gone, gone, None, None], Outage())
    away, back = caplog.messages
    assert "does not answer (refused): where a shard begins or ends, the run waits" in away
    assert back.endswith("answers again")


def test_a_run_that_waits_in_vain_ends_and_one_that_computes_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    outage, gone = Outage(), ConnectionRefusedError("refused")
    watched(monkeypatch, [gone] * 9, outage)  # it computes: nobody waits
    outage.waiting_since_s = time.monotonic() - prefect_api.PATIENCE_S - 1
    with pytest.raises(Left) as left:
        watched(monkeypatch, [gone] * 9, outage)
    line, status = left.value.args
    assert status == 1
    assert line.endswith("unset PREFECT_API_URL. What is done is kept: the same command goes on from here")


def test_prefects_own_words_on_an_outage_are_heard_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    client, events = logging.getLogger("prefect.client"), logging.getLogger("prefect.events.clients")
    retry = "Encountered retryable exception during request. Another attempt will be made in 2s."
    with Outage().heard() as outage:
        client.warning("a custom header is ignored")
        events.warning("Unable to connect to %r.", "ws://h/api/events/in")
        assert outage.waiting_since_s is None
        client.debug(retry)
        assert outage.waiting_since_s is not None
    client.debug(retry)
    assert caplog.messages == ["a custom header is ignored"]


def test_without_one_nothing_is_asked() -> None:
    with temporary_settings({PREFECT_API_URL: None}):
        assert configured_api() is None
