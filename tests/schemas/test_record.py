"""schemas.record: Arrow schemas that document themselves, a writer that loses nothing, hashes that never move."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from schemas.record import Rational, Record, SchemaError, column, content_hash, read_table, to_table, write_table


class Toy(Record):
    """A toy."""

    name: str = column("What it is called")
    weight: float | None = column("How heavy", unit="kg", default=None)
    kind: Literal["car", "doll"] = column("Which kind")
    box: tuple[float, float] = column("Two numbers", unit="px")
    seen: list[Rational] = column("When it was seen", unit="s")


TOY = Toy(name="a", weight=None, kind="car", box=(1.0, 2.0), seen=[Rational.of(Fraction(1, 3))])


def test_schema_carries_types_nullability_descriptions_and_units() -> None:
    schema = Toy.arrow_schema()
    assert schema.names == ["name", "weight", "kind", "box", "seen"]
    assert not schema.field("name").nullable
    assert schema.field("weight").nullable
    assert schema.field("weight").metadata == {b"description": b"How heavy", b"unit": b"kg"}
    assert schema.field("box").type == pa.list_(pa.field("item", pa.float64(), nullable=False), 2)
    assert schema.metadata[b"triptych.record"] == b"Toy"
    assert schema.metadata[b"triptych.schema_version"] == b"1"


def test_a_column_without_a_description_is_refused() -> None:
    class Bare(Record):
        name: str

    with pytest.raises(SchemaError, match=r"Bare\.name has no description"):
        Bare.arrow_schema()


def test_round_trip_and_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_table(Toy, [TOY, TOY], tmp_path / f"{name}.parquet")
    assert read_table(Toy, tmp_path / "one.parquet") == [TOY, TOY]
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert pq.read_schema(tmp_path / "one.parquet").metadata[b"triptych.record"] == b"Toy"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, r"unknown \['colour'\]"),
        ({"name": None}, "name"),
        ({"weight": "heavy"}, "Toy"),
        ({"seen": [None]}, "Toy"),
    ],
)
def test_the_writer_refuses_what_arrow_would_let_pass(change: dict, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        to_table(Toy, [TOY.model_dump() | change])


def test_the_writer_refuses_missing_columns_and_other_records() -> None:
    with pytest.raises(SchemaError, match=r"missing \['seen'\]"):
        to_table(Toy, [{k: v for k, v in TOY.model_dump().items() if k != "seen"}])
    with pytest.raises(SchemaError, match="is a Rational"):
        to_table(Toy, [Rational.of(1)])  # type: ignore[list-item]


def test_reading_another_record_is_refused(tmp_path: Path) -> None:
    write_table(Rational, [Rational.of(1)], tmp_path / "t.parquet")
    with pytest.raises(SchemaError, match="not those of Toy"):
        read_table(Toy, tmp_path / "t.parquet")


def test_a_file_of_an_earlier_version_gets_the_defaults_of_later_columns(tmp_path: Path) -> None:
    class Newer(Toy):
        """A toy, later."""

        schema_version: ClassVar[int] = 2
        colour: str = column("Its colour, or unknown", default="unknown")

    class Stricter(Toy):
        """A toy that says its colour."""

        schema_version: ClassVar[int] = 2
        colour: str = column("Its colour")

    class SameVersion(Toy):
        """A toy that calls itself the same version."""

        colour: str = column("Its colour, or unknown", default="unknown")

    write_table(Toy, [TOY], tmp_path / "t.parquet")
    assert [(toy.name, toy.colour) for toy in read_table(Newer, tmp_path / "t.parquet")] == [("a", "unknown")]
    for record in (Stricter, SameVersion):
        with pytest.raises(SchemaError, match=f"not those of {record.__name__}"):
            read_table(record, tmp_path / "t.parquet")
    write_table(Newer, [Newer(**TOY.model_dump(), colour="red")], tmp_path / "n.parquet")
    with pytest.raises(SchemaError, match="not those of Toy"):  # an older program does not guess
        read_table(Toy, tmp_path / "n.parquet")


def test_nan_is_no_value() -> None:
    with pytest.raises(ValidationError):
        Toy(name="a", weight=float("nan"), kind="car", box=(0, 0), seen=[])


def test_content_hash_is_the_same_in_another_process() -> None:
    code = (
        "from schemas.record import content_hash; from fractions import Fraction;"
        "print(content_hash('x', {'b': 1, 'a': [1.5, None]}, Fraction(1, 3)))"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert content_hash("x", {"a": [1.5, None], "b": 1}, Fraction(1, 3)) == there


def test_content_hash_refuses_sets() -> None:
    with pytest.raises(TypeError, match="set has no stable content"):
        content_hash({1, 2})
