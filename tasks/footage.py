"""What the stages that look at pictures need of a row, wherever its pictures come from.

    ClipFootage(work)      a span of an input video, its triplets        curate-matrix11k
    SampleFootage(work)    a generated video, its prompt's two things    curate-dsr (tasks/generate_samples.py)

ground_instances and propagate_masks are given one of these and know neither videos nor captions' readers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from schemas.clip import Clip
from schemas.instance import Instance
from tasks.extract_triplets import Extraction
from tasks.stage import Row, Work
from tasks.video import read_clip, read_frames


class Wanted(NamedTuple):
    """What is to be found in a row's pictures."""

    caption: str
    instances: list[Instance]
    pairs: list[tuple[str, str]]  # instances that are of use only together: (subject, object) of each interaction


class Footage(Protocol):
    """A row's pictures, and what is to be found in them."""

    def span(self, row: Row[Any]) -> list[object]:
        """What the pictures are a function of, for keys: bytes and times, never a path."""

    def wanted(self, row: Row[Any]) -> Wanted:
        """Instances with their caption."""

    def n_frames(self, row: Row[Any]) -> int:
        """Frames of the row's clip."""

    def frames(self, row: Row[Any], indices: Sequence[int] | None = None) -> np.ndarray:
        """(N, H, W, 3) uint8 RGB: the asked frames, or all. Raises RowFailed for a video that cannot be read."""


@dataclass(frozen=True)
class ClipFootage:
    """Footage of clips that were cut from input videos, after extract_triplets."""

    work: Work

    def span(self, row: Row[Clip]) -> list[object]:
        return row.payload.video_span

    def wanted(self, row: Row[Clip]) -> Wanted:
        extraction = self.work.result(row, "extract_triplets", Extraction)
        return Wanted(row.payload.caption or "", extraction.instances, extraction.pairs)

    def n_frames(self, row: Row[Clip]) -> int:
        return row.payload.n_frames

    def frames(self, row: Row[Clip], indices: Sequence[int] | None = None) -> np.ndarray:
        clip = row.payload
        path = self.work.inputs.verified(clip.video, clip.video_sha256)
        return read_clip(path, clip) if indices is None else read_frames(path, clip, indices)
