"""The run form of Prefect's UI without a browser: what it posts of a schema when Submit is pressed.

    posted(schema, {"config": {"manifest": "m.jsonl"}}) -> {"config": {"manifest": "m.jsonl", "ground": {}, ...}}

The browser itself does the same in tests/flows/deployed/test_form.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_type_hints

import yaml
from prefect.utilities.importtools import import_object

from flows.engine.config import CurationConfig
from tests.support.flow_runs import REPOSITORY

Schema = Mapping[str, Any]


class Deployment(NamedTuple):
    """One of prefect.yaml, with its variables replaced."""

    name: str  # FLOW/NAME
    flow: Any
    parameters: dict[str, Any]

    @property
    def config_type(self) -> type[CurationConfig]:
        found: type[CurationConfig] = get_type_hints(self.flow.fn)["config"]
        return found

    @property
    def schema(self) -> dict[str, Any]:
        """What Prefect makes of the flow's parameters, and the server gives to the form."""
        schema: dict[str, Any] = self.flow.parameters.model_dump_for_openapi()
        return schema

    def config(self, **changes: Any) -> CurationConfig:
        """What runs without the form."""
        return self.config_type.model_validate(self.parameters["config"] | changes)


def deployments() -> Iterator[Deployment]:
    """All that curate or prepare a whole dataset, by the names and parameters of prefect.yaml."""
    text = re.sub(
        r"{{ \$(\w+) }}", lambda found: f"/given/{found[1].lower()}", (REPOSITORY / "prefect.yaml").read_text()
    )
    for entry in yaml.safe_load(text)["deployments"]:
        flow = import_object(entry["entrypoint"])
        if entry.get("parameters") and not flow.name.startswith("train-"):
            yield Deployment(f"{flow.name}/{entry['name']}", flow, entry["parameters"])


def posted(schema: Schema, values: Mapping[str, Any], *, opened: bool = False) -> dict[str, Any]:
    """What the form posts when nothing is changed in it; opened: but every section is opened first."""
    form: dict[str, Any] = _posted(schema, schema, values, opened)
    return form


UNSET = object()


def _posted(schema: Schema, shown: Schema, value: Any, opened: bool) -> Any:
    """A property's value: the given one, else the default; of an object, of each of its properties."""
    if "$ref" in shown:
        shown = {**schema["definitions"][shown["$ref"].removeprefix("#/definitions/")], **shown}
    if value is UNSET:
        value = shown.get("default", UNSET)
    if value == {} and opened and len(shown.get("anyOf", [])) == 2:
        value = UNSET
        shown = shown["anyOf"][1]
    for kind in shown.get("anyOf", []):
        if isinstance(value, dict) and value.keys() & kind.get("properties", {}).keys():
            shown = kind
    if shown.get("type") == "object" and "properties" in shown:
        given = {} if value is UNSET else value
        inner = {
            name: _posted(schema, field, given.get(name, UNSET), opened) for name, field in shown["properties"].items()
        }
        return {**given, **{name: found for name, found in inner.items() if found is not UNSET}}
    if value is UNSET and shown.get("type") == "boolean":
        return False  # the switch is off
    return value
