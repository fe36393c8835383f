"""flows.engine.command: options become a config."""

from __future__ import annotations

import pytest

from flows.registry import load_flow


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
    with pytest.raises(SystemExit, match=r"no option --n-trian; --n-train\?"):
        load_flow("kinemask").parse(["--n-trian", "3"])
