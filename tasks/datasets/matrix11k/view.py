"""What is shown of a clip of matrix11k: who does what to whom, every instance's track and verdicts, its film.

    clip_views(Snapshot.open("data", inputs="videos"), ["clip-81b2..."], Path("pictures"))
    ->  [VideoClipView(text=[("A boy", "#ff6b4a"), (" kicks ", None), ...], instances={"id1": InstanceView(...)}, ...)]

Pictures lie below the folder: clips/clip-81b2....mp4 with the masks painted on, its review frames, and the candidates
of clips that were rejected.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from schemas.clip import Clip
from schemas.matrix11k import CandidateRow, ClipRow, InstanceRow, InteractionRow, MaskTrackRow, TrackCheckRow
from schemas.outcome import RowFailed
from schemas.storage import AnyPath
from tasks.engine.snapshots import Snapshot, SnapshotError
from tasks.media.video import read_video
from tasks.metrics.compare_truth import TruthReport
from tasks.pages.colours import colour_of, css
from tasks.pages.film import MAX_SIDE_PX, draw_box, film_of, paint_masks, write_jpeg
from tasks.pages.marks import ARTICLES, Marked, Span, find_phrase, mark_spans
from tasks.pages.views import ClipView, View, make_views

logger = logging.getLogger(__name__)

MAX_BOXES_PER_CLIP = 4  # of a rejected clip

_DETERMINERS = r"(?:a|an|the|his|her|its|their|this|that)\s+"


class InstanceView(View):
    """An instance of an accepted clip."""

    row: InstanceRow
    colour: str  # CSS
    present: list[bool]  # one a frame: has it a mask?
    presence: float  # share of frames with a mask
    rationale: str | None  # why the verifier accepted the anchor
    n_refused: int  # candidates that the verifier refused
    checks: list[TrackCheckRow]
    iou: float | None  # against the truth, if there is one


class VideoClipView(ClipView):
    """An accepted clip."""

    row: ClipRow
    interactions: list[InteractionRow]
    dropped: list[InteractionRow]
    instances: dict[str, InstanceView]  # by instance id


class RejectedClipView(View):
    """A clip of which no interaction could be grounded: what was looked at."""

    candidates: list[tuple[CandidateRow, str | None]]  # the best candidate of each instance, its picture
    trouble: str | None  # why there are no pictures


# --- Accepted clips --------------------------------------------------------------------------


def clip_views(
    snapshot: Snapshot, clip_ids: Sequence[str], folder: AnyPath, truth: TruthReport | None = None
) -> list[VideoClipView]:
    """Accepted clips in the given order; writes their pictures below `folder`."""
    clips = snapshot.rows_by_clip(ClipRow, clip_ids)
    instances = snapshot.rows_by_clip(InstanceRow, clip_ids)
    interactions = snapshot.rows_by_clip(InteractionRow, clip_ids)
    dropped = snapshot.rows_by_clip(InteractionRow, clip_ids, table="dropped_interactions")
    tracks = snapshot.rows_by_clip(MaskTrackRow, clip_ids)
    checks = snapshot.rows_by_clip(TrackCheckRow, clip_ids)
    candidates = snapshot.rows_by_clip(CandidateRow, clip_ids)
    iou_of = {(s.clip_id, s.instance_id): s.iou for s in truth.instances} if truth else {}

    def view(clip_id: str) -> VideoClipView:
        (clip,) = clips[clip_id]
        fps, paint = clip.fps.fraction, partial(paint_masks, tracks[clip_id])
        film, trouble = film_of(snapshot, clip_id, clip.n_frames, fps, paint, folder, clip.review_frames)
        return VideoClipView(
            clip_id=clip_id,
            text=mark_nouns(clip.caption or "", instances[clip_id]),
            fps=float(fps),
            film=film,
            trouble=trouble,
            row=clip,
            interactions=interactions[clip_id],
            dropped=dropped[clip_id],
            instances={
                row.instance_id: instance_view(row, tracks[clip_id], checks[clip_id], candidates[clip_id], iou_of)
                for row in instances[clip_id]
            },
        )

    return make_views(view, clip_ids)


def instance_view(
    row: InstanceRow,
    tracks: Sequence[MaskTrackRow],
    checks: Sequence[TrackCheckRow],
    candidates: Sequence[CandidateRow],
    iou_of: Mapping[tuple[str, str], float],
) -> InstanceView:
    """tracks, checks, candidates: those of its clip; iou_of: by clip and instance, where there is a truth."""
    (track,) = (track for track in tracks if track.instance_id == row.instance_id)
    of_it = [candidate for candidate in candidates if candidate.instance_id == row.instance_id]
    return InstanceView(
        row=row,
        colour=css(colour_of(row.instance_id)),
        present=track.present,
        presence=sum(track.present) / len(track.present),
        rationale=next((c.rationale for c in of_it if c.verdict == "accepted"), None),
        n_refused=sum(c.verdict == "refused" for c in of_it),
        checks=[check for check in checks if check.instance_id == row.instance_id],
        iou=iou_of.get((row.clip_id, row.instance_id)),
    )


# --- Captions --------------------------------------------------------------------------------


def mark_nouns(caption: str, instances: Sequence[InstanceRow]) -> Marked:
    """The caption in pieces, each with the CSS colour of the instance that it names, or None."""
    return mark_spans(
        caption,
        [(*span, css(colour_of(i.instance_id))) for i in instances for span in noun_spans(caption, i, instances)],
    )


def noun_spans(caption: str, instance: InstanceRow, others: Sequence[InstanceRow]) -> Iterator[Span]:
    """Where the caption says the instance's noun phrase, or its class if no other instance is of that class."""
    bare = re.sub(rf"^{ARTICLES}", "", instance.noun, flags=re.IGNORECASE)
    yield from find_phrase(caption, bare, before=rf"(?:{ARTICLES})?")
    if sum(other.class_name == instance.class_name for other in others) == 1:
        # Only right behind the determiner: in "a blue ball" the ball may be another one.
        yield from find_phrase(caption, instance.class_name, before=_DETERMINERS)


