"""The run form of a deployment in a real browser, in both of Prefect's UIs: Submit runs what is deployed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.support.deployed import Deployed
from tests.support.prefect_stack import PLAN, RUN_S, browser_page
from tests.support.run_form import Deployment, deployments

pytestmark = pytest.mark.slow

ALL = {deployment.name: deployment for deployment in deployments()}
UIS = {"v1": "", "v2": "/v2"}  # the stack's server shows V1 first
SETTLE_MS = 1500  # the form fills itself in while one looks at it

Act = Callable[[Any], None]
Submit = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def submit(deployed: Deployed) -> Iterator[Submit]:
    """submit("v2", FLOW/NAME, act): opens the form, does something in it, presses Submit.

    Returns the parameters of the flow run, as the API has them; no worker takes it, and it is gone afterwards.
    """
    stack = deployed.stack
    with browser_page() as page:
        if page is None:
            pytest.skip("no Playwright or no Chromium")
        stack.cli("work-pool", "pause", PLAN)

        def press() -> Any:
            with page.expect_response(lambda response: response.url.endswith("/create_flow_run")) as created:
                page.get_by_role("button", name="Submit").click()
            return created.value

        def submit_form(ui: str, name: str, act: Act = lambda page: None) -> dict[str, Any]:
            deployment = stack.get(f"/deployments/name/{name}")
            page.goto(f"{stack.url}{UIS[ui]}/deployments/deployment/{deployment['id']}/run")
            page.get_by_text("Token prices").wait_for()
            settle(page)
            act(page)
            settle(page)
            give_up = time.monotonic() + RUN_S
            while (created := press()).status == httpx.codes.SERVICE_UNAVAILABLE and time.monotonic() < give_up:
                page.wait_for_timeout(SETTLE_MS)  # SQLite is locked now and then, and nothing was done
            assert created.ok, created.text()
            run = stack.run(created.json()["id"])
            stack.delete(f"/flow_runs/{run['id']}")
            parameters: dict[str, Any] = run["parameters"]
            return parameters

        try:
            yield submit_form
        finally:
            stack.cli("work-pool", "resume", PLAN)


def settle(page: Any) -> None:
    """Wait until the form has filled itself in: for a busy machine till the page has nothing to do."""
    page.wait_for_timeout(SETTLE_MS)
    page.evaluate(
        "() => new Promise(done => requestIdleCallback(() => setTimeout(() => requestIdleCallback(done), 200)))"
    )


def open_all_sections(page: Any) -> None:
    buttons = page.get_by_text("Own settings", exact=True)
    for n in range(buttons.count()):
        buttons.nth(n).click()


def assert_runs_as_deployed(deployed: Deployed, deployment: Deployment, posted: dict[str, Any]) -> None:
    """The API has resolved the variables; those of other flows than matrix11k are not set in this stack."""
    there = deployed.stack.get(f"/deployments/name/{deployment.name}")["parameters"]["config"]
    unset = {name: "/data" for name, value in there.items() if value == ""}
    config = deployment.config_type.model_validate(posted["config"] | unset)
    assert config == deployment.config_type.model_validate(there | unset)


@pytest.mark.parametrize("name", ALL)
def test_a_form_that_is_submitted_unchanged_runs_what_is_deployed(
    deployed: Deployed, submit: Submit, name: str
) -> None:
    posted = submit("v2", name)
    assert posted["config"]["report"] is True  # the form posts what nobody asked for
    assert_runs_as_deployed(deployed, ALL[name], posted)


@pytest.mark.parametrize(("ui", "name"), [("v1", "curate-kinemask/blender"), ("v2", "curate-dsr/paper")])
def test_sections_that_are_opened_hold_what_is_deployed(deployed: Deployed, submit: Submit, name: str, ui: str) -> None:
    posted = submit(ui, name, open_all_sections)
    assert all(posted["config"][section] for section in ALL[name].config_type.sections())
    assert_runs_as_deployed(deployed, ALL[name], posted)


@pytest.mark.parametrize("ui", UIS)
def test_the_form_as_json_runs_what_is_deployed(deployed: Deployed, submit: Submit, ui: str) -> None:
    def turn_to_json(page: Any) -> None:
        menu = page.get_by_text("config", exact=True).locator("xpath=following::button[1]")
        menu.click()
        page.get_by_text("Use JSON input").click()

    posted = submit(ui, "curate-matrix11k/paper", turn_to_json)
    assert "__prefect_kind" not in json.dumps(posted)
    assert_runs_as_deployed(deployed, ALL["curate-matrix11k/paper"], posted)


@pytest.mark.parametrize("ui", UIS)
def test_a_choice_in_the_form_is_a_choice(submit: Submit, ui: str) -> None:
    """A backend that is chosen stays, also where it is the embedded one; its neighbours go by the profile."""

    def choose_colour(page: Any) -> None:
        ground = page.get_by_text("How instances are found and verified")
        ground.locator("xpath=following::*[text()='Own settings'][1]").click()
        settle(page)
        grounding = page.get_by_text("colour phrases and a people detector")
        grounding.locator("xpath=following::*[text()='Own choice'][1]").click()
        settle(page)
        box = {"v1": "contains(@class, 'p-select-button__control')", "v2": "@aria-label='Select Own choice'"}[ui]
        grounding.locator(f"xpath=following::button[{box}][1]").focus()
        page.keyboard.press("ArrowDown" if ui == "v1" else "Enter")
        settle(page)
        page.get_by_text("colour", exact=True).last.click()

    posted = submit(ui, "curate-matrix11k/paper", choose_colour)
    ground = ALL["curate-matrix11k/paper"].config_type.model_validate(posted["config"]).model_dump()["ground"]
    assert (ground["grounding"], ground["vlm"]) == ("colour", "openai")
