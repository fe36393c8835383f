"""flows.commands.ask: a clip's whole story, what failed and what to do, from the published tables alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.commands import ask
from tests.engine.test_publish import Case, case, work  # noqa: F401 - fixtures


@pytest.fixture
def root(case: Case) -> Path:  # noqa: F811
    return case.publish().parent.parent


def asked(capsys: pytest.CaptureFixture[str], root: Path, *words: str) -> str:
    ask.main(["--root", str(root), *words])
    return capsys.readouterr().out


def test_the_yield(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = asked(capsys, root)
    assert "5 inputs = 1 accepted + 2 rejected + 2 failed" in out
    assert "1 rejected split_scenes too_short" in out


def test_the_story_of_an_accepted_clip(root: Path, case: Case, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    clip = case.shards[0].rows[0].payload
    out = asked(capsys, root, "clip", clip.clip_id[:10])
    assert f"{clip.clip_id}: accepted" in out
    assert "id1 kick id2 (contact 5, dynamism 4, confidence 0.9) kept" in out
    assert "id1 watch id2" in out
    assert "dropped: contactness 1 < 3" in out
    assert "anchor [10, 10, 30, 30] on frame 0" in out
    assert "check      id1 presence 0.5 (limit 0.3) passed" in out


@pytest.mark.parametrize("name", ["src-", "v.mp4"])
def test_a_source_by_id_or_path_tells_all_its_clips(root: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = asked(capsys, root, "clip", name)
    assert out.count("clip-") >= 3
    assert "rejected in split_scenes: too_short: 0.1 s" in out
    assert "failed in split_scenes: broken" in out


def test_what_failed_says_what_to_do(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = asked(capsys, root, "failed")
    assert "line-1: read_manifest broken" in out
    assert ask.MEND in out
    assert ask.RERUN not in out, "nothing that failed here can end otherwise"


def test_untrusted_text_cannot_write_to_the_terminal() -> None:
    assert ask._line("a\x1b[31m\nb") == "a\\u001b[31m\\nb"


def test_what_is_not_there_says_so(root: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="knows no 'nothing'"):
        ask.main(["--root", str(root), "clip", "nothing"])
    with pytest.raises(SystemExit, match="is --root right"):
        ask.main(["--root", str(tmp_path / "elsewhere")])
