"""flows.engine.command: options become a config, errors one line."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from flows.engine.command import ToldOnce
from flows.registry import FLOWS, load_flow
from schemas.outcome import ServiceDown
from tasks.readers.lines import ManifestError
from tests.support.flow_runs import command, start_command

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
    needed = {"matrix11k": ["--manifest", "m.jsonl"], "matrix-samples": ["--snapshot", "data", "--inputs", "videos"]}
    for name in FLOWS:
        page = (REPOSITORY / "docs" / "reference" / f"options-{name}.md").read_text()
        switches = re.findall(r"`(--no-[\w.-]+)`", page)
        assert switches
        load_flow(name).parse([*needed.get(name, []), *switches])


def logged(error: Exception, message: str = "Encountered exception during execution: %r") -> logging.LogRecord:
    return logging.LogRecord("prefect.flow_runs", logging.ERROR, "", 0, message, (error,), (type(error), error, None))


def test_what_the_last_line_tells_is_not_told_before() -> None:
    told = ToldOnce()
    assert not told.filter(logged(ManifestError("m.csv has a misspelt column")))
    state = "Finished in state Failed('Flow run encountered an exception: ManifestError: m.csv has a misspelt column')"
    assert not told.filter(logging.LogRecord("prefect.flow_runs", logging.ERROR, "", 0, state, (), None))


def test_a_service_that_is_down_is_one_line_a_shard() -> None:
    told, down = ToldOnce(), ServiceDown("LLM gpt-5 at localhost: connection refused")
    first, again, other = logged(down), logged(down, "Task run failed with exception: %r"), logged(ServiceDown("VLM"))
    assert [told.filter(record) for record in (first, again, other)] == [True, False, True]
    assert (first.getMessage(), first.exc_info) == ("ServiceDown: LLM gpt-5 at localhost: connection refused", None)


def test_an_error_of_the_program_keeps_its_traceback() -> None:
    record = logged(ZeroDivisionError("division by zero"))
    assert ToldOnce().filter(record)
    assert record.exc_info is not None
    state = "Finished in state Failed('Flow run encountered an exception: ZeroDivisionError: division by zero')"
    assert ToldOnce().filter(logging.LogRecord("prefect.flow_runs", logging.ERROR, "", 0, state, (), None))


@pytest.mark.slow
def test_a_damaged_manifest_is_one_line(tmp_path: Path) -> None:
    manifest = tmp_path / "captions.csv"
    manifest.write_text("Caption,video\nA man kicks a ball.,a.mp4\n")
    log, _ = (run := start_command(command(manifest, tmp_path / "out"), {})).communicate(timeout=180)
    assert run.returncode == 1
    assert log.splitlines()[-1].startswith("ManifestError: ")
    assert log.count("misspelt column") == 1
    assert "Traceback" not in log
