"""tracked boxes + the prompt's relations -> validity and scores of a sample (SpatialAlign 3.2, 3.3).

    right of the stump at first, left of it at last; one fox, one stump, both found in 81 of 81 frames
        ->  r_initial 0.97, r_final 0.95, g_initial 1.93, g_final 1.90: dsr_score 0.98 (official), 1.22 (paper)
    two foxes on 3 of 8 sampled frames  ->  rejected, several_animals

Two variants of the DSR-Score, since the paper's text and its authors' code differ. `official`, the default, is the
code's: the two gaps are halved, and scores span [0, 1]. `paper` is equation 3 as printed, and spans [-0.25, 1.25].
Thresholds such as 0.7 were chosen on the former. They also differ in boxes without extent (tasks/metrics/dsr_score.py).

Two rules say which samples are valid, `rivals` and `official` (tasks/metrics/dsr_validity.py). The latter looks at the
detector's boxes on every frame, so that it needs `ground.n_frames` to be at least the videos' length.

An invalid sample has a reason, never a score. Published samples are scored by the other variant and judged by the other
rule in tasks/datasets/dsr/rescore.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pydantic import Field

from schemas.candidate import Box, box_iou
from schemas.dsr import ANIMAL, OBJECT, ROLES, DsrLabels, DsrSample
from schemas.generation import Generated
from schemas.grounding import Grounding
from schemas.mask_track import Tracks
from schemas.outcome import RowFailed, RowRejected
from schemas.scores import Scored, Variant
from tasks import generate_samples, ground_instances, propagate_masks
from tasks.engine.shards import Row
from tasks.engine.stage import Stage
from tasks.engine.work import Work
from tasks.ground_instances import GroundConfig
from tasks.media.video import sample_indices
from tasks.metrics.dsr_score import END_FRAMES, ClipScores, directions_of, score_clips, with_inclusive_edges
from tasks.metrics.dsr_validity import ValidityConfig, find_faults, gather_evidence

__all__ = ["ScoreConfig", "result_of", "score_clips", "score_sample", "stage"]

InstanceBoxes = dict[str, list[Box | None]]  # {instance_id: one a frame}


class ScoreConfig(ValidityConfig):
    """Which samples are valid, and how they are scored."""

    score: Variant = Field(
        "official",
        description="official: as the authors' code, which halves the gaps, 0..1, and scores boxes without height; "
        "paper: equation 3 as printed, -0.25..1.25",
    )
    end_frames: int = Field(
        END_FRAMES, ge=1, description="m: first and last found frames that are averaged (3 in the authors' code)"
    )


def score_sample(
    generated: Generated,
    grounding: Grounding,
    tracks: Tracks,
    labels: DsrLabels,
    config: ScoreConfig,
    n_sampled: int,
) -> Scored:
    """Judge and score one sample.

    n_sampled: frames that ground_instances looked at

    Raises RowRejected("several_animals", "several_objects", "too_few_frames"; official: "redundant_frames",
    "too_few_valid_frames", "no_valid_run") with every measure as evidence; RowFailed for tracks that are not those of
    this video, or for frames that `official` needs and the detector was not given.
    """
    tracked = tracked_boxes(tracks, generated.n_frames)
    try:
        evidence = gather_evidence(grounding.candidates, tracked, generated.n_frames, n_sampled, config)
    except ValueError as error:
        raise RowFailed("frames_not_searched", str(error), retryable=False) from error
    drawn: InstanceBoxes = {b.instance_id: b.box_xyxy for b in generated.true_boxes}
    has_truth = drawn.keys() >= ROLES.keys()
    scores = _score_boxes(tracked, labels, config)
    scored = Scored(
        score=config.score,
        dsr_score=_number(scores.dsr.score[0]),
        r_initial=_number(scores.dsr.r_initial[0]),
        r_final=_number(scores.dsr.r_final[0]),
        g_initial=_number(scores.dsr.g_initial[0]),
        g_final=_number(scores.dsr.g_final[0]),
        n_found=int(scores.dsr.n_found[0]),
        ssr_initial=[_number(value) for value in scores.ssr_initial[0]],
        ssr_final=[_number(value) for value in scores.ssr_final[0]],
        rivals=evidence.rivals,
        true_score=_number(_score_boxes(drawn, labels, config).dsr.score[0]) if has_truth else None,
        box_iou=mean_box_iou(tracked, drawn) if has_truth else None,
        detected=evidence.detected,
    )
    if faults := find_faults(evidence, scored.n_found, labels, config):
        nothing = dict.fromkeys(("dsr_score", "r_initial", "r_final", "g_initial", "g_final"))
        reasons, details = zip(*faults, strict=True)
        raise RowRejected(reasons[0], "; ".join(details), evidence=scored.model_copy(update=nothing))
    return scored


def tracked_boxes(tracks: Tracks, n_frames: int) -> InstanceBoxes:
    """The boxes of animal and object. Raises RowFailed if one has no track, or not a box or null for every frame."""
    boxes: InstanceBoxes = {track.instance_id: track.box_xyxy for track in tracks.tracks}
    for instance_id, role in ROLES.items():
        if instance_id not in boxes:
            there = ", ".join(sorted(boxes)) or "none"
            raise RowFailed("track_missing", f"{role} {instance_id} has no track; there are {there}", retryable=False)
        if (got := len(boxes[instance_id])) != n_frames:
            raise RowFailed("wrong_length", f"{role} {instance_id}: {got} boxes for {n_frames} frames", retryable=False)
    return boxes


def mean_box_iou(tracked: InstanceBoxes, drawn: InstanceBoxes) -> float | None:
    """Mean IoU over both things and the frames in which they are tracked or drawn; None if they never are."""
    overlaps = [
        box_iou(a, b) if a is not None and b is not None else 0.0
        for instance_id in ROLES
        for a, b in zip(tracked[instance_id], drawn[instance_id], strict=True)
        if a is not None or b is not None
    ]
    return sum(overlaps) / len(overlaps) if overlaps else None


def _score_boxes(boxes: InstanceBoxes, labels: DsrLabels, config: ScoreConfig) -> ClipScores:
    animal, object_ = (_as_batch(boxes[instance_id]) for instance_id in (ANIMAL, OBJECT))
    if config.validity == "official":
        animal, object_ = with_inclusive_edges(animal), with_inclusive_edges(object_)
    found = np.ones(animal.shape[:2], bool)  # as far as boxes go: what is absent is NaN, and has no score
    initial, final = directions_of([labels.initial]), directions_of([labels.final])
    return score_clips(animal, object_, found, initial, final, config.score, config.end_frames)


def _as_batch(boxes: Sequence[Box | None]) -> np.ndarray:
    """One a frame -> (1, N, 4), NaN where absent."""
    absent = (np.nan,) * 4
    return np.array([[absent if box is None else box for box in boxes]])


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


class Tracked(NamedTuple):
    """What is read of a sample."""

    generated: Generated
    grounding: Grounding
    tracks: Tracks
    labels: DsrLabels
    n_sampled: int  # frames that ground_instances looked at


def stage(work: Work, config: ScoreConfig, ground: GroundConfig) -> Stage[DsrSample, Tracked, Scored]:
    """ground: as ground_instances has it; it says how many frames the candidates were looked for on."""

    def read(row: Row[DsrSample]) -> Tracked:
        generated = generate_samples.result_of(work, row)
        n_sampled = len(sample_indices(generated.n_frames, ground.n_frames))
        grounding, tracks = ground_instances.result_of(work, row), propagate_masks.result_of(work, row)
        return Tracked(generated, grounding, tracks, row.payload, n_sampled)

    def key_of(seen: Tracked) -> list[object]:
        labels = seen.labels
        return [
            [labels.animal, labels.object],  # for the details of a rejection
            [directions_of([relation]).tolist() for relation in (labels.initial, labels.final)],
            [seen.generated.n_frames, seen.n_sampled, seen.generated.true_boxes],
            seen.grounding.candidates,
            [[track.instance_id, track.box_xyxy] for track in seen.tracks.tracks],
        ]

    return Stage(
        version=2,
        result=Scored,
        config=config,
        made_by=[],
        read=read,
        key_of=key_of,
        compute=lambda seen: score_sample(*seen[:4], config, seen.n_sampled),
    )


def result_of(work: Work, row: Row[DsrSample]) -> Scored:
    return work.result(row, Scored)
