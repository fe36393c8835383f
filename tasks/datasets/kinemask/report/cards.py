"""Accepted clips as cards: film, marked caption, drawings, events and objects.

make_cards(snapshot, manifest, ["clip-81b2..."], folder)
->  [Card(caption=[("The red cube", "#cc0f0d"), ...], film=Film("clips/clip-81b2....mp4", ...), events=[Event(1, ...)])]
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from schemas.kinemask import CollisionRow, DrawRow, ObjectRow, SceneClipRow, VideoRow
from schemas.outcome import RowFailed
from schemas.snapshot import SnapshotManifest
from schemas.storage import AnyPath
from tasks.datasets.kinemask.report.drawing import colour_of
from tasks.datasets.kinemask.report.film import Film, draw_film
from tasks.datasets.kinemask.report.speed_chart import MOVES_MPS, speed_chart
from tasks.datasets.kinemask.report.top_view import top_view
from tasks.engine.progress import counted
from tasks.pages.marks import ARTICLES, Marked, find_phrase, mark_spans
from tasks.pages.rows import accepted_clip_ids, read_rows, scan, shards_of, spread

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Group:
    """The accepted clips of a set and split: how many there are, and which of them are shown."""

    name: str
    n: int
    shown: list[str]


@dataclass(frozen=True)
class Actor:
    """An object as its clip's card shows it."""

    row: ObjectRow
    colour: str  # CSS
    friction: float
    top_speed_mps: float
    way_m: float  # length of its path

    @property
    def set_in_motion(self) -> bool:
        return not self.row.controlled and self.top_speed_mps >= MOVES_MPS


@dataclass(frozen=True)
class Event:
    """A collision as its clip's card shows it."""

    number: int
    row: CollisionRow
    first: Actor
    second: Actor


@dataclass(frozen=True)
class Card:
    """An accepted clip."""

    clip: SceneClipRow
    caption: Marked  # each piece with the colour of the object that it names
    actors: list[Actor]
    events: list[Event]
    draws: list[tuple[str, int, str]]  # why the seed's earlier draws were none: reason, how many, the first's detail
    top_view: Markup
    speeds: Markup
    film: Film | None
    trouble: str | None  # why there is no film


# --- Which clips -----------------------------------------------------------------------------


def choose_clips(snapshot: AnyPath, manifest: SnapshotManifest, max_clips: int) -> list[Group]:
    """As many of each set and split, as far as there are, evenly over its shards."""
    columns = scan(snapshot, "clips").select("clip_id", "set", "split").collect()
    name_of = {clip_id: f"{set_}/{split}" for clip_id, set_, split in columns.iter_rows()}
    groups: dict[str, list[str]] = {}
    for clip_id in accepted_clip_ids(snapshot, manifest):
        groups.setdefault(name_of[clip_id], []).append(clip_id)
    shares = fair_shares([len(clip_ids) for clip_ids in groups.values()], max_clips)
    return [
        Group(name, len(clip_ids), spread(clip_ids, share))
        for (name, clip_ids), share in zip(groups.items(), shares, strict=True)
    ]


def fair_shares(sizes: Sequence[int], n: int) -> list[int]:
    """n in parts as equal as the sizes allow.

    fair_shares([100, 3, 50], 24) -> [11, 3, 10]
    """
    shares = [0] * len(sizes)
    for _ in range(min(n, sum(sizes))):
        growing = [place for place, size in enumerate(sizes) if shares[place] < size]
        shares[min(growing, key=lambda place: shares[place])] += 1
    return shares


# --- Their cards -----------------------------------------------------------------------------


@dataclass(frozen=True)
class ClipRows:
    """What the snapshot's tables hold of an accepted clip."""

    clip: SceneClipRow
    video: VideoRow
    objects: list[ObjectRow]
    collisions: list[CollisionRow]
    draws: list[DrawRow]


def make_cards(snapshot: AnyPath, manifest: SnapshotManifest, clip_ids: Sequence[str], folder: AnyPath) -> list[Card]:
    """One card a clip, in the given order; writes the pictures below `folder`."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:  # decoding and encoding release the GIL
        cards = pool.map(lambda rows: make_card(rows, folder), read_clips(snapshot, manifest, clip_ids))
        return list(counted(cards, "clips", len(clip_ids)))


def read_clips(snapshot: AnyPath, manifest: SnapshotManifest, clip_ids: Sequence[str]) -> list[ClipRows]:
    shards = shards_of(manifest, clip_ids)
    clips = read_rows(snapshot, "clips", SceneClipRow, clip_ids, shards)
    videos = read_rows(snapshot, "videos", VideoRow, clip_ids, shards)
    objects = read_rows(snapshot, "objects", ObjectRow, clip_ids, shards)
    collisions = read_rows(snapshot, "collisions", CollisionRow, clip_ids, shards)
    draws = read_rows(snapshot, "draws", DrawRow, clip_ids, shards)
    return [
        ClipRows(
            clip=clips[clip_id][0],
            video=videos[clip_id][0],
            objects=objects[clip_id],
            collisions=sorted(collisions[clip_id], key=lambda row: row.time_s),
            draws=draws[clip_id],
        )
        for clip_id in clip_ids
    ]


def make_card(rows: ClipRows, folder: AnyPath) -> Card:
    clip, film, trouble = rows.clip, None, None
    try:
        film = draw_film(clip, rows.objects, rows.video.video, folder)
    except RowFailed as error:
        logger.warning("%s: no film: %s", clip.clip_id, error)
        trouble = str(error)
    friction_of = {body.instance_id: body.friction for body in clip.scene.bodies}
    actors = {row.instance_id: make_actor(row, friction_of[row.instance_id]) for row in rows.objects}
    events = [
        Event(number, row, actors[row.first_id], actors[row.second_id])
        for number, row in enumerate(rows.collisions, start=1)
    ]
    return Card(
        clip=clip,
        caption=mark_objects(clip.caption, rows.objects),
        actors=list(actors.values()),
        events=events,
        draws=count_draws(rows.draws),
        top_view=top_view(clip, rows.objects, rows.collisions),
        speeds=speed_chart(clip, rows.objects, rows.collisions),
        film=film,
        trouble=trouble,
    )


def make_actor(row: ObjectRow, friction: float) -> Actor:
    steps = np.diff(np.array(row.position), axis=0)
    return Actor(
        row=row,
        colour=colour_of(row),
        friction=friction,
        top_speed_mps=float(np.linalg.norm(np.array(row.velocity), axis=1).max()),
        way_m=float(np.linalg.norm(steps, axis=1).sum()),
    )


def mark_objects(caption: str, objects: Sequence[ObjectRow]) -> Marked:
    """The caption in pieces, each with the CSS colour of the object that it names, or None."""
    spans = [(*span, colour_of(row)) for row in objects for span in find_phrase(caption, row.noun, rf"(?:{ARTICLES})?")]
    return mark_spans(caption, spans)


def count_draws(draws: Sequence[DrawRow]) -> list[tuple[str, int, str]]:
    """Reasons in the order in which they first come."""
    detail_of: Mapping[str, str] = {draw.reason: draw.detail for draw in reversed(draws)}
    return [(reason, n, detail_of[reason]) for reason, n in Counter(draw.reason for draw in draws).items()]
