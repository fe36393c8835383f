"""tasks.readers.csv_records: as Python's csv reads, and a broken record costs no other."""

from __future__ import annotations

import csv
import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.readers.csv_records import csv_records


def cells(data: bytes) -> list[list[str]]:
    return [record.cells for record in csv_records(data)]


@given(st.text(alphabet='ab",\n\r é\0;\t', max_size=40))
def test_what_python_reads_is_read_alike(text: str) -> None:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        expected = [(reader.line_num, row) for row in reader if row]
    except csv.Error:
        assert any(record.fault for record in csv_records(text.encode()))
        return
    records = list(csv_records(text.encode()))
    assert [record.cells for record in records] == [row for _, row in expected]
    assert not any(record.fault for record in records)
    lines = io.StringIO(text, newline="").readlines()
    for record, (last, _) in zip(records, expected, strict=True):
        assert "".join(lines[record.number - 1 : last]).rstrip("\r\n").encode() == record.raw


@given(st.lists(st.lists(st.text(alphabet='ab",\n\r é'), min_size=2, max_size=3), max_size=6))
def test_what_python_writes_is_read(rows: list[list[str]]) -> None:
    written = io.StringIO(newline="")
    csv.writer(written).writerows(rows)
    assert cells(written.getvalue().encode()) == rows
    assert cells(b"\xef\xbb\xbf" + written.getvalue().encode()) == rows


GOOD = [f"{n}.mp4,Line {n}".encode() for n in range(10)]
GOOD[7] = b'7.mp4,"Line\nseven, with ""quotes"""'


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("place", range(11))
@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b'x.mp4,"A stray quote', "stray quotation mark"),
        (b'x.mp4,"A stray" quote', "stray quotation mark"),
        (b'"x.mp4,A stray quote', "stray quotation mark"),
        (b'x.mp4,"A stray quote""', "stray quotation mark"),
        (b'"', "stray quotation mark"),
        (b"x.mp4,Caf\xe9", "not UTF-8 (byte 0xe9)"),
        (b'"\xff', "stray quotation mark"),
    ],
)
def test_ten_good_records_stay_ten(bad: bytes, says: str, place: int, end: bytes) -> None:
    records = list(csv_records(end.join([*GOOD[:place], bad, *GOOD[place:], b""])))
    [fault] = [record for record in records if record.fault]
    assert [record.raw for record in records if not record.fault] == GOOD
    assert (fault.number, fault.raw) == (place + 1 + (place > 7), bad)
    assert says in (fault.fault or "")


def test_a_long_cell_is_a_cell_and_the_process_keeps_its_limit() -> None:
    limit = csv.field_size_limit()
    long = b"x" * (2 * limit)
    records = list(csv_records(b"a,b\n1," + long + b'\n2,"' + long + b'\n"\n3,c\n'))
    assert [(record.number, record.cells[0]) for record in records] == [(1, "a"), (2, "1"), (3, "2"), (5, "3")]
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("line", [b'a,"b\n', b'a,"""b""\n', b'"\n', b'a,"b"" \n', b'a,"b"c\n', b'a,"",""x\n'])
def test_quotes_on_every_line_take_no_longer_than_the_file_is_long(line: bytes) -> None:
    started_s = time.monotonic()
    assert sum(1 for _ in csv_records(line * 20_000)) >= 10_000
    assert time.monotonic() - started_s < 5
