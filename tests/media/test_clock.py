"""tasks/media/clock.py: a frame's time is one, whatever the container's stamps do and whatever part is decoded."""

from __future__ import annotations

import itertools
import os
import struct
from fractions import Fraction
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.media.clock import MAX_REORDERED, Change, Clock, Run, Slots, Stamp, find_runs
from tasks.media.decoding import clock_of, decode_span, probe
from tasks.media.video import iter_frames, survey
from tests.support import hostile

TICK = Fraction(1, 30)


def at(path: Path, first_s: int, n_frames: int = 30, **options) -> Path:
    """Numbered frames at 30 frames/s whose first stamp is at first_s."""
    return hostile.make_video(
        path, hostile.numbered(n_frames), pts=lambda i: i + 30 * first_s, time_base=TICK, **options
    )  # fmt: skip


def numbers_and_times(path: Path) -> tuple[list[int], list[Fraction]]:
    times, frames = zip(*iter_frames(path), strict=True)
    return [hostile.number_of(frame) for frame in frames], list(times)


def first_stamp_s(path: Path) -> Fraction:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.start_time * Fraction(stream.time_base.numerator, stream.time_base.denominator)


def evenly(n_frames: int, times: list[Fraction], fps: int = 30) -> bool:
    """Frame by frame, to a millisecond or two: FLV and Matroska count in those."""
    return all(abs(time - Fraction(i, fps)) <= Fraction(1, 300) for i, time in enumerate(times)) and (
        len(times) == n_frames
    )


# --- Jumps -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.ts", "a.mpg", "a.mkv", "a.mp4"])
@pytest.mark.parametrize("firsts_s", [(0, 0), (3600, 0), (0, 3600), (5, 2, 9)])
def test_joined_files_show_their_frames_one_after_another(tmp_path: Path, name: str, firsts_s) -> None:
    codec = "mpeg2video" if name == "a.mpg" else "libx264"
    if name in {"a.mkv", "a.mp4"}:  # there a clock that runs ahead is a still picture
        firsts_s = sorted(firsts_s, reverse=True)[:2]
    # Fragments: of a plain MP4 players see the first film and nothing of the second.
    fragments = {"container_options": {"movflags": "frag_keyframe+empty_moov"}} if name == "a.mp4" else {}
    parts = [at(tmp_path / f"{i}{name[1:]}", s, codec=codec, **fragments) for i, s in enumerate(firsts_s)]
    path = hostile.joined(tmp_path / f"joined{name[1:]}", parts)
    n = len(parts)
    numbers, times = numbers_and_times(path)
    assert numbers == list(range(30)) * n
    assert times[0] == 0
    assert evenly(30 * n, times)
    clock = clock_of(path)
    assert clock.n_jumps == n - 1
    assert [abs(jump - i) < Fraction(1, 100) for i, jump in enumerate(clock.jumps_s, 1)] == [True] * (n - 1)
    assert not clock.stamps
    assert survey(path)[1] == 30 * n
    for number, part in enumerate(parts):  # the container's clock reads what it read in the part
        time = Fraction(number) + Fraction(1, 2)
        begins, began = (first_stamp_s(path) for path in (part, parts[0]))
        if name in {"a.ts", "a.mpg"} and begins < began - 60:
            begins += Fraction(2**33, 90_000)  # FFmpeg takes it for a clock of 33 bits that wrapped around
        assert abs(time + clock.offset_s(time) - (begins - began + Fraction(1, 2))) < Fraction(1, 100)


def test_a_program_stream_that_was_cut_and_pasted_goes_on(tmp_path: Path) -> None:
    """The middle of a transport stream comes twice: its clock jumps back by less than a second, at a keyframe."""
    data = hostile.make_video(tmp_path / "whole.ts", hostile.numbered(96), options={"bf": "0"}).read_bytes()
    packets = [data[i : i + 188] for i in range(0, len(data), 188)]
    video = [i for i, p in enumerate(packets) if p[1] & 0x40 and (p[1] & 0x1F) * 256 + p[2] == 256]  # a picture begins
    path = tmp_path / "a.ts"
    path.write_bytes(b"".join(packets[: video[60]] + packets[video[48] :]))
    numbers, times = numbers_and_times(path)
    assert numbers == [*range(60), *range(48, 96)]
    assert evenly(108, times)
    assert clock_of(path).jumps_s == [2]


