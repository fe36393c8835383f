"""The run form of Prefect's UI changes nothing by itself: what it posts is the config that runs without it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from prefect.utilities.schema_tools.validation import ValidationError as SchemaError
from prefect.utilities.schema_tools.validation import validate
from pydantic import Field, ValidationError
from pydantic_settings import CliApp

from flows.engine.config import CurationConfig, Profiles
from flows.registry import FLOWS, load_flow
from schemas.config import StageConfig
from tasks.ground_instances import GroundConfig
from tests.support.run_form import Deployment, deployments, posted
from tests.support.toy.flow import CurateToy

CONFIGS = {name: load_flow(name).config for name in FLOWS}
INPUT = {"matrix11k": {"manifest": "m.jsonl"}, "kinemask": {}, "dsr": {}}
DECIDED = [
    (name, section, field)
    for name, config in CONFIGS.items()
    for section, field in sorted({(s, f) for choices in config.profiles.values() for s in choices for f in choices[s]})
]


def fields(schema: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field of a form with its path, those of closed sections included."""
    for name, field in schema["properties"].items():
        yield name, field
        for kind in field.get("anyOf", []):
            for path, inner in fields(kind) if "properties" in kind else ():
                yield f"{name}.{path}", inner


# --- The way through the form ------------------------------------------------------------------


def profiles(deployment: Deployment) -> Profiles:
    return deployment.config_type.profiles


def test_every_flow_has_a_deployment() -> None:
    assert {deployment.config_type for deployment in deployments()} == set(CONFIGS.values())


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize(
    ("deployment", "profile"),
    [(d, p) for d in deployments() for p in ("as deployed", "embedded", "paper") if p in ("as deployed", *profiles(d))],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_form_that_is_submitted_unchanged_runs_what_is_deployed(
    deployment: Deployment, profile: str, opened: bool
) -> None:
    changes = {} if profile == "as deployed" else {"profile": profile}
    given = {"config": deployment.parameters["config"] | changes}
    form = posted(deployment.schema, given, opened=opened)
    validate(form, deployment.schema, raise_on_error=True)
    config = deployment.config_type.model_validate(form["config"])
    assert config == deployment.config(**changes)
    assert config.model_dump() == deployment.config(**changes).model_dump()
    if opened:
        assert form["config"].keys() == deployment.config_type.model_fields.keys()
        assert all(form["config"][section] for section in deployment.config_type.sections())


@pytest.mark.parametrize("deployment", deployments(), ids=lambda deployment: deployment.name)
def test_the_profile_of_a_deployment_is_a_choice_in_its_form(deployment: Deployment) -> None:
    """Someone who opens another deployment's form and chooses `paper` gets the paper's backends."""
    form = posted(deployment.schema, deployment.parameters, opened=True)["config"]
    for profile, choices in deployment.config_type.profiles.items():
        config = deployment.config_type.model_validate(form | {"profile": profile})
        for section, chosen in choices.items():
            asked = deployment.parameters["config"].get(section, {})
            assert getattr(config, section).model_dump() | asked == getattr(config, section).model_dump()
            assert {n: getattr(getattr(config, section), n) for n in chosen if n not in asked} == {
                n: v for n, v in chosen.items() if n not in asked
            }


# --- What profiles decide ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "section", "field", "profile"), [(*d, p) for d in DECIDED for p in CONFIGS[d[0]].profiles]
)
def test_null_means_by_profile_and_a_value_is_a_choice(name: str, section: str, field: str, profile: str) -> None:
    kind, given = CONFIGS[name], {**INPUT[name], "profile": profile}
    told = kind.by_profile(section, field)

    def value(**asked: Any) -> Any:
        return getattr(getattr(kind.model_validate({**given, **asked}), section), field)

    for nothing in ({}, {section: {field: None}}, {section: {}}, {section: None}):
        assert value(**nothing) == told[profile]
    for choice in set(told.values()) - {"official"}:  # which asks for settings of other sections, too
        lenient = {"score": {"validity": "rivals"}} if name == "dsr" else {}
        # Of a setting that may be null, null is what the profile chooses, too.
        assert value(**{**lenient, section: {field: choice}}) == (told[profile] if choice is None else choice)


