"""Videos in and out: frames with their exact times, decoded with PyAV and nothing else.

    for time, frame in iter_frames(Path("dog.mp4"), start=Fraction(1), end=Fraction(2)):
        ...                                     # Fraction(1001, 1000), (720, 1280, 3) uint8 RGB

Time 0 is the presentation time of the video's first frame, so that times are never negative, whatever the
container counts from (an MPEG stream from hours, an edit list from behind the first frame); `clock_of` says what
the container's clock reads. Times are whole multiples of the stream's time base: exact, with variable frame rates
too. Where that clock jumps, times go on from the end of the last frame (tasks/media/clock.py).

No frame is handed out that the decoder calls damaged: such a video, or one that ends early, is refused with
UnreadableVideo, which says how many of the announced frames could be decoded. What a decoder cannot notice stays: noise
in VP9 or FFV1, a whole packet that is gone. (MPEG transport streams and bare H.264 announce nothing: what is there is
the video.)
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from schemas.clip import Clip, FieldOrder
from schemas.outcome import RowFailed
from schemas.storage import AnyPath, write_atomic
from tasks.engine.progress import counted
from tasks.engine.snapshots import ClipVideo
from tasks.media.clock import SLOTTED, UNTIMED, Clock, Slots, read_clock
from tasks.media.container import MAX_FRAME_PIXELS, exact, moving_streams, name_of, opened
from tasks.media.container import UnreadableVideo as UnreadableVideo
from tasks.media.orientation import OddMatrix, Orientation

MAX_CLIP_BYTES = 6 * 2**30  # decoded: 41 s of 1080p at 25 frames/s; a worker holds one clip at a time
MAX_SAMPLE_ASPECT = 16  # and 1/16: no camera's or disc's pixels are near; what is beyond is a broken header
MAX_SECONDS = 10**8  # three years: a broken time stamp; exact times beyond do not fit in 64 bits

_TAIL_TOLERANCE_S = Fraction(1, 2)  # containers announce their length loosely
_EARLIER_S = 10  # how far before the start a second seek goes when the first one landed behind it
_MAX_SEEK = 2**62


_FIELD_ORDERS: dict[int, FieldOrder] = {2: "tt", 3: "bb", 4: "tb", 5: "bt"}  # by AVFieldOrder

_TRANSFERS = {  # AVColorTransferCharacteristic -> FFmpeg's name
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100", 10: "log316",
    11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084",
    17: "smpte428", 18: "arib-std-b67",
}  # fmt: skip


@dataclass(frozen=True)
class VideoInfo:
    """What a video's headers and its first frame say."""

    width: int  # px as displayed: orientation applied, not stretched by the pixels' aspect ratio
    height: int
    sample_aspect: Fraction  # width / height of a pixel as displayed; the container's word, else the bitstream's; or 1
    transfer: str  # how brightness is coded, by FFmpeg's name; the bitstream's word, else the container's
    field_order: FieldOrder | None  # as the headers name it; None: only the frames' own flags tell
    orientation: Orientation  # how the coded picture is turned and mirrored to be shown
    fps: Fraction  # average frames/s, > 0
    time_base: Fraction  # s; every frame's time is a whole multiple of it
    duration: Fraction | None  # s, as the container announces it
    codec: str
    stream_index: int  # of the container's streams, the one that is read
    n_streams: int  # video streams that the container has

    @property
    def square_size(self) -> tuple[int, int]:
        """(width, height) in px with square pixels: the side that is too short grows, as in browsers, mpv and VLC.

        Raises UnreadableVideo for pixels so long that they cannot be meant, and for too large a picture.
        """
        aspect = self.sample_aspect
        width, height = max(self.width, round(self.width * aspect)), max(self.height, round(self.height / aspect))
        if max(aspect, 1 / aspect) > MAX_SAMPLE_ASPECT or width * height > MAX_FRAME_PIXELS:
            raise UnreadableVideo(
                f"frames of {self.width}x{self.height} with pixels of {aspect.numerator}:{aspect.denominator} would be "
                f"{width}x{height} with square ones; use them as they are (--no-split.square-pixels) or mend the file"
            )
        return width, height


class DecodedFrame(NamedTuple):
    """A frame as the decoder gives it: neither turned nor converted."""

    time: Fraction  # s since the video's first frame
    duration: Fraction  # s
    picture: av.VideoFrame


# --- Reading ---------------------------------------------------------------------------------


