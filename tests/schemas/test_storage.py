"""schemas.storage and schemas.local_copies: one behaviour on a disk, on S3 and in any other store of fsspec's."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from schemas import local_copies, storage
from schemas.local_copies import ContentChanged, fetch, local_copy, make_room
from schemas.outcome import ServiceDown
from schemas.source import Source
from schemas.storage import (
    AnyPath,
    DataPath,
    ObjectPath,
    at_once,
    list_files,
    open_draft,
    parse_path,
    sweep,
    write_atomic,
)
from tasks.engine.inputs import Inputs
from tasks.engine.snapshots import Snapshot, ids_in
from tasks.engine.work import Work
from tests.engine.test_publish import Case
from tests.engine.test_stage import Counter, Length, run
from tests.support.builders import make_source
from tests.support.roots import root_of
from tests.support.s3_server import SECRET_KEY, S3Server, bucket, new_environment, s3, s3_server  # noqa: F401 - fixtures
from tests.support.snapshots import latest_folder, write_snapshot

# --- What a path means -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("data", Path("data")),
        ("/data/a b#1%20", Path("/data/a b#1%20")),
        ("file:///data/a%20b", Path("/data/a b")),
        ("./s3", Path("s3")),
    ],
)
def test_a_path_stays_a_path(text: str, path: Path) -> None:
    assert parse_path(text) == path
    assert parse_path(path) is path


@pytest.mark.parametrize(
    "text", ["s3://videos", "s3://videos/a/b.jsonl", "s3://videos/a b#1%20?x", "memory://videos/a"]
)
def test_an_address_comes_back_as_it_was(text: str) -> None:
    path = parse_path(text)
    assert isinstance(path, ObjectPath)
    assert str(path) == text
    assert parse_path(str(path)) == parse_path(path) == path
    assert {path: 1}[parse_path(text + "/")] == 1


def test_slashes_and_dots_fold_as_on_a_disk() -> None:
    assert str(parse_path("s3://videos//a/./b//c/../d/")) == "s3://videos/a/b/d"
    path = parse_path("s3://videos") / "a" / "b.tar.mp4"
    assert (path.name, path.suffix, str(path.parent), str(path.with_suffix(".txt"))) == (
        "b.tar.mp4",
        ".mp4",
        "s3://videos/a",
        "s3://videos/a/b.tar.txt",
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("s3://", "no bucket"),
        ("s3:///key", "no bucket"),
        ("s3://../key", "no bucket"),
        ("s3://videos/../..", "no bucket"),
        ("s3://vi deos/key", "no bucket"),
        ("s3://videos/" + "k/" * 600, "too long"),
        ("s3://videos/" + "k" * 300, "too long"),
        ("s3://videos/a\0b", "zero byte"),
        ("s4://videos/key", "not a storage that fsspec supports"),
    ],
)
def test_what_is_no_address_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_path(text)


def test_an_address_that_pathlib_folded_is_refused() -> None:
    with pytest.raises(ValueError, match="as text"):
        parse_path(Path("s3://videos/key"))


class Config(BaseModel):
    root: DataPath = Path("data")


@pytest.mark.parametrize("text", ["data", "s3://videos/data"])
def test_a_config_crosses_as_json(text: str) -> None:
    config = Config.model_validate({"root": text})
    assert config.model_dump(mode="json") == {"root": text}
    assert Config.model_validate_json(config.model_dump_json()) == config
    assert Config.model_json_schema()["properties"]["root"] == {
        "default": "data",
        "format": "path",
        "title": "Root",
        "type": "string",
    }


def test_a_key_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ServiceDown, match="environment") as raised:
        Config.model_validate({"root": "s3://someone:hunter2@videos/data"})
    assert "hunter2" not in str(raised.value)
    with pytest.raises(ValidationError, match="no bucket"):
        Config.model_validate({"root": "s3://"})


# --- One contract for all ----------------------------------------------------------------------


@pytest.fixture(params=["disk", "s3", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> AnyPath:
    return root_of(request, tmp_path)


def test_what_was_written_is_read(root: AnyPath) -> None:
    path = root / "rows" / "a b#1%20[x]*.json"
    assert not path.is_file()
    with pytest.raises(FileNotFoundError) as raised:
        path.read_bytes()
    assert raised.value.strerror == os.strerror(errno.ENOENT)
    for data in (b"one", b"\xef\xbb\xbfa\r\nb"):
        write_atomic(path, data)
        assert path.read_bytes() == data
    assert path.read_text("utf-8-sig") == "a\nb"
    assert (path.is_file(), path.is_dir(), path.parent.is_file(), path.parent.is_dir()) == (True, False, False, True)


def test_a_folder_lists_what_lies_in_it(root: AnyPath) -> None:
    names = ["b/x.json", "b-c/x.json", "b/y.txt", "b/deeper/z.json", "[b]/x.json"]
    for name in names:
        write_atomic(root / name, b"")
    assert [str(path.relative_to(root)) for path in list_files(root)] == [
        "[b]/x.json",
        "b/deeper/z.json",
        "b/x.json",
        "b/y.txt",
        "b-c/x.json",
    ]
    assert sorted(path.name for path in root.iterdir()) == ["[b]", "b", "b-c"]
    assert [path.name for path in (root / "b").glob("*.json")] == ["x.json"]
    assert list((root / "[b]").glob("*")) == [root / "[b]" / "x.json"]
    assert list((root / "gone").glob("*")) == list_files(root / "gone") == []


def test_calls_keep_their_order_and_tell_the_first_error(root: AnyPath) -> None:
    def slow_first(n: int) -> int:
        time.sleep(0.05 if n == 0 else 0)
        return n

    assert at_once(root, slow_first, range(40)) == list(range(40))
    with pytest.raises(ZeroDivisionError):
        at_once(root, lambda n: 1 // n, [1, 0, 1])


def test_a_table_is_read_from_all_its_files(root: AnyPath) -> None:
    rows = [make_source(caption) for caption in ("one", "two", "three")]
    shards = {"b": [rows[2].row_id], "a": [row.row_id for row in rows[:2]]}
    snapshot = write_snapshot(root / "toy-1", "curate-matrix11k", {"sources": (Source, rows)}, shards)
    assert len(snapshot.files("sources")) == 2
    assert snapshot.rows(Source) == rows


@pytest.fixture
def work(root: AnyPath, tmp_path: Path) -> Work:
    return Work(root=root / "work", inputs=Inputs(folder=tmp_path))


def test_the_same_key_is_never_computed_twice_anywhere(work: Work) -> None:
    counter = Counter()
    first, second = run(work, counter, "abc"), run(work, counter, "abcd")
    assert counter.calls == ["a", "b", "c", "d"]
    assert [row.made for row in second.rows[:3]] == [row.made for row in first.rows]
    work_again = Work.model_validate_json(work.model_dump_json())
    assert run(work_again, counter, "abc") == first
    write_atomic(work.result_path(Length, first.rows[0].made["measure"]), b"")
    run(work, counter, "abc")
    assert counter.calls == ["a", "b", "c", "d", "a"]


def test_a_snapshot_is_the_same_wherever_it_lies(work: Work, tmp_path: Path) -> None:
    def contents(folder: AnyPath) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in list_files(folder)}

    on_disk = Case(Work(root=tmp_path / "elsewhere" / "work", inputs=Inputs(folder=tmp_path))).publish()
    case = Case(work)
    snapshot = case.publish()
    assert snapshot == case.publish() == latest_folder(case.snapshots)
    assert snapshot.name == on_disk.name
    assert contents(snapshot) == contents(on_disk)
    assert ids_in(case.snapshots) == [snapshot.name]


def test_what_killed_writes_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    write_atomic(tmp_path / "clips" / "a.jpg", b"whole")
    left = [tmp_path / ".index.html.17-4.tmp", tmp_path / "clips" / ".b.jpg.17-4.tmp"]
    for path in left:
        path.write_bytes(b"ha")
    sweep(tmp_path)
    assert list_files(tmp_path) == [tmp_path / "clips" / "a.jpg"]


def test_a_kill_while_publishing_leaves_no_snapshot(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def die(manifest: object, dataset: object) -> str:
        raise Killed

    case = Case(work)
    monkeypatch.setattr("tasks.engine.publish.dataset_card", die)
    with pytest.raises(Killed):
        case.publish()
    assert Snapshot.latest(case.snapshots) is None
    assert list_files(case.snapshots) == []
    monkeypatch.undo()


def test_a_draft_appears_once(root: AnyPath) -> None:
    write_atomic(root / "made.bin", b"made")
    for text in (b"first", b"second"):
        with open_draft(root / "drafts") as draft:
            draft.link([("tables/made.bin", root / "made.bin")])
            write_atomic(draft.folder / "last", text)
            assert not (root / "drafts" / "name" / "last").is_file() or text == b"second"
            folder = draft.publish("name", last="last")
    assert [str(path.relative_to(folder)) for path in list_files(folder)] == ["last", "tables/made.bin"]
    assert (folder / "last").read_bytes() == b"first"
    assert not draft.folder.exists()


# --- S3 ----------------------------------------------------------------------------------------


def test_each_act_is_one_request(s3: S3Server, bucket: ObjectPath) -> None:  # noqa: F811
    path = bucket / "data" / "x.json"
    acts: list[tuple[Callable[[], Any], str]] = [
        (lambda: write_atomic(path, b"1"), "PUT /videos/data/x.json"),
        (path.read_bytes, "GET /videos/data/x.json"),
        (path.is_file, "HEAD /videos/data/x.json"),
        (path.stamp, "HEAD /videos/data/x.json"),
        (lambda: list(path.parent.iterdir()), "GET /videos?list-type=2&prefix=data%2F"),
        (lambda: list_files(path.parent), "GET /videos?list-type=2&prefix=data%2F"),
    ]
    path.is_file()  # opens the connection
    for act, request in acts:
        s3.asked.clear()
        act()
        assert [f"{asked.method} {asked.path}"[: len(request)] for asked in s3.asked] == [request]


def test_what_another_process_writes_is_seen_at_once(s3: S3Server, bucket: ObjectPath) -> None:  # noqa: F811
    assert list(bucket.glob("*")) == []
    s3.client.put_object(Bucket="videos", Key="new", Body=b"1")
    assert (bucket / "new").is_file()
    assert list(bucket.glob("*")) == [bucket / "new"]
    before = (bucket / "new").stamp()
    assert (bucket / "new").stamp() == before
    s3.client.put_object(Bucket="videos", Key="new", Body=b"2")
    assert (bucket / "new").stamp() != before


def test_a_table_is_copied_on_the_server(s3: S3Server, bucket: ObjectPath) -> None:  # noqa: F811
    data = os.urandom(1000)
    write_atomic(bucket / "made.bin", data)
    s3.asked.clear()
    with open_draft(bucket / "drafts") as draft:
        draft.link([("made.bin", bucket / "made.bin")])
        write_atomic(draft.folder / "last", b"")
        draft.publish("name", last="last")
    puts = [asked.path for asked in s3.asked if asked.method == "PUT"]
    assert puts == ["/videos/drafts/name/made.bin", "/videos/drafts/name/last"]
    assert (bucket / "drafts" / "name" / "made.bin").read_bytes() == data


def test_without_its_last_file_a_folder_is_not_there(s3: S3Server, bucket: ObjectPath, tmp_path: Path) -> None:  # noqa: F811
    case = Case(Work(root=bucket / "work", inputs=Inputs(folder=tmp_path)))
    s3.refuse("PUT", r"manifest\.json$", 403)
    with pytest.raises(ServiceDown, match=r"manifest\.json"):
        case.publish()
    assert len(list_files(case.snapshots)) > 10
    assert ids_in(case.snapshots) == []
    assert Snapshot.latest(case.snapshots) is None
    s3.relent()
    assert Snapshot(case.publish()).exists


def test_a_snapshot_that_lost_a_table_says_so(s3: S3Server, bucket: ObjectPath, tmp_path: Path) -> None:  # noqa: F811
    snapshot = Case(Work(root=bucket / "work", inputs=Inputs(folder=tmp_path))).publish()
    [file] = Snapshot(snapshot).files("sources")
    assert file.read_bytes() == (snapshot / "sources" / "sources.parquet").read_bytes()
    file.unlink()
    write_atomic(snapshot / "sources" / "sources.parquet", b"altered")
    with pytest.raises(ServiceDown, match="not what was published"):
        Snapshot(snapshot).files("sources")


# --- Trouble -----------------------------------------------------------------------------------


def acts_on(path: ObjectPath, tmp_path: Path) -> list[Callable[[], Any]]:
    return [
        path.read_bytes,
        path.is_file,
        path.is_dir,
        path.stamp,
        lambda: list(path.iterdir()),
        lambda: list(path.glob("*")),
        lambda: list_files(path),
        lambda: write_atomic(path, b""),
        lambda: path.copy_to(path.parent / "copy"),
        lambda: path.download(tmp_path / "copy"),
    ]


def assert_down(act: Callable[[], Any], says: str, within_s: float = 30) -> str:
    """Returns what was told."""
    started_s = time.monotonic()
    with pytest.raises(ServiceDown, match=says) as raised:
        act()
    assert time.monotonic() - started_s < within_s
    assert SECRET_KEY not in str(raised.value)
    return str(raised.value)


def test_a_bucket_that_is_not_there_is_no_missing_row(s3: S3Server, tmp_path: Path) -> None:  # noqa: F811
    for act in acts_on(parse_path("s3://nowhere/data/x.json"), tmp_path):
        assert_down(act, r"s3://nowhere/data/x.*: there is no such bucket; create it")


def test_a_wrong_key_says_which_variables(s3: S3Server, bucket: ObjectPath, tmp_path: Path) -> None:  # noqa: F811
    with s3.knowing_no_keys():
        for act in acts_on(bucket / "x.json", tmp_path):
            assert_down(act, r"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are right")


def test_no_key_at_all_says_which_variables(
    s3: S3Server,  # noqa: F811
    bucket: ObjectPath,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    new_environment: Callable[[], None],  # noqa: F811
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    new_environment()
    assert_down((bucket / "x.json").read_bytes, "NoCredentialsError.*AWS_ACCESS_KEY_ID")


@pytest.mark.parametrize("status", [403, 503])
def test_a_refusal_is_never_an_answer(s3: S3Server, bucket: ObjectPath, tmp_path: Path, status: int) -> None:  # noqa: F811
    for method in ("GET", "HEAD", "PUT"):
        s3.refuse(method, "x.json", status)
    acts = [(bucket / "x.json").is_file, (bucket / "x.json").read_bytes, lambda: write_atomic(bucket / "x.json", b"")]
    for act in acts if status == 403 else acts[:1]:
        assert_down(act, "AWS_ENDPOINT_URL")


def test_a_server_that_overslept_is_asked_again(s3: S3Server, bucket: ObjectPath) -> None:  # noqa: F811
    write_atomic(bucket / "x.json", b"1")
    s3.refuse("GET", "x.json", 503, times=2)
    assert (bucket / "x.json").read_bytes() == b"1"


@pytest.fixture
def nobody(s3: S3Server, monkeypatch: pytest.MonkeyPatch, new_environment: Callable[[], None]) -> ObjectPath:  # noqa: F811
    """A path on a server that has gone."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{probe.getsockname()[1]}")
    new_environment()
    return parse_path("s3://videos/data")


