"""flows.commands.ask: a clip's whole story, what failed and what to do, from the published tables alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.commands import ask
from schemas.matrix11k import OutcomeRow
from tasks.datasets.story import one_line
from tasks.engine.snapshots import ids_in
from tasks.engine.work import Work
from tests.engine.conftest import work  # noqa: F401 - a fixture
from tests.engine.test_publish import Case, case  # noqa: F401 - a fixture
from tests.support.snapshots import write_snapshot


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


def test_untrusted_text_stays_on_its_line_and_cannot_write_to_the_terminal() -> None:
    assert one_line("a\x1b[31m\nb") == "a\\u001b[31m\\nb"
    assert one_line("a\x7f\x85\x9b31m\u2028\u202eb") == r"a\x7f\x85\x9b31m\u2028\u202eb", "8-bit controls too"
    assert one_line('"Ünïcode" 犬 🐕') == r"\"Ünïcode\" 犬 🐕"
    assert one_line(None) == ""


def test_a_file_name_cannot_write_to_the_terminal(work: Work, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    hostile = Case(work, video="\x1b[2Jv\x9b31m\r\n.mp4")
    root = hostile.publish().parent.parent
    source, clip = hostile.sources[2].source_id, hostile.shards[0].rows[0].payload.clip_id
    for words in ([], ["failed"], ["clip", source], ["clip", clip], ["clip", hostile.sources[0].video]):
        out = asked(capsys, root, *words)
        assert all(line.isprintable() for line in out.split("\n")), words
        assert (r"\u001b[2Jv\x9b31m\r\n.mp4" in out) == bool(words), words
    with pytest.raises(SystemExit, match=r"^SnapshotError: toy-\w+ knows no '\\x1b\[2J'; give the beginning"):
        ask.main(["--root", str(root), "clip", "\x1b[2J"])


def test_what_is_not_there_says_so(root: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^SnapshotError: toy-\w+ knows no 'nothing'"):
        ask.main(["--root", str(root), "clip", "nothing"])
    with pytest.raises(SystemExit, match=rf"^SnapshotError: .*there are {ids_in(root / 'snapshots')[0]}$"):
        ask.main(["--root", str(root), "--snapshot", "toy-0"])
    elsewhere = str(tmp_path / "elsewhere")
    with pytest.raises(SystemExit, match=r"^SnapshotError: nothing was published in .*is the root another\?$"):
        ask.main(["--root", elsewhere])
    with pytest.raises(SystemExit, match=r"^SnapshotError: .*toy-0 is no snapshot; there are none$"):
        ask.main(["--root", elsewhere, "--snapshot", "toy-0"])


def test_a_snapshot_of_an_unknown_flow_is_told(tmp_path: Path) -> None:
    rows = [OutcomeRow(row_id="line-1", kind="source", status="failed", stage="x", reason="y", retryable=False)]
    write_snapshot(tmp_path / "snapshots" / "toy-1", "curate-toys", {"outcomes": (OutcomeRow, rows)})
    for words in (["failed"], ["clip", "line-1"]):
        with pytest.raises(SystemExit, match=r"^SnapshotError: toy-1 was made by 'curate-toys'; this version knows"):
            ask.main(["--root", str(tmp_path), "--snapshot", "toy-1", *words])
