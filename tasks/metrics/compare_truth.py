"""a curated result + the truth -> how good the result is (for input made by `draw_scenes` or `export_clips`).

    hide-0, "a blue ball", 48 frames  ->  IoU 0.93, 0.91 where the ball can be seen, worst on frame 31

A track is compared with the thing that its description names by class and colours, not with the thing that it overlaps
best: a mask from the wrong box scores low.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np

from schemas.clip import Clip
from schemas.instance import Instance
from schemas.interaction import Interaction
from schemas.mask_track import MaskTrack, encode_mask, mask_iou
from schemas.matrix11k import InstanceRow, InteractionRow, MaskTrackRow, OutcomeRow
from schemas.outcome import Outcome
from schemas.record import Record, column
from schemas.source import Source
from schemas.truth import Expectation, TrueInstance, Truth
from tasks.engine.snapshots import Snapshot
from tasks.media.drawing.canvas import COLOURS

# The colours of drawn things, and others that a wrong description may name.
COMMON_COLOURS = frozenset(COLOURS) | {"white", "brown", "grey", "gray", "silver", "gold", "beige", "cyan"}


@dataclass(frozen=True)
class Curated:
    """What a run made of a manifest. The mappings are keyed by clip id."""

    sources: Sequence[Source]
    clips: Sequence[Clip]  # every clip, also rejected ones: they show the cuts
    outcomes: Sequence[Outcome]
    instances: Mapping[str, Sequence[Instance]] = field(default_factory=dict)
    interactions: Mapping[str, Sequence[Interaction]] = field(default_factory=dict)
    tracks: Mapping[str, Sequence[MaskTrack]] = field(default_factory=dict)


class InstanceScore(Record):
    """One delivered mask track against the truth."""

    id: str = column("The manifest row's id")
    video: str = column("Path as the manifest writes it")
    clip_id: str = column("The clip")
    instance_id: str = column("The instance within the clip")
    noun: str = column("How the result describes it")
    true_noun: str | None = column("What that description names in the truth; null: nothing, so every pixel is wrong")
    iou: float = column("Mean over all frames; 1 where neither has a pixel", unit="0..1", ge=0, le=1)
    visible_iou: float | None = column(
        "Mean over the frames where it can be seen; null if there is none", unit="0..1", default=None, ge=0, le=1
    )
    n_frames: int = column("Frames of the clip", ge=1)
    n_visible: int = column("Frames where it can be seen", ge=0)
    worst_frame: int = column("Frame of the clip with the lowest IoU, the first of equals", ge=0)
    worst_iou: float = column("The IoU there", unit="0..1", ge=0, le=1)
    presence_hits: int = column("Frames with a mask where it can be seen", ge=0)
    presence_false: int = column("Frames with a mask where it cannot be seen", ge=0)


class MissedInstance(Record):
    """A thing that takes part in an interaction and has no track in the result."""

    id: str = column("The manifest row's id")
    shot: int = column("Shot of the video, from 0", ge=0)
    noun: str = column("The caption's phrase for it")


class RowCheck(Record):
    """What should have become of a row, or of one of its shots, and what did."""

    id: str = column("The manifest row's id")
    line: int = column("The manifest's line, from 1", ge=1)
    shot: int = column("Shot of the video, from 0", ge=0)
    expected: str = column("'accepted', or status and stage: 'rejected at ground_instances'")
    actual: str = column("The same of the outcome, with its reason; 'no outcome' if there is none")
    met: bool = column("Do they agree?")


class TruthReport(Record):
    """How a curated result compares with the truth. A rate is null where nothing was there to be counted."""

    schema_version: ClassVar[int] = 1

    mean_iou: float | None = column("Mean of the delivered tracks' IoU over all frames", unit="0..1")
    mean_visible_iou: float | None = column("Mean of their IoU over the frames where the thing is seen", unit="0..1")
    presence_precision: float | None = column("Of the frames with a mask: the thing can be seen", unit="0..1")
    presence_recall: float | None = column("Of the frames where the thing can be seen: there is a mask", unit="0..1")
    hidden_recall: float | None = column("Of the frames where the thing is hidden: there is no mask", unit="0..1")
    instances_delivered: int = column("Mask tracks of accepted clips", ge=0)
    instance_recall: float | None = column("Of the things that should have a track: they have one", unit="0..1")
    cut_precision: float | None = column("Of the cuts found: they are there", unit="0..1")
    cut_recall: float | None = column("Of the true cuts: found", unit="0..1")
    triplet_precision: float | None = column("Of the triplets kept in accepted clips: they are true", unit="0..1")
    triplet_recall: float | None = column("Of the true triplets: kept", unit="0..1")
    rows_met: int = column("Expectations that were met", ge=0)
    rows_expected: int = column("Expectations: one a shot, or one a row that gives no shot", ge=0)
    instances: list[InstanceScore] = column("One a delivered track")
    missed: list[MissedInstance] = column("Things without a track")
    rows: list[RowCheck] = column("One an expectation")


def compare_truth(truths: Sequence[Truth], curated: Curated, cut_tolerance: int = 0) -> TruthReport:
    """Compare a curated result with the truth of the same manifest; cut_tolerance in frames.

    Raises ValueError if a clip does not fit into its truth's frames or picture size.
    """
    pairs = pair_clips(truths, curated)
    accepted = {outcome.row_id for outcome in curated.outcomes if outcome.status == "accepted"}
    delivered = [(truth, clip) for truth, clip in pairs if clip.clip_id in accepted]
    scores = [score for truth, clip in delivered for score in score_clip(truth, clip, curated)]
    missed, n_wanted = _missed(truths, delivered, curated)
    cuts = _sum_counts(compare_cuts(t.cuts, found_cuts(t, pairs), cut_tolerance) for t in truths)
    triplets = _sum_counts(compare_triplets(t, delivered, curated) for t in truths)
    rows = [check for truth in truths for check in check_row(truth, pairs, curated)]
    hits, false = sum(s.presence_hits for s in scores), sum(s.presence_false for s in scores)
    n_hidden = sum(s.n_frames - s.n_visible for s in scores)
    return TruthReport(
        mean_iou=_mean([s.iou for s in scores]),
        mean_visible_iou=_mean([s.visible_iou for s in scores if s.visible_iou is not None]),
        presence_precision=_rate(hits, hits + false),
        presence_recall=_rate(hits, sum(s.n_visible for s in scores)),
        hidden_recall=_rate(n_hidden - false, n_hidden),
        instances_delivered=len(scores),
        instance_recall=_rate(n_wanted - len(missed), n_wanted),
        cut_precision=_rate(cuts.hits, cuts.found),
        cut_recall=_rate(cuts.hits, cuts.true),
        triplet_precision=_rate(triplets.hits, triplets.found),
        triplet_recall=_rate(triplets.hits, triplets.true),
        rows_met=sum(row.met for row in rows),
        rows_expected=len(rows),
        instances=scores,
        missed=missed,
        rows=rows,
    )


def compare_snapshot(snapshot: Snapshot, truths: Sequence[Truth]) -> TruthReport:
    """Compare a published snapshot with the truth of its input."""
    clips = snapshot.rows(Clip)
    clip_ids = [clip.clip_id for clip in clips]
    curated = Curated(
        sources=snapshot.rows(Source),
        clips=clips,
        outcomes=snapshot.rows(OutcomeRow),
        instances=snapshot.rows_by_clip(InstanceRow, clip_ids),
        interactions=snapshot.rows_by_clip(InteractionRow, clip_ids),
        tracks=snapshot.rows_by_clip(MaskTrackRow, clip_ids),
    )
    return compare_truth(truths, curated)


# --- Which truth a clip belongs to -----------------------------------------------------------


def pair_clips(truths: Sequence[Truth], curated: Curated) -> list[tuple[Truth, Clip]]:
    """Each clip with its truth, in the manifest's order; clips of rows without a truth are left out."""
    line_of: dict[str, int] = {}
    for source in curated.sources:  # a duplicate row has the same source: the first line counts
        line_of[source.source_id] = min(source.line, line_of.get(source.source_id, source.line))
    truth_of = {truth.line: truth for truth in truths}
    pairs = [
        (truth_of[line_of[clip.source_id]], clip) for clip in curated.clips if line_of.get(clip.source_id) in truth_of
    ]
    return sorted(pairs, key=lambda pair: (pair[0].line, pair[1].shot_index))


