"""The clock of a container: when its frames are shown, where it jumps, and how it reads on the picture's time.

    clock = read_clock(container, stream)
    clock.offset_s(Fraction(4))     # Fraction(1, 2): at 4 s of the picture the container's clock says 4.5 s
    clock.n_jumps                   # 1: two recordings were joined

The picture's time counts from the first frame that is shown. The container's clock counts from where the file's
earliest stream begins, so that sound that starts first starts at 0: players and FFmpeg's -ss count so.

**Jumps.** Files that were joined byte by byte, or cut and pasted, have stamps that jump back or far ahead. The
pictures' time goes on across a jump from the end of the last frame. A jump is

- a stamp behind one that no decoder can still hold back (of more than 16 frames), or a keyframe more than 0.1 s
  behind a frame before it, in any container;
- a stamp more than 3 s (and 16 frames) after the end of the frame before it, in a container whose clock is known to
  jump (transport and program streams, Ogg, FLV, ASF), unless the sound goes on meanwhile. Elsewhere a frame is shown
  until the next one comes: a screen recording holds a still page for minutes. A few stamps that jump ahead while the
  others go on are broken: their frames follow the one before.

An MP4's edit list makes no jump: what it hides, and FFmpeg decodes for the frames after it, is left out.

**Slots.** An AVI has no stamps: its packets are time slots of equal length, and an empty one shows the last frame
for one slot more.

Everything follows from one pass over all packets, so that a frame's time is the same whatever part is decoded.
"""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import accumulate
from typing import Any, Literal, NamedTuple

import av

from tasks.media.container import exact

# FFmpeg knows the first three as discontinuous; FLV and ASF are recorded from live streams, which break off.
_MAY_JUMP = frozenset({"mpegts", "mpeg", "ogg", "flv", "asf"})
# These store pictures without presentation times; what FFmpeg reports for them is decoding order.
UNTIMED = frozenset({"h264", "hevc", "m4v", "mpegvideo", "obu"})
SLOTTED = frozenset({"avi"})
_INTERPOLATED = frozenset({"mpeg"})  # where FFmpeg makes up most stamps, it makes up others behind a seek

# What a packet may tell the decoder for all that follow, as a MOV's first one the palette: no seek brings it back.
_STATE: tuple[Literal["palette", "new_extradata", "param_change"], ...] = ("palette", "new_extradata", "param_change")

MAX_REORDERED = 16  # frames that a decoder of H.264 or HEVC holds back at most
_BACK_S = Fraction(1, 10)  # FFmpeg's own limit for discontinuous formats
_AHEAD_S = 3


class Stamp(NamedTuple):
    """What a packet says of its frame's time, in the stream's ticks."""

    time: int | None
    duration: int
    is_keyframe: bool = False
    is_hidden: bool = False  # by an edit list: it is decoded for the frames after it, and may repeat their times
    sound_s: float = 0  # sound that came since the packet before


class Run(NamedTuple):
    """A stretch of the container's clock between two jumps."""

    start: int  # ticks: its earliest stamp, after the shift
    shift: int  # ticks to add to its stamps: times then go on from the run before


class Change(NamedTuple):
    """From a packet on, stamps are of another run."""

    packet: int  # from 0, of the stream's packets that hold something
    run: int | None  # None: broken stamps; their frames follow the one before


@dataclass(frozen=True)
class Clock:
    """How the stamps of a stream become times."""

    tick: Fraction  # s
    origin: int | None  # the first shown frame's stamp; None: there are no stamps
    zero_s: Fraction  # the container's clock starts where the stamps say this
    runs: tuple[Run, ...] = (Run(0, 0),)
    changes: tuple[Change, ...] = (Change(0, 0),)
    stamps: Sequence[int] = ()  # of all frames, increasing, if each has one of its own: then a seek can be trusted
    slots: tuple[int, ...] = ()  # ticks: of the packets that hold something, then the end of the last

    @property
    def n_jumps(self) -> int:
        return len(self.runs) - 1

    @cached_property
    def jumps_s(self) -> list[Fraction]:
        """The picture's times at which the container's clock jumps."""
        return [(run.start - (self.origin or 0)) * self.tick for run in self.runs[1:]]

    def shift(self, packet: int) -> int | None:
        """Ticks to add to the stamps of a packet; None: they are broken."""
        run = self.changes[bisect_right(self.changes, packet, key=lambda change: change.packet) - 1].run
        return None if run is None else self.runs[run].shift

    def holds(self, stamp: int | None) -> bool:
        """Is there a frame of this stamp?"""
        place = 0 if stamp is None else bisect_left(self.stamps, stamp)
        return place < len(self.stamps) and self.stamps[place] == stamp

    def offset_s(self, time: Fraction) -> Fraction:
        """What to add to a time of the picture to get the container's clock, in s."""
        if self.origin is None:
            return Fraction(0)
        run = self.runs[bisect_right(self.jumps_s, time)]
        return (self.origin - run.shift) * self.tick - self.zero_s


