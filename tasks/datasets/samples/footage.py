"""The pictures of a published clip whose video lies in its snapshot: read and decoded when they are asked for.

StoredFootage(lambda: tables.rows(VideoRow, clip_id)[0].video, sha256, (720, 480), tracks)     Footage of fit_clips
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from schemas.mask_track import MaskTrack
from tasks.media.decoding import decode_span
from tasks.media.video import decode_bytes


@dataclass(frozen=True)
class StoredFootage:
    """A published clip whose video lies in its snapshot."""

    read: Callable[[], bytes]
    sha256: str
    size: tuple[int, int]
    tracks: Sequence[MaskTrack] = ()

    @property
    def span(self) -> list[object]:
        return [self.sha256]

    @cached_property
    def _video(self) -> bytes:
        return self.read()

    def times_s(self) -> Sequence[Fraction]:
        return [frame.time for frame in decode_span(self._video, None, None)]

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        return decode_bytes(self._video, indices)
