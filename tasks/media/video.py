"""Frames of videos as arrays: of a whole file, a clip, a published clip, or bytes in memory.

    for time, frame in iter_frames(Path("dog.mp4"), start=Fraction(1), end=Fraction(2)):
        ...                                     # Fraction(1001, 1000), (720, 1280, 3) uint8 RGB

container.py opens a file, clock.py dates its packets, decoding.py gives its frames (and says what is refused),
pictures.py makes arrays of them; encoding.py writes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from schemas.clip import Clip
from schemas.outcome import RowFailed
from schemas.regular_files import kept_while_unchanged
from tasks.engine.progress import counted
from tasks.engine.snapshots import ClipVideo
from tasks.media.container import opened
from tasks.media.decoding import DecodedFrame, Decoding, VideoInfo, clock_of, decode_span, probe
from tasks.media.pictures import MAX_CLIP_BYTES, Painter, fit, shrunk, too_large

SEEK_FROM_FRAME = 100  # frames from there on are sought if more lie before them than they span


def survey(video: Path | bytes) -> tuple[VideoInfo, int]:
    """What `probe` tells, and how many frames the whole video has: one pass that keeps no frame.

    Raises UnreadableVideo for the first damaged frame, an early end, or a pixel format that cannot be converted;
    RowFailed if the frames would exceed MAX_CLIP_BYTES.
    """
    clock = clock_of(video)
    with opened(video) as (container, stream):
        decoding = Decoding(container, stream, clock)
        frames = decoding.frames()
        first = next(frames).picture
        info = decoding.info(first)
        painter = Painter(info, None)
        painter.rgb(first)  # the only one that is converted: the others are of the same format
        n_frames = 1 + sum(1 for _ in itertools.islice(frames, painter.most))
        painter.require_room(n_frames)
        return info, n_frames


def iter_frames(
    video: Path | bytes,
    start: Fraction | None = None,
    end: Fraction | None = None,
    *,
    max_side: int | None = None,
    size: tuple[int, int] | None = None,
) -> Iterator[tuple[Fraction, np.ndarray]]:
    """(time in s, (H, W, 3) uint8 RGB) of the frames whose time lies in [start, end).

    Time 0 is the first frame's. Orientation is applied.
    size: (width, height) in px that frames are stretched to, as a clip has it; None: the video's own
    max_side: in px, bounds the longer side; it never enlarges
    Raises UnreadableVideo.
    """
    painter = Painter(probe(video), max_side, size)
    for frame in decode_span(video, start, end):
        yield frame.time, painter.rgb(frame.picture)


def read_frames(
    path: Path, clip: Clip, indices: Sequence[int] | None = None, max_side: int | None = None
) -> np.ndarray:
    """Frames of a clip, of its size: (N, H, W, 3) uint8 RGB, all clip.n_frames or the asked ones.

    indices: some, increasing, in [0, clip.n_frames)
    max_side: in px, bounds the longer side; it never enlarges
    Decodes up to the last one asked for and keeps nothing else; far into the clip, from a keyframe before the first.
    Raises UnreadableVideo; RowFailed if the frames would exceed MAX_CLIP_BYTES, or all are read and are not n_frames.
    """
    indices = chosen_frames(clip, indices)
    painter = Painter(probe(path), None, (clip.width, clip.height))
    pictures = allocate(clip, len(indices), max_side)
    wanted = {frame: row for row, frame in enumerate(indices)}
    n_seen, start, end = 0, clip.start.fraction, clip.end.fraction
    if indices[0] >= max(SEEK_FROM_FRAME, indices[-1] - indices[0]):
        times = frame_times(path, start, end)
        require_count(clip, len(times))
        n_seen, start = indices[0], times[indices[0]]
    n_read = clip.n_frames if len(indices) == clip.n_frames else indices[-1] + 1
    for frame in counted(decode_span(path, start, end), "frames read", n_read - n_seen):
        if n_seen in wanted:
            pictures[wanted[n_seen]] = shrunk(painter.rgb(frame.picture), max_side)
        n_seen += 1
        if len(indices) < clip.n_frames and n_seen > indices[-1]:
            return pictures
    require_count(clip, n_seen)
    return pictures


@kept_while_unchanged(64)
def frame_times(path: Path, start: Fraction, end: Fraction) -> tuple[Fraction, ...]:
    """The times of the frames in [start, end), s: one pass that converts none. Raises UnreadableVideo."""
    return tuple(frame.time for frame in counted(decode_span(path, start, end), "frames timed"))


def decode_bytes(data: bytes, indices: Sequence[int] | None = None, max_side: int | None = None) -> np.ndarray:
    """Frames of a video that is held in memory: (N, H, W, 3) uint8 RGB, all or the asked ones.

    indices: increasing; decodes up to the last one, so that damage behind it is not noticed
    max_side: in px, bounds the longer side; it never enlarges
    Raises UnreadableVideo; RowFailed if the frames would exceed MAX_CLIP_BYTES; IndexError if the video ends before
    the last one.
    """
    clock = clock_of(data)
    with opened(data) as (container, stream):
        decoding = Decoding(container, stream, clock)
        frames = decoding.frames()
        first = next(frames)
        painter = Painter(decoding.info(first.picture), None)
        return _paint(itertools.chain([first], frames), painter, indices, max_side)


def read_video(video: ClipVideo, indices: Sequence[int] | None = None, max_side: int | None = None) -> np.ndarray:
    """Frames of a published clip, of its size: (N, H, W, 3) uint8 RGB, all or the asked ones.

    video: of `Snapshot.video`; indices and errors: as `decode_bytes` has them
    """
    painter = Painter(probe(video.source), max_side, video.size)
    return _paint(decode_span(video.source, video.start, video.end), painter, indices)


def sample_indices(n_frames: int, t: int) -> list[int]:
    """The t frames at the centres of t equal parts of a clip; all frames if it has no more than t.

    sample_indices(10, 2) -> [2, 7]
    """
    if n_frames <= t:
        return list(range(n_frames))
    return [(2 * i + 1) * n_frames // (2 * t) for i in range(t)]


class FrameReader(Protocol):
    """Reads frames of clips. This module is one; tasks.backends.frame_readers has them by name."""

    def read_frames(
        self, path: Path, clip: Clip, indices: Sequence[int] | None = None, max_side: int | None = None
    ) -> np.ndarray:
        """As `read_frames` of this module: the same frames, in the same size."""

    def read_video(
        self, video: ClipVideo, indices: Sequence[int] | None = None, max_side: int | None = None
    ) -> np.ndarray:
        """As `read_video` of this module."""


def chosen_frames(clip: Clip, indices: Sequence[int] | None) -> Sequence[int]:
    """All of a clip's frames, or the asked ones. Raises ValueError unless these are some, and increase within it."""
    if indices is None:
        return range(clip.n_frames)
    increase = all(a < b for a, b in itertools.pairwise(indices))
    if not indices or not increase or not 0 <= indices[0] <= indices[-1] < clip.n_frames:
        raise ValueError(f"{clip.clip_id}: frames {list(indices)} do not increase within its {clip.n_frames} frames")
    return indices