def read_clock(container: av.container.InputContainer, stream: av.VideoStream) -> Clock:
    """One pass over a container's packets; decodes up to the first frame. Damage ends it: decoding will tell."""
    kind, tick = container.format.name, exact(stream.time_base)
    if kind in UNTIMED or not tick:
        return Clock(tick, None, Fraction(0))
    first = _FirstShown(stream)
    stamps = []
    sets_state = False
    for packet, stamp in _stamps(container, stream):
        first.look(packet)
        stamps.append(stamp)
        sets_state = sets_state or any(packet.has_sidedata(kind) for kind in _STATE)
    first.look(None)
    if kind in SLOTTED:
        slots = sorted(stamp.time for stamp in stamps if stamp.time is not None)
        if not slots:
            return Clock(tick, None, Fraction(0))
        end = max(slots[-1] + 1, stream.duration or 0)
        return Clock(tick, slots[0], _zero_s(container), slots=(*slots, end))
    origin = stream.start_time if first.time is None else first.time
    if origin is None:
        return Clock(tick, None, Fraction(0))
    frame = max(1, round(1 / (exact(stream.average_rate or stream.guessed_rate) or 25) / tick))
    if stream.codec_context.reorder_depth and all(stamp.is_keyframe for stamp in stamps):
        # An MP4 without its list of keyframes: frames that are shown earlier are none.
        stamps = [stamp._replace(is_keyframe=False) for stamp in stamps]
    runs, changes = find_runs(stamps, frame, tick, may_jump_ahead=kind in _MAY_JUMP)
    times = {stamp.time for stamp in stamps if stamp.time is not None}
    exact_stamps = not sets_state and len(changes) == 1 and len(times) == len(stamps) and kind not in _INTERPOLATED
    kept = array("q", sorted(times) if exact_stamps else ())  # clocks are kept, and a film has 10**5 frames
    clock = Clock(tick, origin, _zero_s(container), runs, changes, kept)
    return replace(clock, origin=origin + (clock.shift(max(0, first.packet)) or 0))


class _FirstShown:
    """Decodes a stream's packets up to the first frame that is shown: files begin with some that are not."""

    def __init__(self, stream: av.VideoStream) -> None:
        self.time: int | None = None  # its stamp
        self.packet = -1  # the number of the packet that gave it
        self._stream = stream
        self._looks = True
        self._begins_inside = False  # a group of pictures, whose first cannot be decoded

    def look(self, packet: av.Packet[Any] | None) -> None:
        """packet: the next one; None behind the last."""
        if not self._looks:
            return
        self.packet += packet is not None
        if packet is not None and self.packet == 0:
            self._begins_inside = not packet.is_keyframe
        try:
            pictures = self._stream.decode(packet)
        except av.FFmpegError:
            self._looks = self._begins_inside
            return
        if pictures:
            self.time, self._looks = pictures[0].pts, False


def _zero_s(container: av.container.InputContainer) -> Fraction:
    """Where the file's earliest stream begins. FFmpeg rounds it to microseconds: the stream knows it exactly."""
    stated = Fraction(container.start_time or 0, av.time_base)
    starts = (exact(s.time_base) * s.start_time for s in container.streams if s.start_time is not None)
    nearest = min(starts, key=lambda start: abs(start - stated), default=stated)
    return nearest if abs(nearest - stated) <= Fraction(1, av.time_base) else stated


def find_runs(
    stamps: Sequence[Stamp], frame: int, tick: Fraction, *, may_jump_ahead: bool
) -> tuple[tuple[Run, ...], tuple[Change, ...]]:
    """Cut a stream at its jumps, and lay the runs end to end.

    stamps: of the packets in decoding order; frame: usual length of a frame, in ticks; tick: s
    """
    run_of = _number_runs(stamps, frame, tick, may_jump_ahead)
    extents: dict[int, tuple[int, int]] = {}  # (start, end) of each run, in order, as stamped
    for stamp, number in zip(stamps, run_of, strict=True):
        if number is not None and stamp.time is not None and not stamp.is_hidden:
            start, end = extents.get(number, (stamp.time, stamp.time))
            extents[number] = min(start, stamp.time), max(end, stamp.time + (stamp.duration or frame))
    runs: list[Run] = []
    reached = None
    for start, end in extents.values():
        shift = 0 if reached is None else reached - start
        runs.append(Run(start + shift, shift))
        reached = end + shift
    places = {number: place for place, number in enumerate(extents)}
    run_of = [None if number is None else places.get(number) for number in run_of]
    changes = [Change(i, run) for i, run in enumerate(run_of) if i == 0 or run != run_of[i - 1]]
    return tuple(runs) or (Run(0, 0),), tuple(changes) or (Change(0, 0),)


