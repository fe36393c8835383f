"""Samples as cards: film, the two curves, what the score is made of, the answers.

make_cards(snapshot, manifest, ["clip-81b2..."], settings, folder)
->  {"clip-81b2...": Card(prompt=[("a fox", "#ff6b4a"), ...], film=Film("clips/clip-81b2....mp4", ...), curves=...)}
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from markupsafe import Markup

from schemas.dsr import ANIMAL, OBJECT, SampleRow, TrackRow, VideoRow
from schemas.outcome import RowFailed
from schemas.snapshot import SnapshotManifest
from schemas.storage import AnyPath
from tasks.datasets.dsr.report.film import Film, draw_film
from tasks.datasets.dsr.report.settings import Settings
from tasks.datasets.dsr.report.ssr_chart import ssr_chart
from tasks.datasets.dsr.report.types import letter, type_name
from tasks.engine.progress import counted
from tasks.metrics.correctness import reaches
from tasks.metrics.dsr_score import GAP_WEIGHTS
from tasks.pages.colours import css
from tasks.pages.marks import ARTICLES, Marked, find_phrase, mark_spans
from tasks.pages.palette import colour_of
from tasks.pages.rows import read_rows, shards_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Card:
    """A valid sample."""

    sample: SampleRow
    prompt: Marked  # in pieces, those that name the animal or the object with its colour
    reaches_tau: bool
    curves: Markup
    film: Film | None
    trouble: str | None  # why there is no film

    @property
    def letter(self) -> str:
        return letter(self.sample.type)

    @property
    def type_name(self) -> str:
        return type_name(self.sample.type)

    @property
    def gap_weight(self) -> str:
        """Of the gaps in the sum, as a formula has it."""
        return "½ " if GAP_WEIGHTS[self.sample.score] == 0.5 else ""


@dataclass(frozen=True)
class SampleRows:
    """What the snapshot's tables hold of a sample."""

    sample: SampleRow
    video: VideoRow
    tracks: list[TrackRow]


def make_cards(
    snapshot: AnyPath, manifest: SnapshotManifest, clip_ids: Sequence[str], settings: Settings, folder: AnyPath
) -> dict[str, Card]:
    """One card a sample; writes the pictures below `folder`."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:  # decoding and encoding release the GIL
        cards = pool.map(lambda rows: make_card(rows, settings, folder), read_samples(snapshot, manifest, clip_ids))
        return {card.sample.clip_id: card for card in counted(cards, "clips", len(clip_ids))}


def read_samples(snapshot: AnyPath, manifest: SnapshotManifest, clip_ids: Sequence[str]) -> list[SampleRows]:
    shards = shards_of(manifest, clip_ids)
    samples = read_rows(snapshot, "samples", SampleRow, clip_ids, shards)
    videos = read_rows(snapshot, "videos", VideoRow, clip_ids, shards)
    tracks = read_rows(snapshot, "tracks", TrackRow, clip_ids, shards)
    return [SampleRows(samples[clip_id][0], videos[clip_id][0], tracks[clip_id]) for clip_id in clip_ids]


def make_card(rows: SampleRows, settings: Settings, folder: AnyPath) -> Card:
    sample, film, trouble = rows.sample, None, None
    try:
        film = draw_film(sample, rows.tracks, rows.video.video, folder)
    except RowFailed as error:
        logger.warning("%s: no film: %s", sample.clip_id, error)
        trouble = str(error)
    return Card(
        sample=sample,
        prompt=mark_roles(sample),
        reaches_tau=bool(reaches(sample.dsr_score, settings.tau)),
        curves=ssr_chart(sample, settings.scoring.end_frames),
        film=film,
        trouble=trouble,
    )


def mark_roles(sample: SampleRow) -> Marked:
    """The prompt in pieces, each with the CSS colour of what it names: the animal's, the object's, or None."""
    nouns = {ANIMAL: sample.animal, OBJECT: sample.object}
    return mark_spans(
        sample.text,
        [
            (*span, css(colour_of(instance_id)))
            for instance_id, noun in nouns.items()
            for span in find_phrase(sample.text, noun, rf"(?:{ARTICLES})?")
        ],
    )
