"""tasks.readers.lines: the same columns, values and faults in each kind of file, for manifests and prompts alike."""

from __future__ import annotations

import csv
import datetime
import decimal
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.outcome import Outcome
from tasks.readers.lines import ManifestError, read_lines
from tasks.readers.read_manifest import COLUMNS, read_manifest
from tasks.readers.read_prompts import read_prompts
from tests.support import hostile

TEXT = "In a wood, a fox is on the left of a chair, then the fox sprints to the right of the chair."
THEIRS = {
    "type": "LR",
    "prompt_id": 1099,
    "animal": "fox",
    "object": "chair",
    "initial_SR": "on the left of",
    "final_SR": "to the right of",
    "prompt": TEXT,
    "group": "seen",
}

Row = dict[str, Any]


class Read(NamedTuple):
    """What a reader made of a file."""

    ids: list[str | None]
    outcomes: list[Outcome]


class Reader(NamedTuple):
    """A reader of tables, and a row that it takes."""

    read: Callable[[Path], Read]
    row: Row
    id: str  # its column of ids


def _manifest(path: Path) -> Read:
    (path.parent / "a.mp4").write_bytes(b"a")
    listing = read_manifest(path)
    return Read([source.external_id for source in listing.sources], listing.outcomes)


def _prompts(path: Path) -> Read:
    listing = read_prompts(path)
    return Read([prompt.prompt_id for prompt in listing.prompts], listing.outcomes)


READERS = {
    "manifest": Reader(_manifest, {"video": "a.mp4", "caption": "A dog barks."}, "id"),
    "prompts": Reader(_prompts, {"text": TEXT, "animal": "fox"}, "prompt_id"),
}


def write(folder: Path, kind: str, rows: Sequence[Row]) -> Path:
    path = folder / f"m.{kind}"
    if kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    elif kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> Reader:
    return READERS[request.param]


