"""A stack as docker/compose.yaml has it: PostgreSQL, a password, HTTPS in front; its server has that file's settings.

Fails where PostgreSQL or nginx is not installed; TRIPTYCH_WITHOUT_POSTGRES=1 and TRIPTYCH_WITHOUT_NGINX=1 leave out
what needs them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.support.compose import environment_of
from tests.support.postgres import Postgres
from tests.support.prefect_stack import PLAN, SHARDS, PrefectStack, free_port
from tests.support.proxy import Proxy

PASSWORD = "triptych:of-the-tests-0123456789"


class Secured(NamedTuple):
    database: Postgres
    stack: PrefectStack
    llm_port: int


@pytest.fixture(scope="package")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    if os.environ.get("TRIPTYCH_WITHOUT_POSTGRES"):
        pytest.skip("TRIPTYCH_WITHOUT_POSTGRES is set")
    folder, llm_port = tmp_path_factory.mktemp("secured"), free_port()
    env = {"TRIPTYCH_MANIFEST": "none", "TRIPTYCH_ROOT": "none", "TRIPTYCH_LLM_API_KEY": "none"}
    env |= {"TRIPTYCH_LLM_BASE_URL": f"http://127.0.0.1:{llm_port}/v1", "TRIPTYCH_LLM_MODEL": "tiny-llm"}
    settings = environment_of("server", {"PREFECT_API_AUTH_STRING": PASSWORD, "POSTGRES_PASSWORD": "none"})
    server_env = {name: value for name, value in settings.items() if "_DATABASE_" not in name}
    server_env["PREFECT_SERVER_UI_STATIC_DIRECTORY"] = str(folder / "ui")
    with Postgres() as database:
        server_env["PREFECT_API_DATABASE_CONNECTION_URL"] = database.url
        with PrefectStack(folder, env, server_env, PASSWORD) as stack:
            stack.deploy()
            for pool in (PLAN, SHARDS):
                stack.start_worker(pool)
            yield Secured(database, stack, llm_port)


@pytest.fixture(scope="package")
def proxy(secured: Secured) -> Iterator[Proxy]:
    if os.environ.get("TRIPTYCH_WITHOUT_NGINX"):
        pytest.skip("TRIPTYCH_WITHOUT_NGINX is set")
    with Proxy(secured.stack.port) as proxy:
        yield proxy
