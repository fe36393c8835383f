"""mask tracks -> measured checks, what is kept, and the ten frames to look at (MATRIX A.2, step 3).

    ball: present 47/49 frames, longest gap 2, median area 0.4% of the frame, swell 0.02 -> accepted

The paper's annotators accept, fix or drop each track by eye: drift, duplication, gaps. Here each of
these is a number with a threshold. The thresholds are ours (the paper states none), so every number is
stored, and the review frames are chosen as the paper's are.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from pydantic import Field

from schemas.clip import Clip
from schemas.config import StageConfig
from schemas.grounding import still_named
from schemas.instance import Instance
from schemas.mask_track import MaskTrack, mask_iou
from schemas.outcome import RowRejected
from schemas.track_check import Checked, TrackCheck
from tasks import extract_triplets, propagate_masks
from tasks.engine.shards import Row
from tasks.engine.stage import Stage
from tasks.engine.work import Work

N_REVIEW_FRAMES = 10  # MATRIX A.2: first verified, last valid, eight evenly between


class CheckConfig(StageConfig):
    """What a mask track must satisfy."""

    min_presence: float = Field(
        0.3, gt=0, le=1, description="Share of the clip's frames that hold a mask; a track without any never passes"
    )
    max_gap: float = Field(0.5, ge=0, le=1, description="Longest run of empty frames between two masks, as a share")
    min_area: float = Field(0.0003, ge=0, le=1, description="Median mask area, as a share of the frame")
    max_area: float = Field(0.8, gt=0, le=1, description="Median mask area, as a share of the frame")
    max_swell: float = Field(
        0.2, ge=0, le=1, description="Share of masks over `swell_ratio` times the median area: drift into the ground"
    )
    swell_ratio: float = Field(3.0, gt=1, description="From how many median areas on a mask counts as swollen")
    max_leaps: float = Field(
        0.1, ge=0, le=1, description="Share of steps in which the box's centre leaps over `leap_distance`: drift"
    )
    leap_distance: float = Field(
        0.25, gt=0, description="A leap, as a share of the frame's diagonal, from frame to frame"
    )
    max_duplicate_iou: float = Field(
        0.5, gt=0, le=1, description="Mean IoU with a same-class track from which on the worse of both is dropped"
    )


def check_tracks(
    tracks: list[MaskTrack], instances: list[Instance], pairs: list[tuple[str, str]], config: CheckConfig
) -> Checked:
    """Measure every track, drop the bad ones and the interactions that name them.

    pairs: (subject, object) of each kept interaction

    Raises RowRejected("no_track_left") with every measure as evidence.
    """
    checks = [check for track in tracks for check in measure(track, config)]
    failed = {c.instance_id for c in checks if not c.passed}
    duplicates = find_duplicates([t for t in tracks if t.instance_id not in failed], instances, config)
    checks += duplicates
    failed |= {c.instance_id for c in duplicates if not c.passed}
    failed |= {i.instance_id for i in instances} - {t.instance_id for t in tracks}
    named = still_named(pairs, failed)
    kept = [t for t in tracks if t.instance_id in named]
    checked = Checked(checks=checks, kept_ids=[t.instance_id for t in kept], review_frames=review_frames(kept))
    if not kept:
        why = "; ".join(
            f"{c.instance_id} {c.measure} {c.value:.3g} against {c.threshold:g}" for c in checks if not c.passed
        )
        raise RowRejected("no_track_left", why, evidence=checked)
    return checked


def measure(track: MaskTrack, config: CheckConfig) -> list[TrackCheck]:
    """The measures that need only the track itself."""
    present = np.array(track.present, bool)
    areas = np.array(track.area, float)[present]
    median = float(np.median(areas)) if areas.size else 0.0
    share = median / (track.height * track.width)
    swollen = float(np.mean(areas > config.swell_ratio * median)) if areas.size else 0.0

    def at_least(name: str, value: float, threshold: float, detail: str) -> TrackCheck:
        return _check(track, name, value, threshold, value >= threshold, detail)

    def at_most(name: str, value: float, threshold: float, detail: str) -> TrackCheck:
        return _check(track, name, value, threshold, value <= threshold, detail)

    return [
        at_least("presence", float(present.mean()), config.min_presence, "share of frames with a mask"),
        at_most("gap", longest_gap(present) / len(present), config.max_gap, "longest empty run, share of frames"),
        at_least("area_min", share, config.min_area, "median area, share of the frame"),
        at_most("area_max", share, config.max_area, "median area, share of the frame"),
        at_most("swell", swollen, config.max_swell, f"share of masks over {config.swell_ratio:g} median areas"),
        at_most("leaps", leap_share(track, config.leap_distance), config.max_leaps, "share of steps that leap"),
    ]


def longest_gap(present: np.ndarray) -> int:
    """(N,) bool -> length of the longest run of False between two True."""
    where = np.flatnonzero(present)
    return int(np.diff(where).max() - 1) if where.size > 1 else 0


def leap_share(track: MaskTrack, distance: float) -> float:
    """Share of steps between neighbouring frames in which the box's centre moves over distance x diagonal."""
    diagonal = float(np.hypot(track.width, track.height))
    steps = [
        float(np.hypot(a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3])) / 2 / diagonal
        for a, b in pairwise(track.box_xyxy)
        if a is not None and b is not None
    ]
    return float(np.mean([step > distance for step in steps])) if steps else 0.0