def first_frame(clip: Clip) -> int:
    """Frame of the source at which the clip starts, from 0."""
    return round(clip.start.fraction * clip.fps.fraction)


def shot_of(truth: Truth, clip: Clip) -> int:
    """The true shot in which the clip's middle lies."""
    middle = first_frame(clip) + clip.n_frames // 2
    return sum(cut <= middle for cut in truth.cuts)


def match_instance(class_name: str, noun: str, instances: Sequence[TrueInstance]) -> TrueInstance | None:
    """The one thing that a description names: same class, and no colour that the thing lacks.

    None if it names nothing, or several things equally well: "a boy" where there are two.
    """
    colours = colour_words(noun, [colour for true in instances for colour in true.colours])
    fitting = [true for true in instances if true.class_name == class_name and colours <= set(true.colours)]
    exact = [true for true in fitting if colours == set(true.colours)]
    best = exact or fitting
    return best[0] if len(best) == 1 else None


def _matched(truth: Truth, clip: Clip, curated: Curated) -> dict[str, tuple[Instance, TrueInstance | None]]:
    """{instance_id: each instance of the clip, and the thing that its description names}"""
    return {
        instance.instance_id: (instance, match_instance(instance.class_name, instance.noun, truth.instances))
        for instance in curated.instances.get(clip.clip_id, ())
    }


