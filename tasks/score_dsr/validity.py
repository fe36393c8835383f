"""candidates + tracked boxes -> is there exactly one animal and one object, and are both found? (SpatialAlign 3.3)

    8 sampled frames; a second fox beside the tracked one on 3 of them  ->  several_animals

The authors count GroundingDINO's boxes on every frame, and give a video up when over 16 of 81 frames show anything but
one of each. Here detectors look at sampled frames, so their 16/81 is a share of those; and boxes are no things: most
candidates of a pool are the tracked thing again, a part of it, or a group that it is in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from schemas.candidate import Box, Candidate, box_iou
from schemas.dsr import ANIMAL, OBJECT, ROLES, Role
from schemas.scores import RivalCount

Boxes = Sequence[Box | None]  # one a frame

SEVERAL: dict[Role, str] = {"animal": "several_animals", "object": "several_objects"}
_OTHER = {ANIMAL: OBJECT, OBJECT: ANIMAL}


def count_rivals(
    candidates: Sequence[Candidate],
    tracked: Mapping[str, Boxes],
    n_sampled: int,
    *,
    min_score: float,
    same_iou: float,
    same_inside: float,
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
        likely = [c for c in candidates if c.instance_id == instance_id and c.score >= min_score]
        frames = [
            frame
            for frame in sorted({c.frame for c in likely})
            if has_rival(
                [c.box_xyxy for c in sorted(likely, key=lambda c: -c.score) if c.frame == frame],
                tracked[instance_id][frame],
                tracked[_OTHER[instance_id]][frame],
                same_iou=same_iou,
                same_inside=same_inside,
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