@pytest.fixture(params=["jsonl", "csv", "parquet"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# --- Columns ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["group", "seed", "video_id", "uid", "index", "", "fps", "x" * 200, "\x1b[31m", "ключ"]
)
def test_an_unknown_column_is_left_out_with_one_warning(
    tmp_path: Path, kind: str, reader: Reader, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [reader.row | {reader.id: "0", name: "1", "group": "b"}] * 3
    found = reader.read(write(tmp_path, kind, rows))
    assert found.ids == ["0"]
    assert {outcome.status for outcome in found.outcomes} == {"rejected"}, "repetitions"
    [record] = [record for record in caplog.records if record.name == "tasks.readers.lines"]
    assert f"{name[:80]!r} (3 lines)" in record.getMessage()
    assert "'group' (3 lines)" in record.getMessage()
    assert f"those read are {next(iter(reader.row))}, " in record.getMessage()


def test_the_authors_prompts(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    assert _prompts(write(tmp_path, kind, [THEIRS])) == Read(["1099"], [])
    assert "'group' (1 line)" in caplog.text


@pytest.mark.parametrize("change", [str.upper, str.title, " {}".format, "{} ".format, "\u200b{}".format, "{}-".format])
def test_a_known_column_in_other_letters_is_refused(
    tmp_path: Path, kind: str, reader: Reader, change: Callable[[str], str]
) -> None:
    for known in (reader.id, next(iter(reader.row))):
        row = {
            change(name) if name == known else name: value for name, value in (reader.row | {reader.id: "7"}).items()
        }
        assert_refused(reader, write(tmp_path, kind, [row]), f"column {change(known)!r}: is {known!r} meant?")


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("captions", "caption"),
        ("captoin", "caption"),
        ("Caption", "caption"),
        ("caption_en", "caption"),
        ("start", "start_s"),
        ("start_sec", "start_s"),
        ("end", "end_s"),
        ("Start S", "start_s"),
    ],
)
def test_a_misspelt_column_is_refused_unless_the_right_one_is_there(
    tmp_path: Path, kind: str, name: str, known: str
) -> None:
    assert_refused(
        READERS["manifest"],
        write(tmp_path, kind, [{"video": "a.mp4", name: "1"}]),
        f"column {name!r}: is {known!r} meant?",
    )
    row = {"video": "a.mp4", "caption": "A dog.", "start_s": "1", "end_s": "2", name: "1"}
    if COLUMNS.misspelt(row) is None:
        assert _manifest(write(tmp_path, kind, [row])) == Read([None], [])
    else:
        assert name in ("Caption", "Start S"), "which of the two is meant?"


def assert_refused(reader: Reader, path: Path, says: str) -> None:
    """The header of a table is the whole file's; a line of JSON is its own."""
    if path.suffix == ".jsonl":
        found = reader.read(path)
        assert found.ids == []
        assert {outcome.reason for outcome in found.outcomes} == {"bad_line"}
        assert says in (found.outcomes[0].detail or "")
    else:
        with pytest.raises(ManifestError) as raised:
            reader.read(path)
        assert says in str(raised.value)
        assert str(raised.value).startswith(f"{path} has a misspelt ")


def test_one_misspelt_line_of_json_costs_no_other(tmp_path: Path, reader: Reader) -> None:
    rows = [reader.row | {reader.id: 1}, {name.upper(): 1 for name in reader.row}, reader.row | {reader.id: 2}]
    found = reader.read(write(tmp_path, "jsonl", rows))
    assert (found.ids[0], found.outcomes[0].reason) == ("1", "bad_line")


@pytest.mark.parametrize("value", [7, 0, -7, 2**63 - 1, "7", "x7"])
def test_ids_are_texts_or_integers(tmp_path: Path, kind: str, reader: Reader, value: object) -> None:
    row = reader.row | {reader.id: value}
    if reader.id == "prompt_id" and value == -7:  # it would name a file
        assert [o.reason for o in reader.read(write(tmp_path, kind, [row])).outcomes] == ["unsafe_id"]
    else:
        assert reader.read(write(tmp_path, kind, [row])).ids == [str(value)]


@pytest.mark.parametrize("value", [1.0, 7.5, True, False])
def test_other_numbers_are_no_ids(tmp_path: Path, reader: Reader, value: object) -> None:
    for kind in ("jsonl", "parquet"):  # CSV has texts only
        [outcome] = reader.read(write(tmp_path, kind, [reader.row | {reader.id: value}])).outcomes
        assert outcome.reason == "bad_line"
        assert f"{value!r} is no id; give text or an integer" in (outcome.detail or "")


def test_no_id_is_none_everywhere(tmp_path: Path, kind: str) -> None:
    rows = [{"video": "a.mp4", "caption": str(n), "id": n or None} for n in range(2)]
    assert _manifest(write(tmp_path, kind, rows)).ids == [None, "1"]


@pytest.mark.parametrize(("known", "columns"), [("video", ["path", "caption"]), ("text", ["animal", "object"])])
def test_a_table_without_its_first_column_says_what_it_has(tmp_path: Path, known: str, columns: list[str]) -> None:
    read = {"video": _manifest, "text": _prompts}[known]
    for kind in ("csv", "parquet"):
        with pytest.raises(ManifestError, match=f"has no column '{known}': .* '{columns[0]}', '{columns[1]}'"):
            read(write(tmp_path, kind, [dict.fromkeys(columns, "x")]))


def test_a_name_of_a_parquet_column_with_dots(tmp_path: Path) -> None:
    row = {"video": "a.mp4", "video.fps": 25.0, "id": {"deep": 1}}
    [outcome] = _manifest(write(tmp_path, "parquet", [row])).outcomes
    assert outcome.detail == "line 1: id: Input should be a valid string"


# --- JSON lines ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '[{"video": "a.mp4"}, {"video": "b.mp4"}]',
        '\ufeff\n [{"video": "a.mp4"},\n {"video": "b.mp4"}]\n',
        '[\n  {"video": "a.mp4"},\n  {"video": broken\n',
        '{\n  "video": "a.mp4"\n}\n',
        '{\n  "video": "a.mp4"\n}\n{\n  "video": "b.mp4"\n}\n',
        "[]",
    ],
)
def test_one_json_value_is_told_from_json_lines(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.jsonl").write_text(text)
    with pytest.raises(ManifestError, match="is one JSON value; write one object a line"):
        read_manifest(tmp_path / "m.jsonl")


@pytest.mark.parametrize("first", ["[", "{", "[1]", '{"video":', "null", "7", '"video"'])
def test_a_first_line_that_is_broken_costs_no_other(tmp_path: Path, first: str) -> None:
    (tmp_path / "m.jsonl").write_text(f'{first}\n{{"video": "a.mp4", "id": "1"}}\n')
    if first == "[":
        with pytest.raises(ManifestError):
            _manifest(tmp_path / "m.jsonl")
        return
    found = _manifest(tmp_path / "m.jsonl")
    assert (found.ids, [outcome.reason for outcome in found.outcomes]) == (["1"], ["bad_line"])


def test_lines_end_as_on_any_machine(tmp_path: Path) -> None:
    lines = ['{"video": "a.mp4", "id": 1}', "broken", '{"video": "a.mp4", "caption": "x", "id": 2}', ""]
    for end in ("\n", "\r\n", "\r"):
        (tmp_path / "m.jsonl").write_bytes(end.join(lines).encode())
        found = _manifest(tmp_path / "m.jsonl")
        assert (found.ids, len(found.outcomes)) == (["1", "2"], 1)
        assert (found.outcomes[0].detail or "").startswith("line 2: ")


def test_a_name_twice_in_what_is_left_out_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"note": {"video": 1, "video": 2}, "x": 1, "x": 2, "video": "a.mp4", "id": "1"}')
    assert _manifest(tmp_path / "m.jsonl") == Read(["1"], [])


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_many_columns_take_no_longer_than_there_are(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind, [{"video": "a.mp4"} | {f"c{n}": "x" for n in range(20_000)}])
    started_s = time.monotonic()
    assert len(_manifest(path).ids) == 1
    assert time.monotonic() - started_s < 5


