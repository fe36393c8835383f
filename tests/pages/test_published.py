"""What roots hold, told to people: the newest first, and whatever is wrong with a root or a snapshot as a line."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO, NoReturn

import pytest

from schemas.regular_files import open_regular
from tasks.engine.snapshots import Snapshot
from tasks.pages.published import look_at
from tests.support.pages import Page
from tests.support.served import served
from tests.support.snapshots import write_snapshot


def publish(root: Path, name: str, at_s: int, flow: str = "curate-toy", **manifest: object) -> Snapshot:
    snapshot = write_snapshot(root / "snapshots" / name, flow, {}, **manifest)
    os.utime(snapshot.folder / "manifest.json", (at_s, at_s))
    return snapshot


def test_the_newest_is_first_and_latest_is_marked(tmp_path: Path) -> None:
    for name, at_s in (("toy-old", 86_400), ("toy-new", 2 * 86_400), ("toy-a", 86_400)):
        publish(tmp_path, name, at_s)
    (tmp_path / "snapshots" / "LATEST").write_text("toy-old\n")
    (tmp_path / "reports" / "toy-old").mkdir(parents=True)
    (tmp_path / "reports" / "toy-old" / "index.html").write_text("")
    shelf = look_at(tmp_path)
    assert shelf.note is None
    assert [(e.id, e.is_latest, e.has_report, e.written) for e in shelf.entries] == [
        ("toy-new", False, False, "1970-01-03 00:00 UTC"),
        ("toy-a", False, False, "1970-01-02 00:00 UTC"),
        ("toy-old", True, True, "1970-01-02 00:00 UTC"),
    ]


def test_folders_may_lie_elsewhere(tmp_path: Path) -> None:
    """A root, or its `snapshots` and `reports`, may be links to a larger disk."""
    publish(tmp_path / "disk", "toy-1", 1)
    (tmp_path / "disk" / "pages" / "toy-1").mkdir(parents=True)
    (tmp_path / "disk" / "pages" / "toy-1" / "index.html").write_text("page")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "snapshots").symlink_to(tmp_path / "disk" / "snapshots")
    (tmp_path / "data" / "reports").symlink_to("../disk/pages")
    (tmp_path / "link").symlink_to("data")
    with served([tmp_path / "link"]) as client:
        assert client.get("/reports/toy-1/").text == "page"
        assert client.get("/snapshots/toy-1/manifest.json").status_code == 200
    assert [entry.has_report for entry in look_at(tmp_path / "link").entries] == [True]


def test_a_root_without_snapshots_says_so(tmp_path: Path) -> None:
    assert look_at(tmp_path / "none").note == f"Nothing was published here yet: there is no {tmp_path}/none/snapshots."
    (tmp_path / "snapshots").mkdir()
    assert look_at(tmp_path).note == f"Nothing was published here yet: {tmp_path}/snapshots is empty."
    (tmp_path / "file").write_text("")
    assert "Nothing was published" in str(look_at(tmp_path / "file").note)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "snapshots").write_text("")
    assert "Nothing was published" in str(look_at(tmp_path / "other").note)


def test_whatever_is_damaged_is_a_line_beside_what_is_whole(tmp_path: Path) -> None:
    snapshots = tmp_path / "snapshots"
    publish(tmp_path, "toy-whole", 1)
    for name in ("no-manifest", "half", "folder", "pipe", "latin", "huge-number", "old", "list"):
        (snapshots / name).mkdir()
    (snapshots / "half" / "manifest.json").write_bytes((snapshots / "toy-whole" / "manifest.json").read_bytes()[:200])
    (snapshots / "folder" / "manifest.json").mkdir()
    os.mkfifo(snapshots / "pipe" / "manifest.json")
    (snapshots / "latin" / "manifest.json").write_bytes(b"\xff\xfe")
    (snapshots / "huge-number" / "manifest.json").write_text("1" + 5000 * "0")
    (snapshots / "old" / "manifest.json").write_text('{"n_lines": 3}')
    (snapshots / "list" / "manifest.json").write_text("[" * 100_000)
    (snapshots / "away").symlink_to("/")
    (snapshots / "dangling").symlink_to("nothing")
    (snapshots / "a file").write_text("")
    (snapshots / ".draft").mkdir()
    (snapshots / "LATEST").write_text("toy-gone\n")
    shelf = look_at(tmp_path)
    assert shelf.note == "LATEST names toy-gone, which is gone."
    told = {entry.id: entry.trouble for entry in shelf.entries}
    assert told.pop("toy-whole") is None
    assert all(told.values())
    damaged = {"no-manifest", "half", "folder", "pipe", "latin", "huge-number", "old", "list", "away"}
    assert set(told) == damaged
    with served([tmp_path]) as client:
        index = Page(client.get("/").text)
        assert "10 snapshots in 1 root" in index.text
        assert index.text.count("cannot be read") >= len(damaged)
        for id in damaged:
            assert client.get(f"/snapshots/{id}/").status_code == 404, id
        assert client.get("/snapshots/toy-whole/").status_code == 200


@pytest.mark.parametrize("content", [b"", b"../x\n", b"\xff", None])
def test_a_damaged_latest_is_a_line(tmp_path: Path, content: bytes | None) -> None:
    publish(tmp_path, "toy-whole", 1)
    latest = tmp_path / "snapshots" / "LATEST"
    if content is None:
        latest.mkdir()
    else:
        latest.write_bytes(content)
    shelf = look_at(tmp_path)
    assert str(shelf.note).startswith(str(latest))
    assert [entry.is_latest for entry in shelf.entries] == [False]


def test_a_root_without_latest_says_why(tmp_path: Path) -> None:
    publish(tmp_path, "toy-poor", 1)
    assert look_at(tmp_path).note == "No snapshot is LATEST: too few rows were accepted."


def test_what_may_not_be_read_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As whoever may not: tests may run as root, who may read everything."""
    publish(tmp_path, "toy-1", 1)
    publish(tmp_path / "other", "toy-2", 1)

    def refuse(path: Path) -> NoReturn:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    def open_some(path: Path) -> BinaryIO:
        return refuse(path) if "toy-1" in path.parts else open_regular(path)

    monkeypatch.setattr("tasks.pages.stored_files.open_regular", open_some)
    (entry,) = look_at(tmp_path).entries
    assert entry.trouble == f"{tmp_path}/snapshots/toy-1/manifest.json: Permission denied"
    with served([tmp_path, tmp_path / "other"]) as client:
        assert client.get("/snapshots/toy-1/manifest.json").status_code == 403
        assert client.get("/snapshots/toy-2/manifest.json").status_code == 200
    monkeypatch.setattr(Path, "iterdir", refuse)
    assert look_at(tmp_path).note == f"{tmp_path}/snapshots: Permission denied"


