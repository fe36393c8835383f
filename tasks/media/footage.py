"""What the stages that look at pictures need of a row, wherever its pictures come from.

    footage = partial(ClipFootage, work)       a span of an input video, its triplets        curate-matrix11k
    footage = partial(sample_footage, work)    a generated video, its prompt's two things    curate-dsr
    footage(row).frames([0, 40, 80])           (3, H, W, 3) uint8 RGB
    footage(row).frames(max_side_px=640)       all of them, of 640x360 where the clip has 1280x720
    LazyFrames(footage(row), 360)[299]         the same frame; few of a long clip are in memory at a time

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
from tasks.media.pictures import MAX_CLIP_BYTES, fit, max_side_of, too_large
from tasks.media.video import FrameReader

HELD_BYTES = 2**28  # of a clip's decoded frames at a time: 12 s of 640x360 at 30 frames/s


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

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the clip, px: boxes and masks are of this size."""

    def frames(self, indices: Sequence[int] | None = None, max_side_px: int | None = None) -> np.ndarray:
        """(N, H, W, 3) uint8 RGB: the asked frames, or all.

        indices: increasing; max_side_px: bounds the longer side, in proportion; it never enlarges
        Raises RowFailed for a video that cannot be read.
        """


class Frames(Protocol):
    """A clip's frames, all of one size: an array (N, H, W, 3), or `LazyFrames`."""

    def __len__(self) -> int: ...

    def __getitem__(self, t: int, /) -> np.ndarray:
        """Frame t, (H, W, 3) uint8 RGB."""


def size_of(frames: Frames) -> tuple[int, int]:
    """(height, width) in px of at least one frame."""
    height, width, _ = frames[0].shape
    return height, width


def all_of(frames: Frames) -> list[np.ndarray]:
    """Every frame, for those that need them all at once. Raises RowFailed if they would exceed MAX_CLIP_BYTES."""
    height, width = size_of(frames)
    if (n_bytes := len(frames) * height * width * 3) > MAX_CLIP_BYTES:
        raise too_large(f"{len(frames)} frames of {width}x{height}", n_bytes)
    pictures = [frames[t] for t in range(len(frames))]
    if isinstance(frames, LazyFrames):
        frames.let_go()
    return pictures


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

    @property
    def size(self) -> tuple[int, int]:
        return self.row.payload.height, self.row.payload.width

    def frames(self, indices: Sequence[int] | None = None, max_side_px: int | None = None) -> np.ndarray:
        clip = self.row.payload
        path = self.work.inputs.verified(clip.video, clip.video_sha256)
        return self.reader.read_frames(path, clip, indices, max_side_px)


class LazyFrames:
    """A clip's frames, read when they are asked for, and with them their neighbours, of which few are in memory.

    lazy[t]: frame t, (h, w, 3) uint8 RGB. Made for walks: a jump reads HELD_BYTES anew.
    """

    def __init__(self, footage: Footage, short_side_px: int) -> None:
        """short_side_px: the shorter side of the frames, where the clip's is longer"""
        self._footage = footage
        height, width = footage.size
        self._max_side_px = max_side_of(width, height, short_side_px)
        width, height = fit(width, height, self._max_side_px)
        self._n_held = max(1, HELD_BYTES // (height * width * 3))
        self._first = 0
        self._held = np.empty((0, height, width, 3), np.uint8)

    def __len__(self) -> int:
        return self._footage.n_frames

    def __getitem__(self, t: int) -> np.ndarray:
        if not 0 <= t < len(self):
            raise IndexError(f"frame {t} of {len(self)}")
        if not self._first <= t < self._first + len(self._held):
            self._first = t - t % self._n_held
            self.let_go()  # not two parts at a time
            part = range(self._first, min(self._first + self._n_held, len(self)))
            self._held = self._footage.frames(part, self._max_side_px)
        return self._held[t - self._first].copy()  # a view would keep the whole part

    def let_go(self) -> None:
        """Hold no frame; asked for again, they are read again."""
        self._held = self._held[:0].copy()
