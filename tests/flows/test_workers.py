"""Which worker an error is from, and that all workers make the same answers."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from flows.curate_matrix11k import CurateMatrix11k, curate_matrix11k
from flows.engine import workers
from flows.engine.dispatch import PARENT_TAG
from flows.engine.workers import on_this_worker, require_same_makers, write_makers
from schemas.outcome import ServiceDown
from tasks.extract_triplets import ExtractConfig
from tasks.readers.lines import ManifestError

LOG = logging.getLogger(__name__)
PARENT = "01980c7e-0000-7000-8000-000000000000"


class CurrentRun:
    """What prefect.runtime.flow_run tells."""

    def __init__(self, run_id: str, tags: list[str]) -> None:
        self.id, self.tags = run_id, tags


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CurateMatrix11k:
    """A run whose parent has the LLM model-a."""
    use_model(monkeypatch, "model-a")
    extract = ExtractConfig(llm="openai")
    config = CurateMatrix11k(manifest=tmp_path / "m.jsonl", root=tmp_path / "root", extract=extract)
    monkeypatch.setattr(workers, "current_run", CurrentRun(PARENT, []))
    write_makers(config.work, config.stages)
    monkeypatch.setattr(workers, "current_run", CurrentRun("shard", [f"{PARENT_TAG}{PARENT}"]))
    return config


def use_model(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("TRIPTYCH_LLM_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("TRIPTYCH_LLM_MODEL", name)


# --- Which worker ------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ServiceDown("no LLM is configured"), ManifestError("there is no file")])
def test_an_error_names_the_worker(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "this_worker", lambda: "worker plan-1 of pool triptych-plan on node7")
    with caplog.at_level("INFO"), pytest.raises(type(error)) as raised, on_this_worker(LOG):
        raise error
    assert str(raised.value).endswith(
        "[worker plan-1 of pool triptych-plan on node7; it has the environment that it was started with]"
    )
    assert "worker plan-1 of pool triptych-plan on node7" in caplog.text


def test_without_a_worker_an_error_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT__WORKER_NAME", "plan-1")  # of a process around this one
    with pytest.raises(ServiceDown, match=r"^down$"), on_this_worker(LOG):
        raise ServiceDown("down")


def test_a_run_that_lacks_a_setting_computes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stages are made before the manifest is looked at: this one is not there."""
    monkeypatch.delenv("TRIPTYCH_LLM_BASE_URL", raising=False)
    monkeypatch.delenv("TRIPTYCH_LLM_MODEL", raising=False)
    config = CurateMatrix11k(manifest=tmp_path / "m.jsonl", root=tmp_path, extract=ExtractConfig(llm="openai"))
    with pytest.raises(ServiceDown, match="export TRIPTYCH_LLM_BASE_URL and TRIPTYCH_LLM_MODEL, for example"):
        curate_matrix11k.fn(config)
    assert list(tmp_path.iterdir()) == []


# --- The same makers ---------------------------------------------------------------------------


def test_a_worker_with_the_same_settings_goes_on(config: CurateMatrix11k) -> None:
    require_same_makers(config.work, config.stages)


def test_another_model_is_told_with_both_names(config: CurateMatrix11k, monkeypatch: pytest.MonkeyPatch) -> None:
    use_model(monkeypatch, "model-b")
    with pytest.raises(
        ServiceDown,
        match=r"extract_triplets: here it is made by openai model-b, but .* with openai model-a\. Give all workers",
    ):
        require_same_makers(config.work, config.stages)


def test_stages_before_the_differing_one_may_run(config: CurateMatrix11k, monkeypatch: pytest.MonkeyPatch) -> None:
    use_model(monkeypatch, "model-b")
    require_same_makers(config.work, [config.stage("split_scenes")])


def rewrite(config: CurateMatrix11k, change: Any) -> None:
    (path,) = (config.work.root / "makers").glob("*.json")  # type: ignore[union-attr]
    makers = json.loads(path.read_bytes())
    change(makers)
    path.write_text(json.dumps(makers))


def test_another_version_of_a_library_is_told(config: CurateMatrix11k) -> None:
    def change(makers: Any) -> None:
        makers["split_scenes"]["made_by"][0]["details"] = '{"version": "0"}'

    rewrite(config, change)
    with pytest.raises(ServiceDown, match=r'split_scenes: .* was planned with .* \{"version": "0"\}'):
        require_same_makers(config.work, config.stages)


def test_other_code_is_told(config: CurateMatrix11k) -> None:
    rewrite(config, lambda makers: makers["split_scenes"].update(fingerprint="0123456789abcdef"))
    with pytest.raises(
        ServiceDown, match=r"planned with code 01234567\. Give all workers the same version of Triptych"
    ):
        require_same_makers(config.work, config.stages)


def test_a_stage_that_the_parent_does_not_know_is_told(config: CurateMatrix11k) -> None:
    rewrite(config, lambda makers: makers.pop("check_tracks"))
    with pytest.raises(ServiceDown, match="by a version of Triptych without check_tracks"):
        require_same_makers(config.work, config.stages)


def test_a_worker_without_the_root_is_told(config: CurateMatrix11k, tmp_path: Path) -> None:
    elsewhere = config.model_copy(update={"root": tmp_path / "elsewhere"})
    with pytest.raises(ServiceDown, match="all workers must see the dataset's root at one address"):
        require_same_makers(elsewhere.work, elsewhere.stages)


def test_a_shard_in_its_parents_process_compares_nothing(
    config: CurateMatrix11k, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "current_run", CurrentRun("run", []))
    use_model(monkeypatch, "model-b")
    require_same_makers(config.work, config.stages)
