"""Mask propagation without weights: optical flow, colour likelihood and GrabCut.

    FlowPropagator().propagate(frames, [Anchor(instance_id="id1", frame=16, box_xyxy=(12, 40, 88, 130))])
    ->  {"id1": ["PPYo0...", ...]}     one COCO run length a frame, an empty mask where id1 is not seen

The clip is walked forward once and backward once; each step computes one dense flow and one colour index for all
instances. The flow predicts an instance's mask in the next frame or, if the flow has lost it (a thrown ball), a search
for its colours in its shape does; GrabCut then decides the uncertain rim. While the camera stands still, earlier views
of a place without the instance count too. Pixels that no longer look like the instance are dropped: an instance without
visible pixels is hidden, has an empty mask, and is searched, near its last place first, until it reappears.

    frames   a clip's frames at the working scale, and the flow from one to the next
    shapes   masks, their pieces and outlines, and where an outline covers its colours best
    colour   what colours an instance has              cut      GrabCut, and the anchor's box
    plate    what a still camera has seen behind the instances
    track    one instance during one walk              walk     all instances through the clip

Weak where colours do not differ: look-alikes that cross, an object coloured like its background.

Sources: DIS flow (Kroeger et al., ECCV 2016), GrabCut (Rother et al., SIGGRAPH 2004), both as in OpenCV.
"""

from __future__ import annotations

import os

import cv2

from schemas.candidate import Anchor, check_anchor
from tasks.backends.optical_flow.frames import SHORT_SIDE_PX, ScaledClip
from tasks.backends.optical_flow.plate import Guess
from tasks.backends.optical_flow.walk import Target, directions, settle_overlaps, walk_clip
from tasks.engine.progress import counted
from tasks.media.footage import Frames

__all__ = ["SHORT_SIDE_PX", "FlowPropagator"]


class FlowPropagator:
    """The embedded `Propagator`. Stateless: one object may serve several threads."""

    short_side_px: int = SHORT_SIDE_PX

    def __init__(self) -> None:
        self.identity: dict[str, str] = {
            "backend": "flow",
            "model": "dis-grabcut-3",
            "short_side_px": str(SHORT_SIDE_PX),
            "opencv": cv2.__version__,
        }
        self.concurrency: int = os.cpu_count() or 1

    def propagate(
        self, frames: Frames, anchors: list[Anchor], size: tuple[int, int] | None = None
    ) -> dict[str, list[str]]:
        """N frames, uint8 RGB -> {instance_id: N COCO run lengths}, of the clip's size, or else the frames'.

        An instance gets empty masks if nothing stands out in its anchor's box; the others are not affected.
        Raises RowFailed("bad_anchor") for a box without area inside its frame, or a frame outside the clip.
        """
        clip = ScaledClip(frames, size)
        for anchor in anchors:
            check_anchor(anchor, clip.n_frames, clip.full_height, clip.full_width)
        targets = [Target(anchor, clip.scale_box(anchor.box_xyxy)) for anchor in anchors]
        guess = Guess.of(clip)
        for direction in directions(targets):
            walk_clip(clip, targets, guess, direction)
        settle_overlaps(clip, targets)
        return {
            target.anchor.instance_id: [
                clip.full_size(counts)
                for counts in counted(target.counts(clip), f"masks of {target.anchor.instance_id}")
            ]
            for target in targets
        }
