"""docker/compose.yaml as tests read it.

SERVICES["server"]["environment"]
environment_of("server", {"PREFECT_API_AUTH_STRING": "me:..."})     as Compose fills it in from docker/.env
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.support.flow_runs import REPOSITORY

DOCKER = REPOSITORY / "docker"
COMPOSE_TEXT = (DOCKER / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
VARIABLE = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")


def fill_in(text: str, settings: Mapping[str, str]) -> str:
    """What Compose makes of a value. Raises KeyError for a variable that must be set and is not."""

    def value(found: re.Match[str]) -> str:
        name, kind, default = found.groups()
        if kind == "-":
            return settings.get(name) or str(default)
        return settings[name]

    return VARIABLE.sub(value, text).replace("$$", "$")


def environment_of(service: str, settings: Mapping[str, str]) -> dict[str, str]:
    """What a container of the service gets of docker/.env."""
    given = SERVICES[service].get("environment", {})
    filled = {
        name: settings.get(name) if value is None else fill_in(str(value), settings) for name, value in given.items()
    }
    return {name: value for name, value in filled.items() if value is not None}