@pytest.mark.parametrize(("ours", "theirs"), [("text", "prompt"), ("initial", "initial_SR"), ("final", "final_SR")])
def test_a_column_under_both_its_names_is_refused_by_name(tmp_path: Path, kind: str, ours: str, theirs: str) -> None:
    path = write(tmp_path, kind, [THEIRS | {ours: THEIRS[theirs]}])
    says = f"has the columns {ours!r} and {theirs!r}, which mean the same; leave one out"
    if kind == "jsonl":
        assert says in (_prompts(path).outcomes[0].detail or "")
    else:
        with pytest.raises(ManifestError, match=says):
            _prompts(path)


# --- CSV -------------------------------------------------------------------------------------

GOOD = [f"a.mp4,Line {n},{n}" for n in range(10)]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b"a.mp4," + b"x" * 200_000 + b",x", "caption: String should have at most 20000 characters"),
        (b'a.mp4,"' + b"x" * 200_000 + b'",x', "caption: String should have at most 20000 characters"),
        (b'a.mp4,"A stray quote,x', "a stray quotation mark"),
        (b"a.mp4,Caf\xe9,x", "it is not UTF-8 (byte 0xe9)"),
        (b"a.mp4,A dog, barking,x", "4 cells for 3 columns"),
        (b",,x", "video: Field required"),
    ],
)
@pytest.mark.parametrize("place", [0, 4, 10])
def test_a_bad_record_of_csv_costs_no_other(tmp_path: Path, bad: bytes, says: str, place: int) -> None:
    lines = [line.encode() for line in GOOD]
    (tmp_path / "m.csv").write_bytes(b"\n".join([b"video,caption,id", *lines[:place], bad, *lines[place:]]))
    found = _manifest(tmp_path / "m.csv")
    assert found.ids == [str(n) for n in range(10)]
    [outcome] = found.outcomes
    assert outcome.reason == "bad_line"
    assert (outcome.detail or "").startswith(f"line {place + 2}: ")
    assert says in (outcome.detail or "")


def test_a_record_is_told_by_the_line_on_which_it_begins(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text('video,caption\n\na.mp4,"two\nlines"\ngone.mp4,"two\nlines"\na.mp4,one\n')
    (tmp_path / "a.mp4").write_bytes(b"a")
    listing = read_manifest(tmp_path / "m.csv")
    assert [source.line for source in listing.sources] == [3, 7]
    assert (listing.outcomes[0].detail or "").startswith("line 5: ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("video;caption\na.mp4;A dog\n", "has no column 'video': is it separated by semicolons? Save it with commas"),
        ("video\tcaption\na.mp4\tA dog, barking\n", "is it separated by tabs?"),
        ("a.mp4,A dog\n", "has no column 'video': its first line names 'a.mp4', 'A dog'"),
        ("video,caption,caption\n", "has the column 'caption' twice"),
        ("video,caption, caption\n", "misspelt column ' caption'"),
        ("", "it is empty; the first line names the columns"),
        ("\n\r\n", "it is empty"),
        ('video,"caption\na.mp4,A dog\n', "cannot be read: line 1: a stray quotation mark"),
        ("<!DOCTYPE html>\n<html>", "is an HTML page"),
        (",".join(f"c{n}" for n in range(1000)), "'c9', ..."),
    ],
)
def test_a_header_that_cannot_be_right(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(ManifestError) as raised:
        read_manifest(tmp_path / "m.csv")
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_text_in_utf_16_says_so(tmp_path: Path, kind: str, encoding: str) -> None:
    write(tmp_path, kind, [READERS["manifest"].row]).write_text("video,caption\na.mp4,A dog\n", encoding)
    with pytest.raises(ManifestError, match=r"is text in UTF-16 \(save it as UTF-8\)"):
        _manifest(tmp_path / f"m.{kind}")


def test_a_video_is_no_manifest_whatever_it_is_called(tmp_path: Path, kind: str) -> None:
    hostile.make_video(tmp_path / "a.mp4", hostile.shots([3])).rename(tmp_path / f"m.{kind}")
    with pytest.raises(ManifestError, match="is a video"):
        _manifest(tmp_path / f"m.{kind}")


def test_what_excel_and_pandas_write_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes(b"\xef\xbb\xbf,video,caption,,\r\n0,a.mp4,A dog,,\r\n1,a.mp4,A cat,,,,\r\n\r\n")
    found = _manifest(tmp_path / "m.csv")
    assert (found.ids, found.outcomes) == ([None, None], [])


# --- Parquet ---------------------------------------------------------------------------------


def test_a_damaged_file_is_one_line_whatever_is_damaged(tmp_path: Path) -> None:
    path = write(tmp_path, "parquet", [{"video": "a.mp4", "caption": f"Line {n}"} for n in range(300)])
    data = path.read_bytes()
    (tmp_path / "a.mp4").write_bytes(b"a")
    refused = []
    for first in range(0, len(data) - 40, 23):
        path.write_bytes(data[:first] + b"\xff" * 40 + data[first + 40 :])
        try:
            read_manifest(path)
        except ManifestError as error:
            refused.append(str(error))
    assert len(refused) > 10
    assert [text for text in refused if "\n" in text or not text.startswith(str(path))] == []
    for n_bytes in (0, 3, 4, 12, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:n_bytes])
        with pytest.raises(ManifestError, match="cannot be read"):
            read_manifest(path)


