"""decord as a frame reader: what many training loaders read videos with.

    DecordReader().read_video(snapshot.video("clip-81b2"), [0, 24])      (2, H, W, 3) uint8 RGB

It gives the same bits as tasks.media.video, or refuses by name (`unsupported_by_decord`). decord 0.6.0 is of 2021 and
hands out other frames, without a word, of files that it does not understand: a transport stream's come eight late,
those that an edit list hides are shown, random access into AVI, ASF, a program stream or open groups of pictures finds
another frame, damaged ones are concealed. So it is given only MP4, MOV, Matroska and WebM with closed groups, and only
if it counts and dates the frames as the file's packets do and paints the first, the middle and the last as PyAV does.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from schemas.clip import Clip
from schemas.outcome import RowFailed
from schemas.regular_files import kept_while_unchanged
from tasks.backends.extras import DECORD
from tasks.engine.progress import counted
from tasks.engine.snapshots import ClipVideo
from tasks.media.container import name_of, opened
from tasks.media.decoding import VideoInfo, clock_of, decode_span, probe
from tasks.media.orientation import Orientation
from tasks.media.pictures import Painter, shrunk
from tasks.media.video import allocate, chosen_frames, require_count, survey

CONTAINERS = frozenset({"mov", "matroska"})  # FFmpeg's first names of MP4 and MOV, Matroska and WebM
BATCH_FRAMES = 32  # decoded at once: decord holds a batch twice
_TIME_TOLERANCE_S, _TIME_TOLERANCE = 1e-3, 1e-6  # decord tells times as 32-bit floats


class UnsupportedByDecord(RowFailed):
    """A video that decord would read wrongly. It may be tried again: another reader reads it."""

    def __init__(self, detail: str) -> None:
        super().__init__("unsupported_by_decord", f"{detail}; read it with PyAV (--reader pyav)", retryable=True)


class DecordReader:
    """Reads frames with decord (a `tasks.media.video.FrameReader`).

    known_intact: all frames that will be asked for were decoded before, as split_scenes does with those of clips.
        Otherwise PyAV decodes each file once, when it is first read: decord does not tell damage.
    """

    def __init__(self, *, known_intact: bool = False) -> None:
        self._known_intact = known_intact

    def read_frames(
        self, path: Path, clip: Clip, indices: Sequence[int] | None = None, max_side: int | None = None
    ) -> np.ndarray:
        """As tasks.media.video.read_frames, or UnsupportedByDecord."""
        indices = chosen_frames(clip, indices)
        with self._opened(path) as (reader, timeline):
            shown = timeline.within(clip.start.fraction, clip.end.fraction)
            require_count(clip, len(shown))
            painter = timeline.painter(None, (clip.width, clip.height))
            pictures = allocate(clip, len(indices), max_side)
            frames = _frames(reader, [shown[index] for index in indices])
            for row, frame in enumerate(counted(frames, "frames read", len(indices))):
                pictures[row] = shrunk(painter.rgb(frame), max_side)
        return pictures

    def read_video(
        self, video: ClipVideo, indices: Sequence[int] | None = None, max_side: int | None = None
    ) -> np.ndarray:
        """As tasks.media.video.read_video, or UnsupportedByDecord."""
        with self._opened(video.source) as (reader, timeline):
            shown = timeline.within(video.start, video.end)
            chosen = range(len(shown)) if indices is None else indices
            if not chosen or max(chosen) >= len(shown):
                raise IndexError(f"asked for frames {'all' if indices is None else list(indices)}, found {len(shown)}")
            painter = timeline.painter(max_side, video.size)
            painter.require_room(len(chosen))
            return np.stack([painter.rgb(frame) for frame in _frames(reader, [shown[index] for index in chosen])])

    @contextmanager
    def _opened(self, video: Path | bytes) -> Iterator[tuple[Any, Timeline]]:
        """decord's reader of a file, and when that shows its frames. Raises UnsupportedByDecord."""
        timeline = _timeline_of(video, self._known_intact)
        with _decord(video) as reader:
            yield reader, timeline


