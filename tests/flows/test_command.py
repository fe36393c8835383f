"""flows.engine.command: options become a config."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flows.registry import FLOWS, load_flow

REPOSITORY = Path(__file__).resolve().parents[2]


def test_null_is_no_value() -> None:
    config = load_flow("dsr").parse(["--diffusers.flow-shift", "null", "--endpoint.temperature=null"])
    assert config.endpoint.temperature is None
    assert config.diffusers.flow_shift is None


def test_the_options_of_a_section_that_may_be_null_are_known() -> None:
    config = load_flow("kinemask").parse(
        ["--prices.vlm.usd-per-mtok-prompt", "2.5", "--prices.vlm.usd-per-mtok-completion", "10"]
    )
    assert config.prices.vlm is not None
    assert config.prices.vlm.usd_per_mtok_prompt == 2.5
    assert config.prices.llm is None


def test_an_unknown_option_is_refused_with_the_nearest() -> None:
    with pytest.raises(SystemExit, match=r"no option --n-trian; did you mean --n-train\?"):
        load_flow("kinemask").parse(["--n-trian", "3"])


@pytest.mark.parametrize(
    ("options", "denoise"), [([], True), (["--no-cycles.denoise"], False), (["--cycles.denoise"], True)]
)
def test_a_switch_within_a_section_can_be_turned_off(options: list[str], denoise: bool) -> None:
    config = load_flow("kinemask").parse(options)
    assert config.model_dump()["cycles"]["denoise"] is denoise


def test_every_switch_of_the_reference_is_an_option() -> None:
    for name in FLOWS:
        page = (REPOSITORY / "docs" / "reference" / f"options-{name}.md").read_text()
        switches = re.findall(r"`(--no-[\w.-]+)`", page)
        assert switches
        given = ["--manifest", "m.jsonl"] if name == "matrix11k" else []
        load_flow(name).parse([*given, *switches])
