"""Accepted clips as cards: pictures, marked caption, triplets, instances, verdicts and checks.

    make_cards(snapshot, work, ["clip-81b2..."], folder, truth=None)
    ->  [Card(caption=[("A boy", "#ff6b4a"), ...], actors={"id1": Actor(presence=1.0, ...)}, pictures=...)]
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from schemas.outcome import RowFailed
from schemas.snapshot import CandidateRow, ClipRow, InstanceRow, InteractionRow, MaskTrackRow, TrackCheckRow
from tasks.compare_truth import TruthReport
from tasks.stage import Work
from tasks.write_report.captions import mark_nouns
from tasks.write_report.charts import presence_bar
from tasks.write_report.palette import colour_of, css
from tasks.write_report.pictures import Pictures, draw_clip
from tasks.write_report.rows import read_rows

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
    caption: list[tuple[str, str | None]]  # text, colour of the instance that it names
    interactions: list[InteractionRow]
    dropped: list[InteractionRow]
    actors: dict[str, Actor]  # by instance id
    pictures: Pictures | None
    trouble: str | None  # why there are no pictures


def make_cards(
    snapshot: Path, work: Work, clip_ids: Sequence[str], folder: Path, truth: TruthReport | None
) -> list[Card]:
    clips = read_rows(snapshot, "clips", ClipRow, clip_ids)
    instances = read_rows(snapshot, "instances", InstanceRow, clip_ids)
    interactions = read_rows(snapshot, "interactions", InteractionRow, clip_ids)
    dropped = read_rows(snapshot, "dropped_interactions", InteractionRow, clip_ids)
    tracks = read_rows(snapshot, "mask_tracks", MaskTrackRow, clip_ids)
    checks = read_rows(snapshot, "track_checks", TrackCheckRow, clip_ids)
    candidates = read_rows(snapshot, "candidates", CandidateRow, clip_ids)
    ious = {(s.clip_id, s.instance_id): s.iou for s in truth.instances} if truth else {}

    def card(clip_id: str) -> Card:
        clip = clips[clip_id][0]
        track_of = {track.instance_id: track for track in tracks[clip_id]}
        try:
            pictures, trouble = draw_clip(clip, tracks[clip_id], work, folder), None
        except RowFailed as error:
            logger.warning("%s: no pictures: %s", clip_id, error)
            pictures, trouble = None, str(error)
        return Card(
            clip=clip,
            caption=mark_nouns(clip.caption or "", instances[clip_id]),
            interactions=interactions[clip_id],
            dropped=dropped[clip_id],
            actors={
                row.instance_id: make_actor(
                    row,
                    track_of[row.instance_id],
                    [c for c in candidates[clip_id] if c.instance_id == row.instance_id],
                    [c for c in checks[clip_id] if c.instance_id == row.instance_id],
                    ious.get((clip_id, row.instance_id)),
                )
                for row in instances[clip_id]
            },
            pictures=pictures,
            trouble=trouble,
        )

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:  # decoding and encoding release the GIL
        return list(pool.map(card, clip_ids))


def make_actor(
    row: InstanceRow,
    track: MaskTrackRow,
    candidates: Sequence[CandidateRow],
    checks: list[TrackCheckRow],
    iou: float | None,
) -> Actor:
    return Actor(
        row=row,
        colour=css(colour_of(row.instance_id)),
        timeline=presence_bar(track.present, track.anchor_frame),
        presence=sum(track.present) / len(track.present),
        rationale=next((c.rationale for c in candidates if c.verdict == "accepted"), None),
        n_refused=sum(c.verdict == "refused" for c in candidates),
        checks=checks,
        iou=iou,
    )