@dataclass(frozen=True)
class Timeline:
    """When a file's frames are shown, and how they look."""

    info: VideoInfo  # upright, as decord gives them
    ticks: np.ndarray  # (N,) int64, increasing: since the first frame, in info.time_base

    def within(self, start: Fraction | None, end: Fraction | None) -> range:
        """The frames whose time lies in [start, end), in s; None: from the first, to the last."""
        bounds = [None if time is None else -(-time // self.info.time_base) for time in (start, end)]
        first = 0 if bounds[0] is None else int(np.searchsorted(self.ticks, bounds[0]))
        return range(first, len(self.ticks) if bounds[1] is None else int(np.searchsorted(self.ticks, bounds[1])))

    def painter(self, max_side: int | None, size: tuple[int, int] | None) -> Painter:
        return Painter(self.info, max_side, size)


@kept_while_unchanged(256)
def _timeline_of(video: Path | bytes, known_intact: bool) -> Timeline:
    """Compare what decord would read with what the file holds.

    Raises UnsupportedByDecord; UnreadableVideo for a damaged file, RowFailed for a missing one.
    """
    name, clock = name_of(video), clock_of(video)
    with opened(video) as (container, stream):
        kind = container.format.name
        seen = (packet for packet in container.demux(stream) if packet.size and not packet.is_discard)
        packets = [(packet.pts, packet.is_keyframe) for packet in seen if packet.pts is not None]
    if kind.split(",")[0] not in CONTAINERS:
        raise UnsupportedByDecord(f"{name}: decord finds wrong frames in {kind}, it reads MP4, MOV, Matroska and WebM")
    if not clock.stamps or clock.origin is None:
        raise UnsupportedByDecord(f"{name}: decord does not date frames whose stamps are missing, repeated or jump")
    if _has_open_groups(packets):
        raise UnsupportedByDecord(
            f"{name}: decord finds wrong frames behind the key frame of an open group of pictures"
        )
    info = probe(video) if known_intact else survey(video)[0]
    if info.n_streams > 1 or info.orientation.is_mirrored:
        what = "is mirrored" if info.n_streams == 1 else f"has {info.n_streams} video streams"
        raise UnsupportedByDecord(f"{name}: it {what}, of which decord knows nothing")
    ticks = np.array(sorted(stamp for stamp, _ in packets), np.int64) - clock.origin
    with _decord(video) as reader:
        if len(reader) != len(ticks):
            raise UnsupportedByDecord(
                f"{name}: it shows {len(ticks)} frames and decord counts {len(reader)}: it does not know edit lists"
            )
        times = reader.get_frame_timestamp(range(len(reader)))[:, 0].astype(np.float64)
        expected = ticks * float(info.time_base)
        if not np.allclose(times - times[0], expected, rtol=_TIME_TOLERANCE, atol=_TIME_TOLERANCE_S):
            raise UnsupportedByDecord(f"{name}: decord dates its frames otherwise than the file")
        compared = sorted({0, len(ticks) // 2, len(ticks) - 1})  # the first is often black, the last often another
        painter = Painter(info, None)
        for number, picture in zip(compared, _frames(reader, compared), strict=True):
            # None: not every packet gave a frame.
            frame = next(decode_span(video, int(ticks[number]) * info.time_base), None)
            if frame is None or not np.array_equal(picture.to_ndarray(), painter.rgb(frame.picture)):
                raise UnsupportedByDecord(f"{name}: decord paints frame {number} otherwise than FFmpeg does today")
    return Timeline(replace(info, orientation=Orientation()), ticks)


def _has_open_groups(packets: Sequence[tuple[int, bool]]) -> bool:
    """Is a frame stored behind a key frame and shown before it?

    packets: (stamp, whether it is a key frame), in decoding order
    """
    latest_key: int | None = None
    for stamp, is_key in packets:
        if latest_key is not None and stamp < latest_key:
            return True
        latest_key = stamp if is_key else latest_key
    return False


@contextmanager
def _decord(video: Path | bytes) -> Iterator[Any]:
    """decord's reader. Raises UnsupportedByDecord for what it cannot decode, ServiceDown if it is not installed."""
    with DECORD.imports("decord"):
        import decord
    decord.logging.set_level(decord.logging.QUIET)
    try:
        source = io.BytesIO(video) if isinstance(video, bytes) else str(video.absolute())
        # One thread, as everywhere: rows and workers are what runs side by side.
        yield decord.VideoReader(source, num_threads=1)
    except (decord.DECORDError, RuntimeError) as error:
        said = (str(error).strip() or "it fails").splitlines()[0].split("] ", 1)[-1]
        raise UnsupportedByDecord(f"{name_of(video)}: decord says: {said}") from error


def _frames(reader: Any, indices: Sequence[int]) -> Iterator[av.VideoFrame]:
    """Upright RGB pictures of the file's frames."""
    for batch in (indices[at : at + BATCH_FRAMES] for at in range(0, len(indices), BATCH_FRAMES)):
        for picture in reader.get_batch(batch).asnumpy():
            yield av.VideoFrame.from_ndarray(picture, format="rgb24")
