"""flows.commands.notify: what the server is asked to do, and one line about what is wrong. Told for real: secured/."""

from __future__ import annotations

import io
import json
import re
from types import SimpleNamespace
from uuid import uuid4

import pytest
from prefect.events.actions import CallWebhook
from prefect.server.utilities.user_templates import render_user_template_sync
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.commands.notify import ask_for_address, automations, block_of, main
from flows.registry import FLOWS, TRAININGS, load_flow, load_training
from tests.support.prefect_stack import free_port

HOOK = "https://hooks.example/services/secret"


def text_of(message: str, deployment: str | None = "nightly") -> str:
    """What the webhook gets when a run has failed with this message."""
    failed, _ = automations(block_of(HOOK), uuid4(), 600)
    (action,) = failed.actions
    assert isinstance(action, CallWebhook)
    state = SimpleNamespace(name="Failed", message=message)
    run = SimpleNamespace(name="adept-lynx", id="5d0e", state=state)
    context = {"flow": SimpleNamespace(name="curate-dsr"), "flow_run": run}
    context["deployment"] = SimpleNamespace(name=deployment) if deployment else None
    return str(json.loads(render_user_template_sync(action.payload, context))["text"]).splitlines()[0]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("Flow run encountered an exception: YieldTooLow: 3 of 120 rows", "YieldTooLow: 3 of 120 rows"),
        ("Traceback:\n  x = 1\n\nServiceDown: no\n", "ServiceDown: no"),
        ('a "b" {{ c }} \\ é', 'a "b" {{ c }} \\ é'),
        ("<!channel> <https://x|y> &", "&lt;!channel&gt; &lt;https://x|y&gt; &amp;"),
        ("", "no message"),
        (" \n ", "no message"),
        ("x" * 5000, "x" * 597 + "..."),
    ],
)
def test_the_last_line_is_told_as_text(message: str, told: str) -> None:
    assert text_of(message) == f"curate-dsr/nightly adept-lynx: Failed. {told}"


def test_a_run_of_no_deployment_is_told_too() -> None:
    assert text_of("why", deployment=None) == "curate-dsr adept-lynx: Failed. why"


def test_runs_of_every_dataset_are_watched_and_no_shards() -> None:
    for automation in automations(block_of(HOOK), uuid4(), 600):
        watched = automation.trigger.model_dump()["match_related"]["prefect.resource.name"]
        trained = [load_training(recipe).train.name for recipe in TRAININGS]
        assert watched == [load_flow(name).curate.name for name in FLOWS] + trained


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "this is no kind of address: give https://"),
        ("somewhere", "this is no kind of address"),
        ("carrier-pigeon://coop", "carrier-pigeon is no kind of address"),
    ],
)
@pytest.mark.logs_errors
def test_an_address_of_no_known_kind_is_refused(address: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        block_of(address)


@pytest.mark.parametrize(
    ("api", "arguments", "said"),
    [
        (None, [HOOK], "ServiceDown: no Prefect server is configured"),
        ("http://127.0.0.1:{port}/api", [HOOK], "ServiceDown: the Prefect API at http://127.0.0.1:{port}/api "),
        ("http://127.0.0.1:{port}/api", ["--off"], "ServiceDown: the Prefect API at http://127.0.0.1:{port}/api "),
        ("http://127.0.0.1:{port}/api", ["nowhere"], "triptych notify: this is no kind of address"),
    ],
)
@pytest.mark.logs_errors
def test_what_is_wrong_is_said_in_one_line(api: str | None, arguments: list[str], said: str) -> None:
    port = free_port()
    with (
        temporary_settings({PREFECT_API_URL: api and api.format(port=port)}),
        pytest.raises(SystemExit, match=re.escape(said.format(port=port))) as end,
    ):
        main(arguments)
    assert len(str(end.value).splitlines()) == 1
    assert "secret" not in str(end.value)


def test_a_wait_that_prefect_does_not_know_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for wait in ("9.9", "nan", "-1", "soon"):
        with pytest.raises(SystemExit):
            main([HOOK, "--late-after-s", wait])
        assert "--late-after-s" in capsys.readouterr().err.splitlines()[-1]


def test_an_address_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"  {HOOK}\nmore\n"))
    assert ask_for_address() == HOOK
