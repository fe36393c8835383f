"""What a run asked of model servers: the report's numbers are those that the server counted, whatever went wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flows.commands import ask
from flows.curate_matrix11k import CurateMatrix11k
from flows.engine.dispatch import ShardsFailed
from schemas.usage import TokenPrice, TokenPrices, Usage
from tasks.backends.openai.api import EndpointConfig
from tasks.extract_triplets import ExtractConfig
from tasks.ground_instances import GroundConfig
from tasks.pages.usage import ShardUsage, UsageReport, usage_of
from tests.support.endpoint import LocalEndpoint
from tests.support.flow_runs import (
    REPOSITORY,
    Scene,
    answer_of,
    assert_same_snapshot,
    carry,
    draw_input,
    ends,
    files_of,
    point_at,
    run_here,
    run_in_vain,
    table,
    tiny_config,
    watch,
)

KEY = "sk-test-0123456789abcdef"
SCENES = (
    carry("yellow", "red"),
    Scene("two-shots", (("green", "red"), ("green", "red")), "A green dog carries a red ball."),
    Scene("quiet", (("blue", "red"),), "A quiet green valley under a pale sky."),
)
N_LLM = 4 + 4 + 1  # count, list, rate, describe; the two shots share their caption's; the quiet one is only counted
N_AGAIN = 2 * 3  # about a dog and a ball in each of three clips, on one more frame: the answer is yes
# One by one, so that a test can say which question a fault meets.
QUICK = EndpointConfig(backoff_s=0.01, max_retry_after_s=0.05, max_retries=1, max_failed_rows=1000, concurrency=1)
PRICES = TokenPrices(
    llm=TokenPrice(usd_per_mtok_prompt=2.5, usd_per_mtok_completion=10),
    vlm=TokenPrice(usd_per_mtok_prompt=1, usd_per_mtok_completion=4),
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_input(tmp_path_factory.mktemp("input"), SCENES)


@pytest.fixture
def config(manifest: Path, tmp_path: Path) -> CurateMatrix11k:
    return asking(manifest, tmp_path / "out")


def asking(manifest: Path, root: Path) -> CurateMatrix11k:
    """Two shards of which every caption and every candidate is asked for."""
    ask_for_all = {
        "extract": ExtractConfig(llm="openai"),
        "ground": GroundConfig(grounding="colour", vlm="openai", n_frames=2),
    }
    return tiny_config(manifest, root).model_copy(update=ask_for_all | {"endpoint": QUICK, "shard_size": 2})


def reported(config: CurateMatrix11k) -> UsageReport:
    """Run, and read what the report says was asked."""
    return report_of(config, run_here(config, report=True))


def report_of(config: CurateMatrix11k, snapshot: Path) -> UsageReport:
    report = usage_of(config.root / "reports" / snapshot.name)
    assert report is not None
    assert report.snapshot_id == snapshot.name
    return report


def published(config: CurateMatrix11k) -> Path:
    return config.snapshots / (config.snapshots / "LATEST").read_text().strip()


class Healthy(NamedTuple):
    """A run that saw no fault; many requests at once."""

    config: CurateMatrix11k
    report: UsageReport
    n_calls: int


@pytest.fixture(scope="module")
def healthy(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Healthy:
    at_once = {"endpoint": QUICK.model_copy(update={"concurrency": 8}), "prices": PRICES}
    config = asking(manifest, tmp_path_factory.mktemp("healthy")).model_copy(update=at_once)
    with LocalEndpoint(answers=answer_of) as server, pytest.MonkeyPatch.context() as monkeypatch:
        point_at(server, monkeypatch, key=KEY)
        report = reported(config)
        assert {headers["authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
        return Healthy(config, report, server.calls)


def by_stage(shard: ShardUsage) -> dict[str | None, Usage]:
    return {line.stage: line.usage for line in shard.lines}


def picky(request: dict[str, Any]) -> dict[str, Any]:
    """A good model that takes no candidate for a ball on its first look."""
    answer = answer_of(request)
    if "match" not in answer:
        return answer
    target = json.loads(request["messages"][1]["content"][0]["text"])["target"]
    return answer | {"match": target["class_name"] != "ball"}


# --- Sums ----------------------------------------------------------------------------------------


def test_the_report_counts_what_the_server_counted(healthy: Healthy) -> None:
    report, n_vlm = healthy.report, healthy.n_calls - N_LLM - N_AGAIN
    assert by_stage(report.whole) == {
        "extract_triplets": Usage(calls=N_LLM, prompt_tokens=100 * N_LLM, completion_tokens=10 * N_LLM),
        "ground_instances": Usage(calls=n_vlm, prompt_tokens=100 * n_vlm, completion_tokens=10 * n_vlm),
        "check_tracks": Usage(calls=N_AGAIN, prompt_tokens=100 * N_AGAIN, completion_tokens=10 * N_AGAIN),
    }
    assert sum((shard.total.usage for shard in report.shards), Usage()) == report.whole.total.usage
    assert [(shard.n_clips, shard.n_accepted) for shard in report.shards] == [(2, 2), (2, 1)]


def test_a_result_that_clips_of_two_shards_share_is_counted_once(healthy: Healthy) -> None:
    first, second = (by_stage(shard)["extract_triplets"] for shard in healthy.report.shards)
    assert (first.calls, second.calls) == (4 + 4, 1)
    assert [shard.lines[0].rows for shard in healthy.report.shards] == [2, 2]


def test_the_cost_is_that_of_each_roles_tokens(healthy: Healthy) -> None:
    cost, n_vlm = healthy.report.whole.total.cost, healthy.n_calls - N_LLM
    assert cost is not None
    assert cost.is_whole
    assert cost.usd == pytest.approx((N_LLM * (250 + 100) + n_vlm * (100 + 40)) / 1e6)


def test_the_verifier_is_told_against_the_naive_scan(healthy: Healthy) -> None:
    told = healthy.report.whole.verification
    assert told is not None
    assert told.n_candidates == table(published(healthy.config), "candidates").height > told.n_asked
    assert told.n_accepted == 2 * 3, "a dog and a ball in each of three clips"
    assert told.n_asked == told.n_calls == healthy.n_calls - N_LLM - N_AGAIN


def test_rejected_rows_are_paid_for_too(config: CurateMatrix11k, monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalEndpoint(answers=picky) as server:
        point_at(server, monkeypatch)
        snapshot = run_in_vain(run_here, config, report=True)
    report = report_of(config, snapshot)
    assert {end[0] for end in ends(snapshot).values()} == {"rejected"}
    assert report.whole.total.usage.calls == server.calls
    assert report.whole.verification is not None
    assert report.whole.verification.n_asked == server.calls - N_LLM


@pytest.mark.slow
def test_failed_rows_retries_and_earlier_runs_are_paid_for_too(
    config: CurateMatrix11k, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalEndpoint(answers=answer_of, faults=["ok"] * 6 + ["500"] * 2) as faulty:
        point_at(faulty, monkeypatch)
        first = reported(config)
        assert {"accepted", "failed"} <= {end[0] for end in ends(published(config)).values()}
    assert first.whole.total.usage.calls == faulty.calls
    assert first.whole.total.usage.unanswered == 2
    with LocalEndpoint(answers=answer_of) as mended:
        point_at(mended, monkeypatch)
        second = reported(config)
        third = reported(config)  # nothing is left to do
    assert "failed" not in {end[0] for end in ends(published(config)).values()}
    assert second.whole.total.usage.calls == faulty.calls + mended.calls
    assert second.whole.total.usage.prompt_tokens == 100 * (faulty.calls - 2 + mended.calls)
    assert third == second


@pytest.mark.slow
def test_a_shard_that_died_of_its_service_is_paid_for_when_it_is_run_again(
    config: CurateMatrix11k, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalEndpoint(answers=answer_of, faults=["ok"] * 3, always="401") as refusing:
        point_at(refusing, monkeypatch)
        with pytest.raises(ShardsFailed):
            run_here(config)
    with LocalEndpoint(answers=answer_of) as mended:
        point_at(mended, monkeypatch)
        total = reported(config).whole.total.usage
    assert total.calls == refusing.calls + mended.calls
    assert total.cached == 3, "what was answered before is not asked again"
    assert total.prompt_tokens == 100 * (3 + mended.calls)


@pytest.mark.slow
def test_a_killed_run_is_paid_for_when_it_is_run_again(
    config: CurateMatrix11k, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL in the middle of a row; the one call whose answer never came is not known to anybody."""
    victims: list[subprocess.Popen[bytes]] = []

    def answer_then_kill(request: dict[str, Any]) -> dict[str, Any]:
        if server.calls == 7:
            victims[0].send_signal(signal.SIGKILL)
        return answer_of(request)

    script = (
        "import sys; from tests.support.flow_runs import *; run_here(CurateMatrix11k.model_validate_json(sys.argv[1]))"
    )
    with LocalEndpoint(answers=answer_then_kill) as server:
        point_at(server, monkeypatch)
        arguments = [sys.executable, "-c", script, config.model_dump_json()]
        victims.append(subprocess.Popen(arguments, cwd=REPOSITORY, env=dict(os.environ)))
        assert victims[0].wait(timeout=60) == -signal.SIGKILL
        assert server.calls == 7
        total = reported(config).whole.total.usage
    assert total == Usage(
        calls=server.calls - 1,
        cached=2,  # of the second caption's replies
        prompt_tokens=100 * (server.calls - 1),
        completion_tokens=10 * (server.calls - 1),
    )