@pytest.mark.parametrize("name", ["a.ts", "a.flv", "a.mkv", "a.mp4"])
@pytest.mark.parametrize("sound", [False, True])
def test_a_gap_is_a_still_picture_where_the_container_or_the_sound_says_so(tmp_path: Path, name, sound: bool) -> None:
    """Ten frames, eight seconds of nothing, ten frames."""
    stamps = [*range(10), *range(250, 260)]
    frames, base = hostile.numbered(20), TICK
    path = hostile.make_video(
        tmp_path / name, frames, pts=stamps.__getitem__, time_base=base, with_audio=sound, sound_s=Fraction(26, 3)
    )  # fmt: skip
    numbers, times = numbers_and_times(path)
    assert numbers == list(range(20))
    jumps = name in {"a.ts", "a.flv"} and not sound
    assert clock_of(path).n_jumps == jumps
    expected = [Fraction(i, 30) for i in (range(20) if jumps else stamps)]
    assert all(abs(a - b) <= Fraction(1, 300) for a, b in zip(times, expected, strict=True))


def test_sound_that_jumps_alone_moves_no_picture(tmp_path: Path) -> None:
    whole = hostile.make_video(tmp_path / "whole.ts", hostile.numbered(60), with_audio=True)
    path = tmp_path / "a.ts"
    with av.open(str(whole)) as read, av.open(str(path), "w") as written:
        streams = {s.index: written.add_stream_from_template(s) for s in read.streams}
        for packet in read.demux():
            if packet.size:
                if packet.stream.type == "audio" and packet.pts > 90_000 * 2:
                    packet.pts, packet.dts = packet.pts + 90_000 * 500, packet.dts + 90_000 * 500
                packet.stream = streams[packet.stream.index]
                written.mux(packet)
    numbers, times = numbers_and_times(path)
    assert (numbers, clock_of(path).n_jumps) == (list(range(60)), 0)
    assert times == [Fraction(i, 30) for i in range(60)]


