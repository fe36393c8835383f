"""tasks.engine.work: a root that cannot be written to is one line that fits, before anything is computed."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.clip import Clip
from schemas.outcome import ServiceDown
from schemas.split import SplitResult
from schemas.storage import ObjectPath, parse_path
from tasks.engine.inputs import Inputs
from tasks.engine.shards import load_shard
from tasks.engine.snapshots import LATEST, Snapshot, SnapshotError
from tasks.engine.work import Work, require_writable, unwritable_is_a_service_down
from tasks.engine.write_shard import find_done

REPOSITORY = Path(__file__).resolve().parents[2]
LOOK = "import sys; from pathlib import Path; from tasks.engine.work import *; require_writable(Path(sys.argv[1]))"
# root may write anywhere, unless it gives that up.
AS_ANYBODY = ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"] * (os.geteuid() == 0)


def told(code: int | None, place: Path, root: Path) -> str:
    """What is said of an OSError at this place."""
    with pytest.raises((ServiceDown, OSError)) as caught, unwritable_is_a_service_down("check_tracks", root):
        raise OSError(code, os.strerror(code or 0), str(place))
    return f"{type(caught.value).__name__}: {caught.value}"


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "No space left on device. Make room there and run it again."),
        (errno.EDQUOT, "Make room there (it is a quota that is used up)"),
        (errno.EROFS, "Read-only file system. It is mounted read-only: mount it for writing, or take another root"),
        (errno.EACCES, f"Permission denied. Its owner or mode keeps user {os.geteuid()} out: change them, or take"),
        (errno.ENOTDIR, "A file has the name of a folder: move it away, or take another root (--root)."),
    ],
)
def test_the_remedy_fits_the_error(code: int, remedy: str, tmp_path: Path) -> None:
    said = told(code, tmp_path / "root" / "work" / "rows", tmp_path / "root")
    assert said.startswith("ServiceDown: check_tracks: cannot write to ")
    assert remedy in said


def test_what_lies_elsewhere_is_no_matter_of_the_root(tmp_path: Path) -> None:
    assert told(errno.EACCES, tmp_path / "videos" / "dog.mp4", tmp_path / "root").startswith("PermissionError")
    assert told(errno.EIO, tmp_path / "root", tmp_path / "root").startswith("OSError")


def test_a_root_is_made_and_left_empty(tmp_path: Path) -> None:
    require_writable(tmp_path / "new" / "root")
    assert list((tmp_path / "new" / "root").iterdir()) == []


@pytest.mark.parametrize("path", ["file", "file/root", "root"])
def test_a_file_has_the_name_of_a_folder(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "work").touch()
    with pytest.raises(ServiceDown, match=r"--root: cannot write to .*A file has the name of a folder"):
        require_writable(tmp_path / path)


def test_a_store_is_not_asked() -> None:
    root = parse_path("s3://no-such-bucket/data")
    assert isinstance(root, ObjectPath)
    require_writable(root)


@pytest.mark.skipif(bool(AS_ANYBODY) and shutil.which("setpriv") is None, reason="root, and no setpriv")
@pytest.mark.parametrize("locked", ["root", "root/work", "root/work/rows/check_tracks", "root/snapshots", "."])
def test_another_users_folder(locked: str, tmp_path: Path) -> None:
    (tmp_path / locked).mkdir(parents=True, exist_ok=True)
    (tmp_path / locked).chmod(0o555)
    done = subprocess.run(
        [*AS_ANYBODY, sys.executable, "-c", LOOK, str(tmp_path / "root")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    (tmp_path / locked).chmod(0o755)
    assert done.stderr.splitlines()[-1].startswith("schemas.service.ServiceDown: --root: cannot write to ")
    assert "Permission denied. Its owner or mode keeps user" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="only root mounts")
def test_a_disk_that_is_mounted_read_only(tmp_path: Path) -> None:
    mount = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 77; exec "$2" -c "$3" "$1"'
    arguments = ["unshare", "--mount", "sh", "-c", mount, "sh", str(tmp_path), sys.executable, LOOK]
    done = subprocess.run(arguments, cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("this container may not mount")
    assert "Read-only file system. It is mounted read-only: mount it for writing" in done.stderr.splitlines()[-1]


# --- Named pipes -------------------------------------------------------------------------------------


def test_a_named_pipe_in_place_of_a_file_is_an_error_and_no_wait(tmp_path: Path) -> None:
    work = Work(root=tmp_path / "work", inputs=Inputs(folder=tmp_path))
    key, snapshots, planned = "ab" * 16, tmp_path / "snapshots", work.state_path("shard-a", 0, "")
    reads: dict[Any, Callable[[], Any]] = {
        snapshots / LATEST: lambda: Snapshot.latest(snapshots),
        work.result_path(SplitResult, key): lambda: work.load(SplitResult, key),
        planned: lambda: load_shard(planned, Clip),
        work.shard_path("shard-a", "done-c.json"): lambda: find_done(work, "shard-a", "c"),
    }
    for path, read in reads.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
        with pytest.raises((OSError, SnapshotError), match="it is a named pipe; only regular files are read"):
            read()
