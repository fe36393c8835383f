"""tasks.readers.read_manifest: every line is a source or an outcome that names it."""

from __future__ import annotations

import gzip
import json
import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.local_copies import file_sha256
from schemas.outcome import RowFailed, ServiceDown
from schemas.storage import AnyPath, parse_path
from tasks.engine.inputs import Inputs
from tasks.readers.lines import ManifestError, require_manifest
from tasks.readers.read_manifest import read_manifest
from tests.support.s3_server import S3Server, bucket, s3, s3_server  # noqa: F401 - fixtures
from tests.support.told import told_by


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        (tmp_path / "in" / f"{name}.mp4").write_bytes(name.encode())
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    return tmp_path / "in"


@pytest.fixture
def odd(folder: Path) -> Path:
    """The folder, with names in it that are no files."""
    (folder / "loop.mp4").symlink_to("loop.mp4")
    (folder / "lost.mp4").symlink_to("gone.mp4")
    os.mkfifo(folder / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(folder / "socket.mp4"))  # a socket's path may have 108 characters
    return folder


def write_jsonl(folder: Path, *lines: object) -> Path:
    path = folder / "m.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_jsonl_csv_and_parquet_say_the_same(folder: Path) -> None:
    rows = [{"video": "a.mp4", "caption": "A, with\u2028a comma", "start_s": 1.5, "id": "x"}, {"video": "b.mp4"}]
    jsonl = write_jsonl(folder, *rows)
    csv = folder / "m.csv"
    csv.write_text('video,caption,start_s,id\na.mp4,"A, with\u2028a comma",1.5,x\nb.mp4,,,\n')
    parquet = folder / "m.parquet"
    columns = {k: [r.get(k) for r in rows] for k in ("video", "caption", "start_s", "id")}
    pq.write_table(pa.table(columns), parquet)
    read = [read_manifest(path).sources for path in (jsonl, csv, parquet)]
    ids = [[s.source_id for s in sources] for sources in read]
    assert ids[0] == ids[1] == ids[2]
    assert read[0][0].caption == "A, with\u2028a comma"
    assert [s.line for s in read[0]] == [1, 2]


def test_the_lines_that_are_read_are_told(folder: Path) -> None:
    manifest = write_jsonl(folder, {"video": "a.mp4"}, {"video": "b.mp4"}, "{")
    assert told_by(read_manifest, manifest) == [f"{n} of 3 lines" for n in range(4)]


def test_a_folder_with_side_car_captions(folder: Path) -> None:
    (folder / "a.txt").write_text("A boy kicks a ball.\n")
    sources = read_manifest(folder).sources
    assert [(s.video, s.caption) for s in sources] == [("a.mp4", "A boy kicks a ball."), ("b.mp4", None)]


@pytest.mark.parametrize(
    ("line", "reason", "says"),
    [
        ('{"video": "a.mp4"', "bad_line", "not a JSON object"),
        ({"caption": "no video"}, "bad_line", "video: Field required"),
        ({"video": "a.mp4", "Caption": "A dog barks."}, "bad_line", "column 'Caption': is 'caption' meant?"),
        ({"video": "a.mp4", "id": True}, "bad_line", "id: True is no id"),
        ({"video": "a.mp4", "id": 1.0}, "bad_line", "id: 1.0 is no id"),
        ({"video": "a.mp4", "start_s": 3, "end_s": 2}, "bad_line", "end_s 2"),
        ({"video": "a.mp4", "start_s": "nan"}, "bad_line", "start_s"),
        ({"video": "a.mp4", "start_s": True}, "bad_line", "start_s: True is no number of seconds"),
        ({"video": "a.mp4", "end_s": True}, "bad_line", "end_s: True is no number of seconds"),
        ('{"video": "a.mp4", "video": "b.mp4"}', "bad_line", "it has the column 'video' twice; leave one out"),
        ({"video": "a.mp4", "caption": "x" * 100_000}, "bad_line", "caption"),
        ({"video": "a.mp4", "caption": "\ud800"}, "bad_line", "caption"),
        ("[" * 100_000, "bad_line", "not a JSON object"),
        ({"video": "gone.mp4"}, "missing_file", "No such file"),
        ({"video": "."}, "missing_file", "directory"),
        ({"video": "../secret.mp4"}, "outside_folder", "--allow-outside"),
        ({"video": "/etc/passwd"}, "outside_folder", "--allow-outside"),
        ({"video": "s3://bucket/a.mp4"}, "unsupported_uri", "file://"),
        ({"video": "a\0.mp4"}, "bad_path", "zero byte"),
        ({"video": "x" * 5000}, "missing_file", "too long"),
        ({"video": "x" * 5_000_000}, "missing_file", "[... 5000"),
        ({"video": "x" * 5_000_000, "start_s": -1}, "bad_line", "start_s"),
        ({"video": "a.mp4", "x" * 5_000_000: 1, "id": []}, "bad_line", "id"),
        ({"video": "x/" * 50_000}, "missing_file", "too long"),
        ({"video": "a.mp4/b.mp4"}, "missing_file", "Not a directory"),
        ({"video": "loop.mp4"}, "bad_path", "its links lead in a circle"),
        ({"video": "loop.mp4/a.mp4"}, "bad_path", "its links lead in a circle"),
        ({"video": "file:loop.mp4"}, "bad_path", "its links lead in a circle"),
        ({"video": "//[a.mp4"}, "bad_path", "is no path: Invalid IPv6 URL"),
        ({"video": "file:///a%00.mp4"}, "bad_path", "null byte"),
        ({"video": "pipe.mp4"}, "not_a_file", "it is a named pipe; only regular files are read"),
        ({"video": "socket.mp4"}, "not_a_file", "it is a socket"),
    ],
)
def test_a_bad_line_ends_with_a_reason_and_loses_nothing_else(odd: Path, line: object, reason: str, says: str) -> None:
    listing = read_manifest(write_jsonl(odd, {"video": "b.mp4"}, "", line, {"video": "a.mp4"}))
    assert [s.video for s in listing.sources] == ["b.mp4", "a.mp4"]
    [outcome] = listing.outcomes
    assert (outcome.status, outcome.reason) == ("failed", reason)
    assert outcome.detail is not None
    assert outcome.detail.startswith("line 3: ")
    assert says in outcome.detail
    assert len(outcome.detail) < 1000
    outcome.to_json()  # whatever was in the line, the outcome can be stored


