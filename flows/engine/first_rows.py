"""The first rows of a shard through all its stages, before the others: what there is to see early.

    64 clips: 1, then 5, then 12, then 46    each part through all stages; the last one stage by stage, as ever

Nothing is computed twice: the shard is told how these rows ended. Killed here, a run finds their results by their keys.
Only one shard of a run does so, and only where one process takes it through all its stages (tasks/engine/so_far.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flows.engine.config import CurationConfig
from flows.engine.display import listener_for
from flows.engine.growing_page import let_grow
from tasks.engine.progress import Clock
from tasks.engine.shards import Row, Shard
from tasks.engine.so_far import goes_first, tell
from tasks.engine.stage import Ends, run_rows

PART_S = 30.0  # how long a part should take; one that is slower is doubled all the same, as models load in each


def parts_of(rows: Sequence[Row[Any]], clock: Clock = time.monotonic) -> Iterator[list[Row[Any]]]:
    """The rows in parts, each of a size that the one before it tells: what is done between two takes its time.

    The last rows are no part: the shard has them left.
    """
    start, size = 0, 1
    while start + size < len(rows):
        began_s = clock()
        yield list(rows[start : start + size])
        start, size = start + size, next_size(size, clock() - began_s)


def next_size(size: int, seconds: float) -> int:
    """Rows of the next part: as many as take PART_S at this pace, and at least twice as many."""
    return max(2 * size, int(size * PART_S / max(seconds, 1e-3)))


def wants_first_rows(config: CurationConfig, shard: Shard[Any]) -> bool:
    return config.report and len(shard.rows) > 1 and goes_first(config.work, shard)


def run_part(
    config: CurationConfig, shard: Shard[Any], rows: Sequence[Row[Any]], ends: Mapping[str, Ends], log: Any
) -> bool:
    """Some rows of a planned shard through all stages. False if one failed: whatever it was, no more go ahead.

    ends: by stage; learn how the rows ended
    """
    part = shard.model_copy(update={"rows": list(rows)})
    for name, of_stage in ends.items():
        part = run_rows(config.work, part, config.stage(name), log, listener_for(log), of_stage, "first rows")
    return not any(row.outcome and row.outcome.status == "failed" for row in part.rows)


def tell_ended(config: CurationConfig, shard: Shard[Any], ends: Mapping[str, Ends]) -> None:
    """Which rows of the shard that goes first have ended: in whatever stage, or behind the last one."""
    last = [*ends][-1]
    ended = {
        row_id: row
        for name, of_stage in ends.items()
        for row_id, row in of_stage.rows.items()
        if row.outcome or name == last
    }
    tell(config.work, shard, [ended[id] for row in shard.rows if (id := row.payload.row_id) in ended])
    let_grow()
