"""The base of every stored row: one described Pydantic class that is also an Arrow schema.

    class Box(Record):
        schema_version: ClassVar[int] = 1
        score: float = column("How sure the detector was", unit="0..1")

    Box.arrow_schema()   # score: double not null, {"description": ..., "unit": "0..1"}

The class is the only place where a column is named, typed and described. `write_table` writes
Parquet and refuses rows whose columns a plain `pa.Table.from_pylist` would silently drop or fill.
"""

from __future__ import annotations

import hashlib
import json
import types
import typing
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, ClassVar, Literal, Self, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticUndefined

from schemas.blob import BytesColumn, MayBeBlob, holds_bytes
from schemas.storage import AnyPath, write_atomic

R = TypeVar("R", bound="Record")


class SchemaError(ValueError):
    """A row or a file does not have exactly the columns its record declares."""


def column(description: str, *, unit: str | None = None, default: Any = PydanticUndefined, **limits: Any) -> Any:
    """A described column. `limits` are Pydantic's own: ge, le, min_length, pattern, ..."""
    extra: dict[str, Any] | None = {"unit": unit} if unit else None
    field: Any = Field(default, description=description, json_schema_extra=extra, **limits)
    field.metadata.append(MayBeBlob())
    return field


class Record(BaseModel):
    """An immutable row. Unknown columns are refused; NaN and infinity are not values."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, ser_json_bytes="base64", val_json_bytes="base64"
    )

    schema_version: ClassVar[int] = 1
    table_name: ClassVar[str | None] = None  # the table of a snapshot that holds such rows
    rows_per_group: ClassVar[int | None] = None  # of its Parquet files: few, so that one large row is read alone

    @classmethod
    def __pydantic_on_complete__(cls) -> None:
        for name, info in cls.model_fields.items():
            if holds_bytes(info.annotation):
                setattr(cls, name, BytesColumn(name))

    @classmethod
    def arrow_schema(cls) -> pa.Schema:
        """The columns as stored, with description, unit and schema version in the metadata."""
        return pa.schema(
            _arrow_fields(cls),
            metadata={
                "triptych.record": cls.__name__,
                "triptych.schema_version": str(cls.schema_version),
                "triptych.description": (cls.__doc__ or "").strip().split("\n")[0],
            },
        )

    def to_json(self) -> bytes:
        return self.model_dump_json().encode()

    @classmethod
    def from_json(cls, data: bytes | str) -> Self:
        return cls.model_validate_json(data)


class StageResult(Record):
    """A stage's answer about one row.

    The record says which stage makes it, and nothing else has to:

    class Scored(StageResult):
        stage_name: ClassVar[str] = "score_dsr"

    work.result(row, Scored)    # Scored(dsr_score=0.98, ...): what score_dsr made of this row
    """

    stage_name: ClassVar[str]


class Rational(Record):
    """An exact number of seconds (or frames a second), as the container states it."""

    num: int = column("Numerator")
    den: int = column("Denominator", gt=0)

    @classmethod
    def of(cls, value: Fraction | int) -> Rational:
        value = Fraction(value)
        return cls(num=value.numerator, den=value.denominator)

    @property
    def fraction(self) -> Fraction:
        return Fraction(self.num, self.den)

    def __float__(self) -> float:
        return self.num / self.den


def content_hash(*parts: Any, length: int = 32) -> str:
    """Hex digest of any nesting of JSON values, records, configs and rationals; the same in every process.

    Sets are refused: their order, and so the digest, changes from process to process.
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=_jsonable, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def _jsonable(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Fraction):
        return [value.numerator, value.denominator]
    raise TypeError(f"content_hash: {type(value).__name__} has no stable content; pass records or JSON values")


# --- Arrow -----------------------------------------------------------------------------------

_SCALARS: dict[Any, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.binary(),
}


