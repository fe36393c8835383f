"""`triptych serve`: what it says, how it ends, and what a browser does with what it serves."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flows.commands.serve import address_of, listen, main, parser
from tests.support.flow_runs import REPOSITORY
from tests.support.scene_runs import simulate_here, tiny_scenes
from tests.support.served import served

RUN = "from flows.commands.cli import main; main()"  # what `triptych` is


@contextlib.contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and the first line that it says."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    program = subprocess.Popen(
        [sys.executable, "-c", RUN, "serve", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    try:
        assert program.stdout is not None
        yield program, program.stdout.readline()
    finally:
        program.kill()
        program.wait(30)


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_it_ends_at_once_and_without_a_word_whoever_is_connected(
    tmp_path: Path, signum: signal.Signals, status: int
) -> None:
    report = tmp_path / "reports" / "toy-1"
    report.mkdir(parents=True)
    with (report / "index.html").open("wb") as file:
        file.truncate(2**28)
    with running("--root", str(tmp_path), "--port", "0") as (program, said):
        url = re.match(r"http://127\.0\.0\.1:\d+/ shows (.*); Ctrl-C ends it\n", said)
        assert url is not None, said
        assert url[1] == str(tmp_path)
        address = said.split()[0]
        with httpx.stream("GET", f"{address}reports/toy-1/", trust_env=False) as answer:  # in the midst of a download
            assert answer.status_code == 200
            started_s = time.monotonic()
            program.send_signal(signum)
            assert program.wait(30) == status
            assert time.monotonic() - started_s < 2
        assert program.stdout is not None
        assert program.stdout.read() == ""


def test_browsers_that_go_away_in_the_midst_of_a_film_end_nothing(tmp_path: Path) -> None:
    """The command lets `| head` end it; a closed connection must not."""
    film = tmp_path / "reports" / "toy-1" / "film.mp4"
    film.parent.mkdir(parents=True)
    with film.open("wb") as file:
        file.truncate(2**28)
    with running("--root", str(tmp_path), "--port", "0") as (program, said):
        url = said.split()[0]
        for _ in range(3):
            with httpx.stream("GET", f"{url}reports/toy-1/film.mp4", trust_env=False) as answer:
                assert next(answer.iter_raw())
            program.send_signal(signal.SIGPIPE)  # what a write to it brings, if it comes before the news
            time.sleep(0.05)
            assert httpx.get(f"{url}health", trust_env=False).text == "ok\n"
            assert program.poll() is None


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            SystemExit, match=rf"^cannot listen at '127.0.0.1', port {port}: the port is taken, .* --port$"
        ):
            main(["--root", str(tmp_path), "--port", str(port)])


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "999.1.1.1", "", "a\nb", 80 * "ü"])
def test_a_host_that_is_not_this_machines_is_one_line(host: str) -> None:
    with pytest.raises(SystemExit) as ended:
        listen(host, 0)
    assert re.fullmatch(r"cannot listen at .*--host is an address of this machine, such as .*", str(ended.value))


@pytest.mark.parametrize("options", [["--port", "65536"], ["--port", "-1"], ["--port", "web"], ["--root"], ["--write"]])
def test_a_wrong_option_is_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert ended.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_a_root_with_a_key_in_its_address_is_refused_without_telling_it() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--root", "s3://me:secret@bucket/data"])
    assert "holds a key" in str(ended.value)
    assert "secret" not in str(ended.value)


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "http://127.0.0.1:"), ("0.0.0.0", "http://localhost:"), ("::1", "http://[::1]:")],
)
def test_the_address_it_tells_can_be_opened(host: str, address: str) -> None:
    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6")
    with listen(host, 0) as listener:
        assert address_of(listener).startswith(address)


def test_roots_are_those_of_the_flows_and_data_by_default() -> None:
    assert parser().parse_args([]).root is None
    assert list(map(str, parser().parse_args(["--root", "a", "--root", "s3://videos/c"]).root)) == [
        "a",
        "s3://videos/c",
    ]


# --- In a browser ----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_report_plays_and_seeks_in_a_browser_that_runs_no_script_but_its_own(tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    playwright = pytest.importorskip("playwright.sync_api")
    if chromium is None:
        pytest.skip("no Chromium is installed")
    snapshot = simulate_here(tiny_scenes(tmp_path, n_train=1, n_test=0, sets=["simple_motion"]), report=True)
    page_file = tmp_path / "reports" / snapshot.name / "index.html"
    with served([tmp_path]) as client, playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        troubles: list[str] = []
        parts: list[tuple[int, str]] = []
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("requestfailed", lambda request: troubles.append(f"{request.url}: {request.failure}"))
        page.on(
            "response", lambda r: parts.append((r.status, r.headers.get("content-range", ""))) if ".mp4" in r.url else 0
        )
        try:
            page.goto(str(client.base_url))
            page.get_by_role("link", name="Report").click()
            video = page.locator("video").first
            video.scroll_into_view_if_needed()
            # Its script has started it.
            video.evaluate(
                "v => v.currentTime > 0 || new Promise(r => v.addEventListener('timeupdate', () => r(true)))"
            )
            end_s = video.evaluate("v => v.seekable.end(0)")
            assert 0 < end_s == pytest.approx(video.evaluate("v => v.duration"))
            sought_s = video.evaluate(
                "async v => { v.pause(); const done = new Promise(r => v.onseeked = r); v.currentTime = v.duration / 2;"
                " await done; return v.currentTime; }"
            )
            assert sought_s == pytest.approx(end_s / 2)
            assert (206, f"bytes 0-{(n := film_bytes(page_file)) - 1}/{n}") in parts
            page.go_back()
            page.get_by_role("link", name="Files").click()
            page.get_by_text("Read it", exact=True).wait_for()
            assert troubles == []
            # Whatever got through the templates' escaping would not run.
            page_file.write_text(page_file.read_text().replace("<h1>", "<script>document.title = 'run'</script><h1>"))
            page.goto(f"{client.base_url}reports/{snapshot.name}/")
            assert page.title() == snapshot.name
            assert any("Content Security Policy" in trouble for trouble in troubles)
        finally:
            browser.close()


def film_bytes(page_file: Path) -> int:
    """Of the first film of a page."""
    source = re.search(r'<video src="([^"]+)"', page_file.read_text())
    assert source is not None
    return (page_file.parent / source[1]).stat().st_size