@pytest.mark.parametrize(("name", "profile"), [(n, p) for n, kind in CONFIGS.items() for p in kind.profiles])
def test_a_config_that_is_read_again_is_the_same(name: str, profile: str) -> None:
    """Shards get their parent's, with what its profile chose; as a model, as JSON, as only what was set."""
    kind = CONFIGS[name]
    for asked in ({}, {section: dict.fromkeys(kind.profiles[profile][section]) for section in kind.profiles[profile]}):
        config = kind.model_validate({**INPUT[name], "profile": profile, **asked})
        whole, some = config.model_dump(mode="json"), config.model_dump(exclude_unset=True)
        assert (
            config == kind.model_validate(whole) == kind.model_validate(some) == kind.model_validate({**dict(config)})
        )


@pytest.mark.parametrize("name", INPUT)
def test_null_on_the_command_line_means_by_profile(name: str) -> None:
    arguments = [f"--{key}={value}" for key, value in {**INPUT[name], "profile": "paper"}.items()]
    nulls = [f"--{section}.{field}=null".replace("_", "-") for flow, section, field in DECIDED if flow == name]
    config = load_flow(name).parse([*arguments, *nulls])
    assert config == CONFIGS[name].model_validate({**INPUT[name], "profile": "paper"})


def test_a_default_that_is_named_is_a_choice() -> None:
    arguments = ["--manifest", "m.jsonl", "--profile", "paper", "--ground.grounding", "colour"]
    ground = load_flow("matrix11k").parse(arguments).model_dump()["ground"]
    assert (ground["grounding"], ground["vlm"]) == ("colour", "openai")


def test_other_options_of_a_section_leave_it_to_the_profile() -> None:
    options = ["--manifest", "m.jsonl", "--profile", "paper", "--ground.n-frames", "4"]
    for config in (load_flow("matrix11k").parse(options), CliApp.run(CONFIGS["matrix11k"], cli_args=options)):
        ground = config.model_dump()["ground"]
        assert (ground["grounding"], ground["vlm"], ground["n_frames"]) == ("groundingdino", "openai", 4)


def test_other_settings_of_a_section_leave_its_defaults_as_they_are() -> None:
    """dsr looks at 16 frames where the stage by itself looks at 8."""
    for given in ({"max_candidates": 4}, GroundConfig(max_candidates=4)):
        config = CONFIGS["dsr"].model_validate({"ground": given}).model_dump()
        assert (config["ground"]["n_frames"], config["ground"]["max_candidates"]) == (16, 4)
    assert CONFIGS["dsr"].model_validate({"ground": GroundConfig(n_frames=8)}).model_dump()["ground"]["n_frames"] == 8


@pytest.mark.parametrize("wrong", ["text", 3, [1]])
def test_a_section_that_is_none_is_refused(wrong: Any) -> None:
    for profile in ("embedded", "paper"):
        with pytest.raises(ValidationError, match=r"ground\n"):
            CONFIGS["matrix11k"].model_validate({"manifest": "m.jsonl", "profile": profile, "ground": wrong})


class MoodConfig(StageConfig):
    """How a mood is found."""

    model: str = Field("small", description="Which model looks")
    device: str | None = Field(None, description="null: any")
    loud: bool = Field(False, description="Whether it says so")


class Moody(CurateToy):
    """Two sections of one kind with different defaults, and a profile that decides on one of them."""

    profiles: ClassVar[Profiles] = {"plain": {}, "grand": {"second": {"model": "large", "loud": True}}}
    profile: Literal["plain", "grand"] = "plain"
    first: MoodConfig = MoodConfig()
    second: MoodConfig = MoodConfig(model="medium", device="cpu")


def test_two_sections_of_one_kind_keep_their_own_defaults() -> None:
    form = dict(fields(Moody.model_json_schema()))
    assert (form["first.model"]["default"], form["first.device"]["default"]) == ("small", None)
    assert (form["second.model"]["default"], form["second.device"]["default"]) == (None, "cpu")
    assert form["second.model"]["description"] == "Which model looks. By profile: medium (plain), large (grand)"
    grand = Moody.model_validate({"words": "a b", "profile": "grand", "second": {"model": None, "device": None}})
    assert grand.second == MoodConfig(model="large", device=None, loud=True)
    assert Moody.model_validate({"words": "a b", "second": {"loud": None}}).second == Moody(words="a b").second


