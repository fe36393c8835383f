"""What the masks alone say: presence, gaps, area, drift, and tracks that claim the same pixels.

measure(ball, config)  ->  [TrackCheck(measure="presence", value=0.96, ...), TrackCheck(measure="gap", ...), ...]
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np

from schemas.instance import Instance
from schemas.mask_track import MaskTrack, mask_iou
from schemas.track_check import TrackCheck
from tasks.check_tracks.config import CheckConfig

ONE_AND_THE_SAME = 0.5  # of the larger mask: more in common, and neither can be told to be the wrong one


def measure(track: MaskTrack, config: CheckConfig) -> list[TrackCheck]:
    """The measures that need only the track itself."""
    present = np.array(track.present, bool)
    areas = np.array(track.area, float)[present]
    median = float(np.median(areas)) if areas.size else 0.0
    share = median / (track.height * track.width)
    swollen = float(np.mean(areas > config.swell_ratio * median)) if areas.size else 0.0
    leaps = leap_share(track, config.leap_distance)
    gap = longest_gap(present) / len(present)
    return [
        at_least(track, "presence", float(present.mean()), config.min_presence, "share of frames with a mask"),
        at_most(track, "gap", gap, config.max_gap, "longest empty run, share of frames"),
        at_least(track, "area_min", share, config.min_area, "median area, share of the frame"),
        at_most(track, "area_max", share, config.max_area, "median area, share of the frame"),
        at_most(track, "swell", swollen, config.max_swell, f"share of masks over {config.swell_ratio:g} median areas"),
        at_most(track, "leaps", leaps, config.max_leaps, "share of steps that leap"),
    ]


def at_least(track: MaskTrack, name: str, value: float, threshold: float, detail: str) -> TrackCheck:
    return check_of(track, name, value, threshold, value >= threshold, detail)


def at_most(track: MaskTrack, name: str, value: float, threshold: float, detail: str) -> TrackCheck:
    return check_of(track, name, value, threshold, value <= threshold, detail)


def check_of(track: MaskTrack, name: str, value: float, threshold: float, passed: bool, detail: str) -> TrackCheck:
    return TrackCheck(
        instance_id=track.instance_id,
        measure=name,
        value=round(value, 6),
        threshold=threshold,
        passed=passed,
        detail=detail,
    )


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
            checks.append(check_of(track, "duplicate", value, config.max_duplicate_iou, passed, detail))
        if passed:
            kept.append(track)
    return checks


def overlap(a: MaskTrack, b: MaskTrack) -> float:
    """Mean IoU over the frames in which either track has a mask; 0 if there is none."""
    either = np.array(a.present) | np.array(b.present)
    if not either.any():
        return 0.0
    return float(mask_iou(a.counts, b.counts, a.height, a.width)[either].mean())


def find_swallowed(tracks: Sequence[MaskTrack], instances: list[Instance], config: CheckConfig) -> list[TrackCheck]:
    """Of two masks that share pixels, the larger is wrong if the smaller makes up much of it: the man with his ball.

    Where they are all but the same, one has the other's name: neither passes. What somebody wears and parts of
    the body may lie in another mask.
    """
    from tasks.backends.caption_rules.nouns import BODY_PARTS, GARMENTS  # a lexicon: not for everyone who imports this

    class_of = {i.instance_id: i.class_name.lower() for i in instances}
    found: dict[str, list[TrackCheck]] = {}
    for pair in combinations(tracks, 2):
        if any(class_of[track.instance_id].split()[-1] in BODY_PARTS | GARMENTS for track in pair):
            continue
        small, large = sorted(pair, key=lambda track: sum(track.area))
        value = _shared(small, large)
        for track, other, limit in ((large, small, config.max_swallowed), (small, large, ONE_AND_THE_SAME)):
            detail = f"share of the larger mask that is also {other.instance_id}'s"
            found.setdefault(track.instance_id, []).append(at_most(track, "swallowed", value, limit, detail))
    return [max(checks, key=lambda check: check.value - check.threshold) for checks in found.values()]


def _shared(small: MaskTrack, large: MaskTrack) -> float:
    """Mean over the frames with both: pixels in both, as a share of the larger mask."""
    both = np.array(small.present) & np.array(large.present)
    if not both.any():
        return 0.0
    iou = mask_iou(small.counts, large.counts, small.height, small.width)[both]
    areas = np.array([small.area, large.area], float)[:, both]
    return float((iou / (1 + iou) * areas.sum(axis=0) / areas.max(axis=0)).mean())
