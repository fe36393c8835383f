"""candidates + tracked boxes -> is there exactly one animal and one object, and are both found? (SpatialAlign 3.3)

    rivals:   8 sampled frames; a second fox beside the tracked one on 3 of them        ->  several_animals
    official: 81 frames; three boxes on 17 of them, a fox's and a stump's on the others  ->  redundant_frames

Two rules, since the paper's text leaves open what one animal and one object is. `official` counts the detector's boxes
on every frame, as the authors' code does. `rivals` is ours: detectors look at sampled frames, so that the authors' 16
of 81 is a share of those; and boxes are no things: most candidates of a pool are the tracked thing again, a part of it,
or a group that it is in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import Field

from schemas.candidate import Box, Candidate, box_iou
from schemas.config import StageConfig
from schemas.dsr import ANIMAL, OBJECT, ROLES, DsrLabels, Role
from schemas.scores import DetectedFrames, RivalCount, Validity

Boxes = Sequence[Box | None]  # one a frame
Fault = tuple[str, str]  # reason, detail

SEVERAL: dict[Role, str] = {"animal": "several_animals", "object": "several_objects"}
_OTHER = {ANIMAL: OBJECT, OBJECT: ANIMAL}


class ValidityConfig(StageConfig):
    """Which samples are valid."""

    validity: Validity = Field(
        "rivals",
        description="rivals: nothing else of their classes beside the tracked animal and object; official: as the "
        "authors' code, which counts the detector's boxes on every frame and scores boxes with inclusive edges",
    )
    min_found: int = Field(20, ge=1, description="Frames in which both must be found (SpatialAlign 3.3)")
    max_redundant: int = Field(
        16, ge=0, description="official: frames that may show other boxes than one of each (the authors' code)"
    )
    min_run: int = Field(
        4, ge=1, description="official: successive frames that must show one of each, once (the authors' code)"
    )
    max_rival_share: float = Field(
        16 / 81,
        ge=0,
        le=1,
        description="Share of sampled frames that may show a second one (the authors' 16 of 81)",
    )
    min_rival_score: float = Field(
        0.4, ge=0, le=1, description="Candidates below this are no rivals (the authors' threshold for boxes)"
    )
    same_iou: float = Field(
        0.5, gt=0, le=1, description="From this IoU on, two boxes show the same thing: ours, as is the next"
    )
    same_inside: float = Field(
        0.8, gt=0, le=1, description="From this share of the smaller box inside the larger on, they do, too"
    )


class Evidence(NamedTuple):
    """What a rule judges a sample by."""

    n_frames: int  # of the video
    n_sampled: int  # that the detector was given
    rivals: list[RivalCount]  # empty by the other rule
    detected: DetectedFrames | None  # by `official` only


def gather_evidence(
    candidates: Sequence[Candidate], tracked: Mapping[str, Boxes], n_frames: int, n_sampled: int, config: ValidityConfig
) -> Evidence:
    """What the rule needs to know of a sample.

    candidates: both pools
    tracked:    {instance_id: boxes of its track}
    Raises ValueError, with what to do, if `official` is asked for and the detector was not given every frame.
    """
    if config.validity == "rivals":
        return Evidence(n_frames, n_sampled, count_rivals(candidates, tracked, n_sampled, config), None)
    if n_sampled < n_frames:
        raise ValueError(unsearched(n_sampled, n_frames))
    return Evidence(n_frames, n_sampled, [], detected_frames(candidates, config.min_rival_score))


def find_faults(evidence: Evidence, n_found: int, labels: DsrLabels, config: ValidityConfig) -> list[Fault]:
    """Why a sample is not valid: (reason, detail) of each criterion that it fails.

    n_found: frames that have an SSR-Score
    """
    nouns = {"animal": labels.animal, "object": labels.object}
    n_frames, n_sampled, rivals, detected = evidence
    faults = [
        (SEVERAL[r.role], f"another {nouns[r.role]} on {len(r.frames)} of {n_sampled} sampled frames: {r.frames}")
        for r in rivals
        if r.share > config.max_rival_share
    ]
    if detected:
        both = f"one {labels.animal} and one {labels.object}"
        valid, redundant = detected.valid, detected.redundant
        if len(redundant) > config.max_redundant:
            detail = f"other boxes than {both} on {len(redundant)} of {n_frames} frames: {redundant}"
            faults.append(("redundant_frames", detail))
        if len(valid) < config.min_found:
            detail = f"{both} alone on {len(valid)} of {n_frames} frames, of {config.min_found} asked for"
            faults.append(("too_few_valid_frames", detail))
        if longest_run(valid) < config.min_run:
            detail = f"{both} alone on {longest_run(valid)} successive frames, of {config.min_run} asked for"
            faults.append(("no_valid_run", detail))
    if n_found < config.min_found:
        detail = f"both found in {n_found} of {n_frames} frames, of {config.min_found} asked for"
        faults.append(("too_few_frames", detail))
    return faults


# --- official --------------------------------------------------------------------------------


def detected_frames(candidates: Sequence[Candidate], min_score: float) -> DetectedFrames:
    """Frames by their boxes, as the authors' code counts them; those with fewer than two boxes are in neither list.

    candidates: both pools. They hold at most J boxes a frame and class: with J = 1, no second fox is ever seen
    """
    owners: dict[int, dict[Box, set[str]]] = {}
    for candidate in candidates:
        if candidate.score >= min_score:
            # A box that is in both pools is one box, named after both: neither the fox nor the stump.
            owners.setdefault(candidate.frame, {}).setdefault(candidate.box_xyxy, set()).add(candidate.instance_id)
    crowded = {frame: list(boxes.values()) for frame, boxes in sorted(owners.items()) if len(boxes) >= 2}
    valid = [frame for frame, names in crowded.items() if names in ([{ANIMAL}, {OBJECT}], [{OBJECT}, {ANIMAL}])]
    return DetectedFrames(valid=valid, redundant=[frame for frame in crowded if frame not in valid])


def unsearched(n_sampled: int, n_frames: int) -> str:
    """What to do where the detector was not given every frame."""
    return (
        f"validity official counts boxes on every frame, and {n_sampled} of {n_frames} were searched: set "
        f"ground.n_frames to {n_frames}, or score.validity to rivals"
    )


def longest_run(frames: Sequence[int]) -> int:
    """[3, 4, 5, 9] -> 3: the length of the longest run of successive frames."""
    longest = run = 0
    for place, frame in enumerate(frames):
        run = run + 1 if place and frame == frames[place - 1] + 1 else 1
        longest = max(longest, run)
    return longest


# --- rivals ----------------------------------------------------------------------------------


def count_rivals(
    candidates: Sequence[Candidate],
    tracked: Mapping[str, Boxes],
    n_sampled: int,
    config: ValidityConfig,
) -> list[RivalCount]:
    """The rivals of the animal, then those of the object.

    candidates: both pools. They hold at most J boxes a frame and instance: a crowd is seen as J
    tracked:    {instance_id: boxes of its track}
    n_sampled:  frames that the detector was given, with candidates or without

    What the verifier said of a candidate is not looked at: it knows the prompt, and may refuse a second fox for being
    on the wrong side.
    """
    counts = []
    for instance_id, role in ROLES.items():
        likely = [c for c in candidates if c.instance_id == instance_id and c.score >= config.min_rival_score]
        frames = [
            frame
            for frame in sorted({c.frame for c in likely})
            if has_rival(
                [c.box_xyxy for c in sorted(likely, key=lambda c: -c.score) if c.frame == frame],
                tracked[instance_id][frame],
                tracked[_OTHER[instance_id]][frame],
                same_iou=config.same_iou,
                same_inside=config.same_inside,
            )
        ]
        counts.append(RivalCount(role=role, frames=frames, share=len(frames) / n_sampled))
    return counts


def has_rival(
    candidates: Sequence[Box], tracked: Box | None, other: Box | None, *, same_iou: float, same_inside: float
) -> bool:
    """Does one of a frame's candidates, best first, show another thing of the class than the tracked one?

    tracked: the track's box on this frame. Where it has none, the best candidate stands in for it: a thing that the
             tracker lost is no second one
    other:   box of the other role. A candidate that coincides with it is the detector's confusion, a fox that is the
             stump. One that is only inside it counts: a second cat on the same bench
    """
    things = [box for box in candidates if other is None or box_iou(box, other) < same_iou]
    thing = tracked if tracked is not None else next(iter(things), None)
    return thing is not None and any(not is_same(box, thing, same_iou, same_inside) for box in things)


def is_same(a: Box, b: Box, same_iou: float, same_inside: float) -> bool:
    """Do two boxes of a class show the same thing: do they coincide, or is one mostly inside the other?"""
    return box_iou(a, b) >= same_iou or overlap_of_smaller(a, b) >= same_inside


def overlap_of_smaller(a: Box, b: Box) -> float:
    """Intersection over the area of the smaller box; 0 if either has no area."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