def colour_words(noun: str, own: Iterable[str] = ()) -> set[str]:
    """ "a boy in a red shirt" -> {"red"}; own: colour words of the truth besides the common ones."""
    words = "".join(c if c.isalpha() else " " for c in noun.lower()).split()
    return set(words) & {*COMMON_COLOURS, *own}


# --- Masks -----------------------------------------------------------------------------------


def score_clip(truth: Truth, clip: Clip, curated: Curated) -> list[InstanceScore]:
    """One score a mask track of the clip. Raises ValueError if the clip does not fit the truth."""
    matched = _matched(truth, clip, curated)
    return [_score(truth, clip, track, *matched[track.instance_id]) for track in curated.tracks.get(clip.clip_id, ())]


def _score(truth: Truth, clip: Clip, track: MaskTrack, instance: Instance, true: TrueInstance | None) -> InstanceScore:
    true_counts = _true_counts(truth, clip, track, true)
    ious = mask_iou(track.counts, true_counts, truth.height, truth.width)
    visible = np.array([counts != _empty(truth) for counts in true_counts])
    present = np.array(track.present)
    worst = int(np.argmin(ious))
    return InstanceScore(
        id=truth.id,
        video=truth.video,
        clip_id=clip.clip_id,
        instance_id=instance.instance_id,
        noun=instance.noun,
        true_noun=true.noun if true else None,
        iou=float(ious.mean()),
        visible_iou=float(ious[visible].mean()) if visible.any() else None,
        n_frames=len(ious),
        n_visible=int(visible.sum()),
        worst_frame=worst,
        worst_iou=float(ious[worst]),
        presence_hits=int((present & visible).sum()),
        presence_false=int((present & ~visible).sum()),
    )


def _true_counts(truth: Truth, clip: Clip, track: MaskTrack, true: TrueInstance | None) -> list[str]:
    """The true masks of the clip's frames; empty if the description names nothing."""
    first, last = first_frame(clip), first_frame(clip) + clip.n_frames
    if last > truth.n_frames or len(track.counts) != clip.n_frames:
        raise ValueError(
            f"{clip.clip_id}: frames {first} to {last}, {len(track.counts)} masks, but {truth.id} has "
            f"{truth.n_frames} frames; is this the truth of the same manifest?"
        )
    if (track.height, track.width) != (truth.height, truth.width):
        raise ValueError(
            f"{clip.clip_id} {track.instance_id}: masks of {track.width}x{track.height}, but {truth.id} is "
            f"{truth.width}x{truth.height}; compare masks at the video's own size"
        )
    return true.counts[first:last] if true else [_empty(truth)] * clip.n_frames


def _empty(truth: Truth) -> str:
    return encode_mask(np.zeros((truth.height, truth.width), bool))


# --- Cuts and triplets -----------------------------------------------------------------------


class Counts(NamedTuple):
    """How many were found, how many are true, and how many are both."""

    hits: int = 0
    found: int = 0
    true: int = 0


def found_cuts(truth: Truth, pairs: Iterable[tuple[Truth, Clip]]) -> list[int]:
    """Frames of the video at which a clip starts or ends, except for the video's own ends.

    Ends count too: if a clip was dropped for its length, only its neighbour's end shows the cut.
    """
    edges: set[int] = set()
    for owner, clip in pairs:
        if owner.id == truth.id:
            edges |= {first_frame(clip), first_frame(clip) + clip.n_frames}
    return sorted(edges - {0, truth.n_frames})


def compare_cuts(true: Sequence[int], found: Sequence[int], tolerance: int = 0) -> Counts:
    """Cuts that agree to within `tolerance` frames, each counted once."""
    unused, hits = sorted(found), 0
    for cut in sorted(true):
        near = next((frame for frame in unused if abs(frame - cut) <= tolerance), None)
        if near is not None:
            unused.remove(near)
            hits += 1
    return Counts(hits, len(found), len(true))


Triplet = tuple[int, str | None, str, str | None]  # shot, subject's name in the truth, verb, object's name