def test_a_changed_byte_is_noticed_where_pages_have_a_checksum(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    table = pa.table({"video": ["a.mp4"], "caption": ["A brown dog"]})
    pq.write_table(
        table, path, compression="none", use_dictionary=False, write_page_checksum=True, write_statistics=False
    )
    path.write_bytes(path.read_bytes().replace(b"brown", b"black"))
    with pytest.raises(ManifestError, match="CRC checksum"):
        _manifest(path)


def test_columns_that_are_not_read_may_hold_anything(tmp_path: Path) -> None:
    columns = {
        "video": pa.array(["a.mp4"]),
        "made": pa.array([2**62], pa.timestamp("ms")),
        "where": pa.array([0], pa.timestamp("us", tz="Nowhere/Land")),
        "text": pa.array([b"\xff"], pa.binary()).view(pa.string()),
        "deep": pa.array([[{"a": [1]}]]),
    }
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    assert _manifest(tmp_path / "m.parquet") == Read([None], [])


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("start_s", pa.array([2**62, None, 2**62], pa.timestamp("ms")), "type timestamp[ms] that cannot be read"),
        ("caption", pa.array([b"\xff", None, b"\xff"]).view(pa.string()), "type string that cannot be read"),
        ("caption", pa.array([b"\xff", None, b"\xff"]), "caption: "),
        ("caption", pa.array([["a"], None, ["b"]]), "caption: Input should be a valid string"),
        ("caption", pa.array([{"a": 1}, None, {"a": 1}]), "caption: Input should be a valid string"),
        ("caption", pa.array([1, None, 2]), "caption: Input should be a valid string"),
        ("caption", pa.array([datetime.date.min, None, datetime.date.max]), "caption: Input should be a valid string"),
        ("start_s", pa.array([float("nan"), None, float("inf")]), "start_s: Input should be a finite number"),
        ("id", pa.array([decimal.Decimal("7.10"), None, decimal.Decimal("7.20")]), "is no id"),
    ],
)
def test_a_value_that_is_none_costs_no_other_row(tmp_path: Path, column: str, values: pa.Array, says: str) -> None:
    table = {"video": pa.array(["a.mp4"] * 3), column: values}
    pq.write_table(pa.table(table), tmp_path / "m.parquet")
    found = _manifest(tmp_path / "m.parquet")
    assert found.ids == [None]
    assert [(o.reason, (o.detail or "")[:8]) for o in found.outcomes] == [
        ("bad_line", "line 1: "),
        ("bad_line", "line 3: "),
    ]
    assert says in (found.outcomes[0].detail or "")


@pytest.mark.parametrize("as_type", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())])
def test_every_type_of_text_is_text(tmp_path: Path, as_type: pa.DataType) -> None:
    text = pa.array(["a.mp4"]).cast(as_type)
    pq.write_table(pa.table({"video": text, "id": text}), tmp_path / "m.parquet")
    assert _manifest(tmp_path / "m.parquet") == Read(["a.mp4"], [])


def test_a_parquet_column_twice(tmp_path: Path) -> None:
    pq.write_table(pa.table([["a.mp4"], ["b.mp4"]], names=["video", "video"]), tmp_path / "m.parquet")
    with pytest.raises(ManifestError, match="has the column 'video' twice"):
        _manifest(tmp_path / "m.parquet")


def test_a_manifest_that_became_a_pipe_is_no_wait(tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / f"m.{kind}")
    with pytest.raises(ManifestError, match="it is a named pipe"):
        list(read_lines(tmp_path / f"m.{kind}", COLUMNS))