# --- What it must not touch ----------------------------------------------------------------------


@pytest.mark.slow
def test_neither_usage_nor_prices_change_a_byte_or_a_key(
    healthy: Healthy, config: CurateMatrix11k, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalEndpoint(answers=answer_of, faults=["not_json", "ok", "503"], usage=None) as server:
        point_at(server, monkeypatch)
        total = reported(config).whole.total
    assert total.usage.tokens is None
    assert total.cost is None
    assert_same_snapshot(published(config), published(healthy.config))
    for folder in ("rows", "shards"):
        assert made_in(config, folder) == made_in(healthy.config, folder)


def made_in(config: CurateMatrix11k, folder: str) -> dict[str, str]:
    return files_of(config.work.root / folder)


def test_new_prices_are_told_and_compute_nothing(healthy: Healthy, monkeypatch: pytest.MonkeyPatch) -> None:
    dearer = TokenPrices(llm=TokenPrice(usd_per_mtok_prompt=100, usd_per_mtok_completion=100))
    before = files_of(healthy.config.snapshots)
    with LocalEndpoint(answers=answer_of) as server, watch(healthy.config) as made:
        point_at(server, monkeypatch)
        report = reported(healthy.config.model_copy(update={"prices": dearer}))
    assert (made.counts, server.calls) == ({}, 0)
    assert files_of(healthy.config.snapshots) == before
    assert report.whole.total.usage == healthy.report.whole.total.usage
    assert str(report.whole.total.cost) == "at least $0.0990", "the VLM has no price"


def test_the_key_is_in_no_count(healthy: Healthy) -> None:
    files = [path for path in healthy.config.root.rglob("*") if path.is_file()]
    assert any("/usage/" in path.as_posix() for path in files)
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


# --- Telling it ----------------------------------------------------------------------------------


def test_ask_tells_the_sum(healthy: Healthy, capsys: pytest.CaptureFixture[str]) -> None:
    ask.main(["--root", str(healthy.config.root)])
    assert f"\nmodel servers: {healthy.n_calls} calls, 0 replies from the cache, " in capsys.readouterr().out


def test_an_embedded_run_tells_nothing(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny_config(manifest, tmp_path / "out")
    snapshot = run_here(config, report=True)
    assert usage_of(config.root / "reports" / snapshot.name) is None
    assert 'id="usage"' not in (config.root / "reports" / snapshot.name / "index.html").read_text()
    assert not (config.work.root / "usage").exists()
    ask.main(["--root", str(config.root)])
    assert "model servers" not in capsys.readouterr().out
