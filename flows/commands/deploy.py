"""Put the deployments of prefect.yaml, and the work pools that they name, on the Prefect server.

    triptych deploy

It makes the pools that are missing, does what `prefect deploy --all` does, and asks nothing. TRIPTYCH_MANIFEST,
TRIPTYCH_INPUTS and the roots (TRIPTYCH_ROOT, TRIPTYCH_KINEMASK_ROOT, TRIPTYCH_DSR_ROOT, and for samples
TRIPTYCH_MATRIX_SAMPLES_ROOT, TRIPTYCH_KINEMASK_SAMPLES_ROOT, TRIPTYCH_DSR_SAMPLES_ROOT) become the deployments'
parameters, and TRIPTYCH_TIMEZONE the time zone of the nightly run. Run it again after any of them has changed.
"""

from __future__ import annotations

import argparse
import asyncio
import difflib
import os
import re
import subprocess
import sys
import zoneinfo
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.server.schemas.schedules import CronSchedule
from prefect.workers.base import BaseWorker

import flows.engine.resident_worker  # noqa: F401 - the type of a pool
from flows.engine.command import errors_in_one_line
from flows.engine.prefect_api import prefect_server
from flows.engine.process import at_stop

PROJECT = Path(__file__).parents[2] / "prefect.yaml"
TIMEZONE = "TRIPTYCH_TIMEZONE"
_PLACEHOLDER = re.compile(r"\{\{ \$(\w+) \}\}")

Deployments = list[dict[str, Any]]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="triptych deploy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(arguments)
    project = yaml.safe_load(PROJECT.read_text())
    deployments: Deployments = project["deployments"]
    settings = read_settings(deployments, os.environ)
    with errors_in_one_line("deploy"), prefect_server() as client:
        for line in make_pools(client, project["definitions"]["pools"], deployments):
            print(line, flush=True)
    deploy_all({**os.environ, **settings})
    for line in told(deployments, settings, datetime.now(UTC)):
        print(line)


def read_settings(deployments: Deployments, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that prefect.yaml names. A relative path becomes absolute: it is relative to this folder.

    Exits with one line if the time zone is none.
    """
    named = {name: environment.get(name, "") for name in variables_of([d.get("parameters") for d in deployments])}
    paths = {name: path if "://" in path or not path else str(Path(path).absolute()) for name, path in named.items()}
    return {**paths, TIMEZONE: known_timezone(environment.get(TIMEZONE) or "UTC")}


def variables_of(values: Any) -> list[str]:
    return sorted(set(_PLACEHOLDER.findall(yaml.safe_dump(values, width=10_000))))


def known_timezone(name: str) -> str:
    known = zoneinfo.available_timezones()
    if name not in known:
        by_case = {zone.lower(): zone for zone in known}
        near = [by_case[zone] for zone in difflib.get_close_matches(name.lower(), by_case, 1)]
        sys.exit(f"{TIMEZONE}: there is no time zone {name!r}; give a name like {near[0] if near else 'Europe/Berlin'}")
    return name


def make_pools(client: SyncPrefectClient, types: Mapping[str, str], deployments: Deployments) -> Iterator[str]:
    """Make the work pools that are missing; a line for each."""
    there = {pool.name: pool.type for pool in client.read_work_pools()}
    for name in dict.fromkeys(deployment["work_pool"]["name"] for deployment in deployments):
        if name not in there:
            if name not in types:
                sys.exit(f"prefect.yaml: definitions.pools says of no type of {name}, which is not there")
            kind = BaseWorker.get_worker_class_from_type(types[name])
            assert kind is not None
            template = kind.get_default_base_job_template()
            client.create_work_pool(WorkPoolCreate(name=name, type=types[name], base_job_template=template))
            yield f"work pool {name} ({types[name]}): made"
        elif there[name] != types.get(name, there[name]):
            yield f"work pool {name} is of type {there[name]}, not {types[name]}: delete it, then deploy again"
        else:
            yield f"work pool {name} ({there[name]}): is there"


def deploy_all(environment: Mapping[str, str]) -> None:
    """Exits with what Prefect says last if it refuses."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(PROJECT)]
    with (
        subprocess.Popen(
            command, env=environment, cwd=PROJECT.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as program,
        at_stop(lambda _: program.kill()),
    ):
        said, _ = program.communicate()
    if program.returncode:
        end = "".join(said.rstrip().splitlines(keepends=True)[-20:])
        sys.exit(
            f"{end}\nprefect deploy --all ended with status {program.returncode}; above is the end of what it said"
        )


def told(deployments: Deployments, settings: Mapping[str, str], now: datetime) -> Iterator[str]:
    """What was deployed, when it runs by itself, and what it lacks."""
    zone = ZoneInfo(settings[TIMEZONE])
    parents = [deployment for deployment in deployments if deployment.get("parameters")]
    for deployment in parents:
        yield f"deployed {full_name(deployment)}"
        for schedule in deployment["schedules"]:
            (moment,) = asyncio.run(CronSchedule(cron=schedule["cron"], timezone=zone.key).get_dates(1, start=now))
            yield f"    next run {moment.astimezone(zone):%A %d %B %Y, %H:%M} {zone} (cron {schedule['cron']})"
    yield f"and {len(deployments) - len(parents)} deployments of their shards"
    for name, value in settings.items():
        users = [full_name(parent) for parent in parents if name in variables_of(parent)]
        if value:
            yield f"{name}={value}"
        else:
            yield f"warning: {name} is not set; without it these cannot run: {', '.join(users)}"


def full_name(deployment: Mapping[str, Any]) -> str:
    """Its name as Prefect knows it: FLOW/NAME."""
    return f"{deployment['entrypoint'].rpartition('.')[2].replace('_', '-')}/{deployment['name']}"
