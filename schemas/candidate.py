"""A candidate: a proposed box on a sampled frame, with the verifier's verdict.

    Candidate(instance_id="id1", frame=16, box_xyxy=(12, 40, 88, 130), score=0.71,
              verdict="accepted", confidence=0.9, rationale="red, round", verifier="...")

The candidate that a verifier accepted is the instance's anchor.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from schemas.outcome import RowFailed
from schemas.record import Record, column

Box = tuple[float, float, float, float]

Verdict = Literal["accepted", "refused", "not_asked", "excluded"]


class Candidate(Record):
    """One proposed box and its verdict (MATRIX A.2, steps 1 and 2)."""

    schema_version: ClassVar[int] = 1

    instance_id: str = column("Whose pool it is in")
    frame: int = column("Frame of the clip, from 0", ge=0)
    box_xyxy: Box = column("Left, top, right, bottom; the right and bottom edges are exclusive", unit="px")
    score: float = column("The detector's class-conditioned confidence", unit="0..1", ge=0, le=1)
    verdict: Verdict = column(
        "accepted: the anchor; refused by the verifier; not_asked: a better one was accepted before; "
        "excluded: it overlaps a box accepted for another instance of the same class"
    )
    confidence: float | None = column("The verifier's confidence in its answer", unit="0..1", default=None, ge=0, le=1)
    rationale: str | None = column("The verifier's reason", default=None)


class Anchor(Record):
    """The accepted box from which an instance's mask is propagated."""

    instance_id: str = column("Whose anchor")
    frame: int = column("Frame of the clip, from 0", ge=0)
    box_xyxy: Box = column("Left, top, right, bottom; right and bottom exclusive", unit="px")


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes; 0 if either has no area."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def check_anchor(anchor: Anchor, n_frames: int, height: int, width: int) -> None:
    """For backends. Raises RowFailed("bad_anchor") if the frame is outside the clip or the box has no area in it."""
    x0, y0, x1, y1 = anchor.box_xyxy
    where = f"{anchor.instance_id}: box {anchor.box_xyxy} on frame {anchor.frame}"
    if not anchor.frame < n_frames:
        raise RowFailed("bad_anchor", f"{where}: the clip has {n_frames} frames", retryable=False)
    if min(x1, width) - max(x0, 0) < 1 or min(y1, height) - max(y0, 0) < 1:
        raise RowFailed("bad_anchor", f"{where} covers no pixel of {width}x{height}", retryable=False)
