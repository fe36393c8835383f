"""sources or clips -> shards: fixed, content-derived lists that are processed, fail and are rerun together.

    150 clips, 64 a shard -> shards of 64, 64 and 22

A refresh keeps the shards of the latest snapshot as far as their clips are still there, and packs what
is new into new shards: what was not touched is neither computed nor written again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from schemas.clip import Clip
from schemas.outcome import Subject
from tasks.stage import Shard

P = TypeVar("P", bound=Subject)

SHARD_SIZE = 64


def plan_shards(rows: Sequence[P], size: int) -> list[Shard[P]]:
    """Rows in their order, `size` a shard."""
    return [Shard.of(rows[start : start + size]) for start in range(0, len(rows), size)]


def plan_clip_shards(clips: Sequence[Clip], size: int, earlier: Sequence[Sequence[str]] = ()) -> list[Shard[Clip]]:
    """Clips in shards; `earlier` holds the clip ids of the latest snapshot's shards.

    A shard's id covers its clips' whole records, so a renamed file (same content, new path) is written
    anew, though nothing is computed again.
    """
    left = {clip.clip_id: clip for clip in clips}
    shards = []
    for clip_ids in earlier:
        still_there = [left.pop(clip_id) for clip_id in clip_ids if clip_id in left]
        if still_there:
            shards.append(Shard.of(still_there))
    return shards + plan_shards(list(left.values()), size)
