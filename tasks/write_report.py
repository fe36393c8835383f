"""a snapshot -> the report that a person opens in a browser after a run.

    snapshots/matrix11k-3f9c2a71b0de ->
        report/index.html                  the yield, clips, verdicts with reasons, figure 10 of MATRIX
        report/clips/clip-81b2....mp4      a clip with its masks painted on
        report/clips/clip-81b2...-24.jpg   its review frame 24

All it tells comes from the snapshot's tables; the pictures come from the videos themselves. The page
stays small whatever the size of the snapshot: what is left out is counted. Captions, paths, reasons and
models' rationales are other people's text: the template escapes them, and no file is named after them.
"""

from __future__ import annotations

import logging
import math
import os
import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import cv2
import jinja2
import numpy as np
import polars as pl
from markupsafe import Markup

from schemas.candidate import Box
from schemas.mask_track import decode_mask
from schemas.outcome import RowFailed
from schemas.record import Record, write_atomic
from schemas.snapshot import (
    CandidateRow,
    ClipRow,
    FunnelStep,
    InstanceRow,
    InteractionRow,
    MaskTrackRow,
    Named,
    OutcomeRow,
    SnapshotManifest,
    TrackCheckRow,
)
from tasks.compare_truth import InstanceScore, TruthReport
from tasks.publish_snapshot import read_snapshot
from tasks.stage import Work
from tasks.video import iter_frames, probe, write_video

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R", bound=Record)
Colour = tuple[int, int, int]  # RGB, 0..255

EMBEDDED_BACKENDS = frozenset({"rules", "colour", "flow"})  # no weights; the report says what that means

MAX_SIDE_PX = 480  # pictures in the report, longer side
MAX_VIDEO_FRAMES = 300  # of a longer clip, every 2nd, 3rd, ... frame is shown
MAX_VIDEO_FPS = 30
MAX_FPS_DENOMINATOR = 60_060  # an encoder holds a rate's parts in 32 bits
JPEG_QUALITY = 85
MAX_ROWS_PER_REASON = 20  # rejected and failed rows that are listed
MAX_CASES = 24  # clips rejected in ground_instances that are shown with pictures
MAX_BOXES_PER_CASE = 4
MAX_SCORES = 60  # instances that are listed against the truth, the worst first
TOP_WORDS = 15

# One an instance: apart from each other on any footage, and for most colour-blind eyes.
PALETTE: tuple[Colour, ...] = ((255, 107, 74), (63, 167, 255), (255, 200, 60), (60, 205, 145), (200, 140, 255))


def write_report(
    snapshot: Path, work: Work, folder: Path, truth: TruthReport | None = None, max_clips: int = 48
) -> Path:
    """Write the report of a published snapshot and return its index.html, which appears last.

    work:      where the videos lie; one that is gone or unreadable is missing from the report, no more
    truth:     how the result compares with the truth, if there is any
    max_clips: accepted clips that are shown, spread evenly over all of them
    """
    manifest = read_snapshot(snapshot)
    clip_ids = spread(accepted_clip_ids(snapshot, manifest), max_clips)
    logger.info("report of %s: %d of %d accepted clips", manifest.snapshot_id, len(clip_ids), manifest.n_accepted)
    page = _template().render(
        manifest=manifest,
        embedded_stages=[maker.stage for maker in manifest.made_by if maker.backend in EMBEDDED_BACKENDS],
        funnel=funnel_bars(snapshot, manifest),
        truth=truth_view(truth) if truth else None,
        cards=make_cards(snapshot, work, clip_ids, folder, truth),
        ended=ended_groups(snapshot, manifest, work, folder),
        statistics=charts(manifest),
        root=shlex.quote(str(work.root.parent)),  # the flow's --root holds the work
    )
    index = folder / "index.html"
    write_atomic(index, page.encode())
    return index


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "score": score, "shorten": shorten}
    return environment.get_template("report.html.j2")


def percent(share: float | None) -> str:
    """0.938 -> "93 %": rounded down, so that 100 % means all. A rate of nothing is a dash."""
    return "–" if share is None else f"{math.floor(100 * share + 1e-9)} %"