def test_a_clock_that_wraps_around_does_not_jump(tmp_path: Path) -> None:
    """A transport stream's clock has 33 bits: after 26.5 hours it begins again, here in the middle of the frames."""
    path = at(tmp_path / "a.ts", 2**33 // 90_000 - 1, 60)
    numbers, times = numbers_and_times(path)
    assert (numbers, clock_of(path).n_jumps) == (list(range(60)), 0)
    assert times == [Fraction(i, 30) for i in range(60)]
    with av.open(str(path)) as container:
        stamps = [packet.pts for packet in container.demux(video=0) if packet.size]
    assert min(stamps) < 0 < max(stamps)  # as FFmpeg unrolls it


@pytest.mark.parametrize("broken_at", [[30], [30, 31, 45], [55]])
@pytest.mark.parametrize("b_frames", ["0", "3"])
def test_broken_stamps_move_no_frame(tmp_path: Path, broken_at: list[int], b_frames: str) -> None:
    plain = hostile.make_video(tmp_path / "plain.ts", hostile.numbered(60), options={"bf": b_frames})

    def broken(number: int, packet: av.Packet) -> av.Packet:
        packet.pts += 90_000 * 90_000 if number in broken_at else 0
        return packet

    path = hostile.remuxed(tmp_path / "a.ts", plain, broken)
    numbers, times = numbers_and_times(path)
    assert numbers == list(range(60))
    assert times == [Fraction(i, 30) for i in range(60)]
    assert clock_of(path).n_jumps == 0


@pytest.mark.parametrize("name", ["b.ts", "b.mpg", "b.mkv", "b.flv", "b.avi", "joined.ts", "joined.mkv", "joined.mpg"])
def test_a_frame_has_one_time_whatever_part_is_decoded(tmp_path: Path, name: str) -> None:
    codec = {".mpg": "mpeg2video", ".avi": "mpeg4"}.get(name[-4:], "libx264")
    part = at(tmp_path / f"part{name[name.index('.') :]}", 7, 40, codec=codec, gop_size=8)
    path = hostile.joined(tmp_path / name, [part, part]) if name.startswith("joined") else part
    whole = [(frame.time, frame.picture.to_ndarray().tobytes()) for frame in decode_span(path)]
    assert len(whole) == (80 if name.startswith("joined") else 40)
    for first in range(1, len(whole), 7):
        for start in (whole[first][0], whole[first][0] - Fraction(1, 10**6)):
            end = start + Fraction(1, 5)
            span = [(frame.time, frame.picture.to_ndarray().tobytes()) for frame in decode_span(path, start, end)]
            assert span == [frame for frame in whole if start <= frame[0] < end]


def test_a_file_that_changes_has_another_clock(tmp_path: Path) -> None:
    one = at(tmp_path / "one.ts", 0)
    path = hostile.joined(tmp_path / "a.ts", [one])
    assert clock_of(path).n_jumps == 0
    hostile.joined(path, [one, one])
    os.utime(path, ns=(0, 0))
    assert clock_of(path).n_jumps == 1


def with_edits(path: Path, source: Path, stretches_s: list[tuple[int, int]]) -> Path:
    """An MP4, its index at the end, that shows these stretches of `source`: (start, end), one after another."""
    data = source.read_bytes()
    place = data.index(b"elst") - 4
    size, movie_hz = (int.from_bytes(data[at : at + 4], "big") for at in (place, data.index(b"mvhd") + 16))
    media_hz = int.from_bytes(data[data.index(b"mdhd") + 16 :][:4], "big")
    origin = int.from_bytes(data[place + 20 : place + 24], "big")
    entries = [struct.pack(">III", (b - a) * movie_hz, origin + a * media_hz, 1 << 16) for a, b in stretches_s]
    table = struct.pack(">I4sII", 16 + 12 * len(entries), b"elst", 0, len(entries)) + b"".join(entries)
    edited = bytearray(data[:place] + table + data[place + size :])
    for box in (b"edts", b"trak", b"moov"):
        at = edited.rindex(box, 0, place) - 4
        edited[at : at + 4] = (int.from_bytes(edited[at : at + 4], "big") + len(table) - size).to_bytes(4, "big")
    path.write_bytes(edited)
    return path


@pytest.mark.parametrize(
    "stretches_s", [[(0, 1), (2, 3)], [(0, 1), (0, 1)], [(2, 3), (0, 1)], [(0, 2), (1, 3), (0, 1)]]
)
@pytest.mark.parametrize("b_frames", ["0", "3"])
def test_edits_are_shown_one_after_another(tmp_path: Path, stretches_s: list[tuple[int, int]], b_frames: str) -> None:
    """Stretches begin between keyframes: what is decoded for them alone is hidden."""
    options = {"bf": b_frames, "sc_threshold": "0"}
    plain = hostile.make_video(tmp_path / "plain.mp4", hostile.numbered(90), options=options, gop_size=20)
    path = with_edits(tmp_path / "a.mp4", plain, stretches_s)
    numbers, times = numbers_and_times(path)
    assert numbers == [number for a, b in stretches_s for number in range(30 * a, 30 * b)]
    assert evenly(len(numbers), times)
    assert clock_of(path).n_jumps == 0
    for first in (5, 31, len(times) - 1):
        assert [hostile.number_of(frame) for _, frame in iter_frames(path, times[first])] == numbers[first:]


# --- Jumps, from stamps alone ----------------------------------------------------------------


@st.composite
def presented(draw) -> list[int]:
    """Stamps in decoding order, as a decoder that holds back no more than 16 frames can put them in order again."""
    gaps = draw(st.lists(st.integers(1, 40), min_size=1, max_size=80))
    stamps = list(itertools.accumulate(gaps))
    decoded, waiting = [], list(stamps)
    while waiting:
        decoded.append(waiting.pop(draw(st.integers(0, min(MAX_REORDERED, len(waiting)) - 1)) if decoded else 0))
        # A frame is not decoded after more than 16 that are shown later.
        while waiting and sum(stamp > waiting[0] for stamp in decoded) >= MAX_REORDERED:
            decoded.append(waiting.pop(0))
    return decoded


@given(presented())
def test_reordering_is_no_jump(stamps: list[int]) -> None:
    runs, changes = find_runs([Stamp(stamp, 1) for stamp in stamps], 1, Fraction(1, 10), may_jump_ahead=False)
    assert (runs, changes) == ((Run(min(stamps), 0),), (Change(0, 0),))


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(MAX_REORDERED + 2, 50)), min_size=1, max_size=6),
    st.booleans(),
)
def test_runs_are_laid_end_to_end(parts: list[tuple[int, int]], may_jump_ahead: bool) -> None:
    """Recordings of some frames each, of 2 ticks of 1/20 s, that begin anywhere and with a keyframe."""
    stamps = [Stamp(first + 2 * i, 2, i == 0) for first, n in parts for i in range(n)]
    runs, changes = find_runs(stamps, 2, Fraction(1, 20), may_jump_ahead=may_jump_ahead)
    clock = Clock(Fraction(1, 20), stamps[0].time, Fraction(0), runs, changes)
    times = [stamp.time + clock.shift(number) for number, stamp in enumerate(stamps)]
    assert runs[0] == Run(stamps[0].time, 0)
    steps = [b - a for a, b in itertools.pairwise(times)]
    # Within a tenth of a second back, and 3 s or 16 frames ahead, the file's own word holds.
    ahead = 2 + 64 if may_jump_ahead else 10**6
    assert all(-2 <= step <= ahead for step in steps)
    begins = {change.packet for change in changes[1:]}
    for number, step in enumerate(steps, 1):
        assert (step == 2) if number in begins else step == stamps[number].time - stamps[number - 1].time


