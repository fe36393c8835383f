"""What the stages that look at pictures need of a row, wherever its pictures come from.

    footage = partial(ClipFootage, work)       a span of an input video, its triplets        curate-matrix11k
    footage = partial(sample_footage, work)    a generated video, its prompt's two things    curate-dsr
    footage(row).frames([0, 40, 80])           (3, H, W, 3) uint8 RGB

ground_instances and propagate_masks are given one of these and know neither videos nor captions' readers. Nothing is
decoded before frames are asked for: keys are made of `span` and `wanted`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from schemas.clip import Clip
from schemas.extraction import Extraction
from schemas.grounding import Wanted
from tasks.engine.shards import Row
from tasks.engine.work import Work
from tasks.media import video
from tasks.media.video import FrameReader


class Footage(Protocol):
    """A row's pictures, and what is to be found in them."""

    @property
    def span(self) -> list[object]:
        """What the pictures are a function of, for keys: bytes and times, never a path."""

    @property
    def wanted(self) -> Wanted:
        """Instances with their caption."""

    @property
    def n_frames(self) -> int:
        """Frames of the row's clip."""

    def frames(self, indices: Sequence[int] | None = None) -> np.ndarray:
        """(N, H, W, 3) uint8 RGB: the asked frames, or all. Raises RowFailed for a video that cannot be read."""


FootageOf = Callable[[Row[Any]], Footage]


@dataclass(frozen=True)
class ClipFootage:
    """Footage of a clip that was cut from an input video, after extract_triplets."""

    work: Work
    row: Row[Clip]
    reader: FrameReader = video  # no part of the span: readers give the same bits, or refuse

    @property
    def span(self) -> list[object]:
        return self.row.payload.video_span

    @cached_property
    def wanted(self) -> Wanted:
        extraction = self.work.result(self.row, Extraction)
        return Wanted(self.row.payload.caption or "", extraction.instances, extraction.pairs)

    @property
    def n_frames(self) -> int:
        return self.row.payload.n_frames

    def frames(self, indices: Sequence[int] | None = None) -> np.ndarray:
        clip = self.row.payload
        path = self.work.inputs.verified(clip.video, clip.video_sha256)
        return self.reader.read_frames(path, clip, indices)
