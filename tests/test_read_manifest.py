"""tasks.read_manifest: every line is a source or an outcome that names it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.outcome import RowFailed
from tasks.read_manifest import Inputs, ManifestError, file_sha256, read_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        (tmp_path / "in" / f"{name}.mp4").write_bytes(name.encode())
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    return tmp_path / "in"


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


def test_a_folder_with_side_car_captions(folder: Path) -> None:
    (folder / "a.txt").write_text("A boy kicks a ball.\n")
    sources = read_manifest(folder).sources
    assert [(s.video, s.caption) for s in sources] == [("a.mp4", "A boy kicks a ball."), ("b.mp4", None)]


@pytest.mark.parametrize(
    ("line", "reason", "says"),
    [
        ('{"video": "a.mp4"', "bad_line", "not a JSON object"),
        ({"caption": "no video"}, "bad_line", "video: Field required"),
        ({"video": "a.mp4", "colour": "red"}, "bad_line", "colour: Extra inputs"),
        ({"video": "a.mp4", "start_s": 3, "end_s": 2}, "bad_line", "end_s 2"),
        ({"video": "a.mp4", "start_s": "nan"}, "bad_line", "start_s"),
        ({"video": "a.mp4", "caption": "x" * 100_000}, "bad_line", "caption"),
        ({"video": "a.mp4", "caption": "\ud800"}, "bad_line", "caption"),
        ("[" * 100_000, "bad_line", "not a JSON object"),
        ({"video": "gone.mp4"}, "missing_file", "No such file"),
        ({"video": "."}, "missing_file", "directory"),
        ({"video": "../secret.mp4"}, "outside_folder", "allow_outside"),
        ({"video": "/etc/passwd"}, "outside_folder", "allow_outside"),
        ({"video": "s3://bucket/a.mp4"}, "unsupported_uri", "file://"),
        ({"video": "a\0.mp4"}, "bad_path", "zero byte"),
        ({"video": "x" * 5000}, "missing_file", "too long"),
    ],
)
def test_a_bad_line_ends_with_a_reason_and_loses_nothing_else(
    folder: Path, line: object, reason: str, says: str
) -> None:
    listing = read_manifest(write_jsonl(folder, {"video": "b.mp4"}, "", line, {"video": "a.mp4"}))
    assert [s.video for s in listing.sources] == ["b.mp4", "a.mp4"]
    [outcome] = listing.outcomes
    assert (outcome.status, outcome.reason) == ("failed", reason)
    assert outcome.detail is not None
    assert outcome.detail.startswith("line 3: ")
    assert says in outcome.detail
    outcome.to_json()  # whatever was in the line, the outcome can be stored


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


def test_a_file_rewritten_meanwhile_is_noticed(folder: Path) -> None:
    inputs = Inputs(folder=folder)
    sha256 = file_sha256(folder / "a.mp4")
    assert inputs.verified("a.mp4", sha256) == (folder / "a.mp4").resolve()
    (folder / "a.mp4").write_bytes(b"new")
    with pytest.raises(RowFailed, match="input_changed"):
        inputs.verified("a.mp4", sha256)