# --- Slots -----------------------------------------------------------------------------------


def test_empty_slots_of_an_avi_take_time(tmp_path: Path) -> None:
    """A recorder that dropped frames in the middle and at the end."""
    stamps = [0, 1, 2, 3, 10, 11, 12, 30]
    path = hostile.make_video(
        tmp_path / "a.avi", hostile.numbered(8), codec="mpeg4", pts=stamps.__getitem__, time_base=TICK
    )  # fmt: skip
    frames = list(decode_span(path))
    assert [frame.time for frame in frames] == [Fraction(i, 30) for i in stamps]
    assert all(a.time + a.duration == b.time for a, b in itertools.pairwise(frames))
    with av.open(str(path)) as container:
        assert frames[-1].time + frames[-1].duration == Fraction(container.duration, 10**6).limit_denominator(1000)
    info = probe(path)
    assert info.fps == Fraction(8, 31) * 30
    assert [frame.time for frame in decode_span(path, Fraction(3, 10), Fraction(2, 5))] == [
        Fraction(1, 3),
        Fraction(11, 30),
    ]


@pytest.mark.parametrize("slots_per_frame", [1, 2, 25])
def test_h264_with_reordered_frames_in_an_avi_keeps_its_length(tmp_path: Path, slots_per_frame: int) -> None:
    """Copied as FFmpeg copies it: so many slots a frame, all but one empty, in decoding order."""
    plain = hostile.make_video(tmp_path / "plain.ts", hostile.numbered(40), options={"bf": "3"})
    path = tmp_path / "a.avi"
    with av.open(str(plain)) as read, av.open(str(path), "w") as written:
        stream = written.add_stream_from_template(read.streams.video[0])
        stream.time_base = Fraction(1, 30 * slots_per_frame)
        for number, packet in enumerate(p for p in read.demux(video=0) if p.size):
            packet.stream, packet.time_base = stream, stream.time_base
            packet.pts = packet.dts = number * slots_per_frame
            packet.duration = slots_per_frame
            written.mux(packet)
    with av.open(str(path)) as container:
        assert container.streams.video[0].time_base == Fraction(1, 30 * slots_per_frame)
    numbers, times = numbers_and_times(path)
    assert numbers == list(range(40))
    assert times == [Fraction(i, 30) for i in range(40)]
    *_, last = decode_span(path)
    assert abs(last.time + last.duration - Fraction(40, 30)) <= Fraction(1, 30)
    assert abs(probe(path).fps - 30) < 1