def _arrow_fields(record: type[Record]) -> list[pa.Field]:
    fields = []
    for name, info in record.model_fields.items():
        if not info.description:
            raise SchemaError(f"{record.__name__}.{name} has no description; add one: stored columns must have it")
        metadata = {"description": info.description}
        if isinstance(info.json_schema_extra, dict) and "unit" in info.json_schema_extra:
            metadata["unit"] = str(info.json_schema_extra["unit"])
        dtype, nullable = _arrow_type(info.annotation)
        fields.append(pa.field(name, dtype, nullable=nullable, metadata=metadata))
    return fields


def _arrow_type(annotation: Any) -> tuple[pa.DataType, bool]:
    """(type, nullable) of a field's annotation."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        inner = [a for a in args if a is not type(None)]
        if len(inner) == 1 and len(args) == 2:
            return _arrow_type(inner[0])[0], True
    if origin is Literal:
        return pa.string(), False
    if origin is list:
        dtype, nullable = _arrow_type(args[0])
        return pa.list_(pa.field("item", dtype, nullable=nullable)), False
    if origin is tuple and len(set(args)) == 1:  # tuple[float, float, float, float]: a box
        dtype, _ = _arrow_type(args[0])
        return pa.list_(pa.field("item", dtype, nullable=False), len(args)), False
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return pa.struct(_arrow_fields(annotation)), False
    if annotation in _SCALARS:
        return _SCALARS[annotation], False
    raise SchemaError(f"no Arrow type for {annotation!r}; use scalars, Literal, list, fixed tuple, Record or X | None")


def to_table(record: type[R], rows: Sequence[R | dict[str, Any]]) -> pa.Table:
    """Rows as an Arrow table with exactly the record's columns.

    Raises SchemaError for a row of another type, an unknown or missing column or a forbidden null.
    """
    schema = record.arrow_schema()
    values = [_checked(record, number, row).model_dump() for number, row in enumerate(rows)]
    try:
        table = pa.Table.from_pylist(values, schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise SchemaError(f"{record.__name__}: {error}") from error
    table.validate(full=True)
    return table


def _checked(record: type[R], number: int, row: R | dict[str, Any]) -> R:
    if isinstance(row, dict):
        unknown, missing = set(row) - set(record.model_fields), set(record.model_fields) - set(row)
        if unknown or missing:
            # Pydantic alone would fill a missing nullable column.
            raise SchemaError(f"{record.__name__} row {number}: unknown {sorted(unknown)}, missing {sorted(missing)}")
        try:
            return record.model_validate(row)
        except ValidationError as error:
            raise SchemaError(f"{record.__name__} row {number}: {error}") from error
    if type(row) is not record:
        raise SchemaError(f"{record.__name__} row {number} is a {type(row).__name__}, not a {record.__name__}")
    return row


def write_table(record: type[R], rows: Sequence[R | dict[str, Any]], path: AnyPath) -> None:
    """Write rows to one Parquet file that appears whole or not at all; same rows, same bytes."""
    table = to_table(record, rows)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, compression="zstd", compression_level=9) as writer:
        if table.num_rows:  # `datasets` cannot read a row group without rows
            writer.write_table(table, row_group_size=record.rows_per_group)
    write_atomic(path, sink.getvalue().to_pybytes())


def require_columns(record: type[Record], stored: pa.Schema, path: AnyPath) -> None:
    """Raises SchemaError unless a file's columns are the record's.

    One of an earlier version of the record may lack columns that have a default: its rows get that.
    """
    version = int((stored.metadata or {}).get(b"triptych.schema_version", record.schema_version))
    fields = record.arrow_schema()
    if version < record.schema_version:
        fields = [f for f in fields if f.name in stored.names or record.model_fields[f.name].is_required()]
    if not stored.equals(pa.schema(fields), check_metadata=False):
        raise SchemaError(f"{path}: columns are not those of {record.__name__} version {record.schema_version}")


def read_table(record: type[R], path: AnyPath) -> list[R]:
    """Read a file that `write_table` wrote. Raises SchemaError as `require_columns` does."""
    table = pq.read_table(pa.BufferReader(path.read_bytes()))
    require_columns(record, table.schema, path)
    return [record.model_validate(row) for row in table.to_pylist()]