def probe(video: Path | bytes) -> VideoInfo:
    """Read a video's headers and its first frame. Raises UnreadableVideo; RowFailed if there is no such file."""
    with opened(video) as (container, stream):
        decoding = _Decoding(container, stream)
        return decoding.info(next(decoding.frames()).picture)


def survey(video: Path | bytes) -> tuple[VideoInfo, int]:
    """What `probe` tells, and how many frames the whole video has: one pass that keeps no frame.

    Raises UnreadableVideo for the first damaged frame, an early end, or a pixel format that cannot be converted;
    RowFailed if the frames would exceed MAX_CLIP_BYTES.
    """
    clock = clock_of(video)
    with opened(video) as (container, stream):
        decoding = _Decoding(container, stream, clock)
        frames = decoding.frames()
        first = next(frames).picture
        info = decoding.info(first)
        painter = Painter(info, None)
        painter.rgb(first)  # the only one that is converted: the others are of the same format
        n_frames = 1 + sum(1 for _ in itertools.islice(frames, painter.most))
        painter.require_room(n_frames)
        return info, n_frames


def decode_span(
    video: Path | bytes, start: Fraction | None = None, end: Fraction | None = None
) -> Iterator[DecodedFrame]:
    """The frames whose time lies in [start, end), in order of presentation; times strictly increase.

    A frame without a time follows the one before it at that one's duration; a frame whose time does not
    come after the one before it is put one tick behind it.
    Raises UnreadableVideo at the first damaged frame, or at the end of a file that ends early.
    """
    for frame in _frames_from(video, start or Fraction(0)):
        if end is not None and frame.time >= end:
            return
        if frame.time + frame.duration > MAX_SECONDS:
            raise UnreadableVideo(f"{name_of(video)}: a frame claims to be shown until {float(frame.time):.0f} s")
        if start is None or frame.time >= start:
            yield frame


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


def read_clip(path: Path, clip: Clip, max_side: int | None = None) -> np.ndarray:
    """All frames of a clip: (N, H, W, 3) uint8 RGB of the clip's size, N = clip.n_frames.

    Raises UnreadableVideo; RowFailed if the frames would exceed MAX_CLIP_BYTES or are not n_frames many.
    """
    return read_frames(path, clip, range(clip.n_frames), max_side)


def read_frames(path: Path, clip: Clip, indices: Sequence[int], max_side: int | None = None) -> np.ndarray:
    """Some frames of a clip, of its size: (len(indices), H, W, 3) uint8 RGB.

    indices: some, increasing, in [0, clip.n_frames)
    Decodes up to the last one asked for and keeps nothing else. Raises as `read_clip` does.
    """
    require_increasing(clip, indices)
    painter = Painter(probe(path), max_side, (clip.width, clip.height))
    pictures = allocate(clip, len(indices), painter.height, painter.width)
    wanted = {frame: row for row, frame in enumerate(indices)}
    n_seen = 0
    n_read = clip.n_frames if len(indices) == clip.n_frames else indices[-1] + 1
    for frame in counted(decode_span(path, clip.start.fraction, clip.end.fraction), "frames read", n_read):
        if n_seen in wanted:
            pictures[wanted[n_seen]] = painter.rgb(frame.picture)
        n_seen += 1
        if len(indices) < clip.n_frames and n_seen > indices[-1]:
            return pictures
    require_count(clip, n_seen)
    return pictures


def decode_bytes(data: bytes, indices: Sequence[int] | None = None) -> np.ndarray:
    """Frames of a video that is held in memory: (N, H, W, 3) uint8 RGB, all or the asked ones.

    indices: increasing; decodes up to the last one, so that damage behind it is not noticed
    Raises UnreadableVideo; RowFailed if the frames would exceed MAX_CLIP_BYTES; IndexError if the video ends before
    the last one.
    """
    clock = clock_of(data)
    with opened(data) as (container, stream):
        decoding = _Decoding(container, stream, clock)
        frames = decoding.frames()
        first = next(frames)
        return _paint(itertools.chain([first], frames), Painter(decoding.info(first.picture), None), indices)


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

    def read_frames(self, path: Path, clip: Clip, indices: Sequence[int], max_side: int | None = None) -> np.ndarray:
        """As `read_frames` of this module: the same frames, in the same size."""

    def read_video(
        self, video: ClipVideo, indices: Sequence[int] | None = None, max_side: int | None = None
    ) -> np.ndarray:
        """As `read_video` of this module."""