def test_a_manifest_that_was_mended_is_read_again(tmp_path: Path) -> None:
    publish(tmp_path, "toy-1", 1, n_inputs=3, n_rejected=3)
    (entry,) = look_at(tmp_path).entries
    assert entry.manifest is not None
    assert entry.manifest.n_rejected == 3
    publish(tmp_path, "toy-1", 2, n_inputs=4, n_rejected=4)
    (entry,) = look_at(tmp_path).entries
    assert entry.manifest is not None
    assert entry.manifest.n_rejected == 4


def test_other_peoples_text_is_escaped(tmp_path: Path) -> None:
    root = tmp_path / '<img src=x onerror=alert(1)>"&'
    publish(root, "toy-1", 1, flow="<script>alert(1)</script>")
    with served([root]) as client:
        for path in ("/", "/snapshots/toy-1/"):
            page = Page(client.get(path).text)
            assert {tag for tag, _ in page.tags}.isdisjoint({"img", "script"})
            assert '<img src=x onerror=alert(1)>"&' in page.text.replace('\\"', '"')


def test_many_snapshots_are_folded_below_the_newest(tmp_path: Path) -> None:
    for number in range(23):
        publish(tmp_path, f"toy-{number}", number)
    with served([tmp_path]) as client:
        index = Page(client.get("/").text)
    assert "23 snapshots in 1 root" in index.text
    newest, _, older = index.text.partition("3 older snapshots")
    assert [f"toy-{n} " in newest for n in (22, 3)] == [True, True]
    assert [f"toy-{n} " in older for n in (2, 1, 0)] == [True] * 3
