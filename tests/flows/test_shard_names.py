"""flows.engine.pipeline: what people read of a shard, in the log, in Prefect and in a failure."""

from __future__ import annotations

import pytest

from flows.engine.pipeline import shard_names
from tasks.engine.shards import Row, Shard
from tests.support.toy.dataset import Window


def shards_of(*sizes: int) -> list[Shard[Window]]:
    return [
        Shard[Window](shard_id=f"shard-{n}", rows=[Row[Window](payload=Window.of(f"{n} {i}")) for i in range(size)])
        for n, size in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    ("kind", "sizes", "unit", "names"),
    [
        ("shard", (64, 64, 22), "clips", ["clips 0-63", "clips 64-127", "clips 128-149"]),
        ("shard", (2, 1, 3), "samples", ["samples 0-1", "sample 2", "samples 3-5"]),  # of an earlier snapshot's sizes
        ("split_scenes", (1,), "new sources", ["new source 0"]),
        ("shard", (), "clips", []),
    ],
)
def test_a_shard_is_named_by_its_place_and_its_rows(
    kind: str, sizes: tuple[int, ...], unit: str, names: list[str]
) -> None:
    expected = [f"{kind} {number} of {len(sizes)}, {rows}" for number, rows in enumerate(names, start=1)]
    assert shard_names(kind, shards_of(*sizes), unit) == expected
