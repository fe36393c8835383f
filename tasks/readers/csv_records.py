"""Bytes of CSV -> records, each with the line on which it begins; a broken one costs no other.

    b'video,caption\\na.mp4,"A dog\\nbarks"\\nb.mp4,"A stray quote\\nc.mp4,A cat\\n'
        -> (1, ["video", "caption"]), (2, ["a.mp4", "A dog\\nbarks"]), (4, fault), (5, ["c.mp4", "A cat"])

Cells are those of csv.reader(strict=True), which stops at the first fault, limits the length of cells for the whole
process, and reads text: one byte that is no UTF-8 would be the whole file's fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

# Possessive (*+, ++): no match is tried again in another way, so the time grows with the length only.
_CELL = rb'"(?:[^"]++|"")*+"(?=[,\r\n]|\Z)|[^",\r\n][^,\r\n]*+|'
_LINE_END = rb"(?:\r\n|\n|\r|\Z)"
_CELLS = re.compile(_CELL)
_RECORD = re.compile(rb"(?:%b)(?:,(?:%b))*+%b" % (_CELL, _CELL, _LINE_END))
_LINE = re.compile(rb"[^\r\n]*+%b" % _LINE_END)
_NEWLINE = re.compile(rb"\r\n|\n|\r")
_STRAY_QUOTE = 'a stray quotation mark: a cell that begins with " ends with ", and " within it is written ""'


class CsvRecord(NamedTuple):
    """A record, or a line that is none."""

    number: int  # line on which it begins, from 1
    raw: bytes
    cells: list[str]
    fault: str | None = None  # why there are no cells


def csv_records(data: bytes) -> Iterator[CsvRecord]:
    """The records of a CSV file that are not blank. A byte order mark is left out."""
    position, number = 3 * data.startswith(b"\xef\xbb\xbf"), 1
    while position < len(data):
        found = _RECORD.match(data, position)
        if found is None:  # a quote is not closed, or text follows it: go on with the next line
            found = _LINE.match(data, position)
            assert found is not None
            yield CsvRecord(number, found[0].rstrip(b"\r\n"), [], _STRAY_QUOTE)
        elif raw := found[0].rstrip(b"\r\n"):
            yield _decoded(number, raw)
        number += len(_NEWLINE.findall(found[0]))
        position = found.end()


def _decoded(number: int, raw: bytes) -> CsvRecord:
    try:
        return CsvRecord(number, raw, [cell.decode() for cell in _cells(raw)])
    except UnicodeDecodeError as error:
        said = f"it is not UTF-8 (byte 0x{error.object[error.start]:02x}); save the file as UTF-8"
        return CsvRecord(number, raw, [], said)


def _cells(raw: bytes) -> Iterator[bytes]:
    position = -1
    while position < len(raw):  # there is an empty cell behind a last comma
        found = _CELLS.match(raw, position + 1)
        assert found is not None
        yield found[0][1:-1].replace(b'""', b'"') if found[0].startswith(b'"') else found[0]
        position = found.end()