# --- Rejected clips --------------------------------------------------------------------------


def rejected_views(
    snapshot: Snapshot, clip_ids: Sequence[str], folder: AnyPath, most: int
) -> dict[str, RejectedClipView]:
    """By clip, for the first of those that had any candidate; writes the pictures below `folder`."""
    candidates = snapshot.rows_by_clip(CandidateRow, clip_ids)
    shown = [clip_id for clip_id in clip_ids if candidates[clip_id]][:most]
    clips = snapshot.rows_by_clip(Clip, shown)

    def view(clip_id: str) -> RejectedClipView:
        best = best_candidates(candidates[clip_id])
        try:
            names: Sequence[str | None] = draw_candidates(snapshot, clips[clip_id][0], best, folder)
        except (RowFailed, SnapshotError, IndexError) as error:
            logger.warning("%s: no pictures: %s", clip_id, error)
            return RejectedClipView(candidates=[(candidate, None) for candidate in best], trouble=str(error))
        return RejectedClipView(candidates=list(zip(best, names, strict=True)), trouble=None)

    return dict(zip(shown, make_views(view, shown), strict=True))


def best_candidates(candidates: Sequence[CandidateRow]) -> list[CandidateRow]:
    """One an instance: the accepted one, else the one the detector was surest of."""
    best: dict[str, CandidateRow] = {}
    for candidate in sorted(candidates, key=lambda c: (c.verdict != "accepted", -c.score, c.frame, c.box_xyxy)):
        best.setdefault(candidate.instance_id, candidate)
    return [best[instance_id] for instance_id in sorted(best)][:MAX_BOXES_PER_CLIP]


def draw_candidates(snapshot: Snapshot, clip: Clip, candidates: Sequence[CandidateRow], folder: AnyPath) -> list[str]:
    """Write one picture a candidate, with its box.

    Raises RowFailed if the clip cannot be decoded, IndexError if it ends before a candidate's frame.
    """
    indices = sorted({candidate.frame for candidate in candidates})
    pictures = read_video(snapshot.video(clip.clip_id), indices, MAX_SIDE_PX)
    frames = dict(zip(indices, pictures, strict=True))
    names = []
    for number, candidate in enumerate(candidates):
        picture = frames[candidate.frame].copy()  # another candidate may lie on the same frame
        scale, colour = picture.shape[1] / clip.width, colour_of(candidate.instance_id)
        draw_box(picture, candidate.box_xyxy, scale, candidate.instance_id, colour)
        names.append(f"clips/{clip.clip_id}-candidate{number}.jpg")
        write_jpeg(folder / names[-1], picture)
    return names
