"""A snapshot's rows by clip, a file at a time."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from schemas.record import SchemaError
from tasks.engine import clip_tables
from tasks.engine.clip_tables import ClipTables
from tests.support.snapshots import write_snapshot
from tests.support.toy.dataset import LettersRow, WindowOutcome

SHARDS = {f"shard-{n}": [f"clip-{n}-{i}" for i in range(3)] for n in range(3)}


def write(folder: Path, text: str = "the dog") -> ClipTables:
    rows = [LettersRow(clip_id=i, text=f"{text} {i}", letters=6) for ids in SHARDS.values() for i in ids]
    return ClipTables(write_snapshot(folder, "curate-toy", {"windows": (LettersRow, rows)}, SHARDS))


def test_a_file_is_read_once_for_all_its_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables, read = write(tmp_path / "toy-1"), []
    monkeypatch.setattr(
        clip_tables.pl,
        "read_parquet",
        lambda path, real=pl.read_parquet, **kw: read.append(path.stem) or real(path, **kw),
    )
    for clip_ids in SHARDS.values():
        for clip_id in clip_ids:
            assert [row.text for row in tables.rows(LettersRow, clip_id)] == [f"the dog {clip_id}"]
    assert read == list(SHARDS)
    assert tables.rows(LettersRow, "clip-unknown") == []


def test_files_that_were_not_asked_for_long_are_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = write(tmp_path / "toy-1")
    monkeypatch.setattr(clip_tables, "MAX_FILES", 2)
    for clip_ids in SHARDS.values():
        tables.rows(LettersRow, clip_ids[0])
    assert [path.stem for _, path in tables._frames] == ["shard-1", "shard-2"]


def test_another_records_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="are not those of WindowOutcome"):
        write(tmp_path / "toy-1").rows(WindowOutcome, "clip-0-0", table="windows")


def test_contents_are_of_the_columns_that_count(tmp_path: Path) -> None:
    before, after = write(tmp_path / "toy-1"), write(tmp_path / "toy-2", "a dog")
    assert len(before.contents({"windows": None})) == 9
    assert before.contents({"windows": ["letters"]}) == after.contents({"windows": ["letters"]})
    texts = before.contents({"windows": ["text"]})
    assert set(texts.values()).isdisjoint(after.contents({"windows": ["text"]}).values())
    assert len(set(texts.values())) == 9
    assert all(len(content) == 64 for content in texts.values())
