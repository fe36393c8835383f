"""The Prefect server that commands talk to, or one line on why they cannot.

with prefect_server() as client: client.read_deployments()
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.settings.context import get_current_settings

ANSWER_S = 10.0


@contextmanager
def prefect_server() -> Iterator[SyncPrefectClient]:
    """A client of the configured server, which has answered. Exits with one line if none is there."""
    address = get_current_settings().api.url
    if not address:
        sys.exit(
            "no Prefect server is configured: start one with `prefect server start`, then "
            "export PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    told = str(httpx.URL(address).copy_with(username=None, password=None))
    try:
        _require_api(told)
        with get_client(sync_client=True) as client:
            yield client
    except httpx.TransportError as error:
        why = str(error) or type(error).__name__
        sys.exit(f"no Prefect server answers at {told} ({why}): is it started, and is this its PREFECT_API_URL?")


def _require_api(told: str) -> None:
    once = {PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: ANSWER_S}
    try:
        with temporary_settings(once), get_client(sync_client=True) as client:
            client.read_work_pools(limit=1)
    except httpx.HTTPStatusError as error:
        if error.response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            sys.exit(f"the Prefect server at {told} refuses: export its PREFECT_API_AUTH_STRING")
        sys.exit(f"{told} answers with status {error.response.status_code}: is this PREFECT_API_URL? It ends with /api")
    except ValueError:  # a page, no JSON
        sys.exit(f"{told} is no Prefect API: PREFECT_API_URL ends with /api")
