"""A server with a password: who has none reads and starts nothing, who has it works as ever, through HTTPS too."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import httpx
import pytest

from flows.curate_matrix11k import CurateMatrix11k
from flows.engine.config import DispatchConfig
from tests.flows.secured.conftest import PASSWORD, Secured
from tests.support.flow_runs import FEW_FRAMES, carry, draw_input
from tests.support.prefect_stack import GPU
from tests.support.proxy import Proxy
from tests.support.snapshots import latest_folder

pytestmark = pytest.mark.slow

RUNS = {"deployments": {"name": {"any_": ["default"]}}}


@pytest.mark.parametrize("login", [None, ("triptych", "wrong"), ("", "")])
def test_without_the_password_the_api_tells_and_does_nothing(secured: Secured, login: tuple[str, str] | None) -> None:
    stack = secured.stack
    deployment = stack.get("/deployments/name/curate-matrix11k/default")["id"]
    for method, path in [
        ("GET", "/admin/settings"),
        ("POST", "/flow_runs/filter"),
        ("POST", "/logs/filter"),
        ("POST", f"/deployments/{deployment}/create_flow_run"),
    ]:
        answer = httpx.request(method, f"{stack.api}{path}", json={}, auth=login)
        assert (answer.status_code, answer.json()) == (401, {"exception_message": "Unauthorized"}), path
    assert httpx.get(f"{stack.api}/health").json() is True  # the container's health check has no password


def test_pages_of_other_sites_may_not_call_it(secured: Secured) -> None:
    def answer(origin: str) -> httpx.Response:
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        return httpx.options(f"{secured.stack.api}/flow_runs/filter", headers=headers)

    assert answer("http://localhost:4200").headers["access-control-allow-origin"] == "http://localhost:4200"
    assert "access-control-allow-origin" not in answer("https://elsewhere.example").headers


def test_nobody_is_told_of_the_runs(secured: Secured) -> None:
    settings = secured.stack.get("/admin/settings")
    assert settings["server"]["analytics_enabled"] is False
    assert settings["server"]["ui"]["v2_enabled"] is False


def test_runs_through_https_publish(secured: Secured, proxy: Proxy, tmp_path: Path) -> None:
    """The command and the shards' worker know nothing but the proxy's address, its certificate and the password."""
    assert "test is successful" in proxy.check()
    stack = secured.stack
    through = {"PREFECT_API_URL": f"{proxy.url}/api", "PREFECT_API_SSL_CERT_FILE": str(proxy.certificate)}
    config = CurateMatrix11k(
        manifest=draw_input(tmp_path / "in", [carry("yellow", "red")]),
        root=tmp_path / "root",
        ground=FEW_FRAMES,
        dispatch=DispatchConfig(deployment="curate-matrix11k-shard/gpu", poll_s=1),
    )
    with stack.elsewhere(through):
        worker = stack.start_worker(GPU)
        stack.cli(
            *("deployment", "run", "curate-matrix11k/default", "--watch", "--param"),
            f"config={config.model_dump_json(exclude_unset=True)}",
        )
        worker.end()
    assert latest_folder(config.snapshots).is_dir()


def test_the_browser_asks_for_the_password_and_calls_nobody_else(secured: Secured, proxy: Proxy) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium")
    called: set[str] = set()
    refused: list[str] = []
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        try:
            page = browser.new_page(ignore_https_errors=True)
            page.set_default_timeout(60_000)
            page.on("request", lambda request: called.add(request.url))
            page.on("console", lambda line: refused.append(line.text) if "Security Policy" in line.text else None)
            page.goto(f"{proxy.url}/deployments")
            page.locator("input[type=password]").fill(PASSWORD)
            page.keyboard.press("Enter")
            page.get_by_text("curate-matrix11k").first.wait_for()
        finally:
            browser.close()
    assert refused == []
    assert {httpx.URL(url).host for url in called if not url.startswith(("data:", "blob:"))} == {"127.0.0.1"}


def test_the_password_is_nowhere(secured: Secured) -> None:
    """Neither in a table of the database nor in a log, nor in what the server says of its settings."""
    stack = secured.stack
    secret = PASSWORD.partition(":")[2]
    assert stack.get("/admin/settings")["server"]["api"]["auth_string"] == "**********"
    assert secret not in secured.database.dump()
    files = [path for path in stack.folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".log" for path in files)
    assert [path for path in files if secret.encode() in path.read_bytes()] == []


def test_plain_http_gets_nothing_from_the_proxy(proxy: Proxy) -> None:
    assert httpx.get(f"http://127.0.0.1:{proxy.port}/api/health").status_code == 400
    context = ssl.create_default_context()  # which does not know the certificate
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{proxy.url}/api/health", verify=context)