def require_count(clip: Clip, n_frames: int) -> None:
    """Raises RowFailed if a clip's span does not hold as many frames as when it was cut."""
    if n_frames != clip.n_frames:
        raise RowFailed(
            "frame_count_changed",
            f"{clip.clip_id}: {n_frames} frames in its span, {clip.n_frames} when it was cut; is it the same file?",
            retryable=False,
        )


def allocate(clip: Clip, n: int, max_side: int | None) -> np.ndarray:
    """(n, H, W, 3) uint8 for frames of a clip. Raises RowFailed if that exceeds MAX_CLIP_BYTES."""
    width, height = fit(clip.width, clip.height, max_side)
    n_bytes = n * height * width * 3
    if n_bytes > MAX_CLIP_BYTES:
        raise too_large(f"{clip.clip_id}: {n} frames of {width}x{height}", n_bytes)
    return np.empty((n, height, width, 3), np.uint8)


def _paint(
    frames: Iterable[DecodedFrame], painter: Painter, indices: Sequence[int] | None, max_side: int | None = None
) -> np.ndarray:
    """(N, H, W, 3) uint8 RGB: all frames, or the asked ones; those between are decoded and not converted."""
    wanted = None if indices is None else set(indices)
    stop = None if indices is None else max(indices, default=-1) + 1
    pictures: list[np.ndarray] = []
    for number, frame in enumerate(itertools.islice(frames, stop)):
        if wanted is None or number in wanted:
            painter.require_room(len(pictures) + 1)
            pictures.append(shrunk(painter.rgb(frame.picture), max_side))
    if not pictures or (indices is not None and len(pictures) != len(indices)):
        raise IndexError(f"asked for frames {'all' if indices is None else list(indices)}, found {len(pictures)}")
    return np.stack(pictures)
