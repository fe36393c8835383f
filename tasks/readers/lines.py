"""Read the lines of a user's table (JSON lines, CSV or Parquet); unreadable lines end as outcomes.

columns = Columns.of(ManifestRow)
read_lines(Path("captions.jsonl"), columns) -> InputLine(number=1, values={"video": "dog.mp4", "caption": "..."}), ...
parse_line(line, ManifestRow)               -> ManifestRow(video="dog.mp4", ...), or RowFailed("bad_line", ...)

A fault in one line is that line's; a fault in what concerns all lines (the header, a page of Parquet) is a
ManifestError. The same column is read, left out or refused in each kind of file (columns.py).
"""

from __future__ import annotations

import io
import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from schemas.outcome import Outcome, RowFailed, RowRejected
from schemas.record import Record, content_hash
from schemas.regular_files import open_regular
from schemas.storage import AnyPath, ObjectPath
from tasks.media.file_kinds import HEAD_BYTES, FileKind, is_video, kind_of
from tasks.readers.columns import MAX_NAMED, Columns
from tasks.readers.csv_records import CsvRecord, csv_records

R = TypeVar("R", bound=Record)

MANIFEST_SUFFIXES = frozenset({".jsonl", ".ndjson", ".csv", ".parquet"})
MANIFEST_KINDS = ".jsonl, .csv or .parquet"
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts"})

_VIDEO = FileKind("a video", "give the folder that it lies in, or a file that names it")
# Kinds that are told by their name.
_BY_SUFFIX = {
    ".txt": FileKind("text", "of a list of videos make CSV, with 'video' as its first line"),
    ".tsv": FileKind("separated by tabs", "save it with commas, as .csv"),
    ".json": FileKind("JSON", "write one object a line and call it .jsonl"),
    **dict.fromkeys(VIDEO_SUFFIXES, _VIDEO),
}

MAX_DETAIL_CHARS = 600
PARQUET_ROWS = 1024  # converted at a time

logger = logging.getLogger(__name__)


class ManifestError(ValueError):
    """The file as a whole cannot be read."""


class InputLine(NamedTuple):
    """A line of a file of input, or a file of a folder."""

    number: int  # in the file, from 1
    key: str  # hash of what it holds
    values: Any = None  # by column
    fault: RowFailed | None = None  # why there are no values

    @classmethod
    def of(cls, number: int, holds: bytes | dict[str, Any], values: Any) -> InputLine:
        """holds: everything that stands there; values: of the known columns, or why there are none"""
        key = content_hash(str(holds), length=16)
        return cls(number, key, None, values) if isinstance(values, RowFailed) else cls(number, key, values)


def bad_line(detail: str) -> RowFailed:
    """A line that says nothing that can be used."""
    return RowFailed("bad_line", detail, retryable=False)


def require_manifest(manifest: AnyPath) -> None:
    """Raises ManifestError unless it is a folder or a readable kind of file."""
    try:
        if manifest.is_dir():
            return
        head = _head_of(manifest)
    except FileNotFoundError as error:
        message = f"{manifest} does not exist; give a {MANIFEST_KINDS} manifest or a folder of videos"
        raise ManifestError(message) from error
    except (OSError, ValueError) as error:
        raise ManifestError(f"{manifest} cannot be read: {_told(error)}") from error
    suffix = manifest.suffix.lower()
    if suffix not in MANIFEST_SUFFIXES:
        kind = _kind_of(head) or _BY_SUFFIX.get(suffix)
        named = f"{manifest} is {kind}, not" if kind else f"{manifest}: {suffix or 'no suffix'} is not"
        raise ManifestError(f"{named} a manifest; use {MANIFEST_KINDS}")


def read_lines(table: AnyPath, columns: Columns) -> Iterator[InputLine]:
    """The lines of a JSON lines, CSV or Parquet file, with the known columns only.

    Warns once of the columns that are left out. Raises ManifestError if the file is broken.
    """
    left_out: Counter[str] = Counter()
    try:
        with _opened(table) as file:
            suffix = table.suffix.lower()
            head = file.read(HEAD_BYTES)
            file.seek(0)
            is_parquet = suffix == ".parquet" and head.startswith(b"PAR1")
            if not is_parquet and (kind := _kind_of(head)):
                raise ManifestError(f"is {kind}, not what its name says")
            match suffix:
                case ".jsonl" | ".ndjson":
                    yield from _json_lines(file.read(), columns, left_out)
                case ".csv":
                    yield from _csv_lines(file.read(), columns, left_out)
                case ".parquet":
                    yield from _parquet_lines(file, columns, left_out)
    except ManifestError as error:
        raise ManifestError(f"{table} {error}") from error
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        raise ManifestError(f"{table} cannot be read: {_told(error)}") from error
    finally:
        if left_out:
            told = [
                f"{name[:80]!r} ({n} {'line' if n == 1 else 'lines'})" for name, n in left_out.most_common(MAX_NAMED)
            ]
            more = f" and {len(left_out) - len(told)} more" if len(left_out) > len(told) else ""
            read = ", ".join(name for names in columns.names for name in names)
            logger.warning("%s: columns left out: %s%s; those read are %s", table, ", ".join(told), more, read)


