"""schemas.regular_files and file_content: what is opened is a regular file, and nothing is waited for."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from schemas import regular_files
from schemas.local_copies import Content, file_content, file_sha256
from schemas.regular_files import NotRegular, kept_while_unchanged, open_regular


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    data = os.urandom(3 * 2**20)
    (tmp_path / "a").write_bytes(data)
    (tmp_path / "link").symlink_to("a")
    for name in ("a", "link"):
        with open_regular(tmp_path / name) as file:
            assert file.read() == data
        assert file_content(tmp_path / name) == Content(hashlib.sha256(data).hexdigest(), len(data))


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    first = file_sha256(path)
    path.write_bytes(b"2")
    os.utime(path, ns=(0, 0))
    assert file_sha256(path) != first


@pytest.mark.parametrize("path", ["pipe", "/dev/zero", "/dev/null"])
def test_what_has_no_end_is_not_opened(tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("some devices act when they are opened"))
    with pytest.raises(NotRegular, match="only regular files are read"):
        open_regular(tmp_path / path)


def test_a_folder_and_nothing(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "gone")


def test_a_file_that_becomes_a_pipe_between_the_look_and_the_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    looks = regular_files.require_regular
    seen = []

    def look(found: os.stat_result, at: Path) -> None:
        looks(found, at)
        seen.append(found)
        path.unlink()
        os.mkfifo(path)

    monkeypatch.setattr(regular_files, "require_regular", look)
    n_open = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NotRegular, match="it is a named pipe"):
        open_regular(path)
    assert [stat.S_ISREG(found.st_mode) for found in seen] == [True]
    assert len(os.listdir("/proc/self/fd")) == n_open


def test_what_was_read_is_kept_while_the_file_is_unchanged(tmp_path: Path) -> None:
    read: list[object] = []

    @kept_while_unchanged(2)
    def size_of(source: Path | bytes, factor: int = 1) -> int:
        read.append(source)
        return factor * len(source if isinstance(source, bytes) else source.read_bytes())

    path = tmp_path / "a"
    path.write_bytes(b"123")
    assert [size_of(path), size_of(path), size_of(path, 2), size_of(path, 2)] == [3, 3, 6, 6]
    assert read == [path, path]  # once for each way of asking
    path.write_bytes(b"1234")
    assert size_of(path) == 4
    assert [size_of(b"12"), size_of(b"12")] == [2, 2]
    assert read[3:] == [b"12", b"12"]
    with pytest.raises(FileNotFoundError):
        size_of(tmp_path / "gone")
