"""anchors -> one mask track an instance, through the whole clip, both ways (MATRIX 3.2, A.2).

    ball at [12, 40, 88, 130] on frame 16 -> a binary mask of the ball in each of the 49 frames

All instances of a clip in one pass. A frame where the instance is hidden or out of view has an empty
mask; that is an answer, not a gap. A backend is given frames no larger than it works on; boxes and masks are always of
the clip's own size.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol

from pydantic import Field

from schemas.candidate import Anchor
from schemas.config import StageConfig
from schemas.mask_track import MaskTrack, Tracks
from schemas.outcome import RowFailed
from schemas.provenance import MadeBy
from tasks import ground_instances
from tasks.backends import use_one_opencv_thread
from tasks.backends.sam2_video import Sam2Config
from tasks.backends.torch_runtime import TorchConfig
from tasks.engine.shards import Row
from tasks.engine.stage import Stage
from tasks.engine.work import Work
from tasks.media.footage import Footage, FootageOf, Frames, LazyFrames, size_of


class PropagateConfig(StageConfig):
    """How masks are propagated."""

    masks: Literal["flow", "sam2", "transformers"] = Field(
        "flow",
        description="flow: optical flow and GrabCut, embedded; sam2: SAM2 by sam2; transformers: SAM2 by transformers",
    )


class Propagator(Protocol):
    """Segments the anchors and carries the masks through the clip."""

    identity: dict[str, str]
    concurrency: int
    short_side_px: int  # frames whose shorter side is longer are given to it at this size

    def propagate(
        self, frames: Frames, anchors: list[Anchor], size: tuple[int, int] | None = None
    ) -> dict[str, list[str]]:
        """N frames, uint8 RGB -> {instance_id: N COCO run lengths (schemas.mask_track)}.

        size: (height, width) of the clip, in whose pixels boxes and masks are; None: the frames' own
        An instance that is not found in its box has empty masks throughout, which check_tracks refuses.
        Raises RowFailed for an anchor it cannot start from (check_anchor).
        """


def propagate_masks(
    frames: Frames, anchors: list[Anchor], propagator: Propagator, size: tuple[int, int] | None = None
) -> Tracks:
    """N frames, uint8 RGB + anchors -> one track of N masks each. size: as `Propagator.propagate` has it."""
    n_frames, (height, width) = len(frames), size or size_of(frames)
    counts = propagator.propagate(frames, anchors, (height, width))
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
    return [MadeBy.of(Tracks.stage_name, propagator.identity)]


def load_backend(config: PropagateConfig, sam2: Sam2Config, torch: TorchConfig) -> Propagator:
    use_one_opencv_thread()
    match config.masks:
        case "flow":
            from tasks.backends.optical_flow import FlowPropagator

            return FlowPropagator()
        case "sam2":
            from tasks.backends.sam2_video.native import NativeSam2

            return NativeSam2(sam2, torch)
        case "transformers":
            from tasks.backends.sam2_video.port import PortedSam2

            return PortedSam2(sam2, torch)


class Anchored(NamedTuple):
    """What is read of a row."""

    footage: Footage
    anchors: list[Anchor]


def stage(
    work: Work, footage: FootageOf, config: PropagateConfig, sam2: Sam2Config, torch: TorchConfig
) -> Stage[Any, Anchored, Tracks]:
    propagator = load_backend(config, sam2, torch)

    def compute(seen: Anchored) -> Tracks:
        frames = LazyFrames(seen.footage, propagator.short_side_px)
        return propagate_masks(frames, seen.anchors, propagator, seen.footage.size)

    return Stage(
        version=1,
        result=Tracks,
        config=config,
        made_by=makers(propagator),
        read=lambda row: Anchored(footage(row), ground_instances.result_of(work, row).anchors),
        key_of=lambda seen: [seen.footage.span, seen.anchors],
        compute=compute,
        concurrency=propagator.concurrency,
    )


def result_of(work: Work, row: Row[Any]) -> Tracks:
    return work.result(row, Tracks)
