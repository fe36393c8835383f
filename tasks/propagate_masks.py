"""anchors -> one mask track an instance, through the whole clip, both ways (MATRIX 3.2, A.2).

    ball at [12, 40, 88, 130] on frame 16 -> a binary mask of the ball in each of the 49 frames

All instances of a clip in one pass. A frame where the instance is hidden or out of view has an empty
mask; that is an answer, not a gap.
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from pydantic import Field

from schemas.candidate import Anchor
from schemas.clip import Clip
from schemas.mask_track import MaskTrack
from schemas.outcome import RowFailed
from schemas.provenance import MadeBy
from schemas.record import Record, column
from tasks.backends import use_one_opencv_thread
from tasks.ground_instances import Grounding
from tasks.stage import Row, Stage, StageConfig, Work
from tasks.video import read_clip


class PropagateConfig(StageConfig):
    """How masks are propagated."""

    masks: Literal["flow"] = Field("flow", description="flow: optical flow and GrabCut, embedded")


class Propagator(Protocol):
    """Segments the anchors and carries the masks through the clip."""

    identity: dict[str, str]
    concurrency: int

    def propagate(self, frames: np.ndarray, anchors: list[Anchor]) -> dict[str, list[str]]:
        """frames (N, H, W, 3) uint8 RGB -> {instance_id: N COCO run lengths (schemas.mask_track)}.

        Raises RowFailed for an anchor it cannot start from (zero area, outside the frame).
        """


class Tracks(Record):
    """A clip's mask tracks."""

    tracks: list[MaskTrack] = column("One an anchor")
    made_by: list[MadeBy] = column("The propagator")


def propagate_masks(frames: np.ndarray, anchors: list[Anchor], propagator: Propagator) -> Tracks:
    """frames (N, H, W, 3) uint8 RGB + anchors -> one track of N masks each."""
    n_frames, height, width = frames.shape[:3]
    counts = propagator.propagate(frames, anchors)
    for anchor in anchors:
        if (got := len(counts[anchor.instance_id])) != n_frames:
            raise RowFailed("wrong_length", f"{anchor.instance_id}: {got} masks for {n_frames} frames", retryable=False)
    return Tracks(
        tracks=[
            MaskTrack.of(a.instance_id, counts[a.instance_id], height=height, width=width, anchor_frame=a.frame)
            for a in anchors
        ],
        made_by=makers(propagator),
    )


def makers(propagator: Propagator) -> list[MadeBy]:
    return [MadeBy.of("propagate_masks", propagator.identity)]


def load_backend(config: PropagateConfig) -> Propagator:
    use_one_opencv_thread()
    match config.masks:
        case "flow":
            from tasks.backends.flow import FlowPropagator

            return FlowPropagator()


def stage(work: Work, config: PropagateConfig) -> Stage[Clip, Tracks]:
    propagator = load_backend(config)

    def anchors(row: Row[Clip]) -> list[Anchor]:
        return work.result(row, "ground_instances", Grounding).anchors

    def compute(row: Row[Clip]) -> Tracks:
        clip = row.payload
        frames = read_clip(work.inputs.verified(clip.video, clip.video_sha256), clip)
        return propagate_masks(frames, anchors(row), propagator)

    return Stage(
        name="propagate_masks",
        version=1,
        result=Tracks,
        config=config,
        made_by=makers(propagator),
        inputs=lambda row: [row.payload.video_span, anchors(row)],
        compute=compute,
        concurrency=propagator.concurrency,
    )
