"""What configs of flows share: sections of settings, and a choice by name that fills them where nothing is asked for.

    class CurateDsr(CurationConfig):     profile paper: {"ground": {"grounding": "groundingdino"}}
    class TrainMatrix(TrainConfig):      variant spa_only: {"training": {"alignment": {"sga_blocks": ()}}}

An option, a deployment's parameter or the run form decides over the choice, the choice over a section's defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import SettingsConfigDict

from flows.engine.run_form import told_by_profile
from schemas.config import Settings

Profiles = Mapping[str, Mapping[str, Mapping[str, Any]]]  # choice -> section of the config -> its values

_UNSET = object()


class FlowConfig(Settings):
    """What a flow can be told."""

    # `null` on the command line is what descriptions call null; CliApp's own word for it is None.
    model_config = SettingsConfigDict(cli_parse_none_str="null")

    chosen_by: ClassVar[str] = "profile"  # the field that names a choice
    profiles: ClassVar[Profiles] = {}  # what each choice sets where nothing else is asked for
    first_options: ClassVar[Sequence[str]]  # those that a newcomer needs, for the short help

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        # CliApp derives a class that names all defaults of a section as soon as one of its options is given.
        cls.model_config = SettingsConfigDict(**{**cls.model_config, "nested_model_default_partial_update": False})

    @classmethod
    def sections(cls) -> dict[str, type[BaseModel]]:
        """The fields that are groups of settings with defaults, by name."""
        kinds = {name: section_kind(field) for name, field in cls.model_fields.items() if not field.is_required()}
        return {name: kind for name, kind in kinds.items() if kind is not None}

    @classmethod
    def by_profile(cls, section: str, name: str) -> dict[str, Any]:
        """What a setting is with each choice where nothing else is asked for; empty if no choice sets it.

        name: within the section: "grounding", "lora.rank"
        """
        chosen = {profile: _at(choices.get(section, {}), name) for profile, choices in cls.profiles.items()}
        if all(value is _UNSET for value in chosen.values()):
            return {}
        default = cls.default_of(f"{section}.{name}")
        return {profile: default if value is _UNSET else value for profile, value in chosen.items()}

    @classmethod
    def told_by_choice(cls, section: str, name: str) -> str:
        """What people read of a setting that choices decide on; nothing of another."""
        by_profile = cls.by_profile(section, name)
        return f"by {cls.chosen_by}: {told_by_profile(by_profile)}" if by_profile else ""

    @classmethod
    def default_of(cls, name: str) -> Any:
        """What a field is where nothing is asked for and no choice is made: "root", "ground.n_frames"."""
        first, _, rest = name.partition(".")
        default = cls.model_fields[first].get_default(call_default_factory=True)
        return _at(default, rest) if rest else default

    @classmethod
    def asked_in(cls, section: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Of a section's given values those that are asked for: null is not, where choices decide."""
        return {name: value for name, value in given.items() if value is not None or not cls.by_profile(section, name)}

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        """The raw values; where nothing is asked for in a section, what the choice by name sets, else its defaults.

        Nothing is asked for by null: it stands for a whole section, or for a setting that choices decide on.
        """
        if not isinstance(values, dict):
            return values
        field = cls.model_fields.get(cls.chosen_by)
        choice = values.get(cls.chosen_by, field.default if field else None)
        choices = cls.profiles.get(choice, {}) if isinstance(choice, str) else {}
        filled = dict(values)
        for section, kind in cls.sections().items():
            given = values.get(section)
            if (section in values or section in choices) and isinstance(given, dict | BaseModel | None):
                asked = cls.asked_in(section, given_in(given))
                filled[section] = merged(kind, given_in(cls.default_of(section)), choices.get(section, {}), asked)
        return filled


def section_kind(field: FieldInfo) -> type[BaseModel] | None:
    """The group of settings that a field holds; None for a single setting, and for a group that may be null."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def may_be_null(field: FieldInfo) -> bool:
    return type(None) in get_args(field.annotation)


def given_in(section: BaseModel | Mapping[str, Any] | None) -> dict[str, Any]:
    """What was asked for in a section of a config."""
    if isinstance(section, BaseModel):
        return section.model_dump(exclude_unset=True)
    return dict(section or {})


def merged(kind: type[BaseModel], *layers: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a section; later layers decide. Groups within it are merged, too, beginning with their defaults."""
    result: dict[str, Any] = {}
    for name, value in (item for layer in layers for item in layer.items()):
        field = kind.model_fields.get(name)
        inner = section_kind(field) if field else None
        if field and inner and isinstance(value, dict | BaseModel):
            before = result[name] if name in result else field.get_default(call_default_factory=True)
            known = isinstance(before, dict | BaseModel)  # a required group has no default
            result[name] = merged(inner, given_in(before) if known else {}, given_in(value))
        else:
            result[name] = value
    return result


def _at(values: Any, path: str) -> Any:
    """The value at a path such as lora.rank in nested settings."""
    for name in path.split("."):
        values = values.get(name, _UNSET) if isinstance(values, Mapping) else getattr(values, name, _UNSET)
        if values is _UNSET:
            break
    return values