def find_duplicates(tracks: list[MaskTrack], instances: list[Instance], config: CheckConfig) -> list[TrackCheck]:
    """One-to-one: of two same-class tracks that overlap, the worse is dropped (MATRIX A.2, step 3).

    Worse is present in fewer frames; between equals, the later in the caption.
    """
    class_of = {i.instance_id: i.class_name for i in instances}
    ranked = sorted(tracks, key=lambda t: -sum(t.present))  # stable: the caption's order between equals
    kept: list[MaskTrack] = []
    checks = []
    for track in ranked:
        rivals = [other for other in kept if class_of[other.instance_id] == class_of[track.instance_id]]
        overlaps = [(overlap(track, other), other.instance_id) for other in rivals]
        value, rival = max(overlaps, default=(0.0, None))
        passed = value < config.max_duplicate_iou
        if rival is not None:
            detail = f"mean IoU with {rival} where either is present"
            checks.append(_check(track, "duplicate", value, config.max_duplicate_iou, passed, detail))
        if passed:
            kept.append(track)
    return checks


def overlap(a: MaskTrack, b: MaskTrack) -> float:
    """Mean IoU over the frames in which either track has a mask; 0 if there is none."""
    either = np.array(a.present) | np.array(b.present)
    if not either.any():
        return 0.0
    return float(mask_iou(a.counts, b.counts, a.height, a.width)[either].mean())


def review_frames(tracks: list[MaskTrack]) -> list[int]:
    """First verified frame, last frame with a mask, and eight evenly between (MATRIX A.2); fewer in short clips."""
    if not tracks:
        return []
    first = min(t.anchor_frame for t in tracks)
    last = max(int(np.flatnonzero(t.present)[-1]) for t in tracks)
    frames = np.linspace(first, last, N_REVIEW_FRAMES).round().astype(int)
    return sorted({int(f) for f in frames})


def _check(track: MaskTrack, measure: str, value: float, threshold: float, passed: bool, detail: str) -> TrackCheck:
    return TrackCheck(
        instance_id=track.instance_id,
        measure=measure,
        value=round(value, 6),
        threshold=threshold,
        passed=passed,
        detail=detail,
    )


class Tracked(NamedTuple):
    """What is read of a clip."""

    tracks: list[MaskTrack]
    instances: list[Instance]
    pairs: list[tuple[str, str]]


def stage(work: Work, config: CheckConfig) -> Stage[Clip, Tracked, Checked]:
    def read(row: Row[Clip]) -> Tracked:
        extraction = extract_triplets.result_of(work, row)
        return Tracked(propagate_masks.result_of(work, row).tracks, extraction.instances, extraction.pairs)

    return Stage(
        version=1,
        result=Checked,
        config=config,
        made_by=[],
        read=read,
        compute=lambda seen: check_tracks(*seen, config),
    )