class _Reach:
    """How far a run has come: the stamps that its next packet may have."""

    def __init__(self, number: int, first: int, ahead: int) -> None:
        self.number, self.n_packets = number, 0
        self._first, self._ahead = first, ahead
        self._latest = self._end = first
        self._held: list[int] = []  # the latest stamps: a decoder may still hold these frames back
        self._floor = first - ahead  # no frame that is stamped before this can still be shown

    def add(self, stamp: Stamp, frame: int) -> None:
        time = stamp.time or 0
        self.n_packets += 1
        heapq.heappush(self._held, time)
        if len(self._held) > MAX_REORDERED:
            self._floor = max(self._floor, heapq.heappop(self._held))
        if time >= self._latest:
            self._latest, self._end = time, time + (stamp.duration or frame)

    def lies_behind(self, stamp: Stamp, back: int) -> bool:
        time = stamp.time or 0
        return time < self._latest - back and (stamp.is_keyframe or time < self._floor)

    def is_far_behind(self, time: int) -> bool:
        """Farther than ahead of the run's first stamp."""
        return time < self._first - self._ahead

    def gap(self, time: int) -> int:
        """Ticks from the run's end."""
        return time - self._end

    def may_hold(self, time: int) -> bool:
        return self._floor <= time <= self._end + self._ahead


def _number_runs(stamps: Sequence[Stamp], frame: int, tick: Fraction, may_jump_ahead: bool) -> list[int | None]:
    """Each packet's run, by a number that rises; None for broken stamps."""
    back, ahead = int(_BACK_S / tick), max(int(_AHEAD_S / tick), MAX_REORDERED * frame)  # ticks
    run_of: list[int | None] = []
    now: _Reach | None = None
    before: _Reach | None = None  # the run that `now` jumped ahead of, while frames of both may come
    since = n_back = 0  # the packet that jumped ahead, and how many came of the run before it after that
    sound_s = list(accumulate((stamp.sound_s for stamp in stamps), initial=0.0))
    for number, stamp in enumerate(stamps):
        time = stamp.time
        if time is None or stamp.is_hidden:
            run_of.append(now.number if now else 0)
            continue
        if now is None:
            now = _Reach(0, time, ahead)
        into = now
        if before is not None and now.is_far_behind(time) and before.may_hold(time):
            into = before
            n_back += 1
        else:
            gap = now.gap(time)
            jumps_ahead = may_jump_ahead and gap > ahead
            if jumps_ahead:
                # Sound is stored by decoding time: of reordered frames, the gap's comes some packets later.
                stop = min(number + MAX_REORDERED + 1, len(stamps))
                meanwhile_s = sound_s[stop] - sound_s[number] - (stop - number) * frame * tick
                jumps_ahead = meanwhile_s < gap * tick / 2
            if jumps_ahead or now.lies_behind(stamp, back):
                before, since, n_back = (now if jumps_ahead else None), number, 0
                into = now = _Reach(now.number + 1, time, ahead)
        into.add(stamp, frame)
        run_of.append(into.number)
        if before is not None and n_back > MAX_REORDERED:
            now, before = before, None
            _forget(run_of, since, now.number)
        elif now.n_packets > MAX_REORDERED:
            before = None
    if before is not None and run_of[-1] == before.number:
        _forget(run_of, since, before.number)
    return run_of


def _forget(run_of: list[int | None], since: int, kept: int) -> None:
    """The run before a jump ahead goes on: what jumped were broken stamps."""
    run_of[since:] = [run if run == kept else None for run in run_of[since:]]


def _stamps(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[tuple[av.Packet[Any], Stamp]]:
    """The stream's packets that hold something, and what they say of time."""
    slotted = container.format.name in SLOTTED
    edited = stream.frames > 0  # FFmpeg discards fragments that jump back, too, and those are not counted ahead
    ticks = {sound.index: float(exact(sound.time_base)) for sound in container.streams.audio}
    sound_s = dict.fromkeys(ticks, 0.0)
    try:
        for packet in container.demux():
            index = packet.stream.index
            if index in ticks:
                sound_s[index] += (packet.duration or 0) * ticks[index]
            elif index == stream.index and packet.size:
                time = packet.dts if slotted or packet.pts is None else packet.pts
                sound = max(sound_s.values(), default=0.0)
                yield packet, Stamp(time, packet.duration or 0, packet.is_keyframe, edited and packet.is_discard, sound)
                sound_s = dict.fromkeys(ticks, 0.0)
    except av.FFmpegError:
        return


class Slots:
    """Gives an AVI's frames the times of its slots, in order of presentation.

    The first frame that is shown gets the first slot that holds one, and so on: an AVI stores frames in decoding
    order, and its slots say when they would be shown if they came in order. A slot whose packet turns out to repeat
    the last frame (MPEG-4's not coded pictures) lengthens that one.
    """

    def __init__(self, slots: Sequence[int]) -> None:
        self._slots = slots
        self._waiting: list[int] = []  # slots of packets whose frames have not been shown

    def sent(self, slot: int) -> None:
        """A packet goes to the decoder."""
        self._waiting.append(slot)

    def shown(self, own: int | None, reorder_depth: int) -> tuple[int, int]:
        """(start, end) of the next frame, in ticks.

        own: slot of the packet that made the decoder give it; None at the end
        reorder_depth: how many frames the decoder holds back
        """
        if own is not None:
            # The decoder holds back no more than that: other packets gave no frame.
            n_over = len([slot for slot in self._waiting if slot <= own]) - 1 - reorder_depth
            del self._waiting[: max(0, n_over)]
        start = self._waiting.pop(0)
        return start, self._slots[bisect_right(self._slots, start)]
