"""a picture + the objects that are set in motion -> what happens then, as a model's prompt (KineMask 3.3, A.2).

    "blue mug" to the right at 1.2 m/s -> "The blue mug moves to the right and collides firmly with the glass, ..."

A VLM predicts it in the words of the training captions, which it is shown by example: first frames of simulated
clips with the speeds of what moves, and their captions. Without a VLM the prompt is the constant c_0 (4.3.1).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from schemas.push import Example, Mover
from tasks.engine.snapshots import Snapshot, SnapshotError
from tasks.media.video import read_video

logger = logging.getLogger(__name__)


N_EXAMPLES = 5  # KineMask, A.2


def in_context_examples(snapshot: Snapshot, n: int = N_EXAMPLES) -> list[Example]:
    """n clips of a kinemask snapshot that differ as much as they can; the same ones each time.

    Training clips whose captions say nothing that did not happen; fewer than n if there are fewer (logged).
    Raises SnapshotError if it is no snapshot of curate-kinemask, or has no such clip.
    """
    snapshot.require_flow("curate-kinemask")
    faultless = (pl.col("split") == "train") & (pl.col("caption_faults").list.len() == 0)
    clips = snapshot.scan("clips").filter(faultless).select("clip_id", "n_collisions", "caption", "scene").collect()
    if clips.is_empty():
        raise SnapshotError(f"{snapshot.id} has no training clip with a faultless caption to give as an example")
    movers = _movers(snapshot, clips)
    chosen = choose_diverse(_traits(clips, movers), n)
    if len(chosen) < n:
        logger.warning("%s has only %d of the %d examples that KineMask gives", snapshot.id, len(chosen), n)
    captions = dict(clips.select("clip_id", "caption").iter_rows())
    return [Example(i, read_video(snapshot.video(i), [0])[0], movers.get(i, []), captions[i]) for i in chosen]


def choose_diverse(traits: Mapping[str, frozenset[str]], n: int) -> list[str]:
    """Up to n ids; each next one has the most traits that no chosen one has, among equals the first by name.

    choose_diverse({"a": {"red"}, "b": {"red", "grass"}, "c": {"wood"}}, 2) -> ["b", "c"]
    """
    left, seen = sorted(traits), set[str]()
    chosen: list[str] = []
    while left and len(chosen) < n:
        best = max(left, key=lambda name: len(traits[name] - seen))
        left.remove(best)
        chosen.append(best)
        seen |= traits[best]
    return chosen


def _movers(snapshot: Snapshot, clips: pl.DataFrame) -> dict[str, list[Mover]]:
    """What moves in the first frame of each clip."""
    rows = (
        snapshot.scan("objects")
        .filter(pl.col("controlled"))
        .select("clip_id", "instance_id", "noun", "speed_mps")
        .join(clips.lazy().select("clip_id"), on="clip_id", how="semi")
        .sort("clip_id", "instance_id")
        .collect()
    )
    movers: dict[str, list[Mover]] = {}
    for row in rows.iter_rows(named=True):
        movers.setdefault(row["clip_id"], []).append(Mover(object=row["noun"], speed_mps=round(row["speed_mps"], 2)))
    return movers


def _traits(clips: pl.DataFrame, movers: Mapping[str, Sequence[Mover]]) -> dict[str, frozenset[str]]:
    """What examples shall differ in: the floor, how many objects move, which ones, and whether any collide."""
    floor = pl.col("scene").struct.field("floor").struct.field("noun").alias("floor")

    def traits(row: Mapping[str, Any]) -> frozenset[str]:
        moving = movers.get(row["clip_id"], [])
        collides = "collides" if row["n_collisions"] else "no collision"
        return frozenset([row["floor"], f"{len(moving)} move", collides, *(mover.object for mover in moving)])

    rows = clips.select("clip_id", "n_collisions", floor).iter_rows(named=True)
    return {row["clip_id"]: traits(row) for row in rows}
