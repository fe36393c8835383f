"""From a run's page in Prefect to the report of its snapshot: over HTTP, as a browser on another machine goes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.deployed import Deployed
from tests.support.prefect_stack import browser_page
from tests.support.served import served
from tests.support.stages import MATRIX11K_STAGES

pytestmark = pytest.mark.slow


def artifacts_of(deployed: Deployed, snapshot: Path) -> dict[str, Any]:
    """{key: artifact}: what the first run that published a snapshot shows; others may, in other roots."""
    by_key = {"sort": "KEY_DESC", "artifacts": {"key": {"any_": ["yield-matrix11k", "snapshot-matrix11k"]}}}
    found = deployed.stack.post("/artifacts/filter", by_key)
    of_snapshot = [a for a in found if snapshot.name in a["data"] + (a["description"] or "")]
    return {a["key"]: a for a in sorted(of_snapshot, key=lambda a: a["created"], reverse=True)}


def test_the_yield_and_the_report_are_shown_in_the_ui(deployed: Deployed, published: Path) -> None:
    found = artifacts_of(deployed, published)
    steps = json.loads(found["yield-matrix11k"]["data"])
    assert found["yield-matrix11k"]["type"] == "table"
    assert [step["stage"] for step in steps if step["unit"] == "clips"] == ["split_scenes", *MATRIX11K_STAGES]
    text = found["snapshot-matrix11k"]["data"]
    assert f"triptych ask --root {deployed.config.root} --snapshot {published.name}" in text
    links = dict(re.findall(r"\[(\w+)\]\(([^)]+)\)", text))
    assert list(links) == ["Report", "Files"]
    with served([deployed.config.root], deployed.reports_port):
        page, files = (httpx.get(links[name], trust_env=False) for name in ("Report", "Files"))
    assert page.text == (deployed.config.root / "reports" / published.name / "index.html").read_text()
    assert f"<h1>{published.name}" in files.text


def test_the_link_opens_the_report_in_a_browser(deployed: Deployed, published: Path) -> None:
    with served([deployed.config.root], deployed.reports_port), browser_page(deployed.stack.url) as page:
        if page is None:
            pytest.skip("no Playwright or no Chromium")
        artifact = artifacts_of(deployed, published)["snapshot-matrix11k"]
        page.goto(f"/artifacts/artifact/{artifact['id']}")
        with page.context.expect_page() as opened:
            page.get_by_role("link", name="Report").click()
        report = opened.value
        report.get_by_role("heading", level=1, name=published.name).wait_for()
        assert report.locator("video").count() > 0