def parse_line(line: InputLine, record: type[R]) -> R:
    """A line as a record. Raises RowFailed("bad_line") with every invalid column."""
    if line.fault is not None:
        raise line.fault
    if not isinstance(line.values, dict):
        raise bad_line(f"not a JSON object: {type(line.values).__name__}")
    try:
        row = record.model_validate(line.values)
        row.model_dump_json()  # a lone surrogate cannot be stored
        return row
    except ValidationError as error:
        raise bad_line(problems_of(error)) from error
    except (ValueError, RecursionError) as error:
        raise bad_line(f"not a JSON object: {error}") from error


def problems_of(error: ValidationError) -> str:
    """'video: Field required; start_s: Input should be a valid number': column by column."""
    faults = [("row" if not e["loc"] else ".".join(map(str, e["loc"])), e["msg"]) for e in error.errors()]
    return "; ".join(f"{where}: {what.removeprefix('Value error, ')}" for where, what in faults)


def input_outcome(row_id: str, stage: str, end: RowFailed | RowRejected) -> Outcome:
    """The outcome of an input that became no clip."""
    return Outcome(
        row_id=row_id,
        kind="source",
        status="rejected" if isinstance(end, RowRejected) else "failed",
        stage=stage,
        reason=end.reason,
        detail=_readable(end.detail),
        retryable=isinstance(end, RowFailed) and end.retryable,
    )


def _readable(detail: str) -> str:
    """A detail that quotes a name of a megabyte is cut; its end says what is wrong with it."""
    if len(detail) <= MAX_DETAIL_CHARS:
        return detail
    return f"{detail[:300]} [... {len(detail)} characters ...] {detail[-100:]}"


def at_line(line: InputLine, end: RowFailed | RowRejected) -> RowFailed | RowRejected:
    """The same end, which says in which line it is."""
    detail = f"line {line.number}: {end.detail}"
    if isinstance(end, RowRejected):
        return RowRejected(end.reason, detail)
    return RowFailed(end.reason, detail, retryable=end.retryable)


class EndedLines:
    """Outcomes of rejected and unreadable lines."""

    def __init__(self, stage: str) -> None:
        self.outcomes: list[Outcome] = []
        self._stage = stage
        self._occurrences: Counter[str] = Counter()

    def add(self, line: InputLine, end: RowFailed | RowRejected) -> None:
        # Its id: the hash of its text, and the number of times that text has come.
        self._occurrences[line.key] += 1
        self.outcomes.append(input_outcome(f"line-{line.key}-{self._occurrences[line.key]}", self._stage, end))


# --- Files -----------------------------------------------------------------------------------


def _opened(table: AnyPath) -> BinaryIO:
    return io.BytesIO(table.read_bytes()) if isinstance(table, ObjectPath) else open_regular(table)


def _head_of(manifest: AnyPath) -> bytes:
    """The first bytes of a file on a disk; of an object, none. Raises OSError."""
    if isinstance(manifest, Path):
        with open_regular(manifest) as file:
            return file.read(HEAD_BYTES)
    if not manifest.is_file():
        raise FileNotFoundError
    return b""


def _kind_of(head: bytes) -> FileKind | None:
    return _VIDEO if is_video(head) else kind_of(head)


def _told(error: Exception) -> str:
    """An error on one line of readable length."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(said.split())[:300] or type(error).__name__


def _require_columns(given: Sequence[str], columns: Columns) -> None:
    """Raises ManifestError if a table's columns are not what it needs."""
    listed = ", ".join(repr(name[:80]) for name in given[:MAX_NAMED]) + (", ..." if len(given) > MAX_NAMED else "")
    if fault := columns.misspelt(given):
        raise ManifestError(f"has a misspelt {fault}")
    if twice := columns.repeated(given):
        raise ManifestError(f"has the {twice}; leave one out")
    if missing := columns.missing(given):
        separators = {";": "semicolons", "\t": "tabs", "|": "bars"}
        by = next((word for sign, word in separators.items() if any(sign in name for name in given)), None)
        remedy = f"is it separated by {by}? Save it with commas" if by else f"its first line names {listed}"
        raise ManifestError(f"has no column {missing!r}: {remedy}")


