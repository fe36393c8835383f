"""`triptych deploy` without a server: what it reads, which pools it makes, what it says.

tests/flows/deployed/test_deploy_command.py runs it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.utilities.importtools import import_object

from flows.commands.deploy import PROJECT, full_name, known_timezone, make_pools, read_settings, told
from flows.engine.prefect_api import prefect_server
from flows.engine.resident_worker import ResidentWorker
from schemas.outcome import ServiceDown
from tests.support.prefect_stack import free_port

DEPLOYED = yaml.safe_load(PROJECT.read_text())
DEPLOYMENTS: list[dict[str, Any]] = DEPLOYED["deployments"]
TYPES: dict[str, str] = DEPLOYED["definitions"]["pools"]
EVENING = datetime(2026, 5, 31, 22, 30, tzinfo=UTC)  # half past midnight in Berlin


class Pools:
    """A server's work pools."""

    def __init__(self, **there: str) -> None:
        self.there = {name.replace("_", "-"): kind for name, kind in there.items()}
        self.made: list[WorkPoolCreate] = []

    def read_work_pools(self) -> list[Any]:
        return [SimpleNamespace(name=name, type=kind) for name, kind in self.there.items()]

    def create_work_pool(self, pool: WorkPoolCreate) -> None:
        self.made.append(pool)


# --- prefect.yaml ------------------------------------------------------------------------------


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=full_name)
def test_prefect_is_left_no_question(deployment: dict[str, Any]) -> None:
    """On a terminal it asks where code is pulled from and what the schedules are, unless it is told."""
    assert DEPLOYED["pull"] == []
    assert "pull" not in deployment
    assert isinstance(deployment["schedules"], list)
    assert deployment["work_pool"]["name"] in TYPES


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=full_name)
def test_a_deployment_names_no_folder(deployment: dict[str, Any]) -> None:
    """Its flow is imported from wherever Triptych is installed, on each worker."""
    flow = import_object(deployment["entrypoint"])
    assert isinstance(flow, Flow)
    assert full_name(deployment) == f"{flow.name}/{deployment['name']}"


def test_each_type_of_pool_is_known() -> None:
    assert set(TYPES.values()) == {"process", ResidentWorker.type}
    assert set(TYPES) == {deployment["work_pool"]["name"] for deployment in DEPLOYMENTS}


# --- Settings ----------------------------------------------------------------------------------


def test_paths_become_absolute_and_stores_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"TRIPTYCH_MANIFEST": "videos/m.jsonl", "TRIPTYCH_ROOT": "s3://bucket/data", "TRIPTYCH_DSR_ROOT": "/dsr"}
    assert read_settings(DEPLOYMENTS, given) == {
        "TRIPTYCH_MANIFEST": str(tmp_path / "videos/m.jsonl"),
        "TRIPTYCH_ROOT": "s3://bucket/data",
        "TRIPTYCH_DSR_ROOT": "/dsr",
        "TRIPTYCH_INPUTS": "",
        "TRIPTYCH_KINEMASK_ROOT": "",
        "TRIPTYCH_MATRIX_SAMPLES_ROOT": "",
        "TRIPTYCH_KINEMASK_SAMPLES_ROOT": "",
        "TRIPTYCH_DSR_SAMPLES_ROOT": "",
        "TRIPTYCH_TIMEZONE": "UTC",
    }


@pytest.mark.parametrize(
    ("name", "said"),
    [("europe/berlin", "like Europe/Berlin"), ("Berlin", "give a name like"), ("/etc", "give"), ("../UTC", "give")],
)
def test_a_wrong_time_zone_is_one_line(name: str, said: str) -> None:
    with pytest.raises(SystemExit, match=said) as refused:
        known_timezone(name)
    assert str(refused.value).startswith("TRIPTYCH_TIMEZONE: there is no time zone")
    assert "\n" not in str(refused.value)


def test_what_is_deployed_is_told() -> None:
    settings = read_settings(DEPLOYMENTS, {"TRIPTYCH_ROOT": "/data", "TRIPTYCH_TIMEZONE": "Europe/Berlin"})
    lines = list(told(DEPLOYMENTS, settings, EVENING))
    nightly = lines.index("deployed curate-matrix11k/nightly")
    assert lines[nightly + 1].strip() == "next run Monday 01 June 2026, 02:00 Europe/Berlin (cron 0 2 * * *)"
    assert "TRIPTYCH_ROOT=/data" in lines
    assert (
        "warning: TRIPTYCH_DSR_ROOT is not set; without it these cannot run: curate-dsr/default, curate-dsr/paper, "
        "prepare-dsr-samples/default" in lines
    )
    assert not any("-shard/" in line for line in lines)


# --- Pools -------------------------------------------------------------------------------------


def test_missing_pools_are_made_with_their_types() -> None:
    client: Any = Pools(triptych_plan="process", triptych_gpu="process")
    lines = list(make_pools(client, TYPES, DEPLOYMENTS))
    assert {pool.name: pool.type for pool in client.made} == {
        "triptych-shards": "process",
        "triptych-blender": "process",
    }
    assert all(pool.base_job_template["variables"] for pool in client.made)
    assert "work pool triptych-plan (process): is there" in lines
    assert "work pool triptych-shards (process): made" in lines
    assert any("triptych-gpu is of type process, not resident" in line for line in lines)


def test_a_resident_pool_is_made_with_its_own_template() -> None:
    client: Any = Pools(triptych_plan="process", triptych_shards="process", triptych_blender="process")
    list(make_pools(client, TYPES, DEPLOYMENTS))
    (gpu,) = client.made
    assert gpu.base_job_template == ResidentWorker.get_default_base_job_template()


def test_a_pool_without_a_type_must_be_there() -> None:
    own: list[dict[str, Any]] = [{"work_pool": {"name": "kubernetes"}}]
    assert list(make_pools(Pools(kubernetes="kubernetes"), {}, own)) == [  # type: ignore[arg-type]
        "work pool kubernetes (kubernetes): is there"
    ]
    with pytest.raises(SystemExit, match="no type of kubernetes"):
        list(make_pools(Pools(), {}, own))  # type: ignore[arg-type]


# --- The server --------------------------------------------------------------------------------


def refused(address: str | None) -> str:
    """What is said of a server that is none."""
    with (
        temporary_settings({PREFECT_API_URL: address}),
        pytest.raises(ServiceDown) as ended,
        prefect_server(),
    ):
        pass
    assert "\n" not in str(ended.value)
    return str(ended.value)


@pytest.mark.parametrize("address", [None, ""])
def test_without_a_configured_server_nothing_is_started(address: str | None) -> None:
    assert "export PREFECT_API_URL" in refused(address)


def test_a_dead_server_is_one_line() -> None:
    address = f"http://127.0.0.1:{free_port()}/api"
    told = refused(address)
    assert address in told
    assert "does not answer" in told
    assert "run without it" not in told


def test_a_password_in_the_address_is_not_told() -> None:
    assert "hidden" not in refused(f"http://me:hidden@127.0.0.1:{free_port()}/api")