def compare_triplets(truth: Truth, delivered: Iterable[tuple[Truth, Clip]], curated: Curated) -> Counts:
    """Kept triplets of the accepted clips against the true ones of the same shot; optional ones are not counted."""
    found: set[Triplet] = set()
    for owner, clip in delivered:
        if owner.id == truth.id:
            found |= _kept_triplets(truth, clip, curated)
    required = {_triplet(truth, t.shot, t.subject, t.verb, t.object) for t in truth.triplets if not t.optional}
    optional = {_triplet(truth, t.shot, t.subject, t.verb, t.object) for t in truth.triplets if t.optional}
    return Counts(len(found & required), len(found - optional), len(required))


def _kept_triplets(truth: Truth, clip: Clip, curated: Curated) -> set[Triplet]:
    # Unknown instances get distinct names: two wrong triplets count as two.
    names = {
        id_: true.name if true else f"unknown {instance.noun}"
        for id_, (instance, true) in _matched(truth, clip, curated).items()
    }
    shot = shot_of(truth, clip)
    return {
        _triplet(truth, shot, names.get(i.subject_id), i.verb, names.get(i.object_id))
        for i in curated.interactions.get(clip.clip_id, ())
        if i.kept
    }


def _triplet(truth: Truth, shot: int, subject: str | None, verb: str, target: str | None) -> Triplet:
    """A triplet with the verb's head; a synonym is replaced by the truth's own verb."""
    head = _head(verb)
    said = next((_head(true.verb) for true in truth.triplets if head in true.also), head)
    return shot, subject, said, target


def _head(verb: str) -> str:
    """ "push off" -> 'push': a particle may belong to the verb or to the place."""
    return verb.lower().split()[0]


def _missed(
    truths: Sequence[Truth], delivered: Iterable[tuple[Truth, Clip]], curated: Curated
) -> tuple[list[MissedInstance], int]:
    """The things that take part in a true triplet and have no track, and how many should have one."""
    tracked: set[tuple[str, int, str]] = set()
    for truth, clip in delivered:
        matched, shot = _matched(truth, clip, curated), shot_of(truth, clip)
        found = [matched[track.instance_id][1] for track in curated.tracks.get(clip.clip_id, ())]
        tracked |= {(truth.id, shot, true.name) for true in found if true}
    wanted = [
        (truth, shot, true)
        for truth in truths
        for shot in range(len(truth.cuts) + 1)
        for true in truth.instances
        if any(t.shot == shot and true.name in (t.subject, t.object) and not t.optional for t in truth.triplets)
    ]
    missed = [
        MissedInstance(id=truth.id, shot=shot, noun=true.noun)
        for truth, shot, true in wanted
        if (truth.id, shot, true.name) not in tracked
    ]
    return missed, len(wanted)


# --- Outcomes --------------------------------------------------------------------------------


def check_row(truth: Truth, pairs: Iterable[tuple[Truth, Clip]], curated: Curated) -> list[RowCheck]:
    """One check for each expectation of the truth."""
    # Outcomes name a row by its line until its video is read, then by its source, then by its clips.
    source_ids = {source.source_id for source in curated.sources if source.line == truth.line}
    of_row = [o for o in curated.outcomes if o.row_id in source_ids or _names_line(o, truth.line)]
    shots = {clip.clip_id: shot_of(truth, clip) for owner, clip in pairs if owner.id == truth.id}
    checks = []
    for expectation in truth.expect:
        of_shot = [o for o in curated.outcomes if shots.get(o.row_id) == expectation.shot]
        actual = of_row or of_shot
        checks.append(
            RowCheck(
                id=truth.id,
                line=truth.line,
                shot=expectation.shot,
                expected=_says(expectation.status, expectation.stage, expectation.reason),
                actual="; ".join(_says(o.status, o.stage, o.reason) for o in actual) or "no outcome",
                met=bool(actual) and all(_meets(outcome, expectation) for outcome in actual),
            )
        )
    return checks


def _names_line(outcome: Outcome, line: int) -> bool:
    """Is it the outcome of a manifest's line that never became a source? Its detail starts with "line 3:"."""
    return outcome.row_id.startswith("line-") and (outcome.detail or "").startswith(f"line {line}:")


def _meets(outcome: Outcome, expectation: Expectation) -> bool:
    return (
        outcome.status == expectation.status
        and expectation.stage in (None, outcome.stage)
        and expectation.reason in (None, outcome.reason)
    )


def _says(status: str, stage: str | None, reason: str | None) -> str:
    if status == "accepted" or stage is None:
        return status
    return f"{status} at {stage}" + (f": {reason}" if reason else "")


# --- Arithmetic ------------------------------------------------------------------------------


def _sum_counts(counts: Iterable[Counts]) -> Counts:
    return Counts(*map(sum, zip(*counts, strict=True)))


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None