def score(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def shorten(text: str | None, length: int) -> str:
    """On one line, at most `length` characters."""
    line = " ".join((text or "").split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


# --- The snapshot's tables -------------------------------------------------------------------


def _scan(snapshot: Path, table: str) -> pl.LazyFrame:
    return pl.scan_parquet(sorted((snapshot / table).glob("*.parquet")), glob=False)


def read_rows(snapshot: Path, table: str, record: type[R], clip_ids: Sequence[str]) -> dict[str, list[R]]:
    """The rows of some clips, by clip, every asked one. The other clips' rows, masks above all, are never held."""
    frame = _scan(snapshot, table).filter(pl.col("clip_id").is_in(list(clip_ids))).collect()
    rows: dict[str, list[R]] = {clip_id: [] for clip_id in clip_ids}
    for values in frame.iter_rows(named=True):
        rows[values["clip_id"]].append(record.model_validate(values))
    return rows


def accepted_clip_ids(snapshot: Path, manifest: SnapshotManifest) -> list[str]:
    """In the order of the manifest's shards."""
    accepted = set(_scan(snapshot, "clips").select("clip_id").collect()["clip_id"].to_list())
    return [clip_id for shard in manifest.shards for clip_id in shard.clip_ids if clip_id in accepted]


def spread(items: Sequence[T], n: int) -> list[T]:
    """n of the items, evenly spaced; all of them if there are no more."""
    n = min(n, len(items))
    return [items[i * len(items) // n] for i in range(n)]


# --- The funnel ------------------------------------------------------------------------------


@dataclass(frozen=True)
class FunnelBar:
    """A stage as a bar; widths in percent of the widest stage."""

    step: FunnelStep
    passed_width: float
    rejected_width: float
    failed_width: float
    reasons: list[tuple[str, str, int]]  # status, reason, rows


def funnel_bars(snapshot: Path, manifest: SnapshotManifest) -> list[FunnelBar]:
    widest = max((step.given for step in manifest.funnel), default=0) or 1
    keys = ["kind", "stage", "status", "reason"]
    counted = _scan(snapshot, "outcomes").filter(pl.col("status") != "accepted").group_by(keys).len("n").collect()
    reasons: dict[tuple[str, str], list[tuple[str, str, int]]] = defaultdict(list)
    for row in counted.sort("status", "n", "reason", descending=[True, True, False]).iter_rows(named=True):
        reasons[row["kind"], row["stage"]].append((row["status"], row["reason"] or "unnamed", row["n"]))
    return [
        FunnelBar(
            step=step,
            passed_width=100 * step.passed / widest,
            rejected_width=100 * step.rejected / widest,
            failed_width=100 * step.failed / widest,
            reasons=reasons["clip" if step.unit == "clips" else "source", step.stage],
        )
        for step in manifest.funnel
    ]


# --- The truth -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tile:
    """One number, large."""

    label: str
    value: str
    hint: str


@dataclass(frozen=True)
class TruthView:
    """How the result compares with the truth."""

    report: TruthReport
    tiles: list[Tile]
    worst: list[InstanceScore]  # ascending IoU


def truth_view(truth: TruthReport) -> TruthView:
    def rates(label: str, precision: float | None, recall: float | None, hint: str) -> Tile:
        return Tile(label, f"{percent(precision)} / {percent(recall)}", hint)

    tiles = [
        Tile("Mean IoU", score(truth.mean_iou), f"{truth.instances_delivered} tracks, every frame"),
        Tile("Visible-frame IoU", score(truth.mean_visible_iou), "only frames where the thing can be seen"),
        rates("Presence", truth.presence_precision, truth.presence_recall, "precision / recall of frames with a mask"),
        rates("Cuts", truth.cut_precision, truth.cut_recall, "precision / recall"),
        rates("Triplets", truth.triplet_precision, truth.triplet_recall, "precision / recall"),
        Tile("Instances found", percent(truth.instance_recall), f"{len(truth.missed)} without a track"),
        Tile("Hidden frames", percent(truth.hidden_recall), "frames without a mask where nothing can be seen"),
        Tile("Rows as expected", f"{truth.rows_met} of {truth.rows_expected}", "accepted, rejected or failed as due"),
    ]
    worst = sorted(truth.instances, key=lambda s: (s.iou, s.clip_id, s.instance_id))
    return TruthView(report=truth, tiles=tiles, worst=worst[:MAX_SCORES])


# --- Clips -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pictures:
    """Where a clip's pictures lie, relative to the report."""

    video: str
    poster: str | None
    frames: list[tuple[int, str]]  # review frames: index in the clip, JPEG
    step: int  # every step-th frame of the clip is in the video


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


def colour_of(instance_id: str) -> Colour:
    """id1, id2, ... -> the palette's colours in turn."""
    return PALETTE[(int(instance_id.removeprefix("id")) - 1) % len(PALETTE)]


def css(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


# --- Captions --------------------------------------------------------------------------------

_ARTICLES = r"(?:a|an|the)\s+"
_DETERMINERS = r"(?:a|an|the|his|her|its|their|this|that)\s+"


def mark_nouns(caption: str, instances: Sequence[InstanceRow]) -> list[tuple[str, str | None]]:
    """The caption in pieces, each with the colour of the instance that it names, or None.

    "A boy kicks a red ball." -> [("A boy", "#ff6b4a"), (" kicks ", None), ("a red ball", "#3fa7ff"), (".", None)]
    """
    spans = [(*span, css(colour_of(i.instance_id))) for i in instances for span in noun_spans(caption, i, instances)]
    spans.sort(key=lambda s: (s[0] - s[1], s[0], s[2]))  # where two overlap, the longer one is meant
    taken: list[tuple[int, int, str]] = []
    for start, end, colour in spans:
        if all(end <= other[0] or start >= other[1] for other in taken):
            taken.append((start, end, colour))
    pieces: list[tuple[str, str | None]] = []
    at = 0
    for start, end, colour in sorted(taken):
        pieces += [(caption[at:start], None), (caption[start:end], colour)]
        at = end
    pieces.append((caption[at:], None))
    return [(text, colour) for text, colour in pieces if text]


def noun_spans(caption: str, instance: InstanceRow, others: Sequence[InstanceRow]) -> Iterator[tuple[int, int]]:
    """Where the caption says the instance's noun phrase, or its class if no other instance is of that class."""
    patterns = [rf"(?:{_ARTICLES})?{_words(re.sub(rf'^{_ARTICLES}', '', instance.noun, flags=re.IGNORECASE))}"]
    if sum(other.class_name == instance.class_name for other in others) == 1:
        # Only right behind the determiner: in "a blue ball" the ball may be another one.
        patterns.append(_DETERMINERS + _words(instance.class_name))
    for pattern in patterns:
        yield from (m.span() for m in re.finditer(rf"(?<!\w){pattern}(?!\w)", caption, re.IGNORECASE))


def _words(phrase: str) -> str:
    return r"\s+".join(map(re.escape, phrase.split()))


# --- Pictures --------------------------------------------------------------------------------


def draw_clip(clip: ClipRow, tracks: Sequence[MaskTrackRow], work: Work, folder: Path) -> Pictures:
    """Write the clip's video and its review frames, masks painted on. Raises RowFailed if it cannot be decoded."""
    video = work.inputs.verified(clip.video, clip.video_sha256)
    step = video_step(clip)
    review: dict[int, np.ndarray] = {}

    def painted() -> Iterator[np.ndarray]:
        frames = iter_frames(video, clip.start.fraction, clip.end.fraction, max_side=MAX_SIDE_PX)
        for index, (_, frame) in enumerate(frames):
            if index % step and index not in clip.review_frames:
                continue
            picture = paint_masks(frame, tracks, index)
            if index in clip.review_frames:
                review[index] = picture
            if index % step == 0:
                yield picture

    film = f"clips/{clip.clip_id}.mp4"
    write_video(folder / film, painted(), (clip.fps.fraction / step).limit_denominator(MAX_FPS_DENOMINATOR))
    frames = [(index, f"clips/{clip.clip_id}-{index}.jpg") for index in sorted(review)]
    for index, name in frames:
        write_jpeg(folder / name, review[index])
    poster = frames[len(frames) // 2][1] if frames else None
    return Pictures(video=film, poster=poster, frames=frames, step=step)


def video_step(clip: ClipRow) -> int:
    """Of how many frames one is shown, so that the report's video stays small."""
    return max(1, math.ceil(clip.n_frames / MAX_VIDEO_FRAMES), math.ceil(clip.fps.fraction / MAX_VIDEO_FPS))


def paint_masks(frame: np.ndarray, tracks: Sequence[MaskTrackRow], index: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB -> a copy with the masks of frame `index`, which are scaled to it."""
    height, width = frame.shape[:2]
    picture = frame.copy()
    labels = []
    for track in tracks:
        box = track.box_xyxy[index]
        if box is None:
            continue
        mask = decode_mask(track.counts[index], track.height, track.width).astype(np.uint8) * 255
        small = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA) >= 128
        colour = colour_of(track.instance_id)
        picture[small] = (0.6 * picture[small] + 0.4 * np.array(colour)).astype(np.uint8)
        outline, _ = cv2.findContours(small.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outline, -1, colour, 1, cv2.LINE_AA)
        scale = width / track.width
        labels.append((track.instance_id, (round(box[0] * scale), round(box[1] * scale)), colour))
    for text, corner, colour in labels:  # last, so that no mask covers them
        draw_label(picture, text, corner, colour)
    return picture


def draw_label(picture: np.ndarray, text: str, corner: tuple[int, int], colour: Colour) -> None:
    """Write a few ASCII letters above a corner (x, y), inside the picture (H, W, 3), in place."""
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.38
    (text_width, text_height), _ = cv2.getTextSize(text, font, size, 1)
    x = max(0, min(corner[0], picture.shape[1] - text_width - 4))
    y = max(0, corner[1] - text_height - 5)
    cv2.rectangle(picture, (x, y), (x + text_width + 3, y + text_height + 4), colour, cv2.FILLED)
    cv2.putText(picture, text, (x + 2, y + text_height + 2), font, size, (20, 20, 20), 1, cv2.LINE_AA)


def write_jpeg(path: Path, picture: np.ndarray) -> None:
    """picture: (H, W, 3) uint8 RGB."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    write_atomic(path, data.tobytes())


# --- Rejected and failed rows ----------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A clip of which no interaction could be grounded: what was looked at."""

    shots: list[tuple[CandidateRow, str | None]]  # best candidate of each instance, its picture
    trouble: str | None


@dataclass(frozen=True)
class EndedGroup:
    """Rows that ended in one way; some of them."""

    status: str
    stage: str
    reason: str
    n: int
    rows: list[tuple[OutcomeRow, Case | None]]


def ended_groups(snapshot: Path, manifest: SnapshotManifest, work: Work, folder: Path) -> list[EndedGroup]:
    """Every way in which rows were rejected or failed, in the order of the stages, with its first rows."""
    outcomes = [
        OutcomeRow.model_validate(row)
        for row in _scan(snapshot, "outcomes").filter(pl.col("status") != "accepted").collect().iter_rows(named=True)
    ]
    order = [step.stage for step in manifest.funnel]

    def way(row: OutcomeRow) -> tuple[int, str, str, str]:
        place = order.index(row.stage) if row.stage in order else len(order)
        return place, row.stage, row.status, row.reason or ""

    outcomes.sort(key=lambda row: (way(row), row.video or "", row.start_s or 0.0, row.row_id))
    groups = [(key, list(rows)) for key, rows in groupby(outcomes, key=way)]
    cases = make_cases(
        snapshot,
        [row for _, rows in groups for row in rows[:MAX_ROWS_PER_REASON] if row.stage == "ground_instances"],
        work,
        folder,
    )
    return [
        EndedGroup(
            status=status,
            stage=stage,
            reason=reason,
            n=len(rows),
            rows=[(row, cases.get(row.row_id)) for row in rows[:MAX_ROWS_PER_REASON]],
        )
        for (_, stage, status, reason), rows in groups
    ]


def make_cases(snapshot: Path, outcomes: Sequence[OutcomeRow], work: Work, folder: Path) -> dict[str, Case]:
    """By clip, for the first of the rejected clips that had any candidate."""
    rejected = [row for row in outcomes if row.status == "rejected"]
    candidates = read_rows(snapshot, "candidates", CandidateRow, [row.row_id for row in rejected])
    sha256_of = dict(_scan(snapshot, "sources").select("source_id", "video_sha256").collect().iter_rows())
    shown = [row for row in rejected if candidates[row.row_id]][:MAX_CASES]
    return {row.row_id: make_case(row, sha256_of[row.source_id], candidates[row.row_id], work, folder) for row in shown}


def make_case(
    outcome: OutcomeRow, video_sha256: str, candidates: Sequence[CandidateRow], work: Work, folder: Path
) -> Case:
    best = best_candidates(candidates)
    try:
        names = draw_case(outcome, video_sha256, best, work, folder)
    except RowFailed as error:
        logger.warning("%s: no pictures: %s", outcome.row_id, error)
        return Case(shots=[(candidate, None) for candidate in best], trouble=str(error))
    return Case(shots=list(zip(best, names, strict=True)), trouble=None)


def best_candidates(candidates: Sequence[CandidateRow]) -> list[CandidateRow]:
    """One an instance: the accepted one, else the one the detector was surest of."""
    best: dict[str, CandidateRow] = {}
    for candidate in sorted(candidates, key=lambda c: (c.verdict != "accepted", -c.score, c.frame, c.box_xyxy)):
        best.setdefault(candidate.instance_id, candidate)
    return [best[instance_id] for instance_id in sorted(best)][:MAX_BOXES_PER_CASE]


def draw_case(
    outcome: OutcomeRow, video_sha256: str, candidates: Sequence[CandidateRow], work: Work, folder: Path
) -> list[str]:
    """Write one picture a candidate, with its box. Raises RowFailed if the video cannot be decoded."""
    video = work.inputs.verified(outcome.video or "", video_sha256)
    width = probe(video).width
    wanted = {c.frame for c in candidates}
    # An outcome has its start as a float; a microsecond is more than the rounding and less than a frame.
    start = max(Fraction(0), Fraction(outcome.start_s or 0) - Fraction(1, 10**6))
    pictures: dict[int, np.ndarray] = {}
    for index, (_, frame) in enumerate(iter_frames(video, start, max_side=MAX_SIDE_PX)):
        if index in wanted:
            pictures[index] = frame
        if index >= max(wanted):
            break
    names = []
    for number, candidate in enumerate(candidates):
        picture = pictures[candidate.frame].copy()
        draw_box(picture, candidate.box_xyxy, picture.shape[1] / width, candidate.instance_id)
        names.append(f"clips/{outcome.row_id}-candidate{number}.jpg")
        write_jpeg(folder / names[-1], picture)
    return names


def draw_box(picture: np.ndarray, box_xyxy: Box, scale: float, instance_id: str) -> None:
    """Draw a labelled box, given in px of the unscaled picture, in place."""
    left, top, right, bottom = (round(edge * scale) for edge in box_xyxy)
    colour = colour_of(instance_id)
    cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), colour, 2)
    draw_label(picture, instance_id, (left, top), colour)


# --- Charts ----------------------------------------------------------------------------------


def presence_bar(present: Sequence[bool], anchor_frame: int) -> Markup:
    """A thin bar over the frames: filled where there is a mask, a stroke at the anchor."""
    runs = []
    at = 0
    for has_mask, frames in groupby(present):
        length = len(list(frames))
        if has_mask:
            runs.append(Markup('<rect x="{}" y="0" width="{}" height="10"/>').format(at, length))
        at += length
    return Markup(
        '<svg class="presence" viewBox="0 0 {n} 10" preserveAspectRatio="none" role="img" aria-label="{label}">'
        '{runs}<path d="M{anchor} 0V10" vector-effect="non-scaling-stroke"/></svg>'
    ).format(
        n=len(present),
        label=f"a mask in {sum(present)} of {len(present)} frames, anchor on frame {anchor_frame}",
        runs=Markup("").join(runs),
        anchor=anchor_frame + 0.5,
    )


@dataclass(frozen=True)
class Charts:
    """Figure 10 of MATRIX."""

    contact_dynamism: Markup
    interactions: Markup
    instances: Markup
    verbs: Markup
    nouns: Markup


def charts(manifest: SnapshotManifest) -> Charts:
    figures = manifest.statistics
    return Charts(
        contact_dynamism=heat_map(figures.contact_dynamism),
        interactions=columns(figures.interactions_per_clip, "interactions in a clip"),
        instances=columns(figures.instances_per_clip, "instances in a clip"),
        verbs=word_bars(figures.top_verbs[:TOP_WORDS]),
        nouns=word_bars(figures.top_nouns[:TOP_WORDS]),
    )


def heat_map(grid: Sequence[Sequence[int]]) -> Markup:
    """5 x 5 counts, contactness down and dynamism across from 1 -> a map with contactness 5 on top."""
    most = max((n for row in grid for n in row), default=0) or 1
    cells = [
        Markup(
            '<g><title>contactness {c}, dynamism {d}: {n}</title><rect x="{x}" y="{y}" width="50" height="38" rx="4" '
            'class="cell" fill-opacity="{shade:.3f}"/><text x="{tx}" y="{ty}" class="{ink}">{n}</text></g>'
        ).format(
            c=contact + 1,
            d=dynamism + 1,
            n=n,
            x=44 + 54 * dynamism,
            y=4 + 42 * (4 - contact),
            tx=69 + 54 * dynamism,
            ty=28 + 42 * (4 - contact),
            shade=0.06 + 0.94 * n / most,
            ink=("on" if n / most > 0.5 else "") if n else "none",
        )
        for contact, row in enumerate(grid)
        for dynamism, n in enumerate(row)
    ]
    ticks = [Markup('<text x="{}" y="230">{}</text>').format(69 + 54 * i, i + 1) for i in range(5)]
    ticks += [Markup('<text x="34" y="{}">{}</text>').format(28 + 42 * (4 - i), i + 1) for i in range(5)]
    axes = Markup(
        '<text x="177" y="250" class="axis">dynamism</text>'
        '<text x="12" y="109" class="axis" transform="rotate(-90 12 109)">contactness</text>'
    )
    return _svg(318, 258, "contactness by dynamism", [*cells, *ticks, axes])


def columns(counts: Sequence[int], label: str) -> Markup:
    """Rows that have 0, 1, 2, ... of something -> upright bars."""
    most = max(counts, default=0) or 1
    pitch = min(52, 300 // max(len(counts), 1))
    left = (318 - pitch * len(counts)) // 2
    bars = [
        Markup(
            '<rect x="{x}" y="{y:.1f}" width="{w}" height="{h:.1f}" rx="3" class="bar"/>'
            '<text x="{tx:.1f}" y="{ty:.1f}">{n}</text><text x="{tx:.1f}" y="176" class="axis">{value}</text>'
        ).format(
            x=left + 4 + pitch * value,
            y=156 - 126 * n / most,
            w=max(pitch - 8, 2),
            h=126 * n / most,
            tx=left + pitch * (value + 0.5),
            ty=150 - 126 * n / most,
            n=n or "",
            value=value,
        )
        for value, n in enumerate(counts)
    ]
    floor = Markup('<path d="M4 156.5H314" class="rule"/>')
    return _svg(318, 200, label, [*bars, floor, Markup('<text x="159" y="195" class="axis">{}</text>').format(label)])


def word_bars(words: Sequence[Named]) -> Markup:
    """Words and how often they occur -> lying bars, in the given order."""
    most = max((word.n for word in words), default=0) or 1
    bars = [
        Markup(
            '<g><title>{word}: {n}</title><text x="100" y="{ty}" class="word">{short}</text>'
            '<rect x="108" y="{y}" width="{w:.1f}" height="14" rx="3" class="bar"/>'
            '<text x="{tx:.1f}" y="{ty}" class="count">{n}</text></g>'
        ).format(
            word=word.name,
            short=shorten(word.name, 14),
            n=word.n,
            y=4 + 22 * place,
            ty=15 + 22 * place,
            w=170 * word.n / most,
            tx=114 + 170 * word.n / most,
        )
        for place, word in enumerate(words)
    ]
    return _svg(318, 22 * len(words) + 6, "most frequent words", bars)


def _svg(width: int, height: int, label: str, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        width, height, label, Markup("").join(parts)
    )
