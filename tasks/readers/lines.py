"""Read the lines of a user's table (JSON lines, CSV or Parquet); unreadable lines end as outcomes.

read_lines(Path("captions.jsonl")) -> InputLine(number=1, raw=b'{"video": "dog.mp4", "caption": "..."}'), ...
parse_line(line, ManifestRow)      -> ManifestRow(video="dog.mp4", ...), or RowFailed("bad_line", ...)
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from schemas.outcome import Outcome, RowFailed, RowRejected
from schemas.record import Record, content_hash
from schemas.storage import AnyPath

R = TypeVar("R", bound=Record)


MANIFEST_SUFFIXES = frozenset({".jsonl", ".ndjson", ".csv", ".parquet"})
MANIFEST_KINDS = ".jsonl, .csv or .parquet"


class ManifestError(ValueError):
    """The file as a whole cannot be read."""


def require_manifest(manifest: AnyPath) -> None:
    """Raises ManifestError unless it is a folder or a readable kind of file."""
    if manifest.is_dir():
        return
    if not manifest.is_file():
        raise ManifestError(f"{manifest} does not exist; give a {MANIFEST_KINDS} manifest or a folder of videos")
    if manifest.suffix.lower() not in MANIFEST_SUFFIXES:
        raise ManifestError(f"{manifest}: {manifest.suffix or 'no suffix'} is not a manifest; use {MANIFEST_KINDS}")


class InputLine(NamedTuple):
    number: int  # in the file, from 1
    raw: bytes | dict[str, Any]  # JSON text, or column values


def read_lines(table: AnyPath) -> Iterator[InputLine]:
    """The lines of a JSON lines, CSV or Parquet file. Raises ManifestError if the file is broken."""
    try:
        match table.suffix.lower():
            case ".jsonl" | ".ndjson":
                # Not splitlines(): it also splits at U+2028, which JSON strings may hold.
                lines = enumerate(table.read_bytes().split(b"\n"), start=1)
                yield from (InputLine(number, raw) for number, raw in lines if raw.strip())
            case ".csv":
                reader = csv.DictReader(io.StringIO(table.read_text("utf-8-sig"), newline=""), strict=True)
                yield from (InputLine(reader.line_num, _csv_values(row)) for row in reader)
            case ".parquet":
                rows = pq.read_table(pa.BufferReader(table.read_bytes())).to_pylist()
                yield from (InputLine(number, row) for number, row in enumerate(rows, start=1))
    except (csv.Error, pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise ManifestError(f"{table} cannot be read: {error}") from error


def _csv_values(row: dict[Any, Any]) -> dict[str, Any]:
    """CSV has no nulls: empty cells are left out. Pydantic converts the other strings."""
    return {str(name): value for name, value in row.items() if value not in ("", None)}


def parse_line(line: InputLine, record: type[R]) -> R:
    """A line as a record. Raises RowFailed("bad_line") with every invalid column."""
    try:
        values = json.loads(line.raw.decode("utf-8-sig")) if isinstance(line.raw, bytes) else line.raw
        row = record.model_validate(values)
        row.model_dump_json()  # a lone surrogate cannot be stored
        return row
    except ValidationError as error:
        raise RowFailed("bad_line", problems_of(error), retryable=False) from error
    except (ValueError, RecursionError) as error:
        raise RowFailed("bad_line", f"not a JSON object: {error}", retryable=False) from error


def problems_of(error: ValidationError) -> str:
    """'video: Field required; start_s: Input should be a valid number': column by column."""
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'row'}: {e['msg']}" for e in error.errors())


def outcome_of(row_id: str, stage: str, end: RowFailed | RowRejected) -> Outcome:
    """The outcome of an input that became no clip."""
    return Outcome(
        row_id=row_id,
        kind="source",
        status="rejected" if isinstance(end, RowRejected) else "failed",
        stage=stage,
        reason=end.reason,
        detail=end.detail,
        retryable=isinstance(end, RowFailed) and end.retryable,
    )


class EndedLines:
    """Outcomes of rejected and unreadable lines."""

    def __init__(self, stage: str) -> None:
        self.outcomes: list[Outcome] = []
        self._stage = stage
        self._occurrences: Counter[str] = Counter()

    def add(self, line: InputLine, end: RowFailed | RowRejected) -> None:
        # Its id: the hash of its text, and the number of times that text has come.
        text = content_hash(str(line.raw), length=16)
        self._occurrences[text] += 1
        self.outcomes.append(outcome_of(f"line-{text}-{self._occurrences[text]}", self._stage, end))
