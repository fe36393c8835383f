"""The objects that a user sets in motion in a picture, and simulated clips as examples for a VLM (KineMask A.2).

Push(object="blue mug", direction="to the right", speed_mps=1.2)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schemas.record import Record, column


class Push(Record):
    """An object that is set in motion, in words."""

    object: str = column("What it is: 'blue mug'")
    direction: str = column("Where to, as the picture shows it: 'to the right'")
    speed_mps: float = column("How fast", unit="m/s", gt=0)


class Mover(Record):
    """An object of an example that moves in its first frame."""

    object: str = column("Colour and shape: 'red cube'")
    speed_mps: float = column("How fast", unit="m/s", ge=0)


@dataclass(frozen=True)
class Example:
    """A simulated clip as a VLM is shown it."""

    clip_id: str
    first_frame: np.ndarray  # (H, W, 3) uint8 RGB
    moving: list[Mover]
    description: str
