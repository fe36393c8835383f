"""A video's frames as its decoder gives them, each with its exact time.

    for frame in decode_span(Path("dog.mp4"), Fraction(1), Fraction(2)):
        ...                             # DecodedFrame(time=Fraction(1001, 1000), duration=..., picture=av.VideoFrame)

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

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av

from schemas.clip import FieldOrder
from schemas.regular_files import kept_while_unchanged
from tasks.media.clock import SLOTTED, UNTIMED, Clock, Slots, read_clock
from tasks.media.container import MAX_FRAME_PIXELS, UnreadableVideo, exact, moving_streams, name_of, opened
from tasks.media.orientation import OddMatrix, Orientation

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


def probe(video: Path | bytes) -> VideoInfo:
    """Read a video's headers and its first frame. Raises UnreadableVideo; RowFailed if there is no such file."""
    with opened(video) as (container, stream):
        decoding = Decoding(container, stream)
        return decoding.info(next(decoding.frames()).picture)


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


@kept_while_unchanged(256)
def clock_of(video: Path | bytes) -> Clock:
    """How a video's stamps become times. Raises UnreadableVideo; RowFailed for a missing file."""
    with opened(video) as (container, stream):
        return read_clock(container, stream)


def _frames_from(video: Path | bytes, start: Fraction) -> Iterator[DecodedFrame]:
    """Frames from a keyframe at or before `start` on; from the first one where no seek can be relied on."""
    clock = clock_of(video)
    for target in (start, start - _EARLIER_S) if clock.stamps else ():
        if target <= 0:
            break
        with opened(video) as (container, stream):
            decoding = Decoding(container, stream, clock)
            first, frames = decoding.seek(target)
            # Some containers find the nearest keyframe, not the one before, or none at all.
            if first is not None and first.time <= start:
                yield first
                yield from frames
                return
    with opened(video) as (container, stream):
        yield from Decoding(container, stream, clock).frames()


class Decoding:
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
        pts = None if shift is None or packet.pts is None else packet.pts + shift
        dts = None if shift is None or packet.dts is None else packet.dts + shift
        if packet.is_discard:  # FFmpeg hides fragments that jump back
            hidden, packet = packet, av.Packet(bytes(packet))
            packet.stream, packet.time_base, packet.duration = hidden.stream, hidden.time_base, hidden.duration or 0
            packet.is_keyframe = hidden.is_keyframe
        packet.pts, packet.dts = pts, dts
        return packet

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