def test_a_server_that_is_down_is_told_within_seconds(nobody: ObjectPath) -> None:
    assert_down((nobody / "x.json").read_bytes, r"s3://videos/data/x.json: .*127\.0\.0\.1.*server at AWS_ENDPOINT_URL")


def test_no_password_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Store:
        def cat_file(self, address: str) -> bytes:
            raise OSError("no answer from https://someone:hunter2@proxy:8080/")

    monkeypatch.setattr(storage, "open_store", lambda scheme, process_id: Store())
    told = assert_down(parse_path("s3://videos/x.json").read_bytes, "no answer from https://proxy:8080/")
    assert "hunter2" not in told


def test_a_server_that_is_down_is_no_rows_verdict(nobody: ObjectPath, tmp_path: Path) -> None:
    counter = Counter()
    with pytest.raises(ServiceDown, match="AWS_ENDPOINT_URL"):
        run(Work(root=nobody, inputs=Inputs(folder=tmp_path)), counter, "ab")
    assert counter.calls == []


def test_without_s3fs_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['s3fs'] = None\n"
        "from schemas.storage import parse_path\n"
        "try: parse_path('s3://videos/x').read_bytes()\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("ServiceDown s3://videos/x: ")
    assert "pip install -e '.[s3]'" in said


def test_a_forked_process_asks_on_its_own(s3: S3Server, bucket: ObjectPath) -> None:  # noqa: F811
    write_atomic(bucket / "x.json", b"1")
    code = (
        "import os\n"
        "from schemas.storage import parse_path\n"
        "path = parse_path('s3://videos/x.json')\n"
        "path.read_bytes()\n"
        "child = os.fork()\n"
        "said = path.read_bytes()\n"
        "if child == 0: os._exit(0 if said == b'1' else 1)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# --- Copies on this machine --------------------------------------------------------------------


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_an_object_is_fetched_once_and_only_if_it_is_the_one(s3: S3Server, bucket: ObjectPath) -> None:  # noqa: F811
    write_atomic(bucket / "a.mp4", b"film")
    copies = [local_copy(bucket / "a.mp4", sha256_of(b"film")) for _ in range(3)]
    assert {(copy.name, copy.read_bytes()) for copy in copies} == {("a.mp4", b"film")}
    assert s3.count("GET", "a.mp4") == 1
    with pytest.raises(ContentChanged):
        local_copy(bucket / "a.mp4", sha256_of(b"another"))
    with pytest.raises(FileNotFoundError):
        local_copy(bucket / "gone.mp4", sha256_of(b"another"))
    assert list(local_copies.cache_folder().glob("*")) == [local_copies.cache_folder() / "objects"]


def test_a_damaged_copy_is_fetched_again(bucket: ObjectPath) -> None:  # noqa: F811
    write_atomic(bucket / "a.mp4", b"film")
    local_copy(bucket / "a.mp4", sha256_of(b"film")).write_bytes(b"")
    assert local_copy(bucket / "a.mp4", sha256_of(b"film")).read_bytes() == b"film"


def test_the_cache_keeps_within_its_bound(bucket: ObjectPath) -> None:  # noqa: F811
    for n in range(4):
        write_atomic(bucket / f"{n}.mp4", bytes([n]) * 100)
        fetch(bucket / f"{n}.mp4")
    used = local_copy(bucket / "0.mp4", sha256_of(bytes(100)))
    make_room(250)
    left = {path.name for path in local_copies.cache_folder().glob("objects/*/*")}
    assert len(left) == 2
    assert "0.mp4" in left, "what is in use stays"
    make_room(0)
    assert [path.name for path in local_copies.cache_folder().glob("objects/*/*")] == ["0.mp4"]
    os.utime(used, (0, used.stat().st_mtime))
    make_room(0)
    assert list(local_copies.cache_folder().glob("objects/*")) == []


def test_fetching_makes_room(bucket: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("TRIPTYCH_CACHE_GB", "0.0000002")
    for n in range(4):
        write_atomic(bucket / f"{n}.mp4", bytes([n]) * 100)
        fetch(bucket / f"{n}.mp4")
    assert len(list(local_copies.cache_folder().glob("objects/*/*"))) == 2
    monkeypatch.setenv("TRIPTYCH_CACHE_GB", "much")
    with pytest.raises(ServiceDown, match="number of gigabytes"):
        fetch(bucket / "0.mp4")


def test_many_may_fetch_while_room_is_made(bucket: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("TRIPTYCH_CACHE_GB", "0")
    paths = [bucket / f"{n}.mp4" for n in range(60)]
    at_once(bucket, lambda path: write_atomic(path, path.name.encode()), paths)
    contents = at_once(bucket, fetch, paths)
    assert [content.sha256 for content in contents] == [sha256_of(path.name.encode()) for path in paths]


def test_what_a_killed_process_left_aside_is_removed(bucket: ObjectPath) -> None:  # noqa: F811
    write_atomic(bucket / "a.mp4", b"film")
    fetch(bucket / "a.mp4")
    for name, age_s in (("old.aside", 100_000), ("young.aside", 0)):
        (local_copies.cache_folder() / name).write_bytes(b"half")
        os.utime(local_copies.cache_folder() / name, (time.time() - age_s,) * 2)
    make_room(1e9)
    assert [path.name for path in local_copies.cache_folder().glob("*.aside")] == ["young.aside"]


def test_a_cache_that_cannot_be_written_says_so(
    bucket: ObjectPath,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    write_atomic(bucket / "a.mp4", b"film")
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(ServiceDown, match="TRIPTYCH_CACHE"):
        local_copy(bucket / "a.mp4", sha256_of(b"film"))
    monkeypatch.undo()


def test_a_full_disk_under_the_cache_is_told_as_such(
    bucket: ObjectPath,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(self: ObjectPath, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage.ObjectPath, "download", full)
    with pytest.raises(ServiceDown, match="Make room there"):
        fetch(bucket / "a.mp4")


def test_a_published_folder_that_lost_its_last_file_is_published_again(tmp_path: Path) -> None:
    def publish() -> Path:
        with open_draft(tmp_path) as draft:
            write_atomic(draft.folder / "rows", b"rows")
            write_atomic(draft.folder / "last", b"last")
            return draft.publish("whole", last="last")

    folder = publish()
    (folder / "last").unlink()
    (folder / "rows").write_bytes(b"damaged")
    assert publish() == folder
    assert ((folder / "rows").read_bytes(), (folder / "last").read_bytes()) == (b"rows", b"last")