@pytest.mark.parametrize(
    ("name", "retryable"), [("gone.mp4", True), ("loop.mp4", False), ("pipe.mp4", False), (".", False)]
)
def test_only_what_may_come_back_is_tried_again(odd: Path, name: str, retryable: bool) -> None:
    [outcome] = read_manifest(write_jsonl(odd, {"video": name})).outcomes
    assert outcome.retryable is retryable


def test_a_device_is_no_video(folder: Path) -> None:
    manifest = write_jsonl(folder, {"video": "/dev/zero"}, {"video": "a.mp4"})
    listing = read_manifest(manifest, allow_outside=True)
    assert [(outcome.reason, outcome.retryable) for outcome in listing.outcomes] == [("not_a_file", False)]
    assert [source.video for source in listing.sources] == ["a.mp4"]


def test_a_caption_as_windows_saves_it(folder: Path) -> None:
    (folder / "a.txt").write_bytes(b"\xef\xbb\xbfA boy kicks\r\na ball.\r\n")
    assert read_manifest(folder).sources[0].caption == "A boy kicks\na ball."


def test_a_name_that_is_no_text_says_so(folder: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.mp4")).write_bytes(b"c")
    except OSError:
        pytest.skip("this file system refuses such names")
    listing = read_manifest(folder)
    assert [source.video for source in listing.sources] == ["a.mp4", "b.mp4"]
    [outcome] = listing.outcomes
    assert outcome.reason == "bad_path"
    assert (outcome.detail or "").startswith("line 3: 'caf\\udce9.mp4' is no name in utf-8; rename it")
    outcome.to_json()


@pytest.mark.parametrize("video", ["\ud800.mp4", "a/\udfff/b.mp4", "file:\ud800"])
def test_a_name_that_this_machine_cannot_write(folder: Path, video: str) -> None:
    """As in a locale without the name's letters."""
    for inputs in (Inputs(folder=folder), Inputs(folder=parse_path("s3://videos/in"))):
        with pytest.raises(RowFailed, match="bad_path"):
            inputs.locate(video)


def test_a_video_that_became_a_pipe_meanwhile(folder: Path) -> None:
    inputs = Inputs(folder=folder)
    sha256 = file_sha256(folder / "a.mp4")
    (folder / "a.mp4").unlink()
    os.mkfifo(folder / "a.mp4")
    with pytest.raises(RowFailed, match="it is a named pipe") as raised:
        inputs.verified("a.mp4", sha256)
    assert raised.value.retryable
    (folder / "a.mp4").unlink()
    (folder / "a.mp4").symlink_to("a.mp4")
    with pytest.raises(RowFailed, match="its links lead in a circle") as raised:
        inputs.verified("a.mp4", sha256)
    assert raised.value.retryable


def test_what_is_no_file_in_a_folder_of_videos(odd: Path) -> None:
    (odd / "sub").mkdir()
    (odd / "sub" / "up").symlink_to("..")
    (odd / "notes").symlink_to("gone")
    listing = read_manifest(odd)
    assert [(source.line, source.video) for source in listing.sources] == [(1, "a.mp4"), (2, "b.mp4")]
    told = [(outcome.reason, (outcome.detail or "")[:20]) for outcome in listing.outcomes]
    assert told == [
        ("missing_file", "line 3: 'loop.mp4': "),
        ("missing_file", "line 4: 'lost.mp4': "),
        ("not_a_file", "line 5: 'pipe.mp4': "),
        ("not_a_file", "line 6: 'socket.mp4'"),
    ]


def pipe(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def link_to_nothing(path: Path) -> None:
    path.symlink_to("gone.txt")


def utf16(path: Path) -> None:
    path.write_text("A dog barks.", "utf-16")


def latin(path: Path) -> None:
    path.write_bytes("A boy in a café.".encode("latin-1"))


def endless(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


@pytest.mark.parametrize(
    ("make", "reason", "says"),
    [
        (pipe, "unreadable_caption", "it is a named pipe"),
        (loop, "unreadable_caption", "symbolic links"),
        (link_to_nothing, "unreadable_caption", "No such file"),
        (Path.mkdir, "unreadable_caption", "Is a directory"),
        (utf16, "bad_line", "save it as UTF-8"),
        (latin, "bad_line", "is not UTF-8 (byte 0xe9); save it as UTF-8"),
        (endless, "bad_line", "more than 1048576 bytes"),
    ],
)
def test_a_caption_beside_a_video_that_cannot_be_read(
    folder: Path, make: Callable[[Path], None], reason: str, says: str
) -> None:
    make(folder / "a.txt")
    listing = read_manifest(folder)
    assert [source.video for source in listing.sources] == ["b.mp4"]
    [outcome] = listing.outcomes
    assert outcome.reason == reason
    assert (outcome.detail or "").startswith("line 1: its caption 'a.txt'")
    assert says in (outcome.detail or "")


def test_folders_in_each_other_without_end(folder: Path) -> None:
    deep, place = 1200, os.open(folder, os.O_RDONLY)
    for _ in range(deep):  # step by step, as no path may be so long
        os.mkdir("d", dir_fd=place)
        inner = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)
    try:
        assert [source.video for source in read_manifest(folder).sources] == ["a.mp4", "b.mp4"]
    finally:  # pytest would remove them by recursion
        for n in range(deep, 0, -1):
            os.rmdir(folder / "/".join("d" * n))


def test_a_link_out_of_the_folder_is_followed_and_refused(folder: Path) -> None:
    (folder / "link.mp4").symlink_to(folder.parent / "secret.mp4")
    assert read_manifest(write_jsonl(folder, {"video": "link.mp4"})).outcomes[0].reason == "outside_folder"
    assert read_manifest(write_jsonl(folder, {"video": "link.mp4"}), allow_outside=True).sources


def test_repetitions_are_rejected_and_named_apart(folder: Path) -> None:
    row = {"video": "a.mp4", "caption": "x"}
    (folder / "copy.mp4").write_bytes(b"a")
    listing = read_manifest(write_jsonl(folder, row, row, row, {"video": "copy.mp4", "caption": "x"}))
    assert len(listing.sources) == 1
    assert [o.reason for o in listing.outcomes] == ["duplicate_row"] * 3
    assert len({o.row_id for o in listing.outcomes}) == 3
    assert "line 4" in (listing.outcomes[2].detail or "")


def test_ids_follow_content_not_names(folder: Path) -> None:
    before = read_manifest(write_jsonl(folder, {"video": "a.mp4", "caption": "x"})).sources[0]
    (folder / "a.mp4").rename(folder / "renamed.mp4")
    after = read_manifest(write_jsonl(folder, {"video": "renamed.mp4", "caption": "x"})).sources[0]
    assert before.source_id == after.source_id
    (folder / "renamed.mp4").write_bytes(b"other")
    changed = read_manifest(write_jsonl(folder, {"video": "renamed.mp4", "caption": "x"})).sources[0]
    assert changed.source_id != before.source_id


@pytest.mark.parametrize("name", ["gone.jsonl", "m.txt", "empty"])
def test_what_is_no_manifest_says_what_would_be(folder: Path, name: str) -> None:
    (folder / "m.txt").write_text("")
    (folder / "empty").mkdir()
    with pytest.raises(ManifestError, match=r"jsonl|\.mp4"):
        read_manifest(folder / name)


def workbook(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("[Content_Types].xml", "docProps/app.xml", "xl/workbook.xml"):
            archive.writestr(name, "x" * 5000)


def nothing(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "make", "says"),
    [
        ("m.txt", nothing, "is text .* make CSV, .*; use .jsonl, .csv or .parquet"),
        ("m.xlsx", workbook, "is an Excel workbook .save its sheet as CSV in UTF-8., not a manifest"),
        ("m.csv.gz", lambda path: path.write_bytes(gzip.compress(b"video")), "is a gzip archive .unpack it."),
        ("m.tsv", nothing, "is separated by tabs .save it with commas"),
        ("m.json", nothing, "is JSON .write one object a line and call it .jsonl."),
        ("dog.mp4", nothing, "is a video .give the folder"),
        ("m", nothing, "no suffix is not a manifest"),
        ("m.csv", pipe, "cannot be read: it is a named pipe"),
        ("m.csv", loop, "cannot be read: Too many levels of symbolic links"),
        ("m.csv/m.csv", lambda path: path.parent.write_bytes(b""), "cannot be read: Not a directory"),
        ("x" * 300 + ".csv", lambda path: None, "File name too long"),
        ("m\0.csv", lambda path: None, "null byte"),
    ],
)
def test_what_cannot_be_a_manifest_says_what_it_is(
    folder: Path, name: str, make: Callable[[Path], object], says: str
) -> None:
    make(folder / name)
    with pytest.raises(ManifestError, match=says) as raised:
        require_manifest(folder / name)
    assert "\n" not in str(raised.value)


def test_a_folder_that_only_holds_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("video\n")
    with pytest.raises(ManifestError, match=r"holds no video .*; give m\.csv in it"):
        read_manifest(tmp_path)


def test_a_file_rewritten_meanwhile_is_noticed(folder: Path) -> None:
    inputs = Inputs(folder=folder)
    sha256 = file_sha256(folder / "a.mp4")
    assert inputs.verified("a.mp4", sha256) == (folder / "a.mp4").resolve()
    (folder / "a.mp4").write_bytes(b"new")
    with pytest.raises(RowFailed, match="input_changed"):
        inputs.verified("a.mp4", sha256)


# --- In a store --------------------------------------------------------------------------------


@pytest.fixture
def stored(folder: Path, s3: S3Server, bucket: AnyPath) -> AnyPath:  # noqa: F811
    """The folder's twin in a bucket, with something beside it."""
    s3.upload(folder, "videos", "in")
    for key in ("secret.mp4", "in-other/a.mp4"):
        s3.client.put_object(Bucket="videos", Key=key, Body=b"secret")
    s3.asked.clear()
    return bucket / "in"


def store_jsonl(stored: AnyPath, *lines: object) -> AnyPath:
    path = stored / "m.jsonl"
    path.write_bytes("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines).encode())
    return path


def test_a_manifest_in_a_bucket_says_what_it_says_on_a_disk(folder: Path, s3: S3Server, bucket: AnyPath) -> None:  # noqa: F811
    rows = [{"video": "a.mp4", "caption": "A, with\u2028a comma", "start_s": 1.5, "id": "x"}, {"video": "b.mp4"}]
    lines = [rows[0], "", rows[1], rows[1], "[", {"video": "gone.mp4"}, {"video": "../secret.mp4"}, {"video": "."}]
    write_jsonl(folder, *lines)
    (folder / "m.csv").write_bytes(b'video,caption\r\na.mp4,"two\r\nlines"\r\nb.mp4,\r\n')
    pq.write_table(pa.table({"video": ["b.mp4", "a.mp4"]}), folder / "m.parquet")
    (folder / "a.txt").write_bytes(b"\xef\xbb\xbfA boy\r\nkicks a ball.\n")
    (folder / "b.txt").write_bytes(b"\xffA boy")
    s3.upload(folder, "videos", "in")
    for name in ("m.jsonl", "m.csv", "m.parquet", ""):
        there = read_manifest(bucket / "in" / name, known=bucket / "known")
        assert there == read_manifest(folder / name)


@pytest.mark.parametrize("allow_outside", [False, True])
@pytest.mark.parametrize(
    ("video", "reasons"),
    [
        ("/etc/passwd", ("unsupported_uri",) * 2),
        ("file:///etc/passwd", ("unsupported_uri",) * 2),
        ("memory://videos/in/a.mp4", ("unsupported_uri",) * 2),
        ("https://host/a.mp4", ("unsupported_uri",) * 2),
        ("../secret.mp4", ("outside_folder", None)),
        ("x/../../secret.mp4", ("outside_folder", None)),
        ("s3://videos/secret.mp4", ("outside_folder", None)),
        ("s3://videos/in/../secret.mp4", ("outside_folder", None)),
        ("../in-other/a.mp4", ("outside_folder", None)),
        ("s3://videos/in/a.mp4", (None, None)),
        ("x/../a.mp4", (None, None)),
        ("../../../etc/passwd", ("bad_path",) * 2),
        ("s3://../etc/passwd", ("bad_path",) * 2),
        ("s3://", ("bad_path",) * 2),
        ("a\0.mp4", ("bad_path",) * 2),
        ("a.mp4?versionId=1", ("bad_path",) * 2),
        ("x" * 5000, ("bad_path",) * 2),
        ("x/" * 600 + "a.mp4", ("bad_path",) * 2),
        ("x#%2e%2e [*]?.mp4", ("missing_file",) * 2),
        (" ", ("missing_file",) * 2),
        ("a.mp4/", (None, None)),
    ],
)
def test_a_manifest_in_a_bucket_reaches_nothing_else(
    stored: AnyPath, video: str, reasons: tuple[str | None, str | None], allow_outside: bool
) -> None:
    listing = read_manifest(store_jsonl(stored, {"video": video}, {"video": "b.mp4"}), allow_outside=allow_outside)
    assert listing.sources[-1].video == "b.mp4"
    assert [outcome.reason for outcome in listing.outcomes] == [
        r for r in reasons[allow_outside : allow_outside + 1] if r
    ]


def test_a_manifest_on_a_disk_reaches_no_bucket(folder: Path, stored: AnyPath) -> None:
    manifest = write_jsonl(folder, {"video": "s3://videos/in/a.mp4"})
    for allow_outside in (False, True):
        assert read_manifest(manifest, allow_outside=allow_outside).outcomes[0].reason == "unsupported_uri"


def test_only_what_is_new_is_fetched(folder: Path, s3: S3Server, stored: AnyPath, tmp_path: Path) -> None:  # noqa: F811
    manifest, known = store_jsonl(stored, {"video": "a.mp4"}, {"video": "b.mp4"}), tmp_path / "known"
    first = read_manifest(manifest, known=known)
    assert s3.count("GET", r"/in/.\.mp4") == 2
    assert read_manifest(manifest, known=known) == first
    assert s3.count("GET", r"/in/.\.mp4") == 2
    s3.client.put_object(Bucket="videos", Key="in/a.mp4", Body=b"other")
    second = read_manifest(manifest, known=known)
    assert s3.count("GET", r"/in/.\.mp4") == 3
    assert second.sources[0].source_id != first.sources[0].source_id
    assert second.sources[1] == first.sources[1]
    for note in known.iterdir():
        note.write_bytes(b"{}")
    assert read_manifest(manifest, known=known) == second, "a note that cannot be read is made again"


def test_an_object_rewritten_meanwhile_is_noticed(s3: S3Server, stored: AnyPath) -> None:  # noqa: F811
    inputs = Inputs(folder=stored)
    [source] = read_manifest(store_jsonl(stored, {"video": "a.mp4"})).sources
    for _ in range(2):
        copy = inputs.verified("a.mp4", source.video_sha256)
        assert (copy.name, copy.read_bytes()) == ("a.mp4", b"a")
    assert s3.count("GET", "a.mp4") == 1
    s3.client.put_object(Bucket="videos", Key="in/a.mp4", Body=b"new")
    assert inputs.verified("a.mp4", source.video_sha256).read_bytes() == b"a", "the planned bytes are still at hand"
    copy.unlink()
    with pytest.raises(RowFailed, match="input_changed"):
        inputs.verified("a.mp4", source.video_sha256)
    with pytest.raises(RowFailed, match=r"missing_file.*No such file"):
        inputs.verified("gone.mp4", source.video_sha256)


def test_a_store_in_trouble_is_no_lines_fault(s3: S3Server, stored: AnyPath) -> None:  # noqa: F811
    manifest = store_jsonl(stored, {"video": "a.mp4"}, {"video": "b.mp4"})
    s3.refuse("GET", r"b\.mp4", 403)
    with pytest.raises(ServiceDown, match="AWS_ACCESS_KEY_ID"):
        read_manifest(manifest)


@pytest.mark.parametrize("address", ["s3://videos/gone.jsonl", "s3://videos/in/a.mp4", "s3://videos/gone"])
def test_what_is_no_manifest_in_a_bucket_says_what_would_be(stored: AnyPath, address: str) -> None:
    with pytest.raises(ManifestError, match="jsonl"):
        require_manifest(parse_path(address))