def require_increasing(clip: Clip, indices: Sequence[int]) -> None:
    """Raises ValueError unless there are some, and they increase within the clip's frames."""
    increase = all(a < b for a, b in itertools.pairwise(indices))
    if not indices or not increase or not 0 <= indices[0] <= indices[-1] < clip.n_frames:
        raise ValueError(f"{clip.clip_id}: frames {list(indices)} do not increase within its {clip.n_frames} frames")


def require_count(clip: Clip, n_frames: int) -> None:
    """Raises RowFailed if a clip's span does not hold as many frames as when it was cut."""
    if n_frames != clip.n_frames:
        raise RowFailed(
            "frame_count_changed",
            f"{clip.clip_id}: {n_frames} frames in its span, {clip.n_frames} when it was cut; is it the same file?",
            retryable=False,
        )


def allocate(clip: Clip, n: int, height: int, width: int) -> np.ndarray:
    """(n, height, width, 3) uint8. Raises RowFailed if that exceeds MAX_CLIP_BYTES."""
    n_bytes = n * height * width * 3
    if n_bytes > MAX_CLIP_BYTES:
        raise RowFailed(
            "clip_too_large",
            f"{clip.clip_id}: {n} frames of {width}x{height} are {n_bytes / 2**30:.1f} GiB decoded, the limit is "
            f"{MAX_CLIP_BYTES / 2**30:.1f}; cut shorter clips (max_clip_s) or read smaller frames (max_side)",
            retryable=False,
        )
    return np.empty((n, height, width, 3), np.uint8)


# --- Decoding --------------------------------------------------------------------------------


