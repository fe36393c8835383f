"""What every frame reader owes its callers: the same frames, bit for bit, or a refusal by name."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from schemas.outcome import RowFailed
from schemas.record import Rational
from tasks.backends.decord_reader import UnsupportedByDecord
from tasks.backends.frame_readers import frame_reader
from tasks.engine.snapshots import ClipVideo
from tasks.media.container import UnreadableVideo
from tasks.media.pictures import shrunk
from tasks.media.video import FrameReader, iter_frames, read_video
from tests.support import hostile
from tests.support.builders import make_clip


@pytest.fixture(params=["pyav", "decord"])
def reader(request: pytest.FixtureRequest) -> FrameReader:
    if request.param == "decord":
        pytest.importorskip("decord", reason="decord has wheels for x86-64 only")
    return frame_reader(request.param)


def rotated(path: Path, degrees: int) -> Path:
    return hostile.make_video(path, hostile.numbered(12, width=160, height=96), rotation=degrees)


READABLE = {
    "mp4": lambda folder: hostile.make_video(folder / "a.mp4", hostile.numbered(60)),  # with B-frames
    "mkv": lambda folder: hostile.make_video(folder / "a.mkv", hostile.numbered(60)),
    "webm": lambda folder: hostile.make_video(folder / "a.webm", hostile.numbered(60), codec="libvpx"),
    "fragments.mp4": lambda folder: hostile.make_video(
        folder / "a.mp4", hostile.numbered(60), container_options={"movflags": "frag_keyframe+empty_moov"}
    ),
    "late.mp4": lambda folder: hostile.make_video(
        folder / "a.mp4", hostile.numbered(40), pts=lambda i: i + 15, time_base=Fraction(1, 30), with_audio=True
    ),
    "variable.mp4": lambda folder: hostile.variable_rate(folder / "a.mp4"),
    "odd.mp4": lambda folder: hostile.odd_size(folder / "a.mp4"),
    "90.mp4": lambda folder: rotated(folder / "a.mp4", 90),
    "180.mp4": lambda folder: rotated(folder / "a.mp4", 180),
    "270.mp4": lambda folder: rotated(folder / "a.mp4", 270),
}


@pytest.fixture(params=READABLE)
def readable(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path: Path = READABLE[request.param](tmp_path)
    return path


def test_whole_videos_and_single_frames_are_the_same_bits(reader: FrameReader, readable: Path) -> None:
    whole = np.stack([frame for _, frame in iter_frames(readable)])
    for source in (readable, readable.read_bytes()):
        np.testing.assert_array_equal(reader.read_video(ClipVideo(source)), whole)
        np.testing.assert_array_equal(reader.read_video(ClipVideo(source), [1, 7, len(whole) - 1]), whole[[1, 7, -1]])


def test_spans_are_the_same_bits(reader: FrameReader, readable: Path) -> None:
    frames = list(iter_frames(readable))
    start, end = frames[3][0], frames[len(frames) - 2][0]
    within = np.stack([frame for time, frame in frames if start <= time < end])
    height, width = within.shape[1:3]
    clip = make_clip(start=Rational.of(start), end=Rational.of(end), n_frames=len(within), width=width, height=height)
    np.testing.assert_array_equal(reader.read_frames(readable, clip, range(len(within))), within)
    np.testing.assert_array_equal(reader.read_frames(readable, clip, [0, 4]), within[[0, 4]])
    np.testing.assert_array_equal(reader.read_video(ClipVideo(readable, start, end), [2]), within[[2]])
    # Keys do not name the reader, so what stages read at a smaller size has to be the same bits as well.
    smaller = reader.read_frames(readable, clip, [0, 4], max_side=60)
    np.testing.assert_array_equal(smaller, [shrunk(frame, 60) for frame in within[[0, 4]]])


def test_another_size_is_as_asked_and_shows_the_same(reader: FrameReader, tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([12]))
    for size, max_side in [((240, 96), None), (None, 80), ((240, 96), 60)]:
        asked = ClipVideo(path, size=size)
        expected = read_video(asked, None, max_side)
        got = reader.read_video(asked, None, max_side)
        assert got.shape == expected.shape
        # Scaled from RGB rather than from what the file stores.
        assert np.abs(got.astype(int) - expected).mean() < 5


def test_what_cannot_be_asked_for(reader: FrameReader, tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.numbered(24), fps=24)
    clip = make_clip(n_frames=24, width=160, height=96)
    assert len(reader.read_frames(path, clip, range(24))) == 24
    for indices in ([], [3, 3], [5, 4], [-1, 2], [24]):
        with pytest.raises(ValueError, match="do not increase"):
            reader.read_frames(path, clip, indices)
    with pytest.raises(IndexError, match=r"asked for frames \[24\]"):
        reader.read_video(ClipVideo(path), [24])
    with pytest.raises(RowFailed, match="frame_count_changed"):
        reader.read_frames(path, make_clip(n_frames=25, width=160, height=96), range(25))
    with pytest.raises(RowFailed, match="missing_video"):
        reader.read_video(ClipVideo(tmp_path / "gone.mp4"))


@pytest.mark.parametrize(
    "broken", [hostile.damaged_middle, hostile.truncated, hostile.without_index, hostile.not_a_video, hostile.empty]
)
def test_no_frame_of_a_broken_file_is_handed_out(reader: FrameReader, broken, tmp_path: Path) -> None:
    with pytest.raises(UnreadableVideo):
        reader.read_video(ClipVideo(broken(tmp_path / "a.mp4")))


def test_a_file_that_was_replaced_is_read_anew(reader: FrameReader, tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.numbered(8))
    assert len(reader.read_video(ClipVideo(path))) == 8
    hostile.make_video(path, hostile.numbered(9))
    assert [hostile.number_of(frame) for frame in reader.read_video(ClipVideo(path))] == list(range(9))


# --- What decord refuses ---------------------------------------------------------------------


def edit_list(folder: Path) -> Path:
    return hostile.make_video(folder / "a.mp4", hostile.numbered(40), pts=lambda i: i - 5, time_base=Fraction(1, 30))


def ends_with_no_picture(folder: Path) -> Path:
    """Its last packet is one that later frames would look like, and is not to be shown."""

    def hidden(number: int, packet: av.Packet) -> av.Packet:
        if number < 39:
            return packet
        data = bytes(packet)
        last = av.Packet(bytes([data[0] & ~0x10]) + data[1:])
        last.pts, last.dts, last.time_base, last.duration = packet.pts, packet.dts, packet.time_base, packet.duration
        return last

    plain = hostile.make_video(folder / "plain.mkv", hostile.numbered(40), codec="libvpx")
    return hostile.remuxed(folder / "a.mkv", plain, hidden)


def mirrored(folder: Path) -> Path:
    return hostile.make_video(folder / "a.mp4", hostile.numbered(12), matrix=(-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30))


def second_stream_is_the_default(folder: Path) -> Path:
    with av.open(str(folder / "a.mp4"), "w") as container:
        streams = []
        for number in range(2):
            stream = container.add_stream("libx264", rate=30)
            stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
            stream.disposition = av.stream.Disposition.default if number else av.stream.Disposition(0)
            streams.append(stream)
        for number in range(12):
            for stream, grey in zip(streams, (40, 200), strict=True):
                picture = np.full((96, 160, 3), grey + number, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode())
    return folder / "a.mp4"


OPEN = {"x264-params": "open-gop=1:bframes=2:b-pyramid=0"}

FOREIGN_TO_DECORD = {
    "transport stream": (lambda folder: hostile.make_video(folder / "a.ts", hostile.numbered(40)), "wrong frames"),
    "avi": (lambda folder: hostile.make_video(folder / "a.avi", hostile.numbered(40)), "wrong frames"),
    "flv": (lambda folder: hostile.make_video(folder / "a.flv", hostile.numbered(40)), "wrong frames"),
    "h264": (lambda folder: hostile.make_video(folder / "a.h264", hostile.numbered(40)), "wrong frames"),
    "open groups": (
        lambda folder: hostile.make_video(folder / "a.mp4", hostile.numbered(61), options=OPEN, gop_size=7),
        "open group",
    ),
    "last group": (
        lambda folder: hostile.make_video(folder / "a.mp4", hostile.numbered(90), options=OPEN, gop_size=12),
        "paints frame 89",
    ),
    "edit list": (edit_list, "edit lists"),
    "not shown": (ends_with_no_picture, "paints frame 39"),
    "mirrored": (mirrored, "mirrored"),
    "default stream": (second_stream_is_the_default, "2 video streams"),
    "codec": (
        lambda folder: hostile.make_video(folder / "a.mp4", hostile.numbered(8), codec="libsvtav1"),
        "decord says",
    ),
}


@pytest.mark.parametrize(("make", "why"), FOREIGN_TO_DECORD.values(), ids=FOREIGN_TO_DECORD)
def test_decord_refuses_by_name_what_it_would_read_wrongly(make, why: str, tmp_path: Path) -> None:
    pytest.importorskip("decord", reason="decord has wheels for x86-64 only")
    path = make(tmp_path)
    assert len(read_video(ClipVideo(path))) > 0
    for known_intact in (False, True):
        with pytest.raises(UnsupportedByDecord, match=why) as refused:
            frame_reader("decord", known_intact=known_intact).read_video(ClipVideo(path))
        assert refused.value.reason == "unsupported_by_decord"
        assert refused.value.retryable  # not kept: another reader reads it
        assert "read it with PyAV" in str(refused.value)


def test_there_is_no_other_reader() -> None:
    with pytest.raises(ValueError, match="there are pyav and decord"):
        frame_reader("opencv")