# --- Kinds of file -----------------------------------------------------------------------------


def _json_lines(data: bytes, columns: Columns, left_out: Counter[str]) -> Iterator[InputLine]:
    if _ONE_VALUE.match(data) or _is_json_array(data):
        raise ManifestError("is one JSON value; write one object a line, without brackets or commas between them")
    # Not splitlines(): it also splits at U+2028, which JSON strings may hold.
    for number, raw in enumerate(data.split(b"\n" if b"\n" in data else b"\r"), start=1):
        if raw.strip():
            yield InputLine.of(number, raw, _json_values(raw, columns, left_out))


# Brackets on lines of their own: of such a file no line can be read by itself.
_ONE_VALUE = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\[[ \t\r]*\n|\{[ \t\r]*\n\s*[^{\s])")


def _is_json_array(data: bytes) -> bool:
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    try:
        return text.startswith(b"[") and isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False


def _json_values(raw: bytes, columns: Columns, left_out: Counter[str]) -> Any:
    pairs: list[tuple[str, Any]] = []  # at the end those of the outermost object, which is read last

    def look(read: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal pairs
        pairs = read
        return dict(read)

    try:
        values = json.loads(raw.decode("utf-8-sig"), object_pairs_hook=look)
    except (ValueError, RecursionError) as error:
        return bad_line(f"not a JSON object: {error}")
    if not isinstance(values, dict):
        return values
    if twice := columns.repeated([name for name, _ in pairs]):
        return bad_line(f"it has the {twice}; leave one out")
    if fault := columns.misspelt(values):
        return bad_line(fault)
    left_out.update(columns.ignored(values))
    return {name: value for name, value in values.items() if name in columns.read}


def _csv_lines(data: bytes, columns: Columns, left_out: Counter[str]) -> Iterator[InputLine]:
    records = csv_records(data)
    header = next(records, CsvRecord(1, b"", [], "it is empty; the first line names the columns"))
    if header.fault:
        raise ManifestError(f"cannot be read: line {header.number}: {header.fault}")
    names = header.cells
    _require_columns(names, columns)
    ignored = columns.ignored(names)
    for number, raw, cells, fault in records:
        if fault:
            yield InputLine.of(number, raw, bad_line(fault))
            continue
        if any(cells[len(names) :]):
            fault = f"{len(cells)} cells for {len(names)} columns; a cell that holds a comma stands in quotes"
            yield InputLine.of(number, raw, bad_line(fault))
            continue
        # No nulls in CSV: an empty cell is no value. Pydantic converts the other strings.
        values = {name: cell for name, cell in zip(names, cells, strict=False) if cell}
        left_out.update(ignored)
        yield InputLine.of(number, values, {name: cell for name, cell in values.items() if name in columns.read})


def _parquet_lines(file: BinaryIO, columns: Columns, left_out: Counter[str]) -> Iterator[InputLine]:
    table = pq.ParquetFile(file, page_checksum_verification=True)  # of pages that have one
    names = table.schema_arrow.names
    _require_columns(names, columns)
    read, ignored = [name for name in names if name in columns.read], columns.ignored(names)
    number = 0
    for batch in table.iter_batches(PARQUET_ROWS, columns=read):
        for row in _rows_of(batch.select(read)):  # asking for `a` also gives a column that is called `a.b`
            number += 1
            left_out.update(ignored)
            faults = [f"{name}: {value}" for name, value in row.items() if isinstance(value, _Unreadable)]
            yield InputLine.of(number, row, bad_line("; ".join(faults)) if faults else row)


# Of values that Python has no type for: a year 300,000, an unknown time zone, text that is no UTF-8.
_CONVERSION_ERRORS = (ValueError, OverflowError, TypeError, LookupError, pa.ArrowException)


class _Unreadable(str):
    """In place of a value: why it cannot be read."""

    __slots__ = ()


def _rows_of(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    try:
        return list(batch.to_pylist())
    except _CONVERSION_ERRORS:  # which value it is shows one by one
        return [{name: _value_of(batch[name], i) for name in batch.schema.names} for i in range(batch.num_rows)]


def _value_of(column: pa.Array, row: int) -> Any:
    try:
        return column[row].as_py()
    except _CONVERSION_ERRORS as error:
        return _Unreadable(f"a value of type {column.type} that cannot be read: {_told(error)}")