@pytest.mark.parametrize(
    "choices", [{"second": {"modell": "x"}}, {"secnd": {"model": "x"}}, {"second": {"device": "x"}}]
)
def test_a_profile_that_sets_what_null_could_not_stand_for_is_refused(choices: dict[str, dict[str, Any]]) -> None:
    ((section, names),) = choices.items()
    where = rf"Odd: a profile sets {section}\.{next(iter(names))}: no setting, or one that may be null"
    with pytest.raises(TypeError, match=where):

        class Odd(Moody):
            profiles: ClassVar[Profiles] = {"plain": {}, "grand": choices}


# --- What it looks like ------------------------------------------------------------------------


def order(kind: type[CurationConfig]) -> Sequence[str]:
    """As the form sorts: by position. PostgreSQL gives keys back in another order."""
    shown = kind.model_json_schema()["properties"]
    return sorted(sorted(shown), key=lambda name: shown[name]["position"])


@pytest.mark.parametrize("name", FLOWS)
def test_what_a_newcomer_needs_comes_first_and_technical_sections_last(name: str) -> None:
    kind, shown = CONFIGS[name], order(CONFIGS[name])
    first = [option for option in kind.first_options if "." not in option]
    sections = list(kind.sections())
    assert shown[: len(first)] == first
    assert sorted(shown[-len(sections) :]) == sorted(sections)
    assert shown[-3:] == ["endpoint", "dispatch", "prices"]
    assert not kind.profiles or shown.index("profile") < 6


def test_sections_come_in_the_order_of_the_stages() -> None:
    stages = ["split", "extract", "ground", "propagate", "check", "dino", "sam2", "torch"]
    assert [section for section in order(CONFIGS["matrix11k"]) if section in stages] == stages


@pytest.mark.parametrize("name", FLOWS)
def test_every_field_has_a_title_and_a_help_text_and_sections_are_closed(name: str) -> None:
    kind = CONFIGS[name]
    form = dict(fields(kind.model_json_schema()))
    for path, field in form.items():
        assert field["title"][0].isupper(), path
        assert "_" not in field["title"].replace("simple_motion", ""), path
        assert field["description"], path
    assert {path for path, field in form.items() if field.get("default") == {}} - {"dispatch.routes"} == set(
        kind.sections()
    )
    decided = {f"{section}.{field}" for n, section, field in DECIDED if n == name}
    assert {path for path, field in form.items() if "By profile: " in field["description"]} == decided
    assert {path for path, field in form.items() if field.get("anyOf", [{}])[0].get("title") == "By profile"} == decided


def test_routes_have_a_field_for_each_stage() -> None:
    routes = dict(fields(CONFIGS["kinemask"].model_json_schema()))["dispatch.routes"]
    assert list(routes["properties"]) == ["simulate_scenes", "render_clips", "caption_clips", "write_shard"]
    assert routes["properties"]["render_clips"]["title"] == "Render clips"


@pytest.mark.parametrize(
    ("ground", "why"),
    [
        ({"n_frames": 0}, "'config.ground.n_frames'. Failure reason: 0 is less than the minimum of 1"),
        ({"n_fames": 3}, r"'config.ground'. Failure reason: Additional properties are not allowed \('n_fames'"),
        ({"vlm": "rulez"}, "'config.ground.vlm'. Failure reason: 'rulez' is not one of"),
        ({"exclusion_iou": "x"}, "'config.ground.exclusion_iou'. Failure reason: 'x' is not of type 'number'"),
        (3, "'config.ground'. Failure reason: 3 is not of type 'object'"),
    ],
)
def test_the_server_names_the_field_of_a_section_that_is_wrong(ground: Any, why: str) -> None:
    schema = load_flow("matrix11k").curate.parameters.model_dump_for_openapi()
    with pytest.raises(SchemaError, match=why):
        validate({"config": {"manifest": "m.jsonl", "ground": ground}}, schema, raise_on_error=True)


def test_the_short_help_tells_what_profiles_decide(capsys: pytest.CaptureFixture[str]) -> None:
    load_flow("matrix11k").main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    by_profile = "rules (embedded), transformers (local), openai (paper)"
    assert f"[rules, openai, transformers] (by profile: {by_profile})" in told
    assert "(default: rules)" not in told
    assert str(Path("data")) in told
