"""Have the Prefect server tell when a run of a dataset fails, crashes or does not start.

triptych notify https://hooks.slack.com/services/...    {"text": "..."}, as Slack, Mattermost and others take it
triptych notify 'mailtos://USER:PASSWORD@smtp.example.org?from=triptych@example.org&to=me@example.org'
triptych notify < address.txt                           keeps the address out of the list of processes
triptych notify --off

    curate-matrix11k/nightly adept-lynx: Failed. YieldTooLow: 3 of 120 rows were accepted (2.5 %), fewer than ...
    http://localhost:4200/runs/flow-run/5d0e...

Two automations and one block on the server do it: no process of Triptych needs to be alive. Called again, the command
replaces them. Shards are not told of: their parent fails with them.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from datetime import timedelta
from typing import Any
from uuid import UUID

import apprise
from prefect.blocks.notifications import SlackWebhook
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import CallWebhook, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.types import SecretDict
from pydantic import SecretStr

from flows.engine.command import errors_in_one_line
from flows.engine.prefect_api import prefect_server
from flows.registry import FLOWS, TRAININGS

BLOCK = "triptych-notify"
FAILED, NOT_STARTED = "triptych: a run failed", "triptych: a run did not start"
LATE_AFTER_S = 600.0
EVENT = "prefect.flow-run."
FAILURES = {f"{EVENT}{state}" for state in ("Failed", "Crashed")}
NEWS = {f"{EVENT}{state}" for state in ("Pending", "Running", "Completed", "Cancelling", "Cancelled")} | FAILURES

# Jinja templates, which the server fills in.
RUN = "{{ flow.name }}{% if deployment %}/{{ deployment.name }}{% endif %} {{ flow_run.name }}"
REASON = (
    "{% set told = (flow_run.state.message or '') | trim or 'no message' %}"
    "{{ told.splitlines()[-1] | trim | replace('Flow run encountered an exception: ', '') | truncate(600) }}"
)
WHAT_HAPPENED = {
    FAILED: "{{ flow_run.state.name }}. " + REASON,
    NOT_STARTED: "no worker has taken it. It was to start at {{ (flow_run.expected_start_time | string)[:16] }} UTC",
}
# Slack reads these as links and calls; a state's message may quote the name of a file.
AS_TEXT = "replace('&', '&amp;') | replace('<', '&lt;') | replace('>', '&gt;')"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="triptych notify", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "address", nargs="?", help="a webhook, or any address that Apprise knows (default: a line of stdin)"
    )
    parser.add_argument("--off", action="store_true", help="tell nobody any more")
    parser.add_argument(
        "--late-after-s",
        type=_at_least_10,
        default=LATE_AFTER_S,
        help="how long a run may wait for a worker before it is told, in seconds, at least 10 (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    logging.getLogger("apprise").addFilter(lambda record: record.levelno < logging.ERROR)  # the last line tells it
    try:
        block = None if options.off else block_of(options.address or ask_for_address())
    except ValueError as error:
        sys.exit(f"triptych notify: {error}")
    with errors_in_one_line("triptych notify"), prefect_server() as client:
        print(apply(client, block, options.late_after_s) if block else remove(client))


def _at_least_10(text: str) -> float:
    if not (number := float(text)) >= 10:
        raise argparse.ArgumentTypeError("at least 10, Prefect's shortest wait")
    return number


def ask_for_address() -> str:
    if sys.stdin.isatty():
        print("The address to tell:", file=sys.stderr)
    return sys.stdin.readline().strip()


def apply(client: SyncPrefectClient, block: Webhook | SlackWebhook, late_after_s: float) -> str:
    """Make or replace the block and both automations, and say so."""
    remove(client)
    block_id = block.save(BLOCK, overwrite=True)
    assert isinstance(block_id, UUID)
    for automation in automations(block, block_id, late_after_s):
        client.create_automation(automation)
    kind = "the webhook" if isinstance(block, Webhook) else "the address"
    return f"runs that fail, and runs that no worker takes within {late_after_s:g} s, are told to {kind}"


def remove(client: SyncPrefectClient) -> str:
    """Remove the automations, and the block with its address."""
    for name in WHAT_HAPPENED:
        for automation in client.read_automations_by_name(name):
            client.delete_automation(automation.id)
    for kind in (Webhook, SlackWebhook):
        with contextlib.suppress(ObjectNotFound):
            client.delete_block_document(client.read_block_document_by_name(BLOCK, kind.get_block_type_slug()).id)
    return "nobody is told any more"


def block_of(address: str) -> Webhook | SlackWebhook:
    """What the server sends with; the address is kept encrypted. Raises ValueError."""
    if address.startswith(("http://", "https://")):
        return Webhook(url=SecretStr(address), headers=SecretDict({"Content-Type": "application/json"}))
    if not apprise.Apprise().add(address):
        scheme = address.partition(":")[0] if ":" in address else "this"
        raise ValueError(f"{scheme} is no kind of address: give https://... or mailtos://USER:PASSWORD@SERVER?to=...")
    # Its address may be any of Apprise's; Prefect's own mail is Sendgrid's.
    return SlackWebhook(url=SecretStr(address))


def automations(block: Webhook | SlackWebhook, block_id: UUID, late_after_s: float) -> list[AutomationCore]:
    """What the server is to do."""
    flows = [module.rpartition(".")[2].replace("_", "-") for module in (*FLOWS.values(), *TRAININGS.values())]
    each: dict[str, Any] = {
        "match": {"prefect.resource.id": f"{EVENT}*"},
        "match_related": {"prefect.resource.role": "flow", "prefect.resource.name": flows},
        "for_each": {"prefect.resource.id"},
    }
    triggers = {
        FAILED: EventTrigger(expect=FAILURES, posture=Posture.Reactive, **each),
        NOT_STARTED: EventTrigger(
            after={f"{EVENT}Late"},
            expect=NEWS,
            posture=Posture.Proactive,
            within=timedelta(seconds=late_after_s),
            **each,
        ),
    }
    return [
        AutomationCore(name=name, trigger=trigger, actions=[_action(block, block_id, WHAT_HAPPENED[name])])
        for name, trigger in triggers.items()
    ]


def _action(block: Webhook | SlackWebhook, block_id: UUID, what_happened: str) -> CallWebhook | SendNotification:
    link = f"{get_current_settings().ui_url}/runs/flow-run/{{{{ flow_run.id }}}}"
    if not isinstance(block, Webhook):
        return SendNotification(block_document_id=block_id, subject=RUN, body=f"{what_happened}\n{link}")
    text = f"{RUN}: {what_happened}\n{link}"
    payload = f'{{% set text %}}{text}{{% endset %}}{{"text": {{{{ text | {AS_TEXT} | tojson }}}}}}'
    return CallWebhook(block_document_id=block_id, payload=payload)
