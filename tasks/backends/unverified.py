"""No verification: accept the detector's best box (SpatialAlign 3.3 tracks what GroundingDINO finds)."""

from __future__ import annotations

import numpy as np

from schemas.candidate import Box
from schemas.grounding import Answer
from schemas.instance import Instance


class Unverified:
    """A Verifier (tasks/ground_instances.py) that accepts every box with a pixel in the frame."""

    identity = {"backend": "none", "model": "detector"}  # noqa: RUF012 - as the protocol has it
    concurrency = 1

    def verify(self, frame: np.ndarray, box_xyxy: Box, instance: Instance, caption: str) -> Answer:
        """frame (H, W, 3) uint8 RGB."""
        height, width = frame.shape[:2]
        x0, y0, x1, y1 = box_xyxy
        match = min(x1, width) - max(x0, 0) >= 1 and min(y1, height) - max(y0, 0) >= 1
        rationale = "taken as proposed" if match else "covers no pixel"
        return Answer(match=match, confidence=1.0, rationale=rationale)
