"""The run form in Prefect's UI, which it draws from the JSON schema of a flow's config.

The form posts every default that the schema states, so that nobody can tell afterwards what was asked for. Hence

    a section               is empty, "Defaults", until somebody opens it: the form is short, too
    what profiles decide    is null, "By profile", until somebody chooses: CurationConfig takes null for not asked for
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from schemas.config import title_of

Schema = dict[str, Any]
ByProfile = Mapping[str, Any]  # profile -> what a field is in it where nothing else is asked for

FORM_HELP = "Submit runs it as it is deployed; open a section with its button Own settings."


def in_order(properties: Schema, names: Iterable[str]) -> Schema:
    """Properties in this order. `position` tells it: a PostgreSQL server forgets the order of keys."""
    return {name: {**properties[name], "position": position} for position, name in enumerate(names)}


def field_a_key(shown: Schema, keys: Iterable[str], description: str) -> Schema:
    """A dictionary of texts, with a field for each key that it may have.

    By itself it is entered as JSON, which is posted spoiled if the whole form is turned to JSON.
    """
    fields = {
        key: {"type": "string", "minLength": 1, "title": title_of(key), "description": description} for key in keys
    }
    about = {"title": shown["title"], "description": shown["description"]}
    return {"type": "object", "properties": in_order(fields, fields), "additionalProperties": False, **about}


def section_field(
    shown: Schema, section: Schema, default: Mapping[str, Any], decided: Mapping[str, ByProfile]
) -> Schema:
    """A section: closed, and with its own defaults when it is opened.

    shown:   the section as a property: a reference with title and description
    section: what it refers to; copied, as another section of the same kind may have other defaults
    default: its values where nothing is given, as JSON
    decided: its fields that profiles decide on
    """
    fields = {
        name: decided_field(field, f"By profile: {told_by_profile(decided[name])}", "By profile")
        if name in decided
        else {**field, "default": default[name]}
        for name, field in deepcopy(section["properties"]).items()
    }
    return closed_section(shown, {**section, "properties": in_order(fields, fields)})


def closed_section(shown: Schema, section: Schema) -> Schema:
    """A section that is `Defaults` until it is opened. section: as it is then"""
    opened = {**section, "title": "Own settings", "description": ""}
    opened.pop("required", None)  # everything has a default
    return {
        "title": shown["title"],
        "description": shown.get("description") or section.get("description", ""),
        "default": {},
        "anyOf": [{"title": "Defaults", "type": "object", "properties": {}}, opened],
        # The first of these takes any object, and this is what checks it: it names the field that is wrong.
        "if": {},
        "then": opened,
    }


def decided_field(field: Schema, told: str, by_choice: str) -> Schema:
    """A field that is null until somebody chooses. told: what null stands for; by_choice: the title of null"""
    choice = {key: value for key, value in field.items() if key not in ("default", "description")}
    if {"type": "null"} in choice.get("anyOf", []):  # the other null says it already
        (choice,) = [{**choice, **kind} for kind in choice.pop("anyOf") if kind != {"type": "null"}]
    help_text = [field["description"]] if field.get("description") else []
    return {
        "anyOf": [{"title": by_choice, "type": "null"}, {**choice, "title": "Own choice"}],
        "default": None,
        "title": field["title"],
        "description": ". ".join([*help_text, told]),
    }


def unstated_field(field: Schema, told: str) -> Schema:
    """A field for which null is an answer: empty, and then not posted, until somebody chooses."""
    shown = {key: value for key, value in field.items() if key != "default"}
    return {**shown, "description": ". ".join([*filter(None, [field.get("description")]), told])}


def told_by_profile(by_profile: ByProfile) -> str:
    """{"embedded": "colour", "paper": "groundingdino"} -> "colour (embedded), groundingdino (paper)" """
    return ", ".join(f"{value} ({profile})" for profile, value in by_profile.items())