def test_pictures_that_an_avi_does_not_code_lengthen_the_one_before(tmp_path: Path) -> None:
    """What Xvid writes for a dropped frame: a packet that is not empty, and no picture."""
    plain = hostile.make_video(tmp_path / "plain.avi", hostile.numbered(40), codec="mpeg4", options={"bf": "0"})
    left_out = {10, 11, 35}  # before keyframes: others are changes of the picture that is missing

    def not_coded(number: int, packet: av.Packet) -> av.Packet:
        if number not in left_out:
            packet.pts = packet.dts
            return packet
        bits = "01" + "0" + "1" + format(number % 30, "05b") + "1" + "0" + "01111"  # a P picture, its time, not coded
        empty = av.Packet(b"\x00\x00\x01\xb6" + int(bits, 2).to_bytes(2, "big"))
        empty.pts, empty.dts, empty.time_base, empty.duration = packet.dts, packet.dts, packet.time_base, 1
        return empty

    path = hostile.remuxed(tmp_path / "a.avi", plain, not_coded)
    numbers, times = numbers_and_times(path)
    shown = [i for i in range(40) if i not in left_out]
    assert times == [Fraction(i, 30) for i in shown]
    assert numbers == shown


@given(st.lists(st.integers(1, 5), min_size=1, max_size=40), st.integers(0, 4))
def test_slots_go_to_frames_in_order(gaps: list[int], held_back: int) -> None:
    slots = list(itertools.accumulate(gaps))
    given_out, ends = [], Slots([*slots, slots[-1] + 1])
    for number, slot in enumerate(slots):
        ends.sent(slot)
        if number >= held_back:
            given_out.append(ends.shown(slot, held_back))
    given_out += [ends.shown(None, held_back) for _ in range(min(held_back, len(slots)))]
    assert given_out == list(itertools.pairwise([*slots, slots[-1] + 1]))


# --- The container's clock -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
@pytest.mark.parametrize("late", [0, 15])
def test_the_containers_clock_counts_from_the_earliest_stream(tmp_path: Path, name: str, late: int) -> None:
    """Sound from 0, the picture half a second later or at once."""
    path = hostile.make_video(
        tmp_path / name, hostile.numbered(30), pts=lambda i: i + late, time_base=TICK, with_audio=True
    )
    clock = clock_of(path)
    assert next(decode_span(path)).time == 0
    # Coded sound begins up to a block of 1024 samples early.
    assert 0 <= clock.offset_s(Fraction(0)) - Fraction(late, 30) <= Fraction(1024, 48_000) + Fraction(1, 500)
    assert clock.offset_s(Fraction(1, 2)) == clock.offset_s(Fraction(0))


def test_the_picture_alone_is_the_containers_clock(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv", "a.ts", "a.flv", "a.avi", "a.h264"):
        assert clock_of(at(tmp_path / name, 9)).offset_s(Fraction(0)) == 0


@pytest.mark.parametrize("name", ["a.ts", "a.mkv"])
def test_time_zero_is_the_first_frame_that_can_be_shown(tmp_path: Path, name: str) -> None:
    """A recording that begins in the middle of a group of pictures: nine frames have lost their keyframe."""
    plain = hostile.make_video(
        tmp_path / f"plain{name[1:]}", hostile.shots([40]), options={"bf": "0", "sc_threshold": "0"}
    )
    path = hostile.remuxed(tmp_path / name, plain, lambda number, packet: packet if number >= 3 else None)
    whole = [frame.picture.to_ndarray().tobytes() for frame in decode_span(plain)]
    frames = list(decode_span(path))
    assert [frame.picture.to_ndarray().tobytes() for frame in frames] == whole[12:]
    assert evenly(28, [frame.time for frame in frames])
    if name == "a.ts":
        assert clock_of(path).offset_s(Fraction(0)) == Fraction(9, 30)
