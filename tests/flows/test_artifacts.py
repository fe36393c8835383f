"""What Prefect's pages show of a snapshot: keys that name the dataset, links that work elsewhere, text that is text."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.actions import ArtifactCreate

from flows.engine import artifacts
from flows.engine.artifacts import artifact_key, as_markdown, create_artifacts, escape, fenced
from schemas.snapshot import Count
from schemas.storage import parse_path
from tasks.engine.snapshots import Snapshot
from tests.support.snapshots import write_snapshot

PREFECTS_KEY = r"[a-z0-9-]+"


def publish(root: Path, name: str = "toy-1", **manifest: Any) -> Snapshot:
    numbers = {"n_inputs": 3, "n_accepted": 1, "n_rejected": 0, "n_failed": 2}
    return write_snapshot(root / "snapshots" / name, "curate-toy", {}, **{**numbers, **manifest})


def failed(n: int, reason: str | None) -> Count:
    return Count(status="failed", stage="count_letters", reason=reason, n=n)


@pytest.mark.parametrize(("dataset", "key"), [("matrix11k", "matrix11k"), ("my_own-set_2", "my-own-set-2")])
def test_keys_name_the_dataset_as_prefect_allows(
    dataset: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []
    for create in ("create_table_artifact", "create_markdown_artifact"):
        monkeypatch.setattr(artifacts, create, lambda data, key, description=None: keys.append(key))
    create_artifacts(publish(tmp_path, dataset=dataset), has_report=True)
    assert keys == [f"yield-{key}", f"snapshot-{key}"]
    assert all(re.fullmatch(PREFECTS_KEY, key) for key in keys)


def test_links_are_the_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_REPORTS_URL", "http://reports.example:8600/")
    snapshot = publish(tmp_path)
    text = as_markdown(snapshot, has_report=True)
    assert "**3 inputs = 1 accepted + 0 rejected + 2 failed**" in text
    assert "[Report](http://reports.example:8600/reports/toy-1/)" in text
    assert "[Files](http://reports.example:8600/snapshots/toy-1/)" in text
    assert "triptych serve" not in text
    assert "[Report]" not in as_markdown(snapshot, has_report=False)


@pytest.mark.parametrize("has_report", [True, False])
def test_without_a_server_the_command_that_starts_one_is_told_and_no_dead_link(
    has_report: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRIPTYCH_REPORTS_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    text = as_markdown(publish(Path("my data")), has_report=has_report)
    assert "](" not in text
    assert "file://" not in text
    root = shlex.quote(f"{tmp_path}/my data")
    place = "reports" if has_report else "snapshots"
    assert f"triptych serve --root {root}    # then open http://127.0.0.1:8600/{place}/toy-1/" in text
    assert f"triptych ask --root {root} --snapshot toy-1\n" in text


def test_a_root_in_a_store_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIPTYCH_REPORTS_URL", raising=False)
    text = as_markdown(publish(parse_path("memory://videos/data")), has_report=True)  # type: ignore[arg-type]
    assert "triptych serve --root memory://videos/data " in text


def test_failed_rows_are_told_the_commonest_first(tmp_path: Path) -> None:
    outcomes = [failed(1, "timeout"), failed(7, "server_error"), failed(1, None)]
    outcomes += [Count(status="rejected", stage="count_letters", reason="forbidden", n=9)]
    lines = as_markdown(publish(tmp_path, outcomes=outcomes), has_report=True).splitlines()
    assert lines[lines.index("| rows | stage | reason |") + 2 :] == [
        r"| 7 | count\_letters | server\_error |",
        r"| 1 | count\_letters | timeout |",
        r"| 1 | count\_letters |  |",
    ]
    assert any(line.endswith("--snapshot toy-1 failed") for line in lines)
    none = as_markdown(publish(tmp_path, "toy-2", n_failed=0), has_report=True)
    assert "| rows |" not in none
    assert " failed\n" not in none
    many = as_markdown(publish(tmp_path, "toy-3", outcomes=[failed(1, f"r{n}") for n in range(25)]), has_report=True)
    assert many.splitlines()[-1] == "| 5 | | 5 other reasons |"


@pytest.mark.parametrize(
    "text",
    [
        "[a](javascript:alert(1))",
        "<script>alert(1)</script>",
        "a | b",
        "`a`",
        "a\n\n# b",
        "http://x.example",
        "&lt;b&gt;",
    ],
)
def test_other_peoples_text_is_no_markup(text: str, tmp_path: Path) -> None:
    escaped = escape(text)
    assert "\n" not in escaped
    assert re.sub(r"\\(.)", r"\1", escaped) == " ".join(text.split())
    assert not re.search(r"(?<!\\)[\[\]()<>|`#&:/*_]", escaped)
    assert escaped in as_markdown(publish(tmp_path, outcomes=[failed(1, text)]), has_report=True)


def test_a_root_cannot_end_its_block_of_code(tmp_path: Path) -> None:
    text = as_markdown(publish(tmp_path / "a\n```\n[x](javascript:1)"), has_report=True)
    assert "\n````sh\ntriptych ask " in text
    assert fenced("a ```` b").startswith("`````sh\n")


@pytest.mark.parametrize("dataset", ["matrix11k", "my_clips-2", "0"])
def test_the_key_names_the_dataset_and_is_one(dataset: str) -> None:
    key = artifact_key("split_scenes", dataset)
    assert key == f"split-scenes-{dataset.replace('_', '-')}"
    assert ArtifactCreate(key=key).key == key