def clock_of(video: Path | bytes) -> Clock:
    """How a video's stamps become times; read once for a file. Raises UnreadableVideo; RowFailed for a missing one."""
    if isinstance(video, bytes):
        return _read_clock(video)
    try:
        stat = video.stat()
    except OSError:
        return _read_clock(video)
    return _known_clock(video, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@lru_cache(maxsize=256)
def _known_clock(path: Path, *_state: int) -> Clock:
    return _read_clock(path)


def _read_clock(video: Path | bytes) -> Clock:
    with opened(video) as (container, stream):
        return read_clock(container, stream)


def _frames_from(video: Path | bytes, start: Fraction) -> Iterator[DecodedFrame]:
    """Frames from a keyframe at or before `start` on; from the first one where no seek can be relied on."""
    clock = clock_of(video)
    for target in (start, start - _EARLIER_S) if clock.stamps else ():
        if target <= 0:
            break
        with opened(video) as (container, stream):
            decoding = _Decoding(container, stream, clock)
            first, frames = decoding.seek(target)
            # Some containers find the nearest keyframe, not the one before, or none at all.
            if first is not None and first.time <= start:
                yield first
                yield from frames
                return
    with opened(video) as (container, stream):
        yield from _Decoding(container, stream, clock).frames()


class _Decoding:
    """One pass over a stream's packets: gives the frames their times and notices what is missing.

    clock: without it frames follow one another at their durations, for a caller that does not look at times
    """

    def __init__(
        self, container: av.container.InputContainer, stream: av.VideoStream, clock: Clock | None = None
    ) -> None:
        self._container, self._stream = container, stream
        self._tick = exact(stream.time_base)
        self._clock = clock or Clock(self._tick, None, Fraction(0))
        self._slots = Slots(self._clock.slots) if self._clock.slots else None
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate
        if not rate or not self._tick:
            raise UnreadableVideo("it states no frame rate")
        self.fps = exact(rate)
        self.announced_s: Fraction | None = None
        self._must_reach_end = len(self._clock.changes) == 1
        kind = container.format.name
        if kind in SLOTTED and stream.duration:
            n_held, self.announced_s = len(stream.index_entries), stream.duration * self._tick
            if 0 < n_held < stream.duration:
                self.fps = n_held / self.announced_s
            # With its index the file is whole: what is announced behind the last frame are empty slots.
            self._must_reach_end = n_held == 0
        elif kind not in UNTIMED | SLOTTED and container.duration:  # without times it is guessed from the bit rate
            self.announced_s = Fraction(container.duration, av.time_base)
        self._orientation: Orientation | None = None
        self._rotation = 0  # degrees that FFmpeg makes of the matrix: quickly read
        self._seeked = False
        self._first_dts: int | None = None
        self._n_packets = 0
        self._n_frames = 0
        self._begins_inside = False  # a group of pictures
        self._reached: dict[int, int] = {}  # end of each stream's last packet, in its own ticks

    def info(self, first: av.VideoFrame) -> VideoInfo:
        """first: the video's first frame"""
        orientation = self._orientation_of(first)
        # The stream's size rather than the frame's: it holds for every frame, should the size change.
        width, height = self._stream.codec_context.width, self._stream.codec_context.height
        sample_aspect = exact(self._stream.sample_aspect_ratio) or Fraction(1)
        return VideoInfo(
            width=height if orientation.transposed else width,
            height=width if orientation.transposed else height,
            sample_aspect=1 / sample_aspect if orientation.transposed else sample_aspect,
            transfer=_TRANSFERS.get(first.color_trc, "unknown"),
            # Not "progressive": MP4 and Matroska say it of frames that are flagged as interlaced, too.
            field_order=_FIELD_ORDERS.get(self._stream.codec_context.field_order),
            orientation=orientation,
            fps=self.fps,
            time_base=self._tick,
            duration=self.announced_s,
            codec=self._stream.codec_context.name,
            stream_index=self._stream.index,
            n_streams=len(moving_streams(self._container)),
        )

    def seek(self, target: Fraction) -> tuple[DecodedFrame | None, Iterator[DecodedFrame]]:
        """Go to a keyframe at or before `target`, as far as the container can tell: (first frame, later ones).

        There is no first frame where nothing can be decoded at that place, or its stamp is new.
        """
        self._seeked = True
        frames = self.frames()
        try:
            stamp = min((self._clock.origin or 0) + int(target / self._tick), _MAX_SEEK)
            self._container.seek(stamp, stream=self._stream)
            first = next(frames, None)
            found = first is not None and self._starts_afresh(first.picture) and self._clock.holds(first.picture.pts)
            return first if found else None, frames
        except (av.FFmpegError, UnreadableVideo):
            return None, frames  # what is damaged is found again by decoding from the beginning

    def _starts_afresh(self, picture: av.VideoFrame) -> bool:
        """Does the first picture behind a seek need none before it? Containers call frames keyframes that are none.

        H.264's decoder shows nothing until it can; others make a picture of what they have.
        """
        return picture.key_frame or self._stream.codec_context.name == "h264"

    def frames(self) -> Iterator[DecodedFrame]:
        """The frames from here on. Raises UnreadableVideo where one is damaged, or the file ends early."""
        previous: DecodedFrame | None = None
        packets = self._packets()
        for packet in packets:
            try:
                pictures = packet.decode()
            except av.FFmpegError as error:
                if self._begins_inside and self._n_frames == 0:
                    continue  # it needs pictures from before the recording
                raise self._damage(packets, error.strerror or "it cannot be decoded") from error
            for picture in pictures:
                if picture.is_corrupt:
                    raise self._damage(packets, "it is damaged")
                self._orientation_of(picture)
                previous = self._dated(picture, previous)
                self._n_frames += 1
                yield previous
        self._check_complete()

    def _packets(self) -> Iterator[av.Packet]:
        """The video's packets. Those of other streams only tell how far the file reaches."""
        try:
            for packet in self._container.demux():
                index = packet.stream.index
                stamp = packet.dts if packet.pts is None else packet.pts
                if stamp is not None:
                    self._reached[index] = max(self._reached.get(index, 0), stamp + (packet.duration or 0))
                if index != self._stream.index:
                    continue
                if packet.size:
                    self._begins_inside = self._begins_inside or (self._n_packets == 0 and not packet.is_keyframe)
                    yield self._timed(packet)
                    self._n_packets += 1
                elif packet.dts is None:
                    yield packet  # the end; an empty packet before it would be taken for that
        except av.FFmpegError as error:
            raise UnreadableVideo(f"after packet {self._n_packets}: {error.strerror}; {self._tally()}") from error

    def _timed(self, packet: av.Packet[Any]) -> av.Packet[Any]:
        """The packet with the stamps that its frame is to come out with."""
        if self._first_dts is None:
            self._first_dts = packet.dts
        if self._slots is not None and packet.dts is not None:
            self._slots.sent(packet.dts)
        shift = self._clock.shift(self._n_packets)
        if shift == 0:
            return packet
        shown: av.Packet[Any] = (
            av.Packet(bytes(packet)) if packet.is_discard else packet
        )  # FFmpeg hides fragments that jump back
        shown.stream, shown.time_base, shown.duration = packet.stream, packet.time_base, packet.duration or 0
        shown.is_keyframe = packet.is_keyframe
        shown.pts = None if shift is None or packet.pts is None else packet.pts + shift
        shown.dts = None if shift is None or packet.dts is None else packet.dts + shift
        return shown

    def _dated(self, picture: av.VideoFrame, previous: DecodedFrame | None) -> DecodedFrame:
        origin = self._clock.origin
        duration = (picture.duration or max(1, round(1 / self.fps / self._tick))) * self._tick
        follows = previous.time + previous.duration if previous else Fraction(0)
        if self._slots is not None and origin is not None:
            start, end = self._slots.shown(picture.dts, self._stream.codec_context.reorder_depth)
            return DecodedFrame((start - origin) * self._tick, (end - start) * self._tick, picture)
        if picture.pts is None or origin is None:
            return DecodedFrame(follows, duration, picture)
        time = (picture.pts - origin) * self._tick
        if previous is None:
            return DecodedFrame(max(time, Fraction(0)), duration, picture)
        if time <= previous.time:
            time = previous.time + self._tick
        return DecodedFrame(time, duration, picture)

    def _orientation_of(self, picture: av.VideoFrame) -> Orientation:
        """Raises UnreadableVideo if it is none of the eight, or not that of the frame before."""
        if self._orientation is not None and picture.rotation == self._rotation:
            return self._orientation
        try:
            said = Orientation.of_frame(picture)
        except OddMatrix as error:
            raise UnreadableVideo(f"{error}; encode it upright", reason="odd_rotation") from error
        before, self._orientation = self._orientation, said or self._orientation or Orientation()
        self._rotation = picture.rotation
        if before not in (None, self._orientation):
            raise UnreadableVideo(
                f"after frame {self._n_frames} it is turned from {before} to {self._orientation}; cut it there",
                reason="orientation_changes",
            )
        return self._orientation

    def _damage(self, packets: Iterator[av.Packet], what: str) -> UnreadableVideo:
        n_later = sum(1 for packet in packets if packet.size)
        # The last packet of a file that was cut off is half a packet.
        cut_off = n_later == 0 or self._n_missing_packets() > 0
        return UnreadableVideo(
            f"next frame after {self._n_frames}: {what}; {self._tally()}",
            reason="truncated_video" if cut_off else "unreadable_video",
        )

    def _check_complete(self) -> None:
        """At the end of the file: was it the end that the container announced?"""
        if missing := self._n_missing_packets():
            raise UnreadableVideo(f"{missing} packets are missing; {self._tally()}", reason="truncated_video")
        if self._n_frames == 0:
            raise UnreadableVideo(f"no frame could be decoded from {self._n_packets} packets")
        tolerance_s = max(_TAIL_TOLERANCE_S, 2 / self.fps)
        if self._must_reach_end and self.announced_s is not None and self._length_s() < self.announced_s - tolerance_s:
            raise UnreadableVideo(
                f"it ends at {float(self._length_s()):.3f} s of {float(self.announced_s):.3f}; {self._tally()}",
                reason="truncated_video",
            )

    def _length_s(self) -> Fraction:
        """How far the packets reached: of any stream, as the container announces the length of its longest.

        Matroska and FLV announce where it ends, not how long it takes.
        """
        streams = self._container.streams
        end_s = max(ticks * exact(streams[index].time_base) for index, ticks in self._reached.items())
        counts_from_0 = self._container.format.name in {"matroska,webm", "flv"}
        return end_s - (0 if counts_from_0 else Fraction(self._container.start_time or 0, av.time_base))

    def _n_missing_packets(self) -> int:
        """Packets that the container's index lists and that did not come; 0 where it lists only some."""
        index = self._stream.index_entries
        first = 0
        if self._seeked:
            if self._first_dts is None:
                return 0
            first = index.search_timestamp(self._first_dts, any_frame=True)
            if first < 0:
                return 0
        return max(0, len(index) - first - self._n_packets)

    def _tally(self) -> str:
        n_announced = self._stream.frames or round((self.announced_s or 0) * self.fps)
        return f"{self._n_frames} of {n_announced or 'an unknown number of'} announced frames decoded"


# --- Pictures --------------------------------------------------------------------------------


def _paint(frames: Iterable[DecodedFrame], painter: Painter, indices: Sequence[int] | None) -> np.ndarray:
    """(N, H, W, 3) uint8 RGB: all frames, or the asked ones; those between are decoded and not converted."""
    wanted = None if indices is None else set(indices)
    stop = None if indices is None else max(indices, default=-1) + 1
    pictures: list[np.ndarray] = []
    for number, frame in enumerate(itertools.islice(frames, stop)):
        if wanted is None or number in wanted:
            painter.require_room(len(pictures) + 1)
            pictures.append(painter.rgb(frame.picture))
    if not pictures or (indices is not None and len(pictures) != len(indices)):
        raise IndexError(f"asked for frames {'all' if indices is None else list(indices)}, found {len(pictures)}")
    return np.stack(pictures)


class Scaler:
    """Turns decoded pictures into (height, width, 3) uint8 arrays of one size."""

    def __init__(self, width: int, height: int, *, pixels: Literal["rgb24", "bgr24"], interpolation: str) -> None:
        self.width, self.height = width, height
        self._pixels, self._interpolation = pixels, interpolation
        self._reformatter = VideoReformatter()  # kept: it holds the tables of its last scaling

    def array(self, picture: av.VideoFrame) -> np.ndarray:
        """(height, width, 3) uint8, not rotated. Raises UnreadableVideo for a pixel format that cannot be converted."""
        try:
            return self._reformatter.reformat(
                picture, self.width, self.height, self._pixels, interpolation=self._interpolation, threads=1
            ).to_ndarray()
        except (av.FFmpegError, ValueError) as error:
            raise UnreadableVideo(f"a frame of format {picture.format.name} cannot be converted: {error}") from error


class Painter:
    """Upright RGB frames of a video, all of one size."""

    def __init__(self, info: VideoInfo, max_side: int | None, size: tuple[int, int] | None = None) -> None:
        """size: (width, height) in px as displayed, if it is not the video's own: that of stretched clips"""
        self.width, self.height = fit(*(size or (info.width, info.height)), max_side)
        self._orientation = info.orientation
        coded = (self.height, self.width) if info.orientation.transposed else (self.width, self.height)
        smaller = self.width < info.width or self.height < info.height
        self._scaler = Scaler(*coded, pixels="rgb24", interpolation="AREA" if smaller else "BICUBIC")

    @property
    def most(self) -> int:
        """How many frames do not exceed MAX_CLIP_BYTES."""
        return MAX_CLIP_BYTES // (self.height * self.width * 3)

    def require_room(self, n_frames: int) -> None:
        """Raises RowFailed for more frames than `most`."""
        if n_frames > self.most:
            raise RowFailed(
                "clip_too_large",
                f"a video of {self.width}x{self.height} has more than {self.most} frames, which are "
                f"{MAX_CLIP_BYTES / 2**30:.1f} GiB decoded",
                retryable=False,
            )

    def rgb(self, picture: av.VideoFrame) -> np.ndarray:
        """(H, W, 3) uint8."""
        return np.ascontiguousarray(self._orientation.upright(self._scaler.array(picture)))


def fit(width: int, height: int, max_side: int | None) -> tuple[int, int]:
    """(width, height) in px with the longer side at most max_side, in proportion; never larger than given."""
    longer = max(width, height)
    if max_side is None or longer <= max_side:
        return width, height
    return max(1, round(width * max_side / longer)), max(1, round(height * max_side / longer))


# --- Writing ---------------------------------------------------------------------------------


# x264's AVX-512 code gives other bytes now and then for the same frames (seen with x264 in PyAV 18.1: 2 results
# in 24 runs). Its SSE2 code agrees with its plain C bit for bit and costs nothing at the sizes written here.
X264_OPTIONS = {"threads": "1", "preset": "veryfast", "x264-params": "asm=mmx2,sse2"}


def encode_video(frames: Iterable[np.ndarray], fps: Fraction | int, crf: int = 18) -> bytes:
    """(H, W, 3) uint8 RGB frames -> H.264 in MP4; the same frames give the same bytes.

    An odd width or height is made even by repeating the last column or row, as 4:2:0 asks for.
    Raises ValueError without frames.
    """
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError("a video needs at least one frame")
    height, width = first.shape[:2]
    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4", options={"fflags": "bitexact"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options=X264_OPTIONS | {"crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        for frame in itertools.chain([first], frames):
            even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        container.mux(stream.encode())
    return sink.getvalue()


def write_video(path: AnyPath, frames: Iterable[np.ndarray], fps: Fraction | int) -> None:
    """Encode frames into a file that appears whole or not at all."""
    write_atomic(path, encode_video(frames, fps))
