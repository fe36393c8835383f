"""Accepted clips as cards: pictures, marked caption, triplets, instances, verdicts and checks.

make_cards(snapshot, work, ["clip-81b2..."], folder, truth=None)
->  [Card(caption=[("A boy", "#ff6b4a"), ...], actors={"id1": Actor(presence=1.0, ...)}, pictures=...)]
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from markupsafe import Markup

from schemas.matrix11k import CandidateRow, ClipRow, InstanceRow, InteractionRow, MaskTrackRow, TrackCheckRow
from schemas.outcome import RowFailed
from schemas.storage import AnyPath
from tasks.datasets.matrix11k.report.captions import mark_nouns
from tasks.datasets.matrix11k.report.charts import presence_bar
from tasks.datasets.matrix11k.report.pictures import Pictures, draw_clip
from tasks.engine.progress import counted
from tasks.engine.work import Work
from tasks.metrics.compare_truth import TruthReport
from tasks.pages.colours import css
from tasks.pages.marks import Marked
from tasks.pages.palette import colour_of
from tasks.pages.rows import read_rows

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Actor:
    """An instance as its clip's card shows it."""

    row: InstanceRow
    colour: str  # CSS
    timeline: Markup
    presence: float  # share of frames with a mask
    rationale: str | None
    n_refused: int
    checks: list[TrackCheckRow]
    iou: float | None  # against the truth, if there is one


@dataclass(frozen=True)
class Card:
    """An accepted clip."""

    clip: ClipRow
    caption: Marked  # each piece with the colour of the instance that it names
    interactions: list[InteractionRow]
    dropped: list[InteractionRow]
    actors: dict[str, Actor]  # by instance id
    pictures: Pictures | None
    trouble: str | None  # why there are no pictures


@dataclass(frozen=True)
class ClipRows:
    """What the snapshot's tables hold of an accepted clip."""

    clip: ClipRow
    instances: list[InstanceRow]
    interactions: list[InteractionRow]
    dropped: list[InteractionRow]
    tracks: list[MaskTrackRow]
    checks: list[TrackCheckRow]
    candidates: list[CandidateRow]


def make_cards(
    snapshot: AnyPath, work: Work, clip_ids: Sequence[str], folder: AnyPath, truth: TruthReport | None
) -> list[Card]:
    """One card a clip, in the given order; writes the pictures below `folder`."""
    iou_of = {(s.clip_id, s.instance_id): s.iou for s in truth.instances} if truth else {}
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:  # decoding and encoding release the GIL
        cards = pool.map(lambda rows: make_card(rows, work, folder, iou_of), read_clips(snapshot, clip_ids))
        return list(counted(cards, "clips", len(clip_ids)))


def read_clips(snapshot: AnyPath, clip_ids: Sequence[str]) -> list[ClipRows]:
    clips = read_rows(snapshot, "clips", ClipRow, clip_ids)
    instances = read_rows(snapshot, "instances", InstanceRow, clip_ids)
    interactions = read_rows(snapshot, "interactions", InteractionRow, clip_ids)
    dropped = read_rows(snapshot, "dropped_interactions", InteractionRow, clip_ids)
    tracks = read_rows(snapshot, "mask_tracks", MaskTrackRow, clip_ids)
    checks = read_rows(snapshot, "track_checks", TrackCheckRow, clip_ids)
    candidates = read_rows(snapshot, "candidates", CandidateRow, clip_ids)
    return [
        ClipRows(
            clip=clips[clip_id][0],
            instances=instances[clip_id],
            interactions=interactions[clip_id],
            dropped=dropped[clip_id],
            tracks=tracks[clip_id],
            checks=checks[clip_id],
            candidates=candidates[clip_id],
        )
        for clip_id in clip_ids
    ]


def make_card(rows: ClipRows, work: Work, folder: AnyPath, iou_of: Mapping[tuple[str, str], float]) -> Card:
    """iou_of: by clip and instance, where there is a truth."""
    pictures, trouble = None, None
    try:
        video = work.inputs.verified(rows.clip.video, rows.clip.video_sha256)
        pictures = draw_clip(rows.clip, rows.tracks, video, folder)
    except RowFailed as error:
        logger.warning("%s: no pictures: %s", rows.clip.clip_id, error)
        trouble = str(error)
    return Card(
        clip=rows.clip,
        caption=mark_nouns(rows.clip.caption or "", rows.instances),
        interactions=rows.interactions,
        dropped=rows.dropped,
        actors={row.instance_id: make_actor(row, rows, iou_of) for row in rows.instances},
        pictures=pictures,
        trouble=trouble,
    )


def make_actor(row: InstanceRow, rows: ClipRows, iou_of: Mapping[tuple[str, str], float]) -> Actor:
    track = next(t for t in rows.tracks if t.instance_id == row.instance_id)
    candidates = [c for c in rows.candidates if c.instance_id == row.instance_id]
    return Actor(
        row=row,
        colour=css(colour_of(row.instance_id)),
        timeline=presence_bar(track.present, track.anchor_frame),
        presence=sum(track.present) / len(track.present),
        rationale=next((c.rationale for c in candidates if c.verdict == "accepted"), None),
        n_refused=sum(c.verdict == "refused" for c in candidates),
        checks=[c for c in rows.checks if c.instance_id == row.instance_id],
        iou=iou_of.get((row.clip_id, row.instance_id)),
    )
