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
from tasks.stage import StageConfig


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
