"""sources or clips -> shards: fixed, content-derived lists that are processed, fail and are rerun together.

    150 clips, 64 a shard -> shards of 64, 64 and 22

A refresh keeps the shards of the latest snapshot as far as their clips are still there, and packs what
is new into new shards: what was not touched is neither computed nor written again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from pydantic import BaseModel

from schemas.outcome import Outcome, Subject
from schemas.record import content_hash
from schemas.storage import AnyPath, parse_path, read_whole

P = TypeVar("P", bound=Subject)

SHARD_SIZE = 64


class Row(BaseModel, Generic[P]):
    """A source or clip on its way through the stages."""

    payload: P
    made: dict[str, str] = {}  # stage -> key of its result
    outcome: Outcome | None = None


class Shard(BaseModel, Generic[P]):
    """A fixed list of rows that are processed together; what fails and is rerun alone."""

    shard_id: str
    step: int = 0  # how many stages it has been through
    chain: str = ""  # hash of those stages with all that they depend on
    rows: list[Row[P]]

    @staticmethod
    def id_of(payloads: Sequence[Subject]) -> str:
        return "shard-" + content_hash("shard", [p.model_dump(mode="json") for p in payloads], length=12)

    @classmethod
    def of(cls, payloads: Sequence[P]) -> Shard[P]:
        return cls(shard_id=cls.id_of(payloads), rows=[Row[P](payload=p) for p in payloads])

    @property
    def retryable(self) -> int:
        """Rows that failed but may end otherwise when run again."""
        return sum(row.outcome is not None and row.outcome.retryable for row in self.rows)


def load_shard(path: AnyPath | str, payload: type[P]) -> Shard[P]:
    return Shard[payload].model_validate_json(read_whole(parse_path(path)))  # type: ignore[valid-type]


def plan_shards(rows: Sequence[P], size: int) -> list[Shard[P]]:
    """Rows in their order, `size` a shard."""
    return [Shard.of(rows[start : start + size]) for start in range(0, len(rows), size)]


def plan_clip_shards(clips: Sequence[P], size: int, earlier: Sequence[Sequence[str]] = ()) -> list[Shard[P]]:
    """Clips in shards; `earlier` holds the clip ids of the latest snapshot's shards.

    A shard's id covers its clips' whole records, so a renamed file (same content, new path) is written
    anew, though nothing is computed again.
    """
    left = {clip.row_id: clip for clip in clips}
    shards = []
    for clip_ids in earlier:
        still_there = [left.pop(clip_id) for clip_id in clip_ids if clip_id in left]
        if still_there:
            shards.append(Shard.of(still_there))
    return shards + plan_shards(list(left.values()), size)
