"""tasks/media/decoding.py, pictures.py: exact frames at exact times, upright, and none of a broken file."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorTrc
from hypothesis import given
from hypothesis import strategies as st

from schemas.outcome import RowFailed
from tasks.engine.snapshots import ClipVideo
from tasks.media import container, decoding
from tasks.media.clock import Clock
from tasks.media.container import UnreadableVideo
from tasks.media.decoding import VideoInfo, decode_span, probe
from tasks.media.orientation import Orientation
from tasks.media.pictures import fit
from tasks.media.video import iter_frames, read_frames, read_video, survey
from tests.media.test_video import clip_of
from tests.support import hostile

CONTAINERS = ["a.mp4", "a.mkv", "a.ts", "a.flv", "a.avi", "a.h264"]


# --- Times -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_gives_all_frames_in_order_from_time_zero(tmp_path: Path, name: str) -> None:
    path = hostile.make_video(tmp_path / name, hostile.numbered(40))  # with B-frames, so decoding order differs
    frames = list(iter_frames(path))
    assert [hostile.number_of(frame) for _, frame in frames] == list(range(40))
    times = [time for time, _ in frames]
    assert times[0] == 0
    assert all(abs(time - Fraction(i, 30)) <= Fraction(1, 1000) for i, time in enumerate(times))
    assert all(b > a for a, b in itertools.pairwise(times))


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_span_is_what_decoding_everything_gives_there(tmp_path: Path, name: str) -> None:
    options = {"x264-params": "open-gop=1:bframes=3:b-pyramid=2"}
    path = hostile.make_video(tmp_path / name, hostile.shots([90]), options=options)
    everything = [(f.time, f.picture.to_ndarray().tobytes()) for f in decode_span(path)]
    for first in (1, 11, 12, 30, 59, 88):
        start, end = everything[first][0], everything[min(first + 7, 89)][0]
        span = [(f.time, f.picture.to_ndarray().tobytes()) for f in decode_span(path, start, end)]
        assert span == [frame for frame in everything if start <= frame[0] < end]
        assert [f.time for f in decode_span(path, start)] == [time for time, _ in everything[first:]]


@pytest.mark.parametrize("codec", ["mpeg4", "h263", "libx264", "libx265", "mpeg2video"])
def test_a_span_is_right_where_the_container_calls_every_frame_a_keyframe(tmp_path: Path, codec: str) -> None:
    """An MP4 without its list of keyframes. Decoders make a picture of the changes to one that they never saw."""
    frames = hostile.shots([40], width=176, height=144)
    listed = hostile.make_video(tmp_path / "a.mov", frames, codec=codec)
    times = [frame.time for frame in decode_span(listed)]
    path = tmp_path / "b.mov"
    path.write_bytes(listed.read_bytes().replace(b"stss", b"free"))
    everything = [(f.time, f.picture.to_ndarray().tobytes()) for f in decode_span(path)]
    assert [time for time, _ in everything] == times
    assert decoding.clock_of(path).n_jumps == 0
    for first in (5, 17, 39):
        span = [(f.time, f.picture.to_ndarray().tobytes()) for f in decode_span(path, times[first])]
        assert span == everything[first:]


def test_a_span_has_the_colours_of_a_palette_that_stands_in_the_first_packet(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mov", hostile.numbered(20), codec="qtrle", pix_fmt="gray", gop_size=4)
    everything = [frame for _, frame in iter_frames(path)]
    assert everything[9].max() > 0
    for first in (1, 9, 19):
        span = [frame for _, frame in iter_frames(path, Fraction(first, 30))]
        assert np.array_equal(span, everything[first:])


def test_a_span_far_behind_the_end_is_empty(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.numbered(20))
    assert list(decode_span(path, Fraction(10**30), None)) == []


def test_seeking_does_not_decode_from_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.numbered(120))
    decoded = []
    dated = decoding.Decoding._dated
    monkeypatch.setattr(decoding.Decoding, "_dated", lambda *args: decoded.append(1) or dated(*args))
    assert len(list(decode_span(path, Fraction(3), Fraction(4)))) == 30
    assert len(decoded) < 30 + 2 * 12  # at most one group of pictures before the span, and the first one behind it


def test_variable_frame_rate_keeps_the_times_of_the_file(tmp_path: Path) -> None:
    times = [time for time, _ in iter_frames(hostile.variable_rate(tmp_path / "a.mp4"))]
    assert times == [Fraction(i * i + 10 * i, 1000) for i in range(60)]


@pytest.mark.parametrize(("first", "n_shown"), [(15, 40), (-15, 25)])
def test_time_zero_is_the_first_shown_frame(tmp_path: Path, first: int, n_shown: int) -> None:
    """An MP4 that begins late, and one whose edit list hides the frames before 0."""
    path = hostile.make_video(
        tmp_path / "a.mp4", hostile.numbered(40), pts=lambda i: i + first, time_base=Fraction(1, 30)
    )
    frames = list(iter_frames(path))
    assert [time for time, _ in frames] == [Fraction(i, 30) for i in range(n_shown)]
    assert hostile.number_of(frames[0][1]) == 40 - n_shown


def test_absurd_frame_rates_stay_exact(tmp_path: Path) -> None:
    assert [t for t, _ in iter_frames(hostile.slow(tmp_path / "slow.mp4"))] == [0, 1000, 2000, 3000, 4000]
    assert [t for t, _ in iter_frames(hostile.fast(tmp_path / "fast.mp4"))] == [Fraction(i, 1000) for i in range(60)]


def test_a_time_stamp_centuries_ahead_is_refused(tmp_path: Path) -> None:
    stamps = [0, 1, 2, 10**10]
    path = hostile.make_video(
        tmp_path / "a.mkv", hostile.numbered(4), pts=lambda i: stamps[i], time_base=Fraction(1, 30), options={"bf": "0"}
    )
    with pytest.raises(UnreadableVideo, match="claims"):
        list(decode_span(path))


class FakePicture:
    def __init__(self, pts: int | None, duration: int = 0) -> None:
        self.pts, self.duration = pts, duration


@given(st.lists(st.one_of(st.none(), st.integers(-100, 100)), min_size=1, max_size=30))
def test_repaired_times_always_increase(stamps: list[int | None]) -> None:
    reading = decoding.Decoding.__new__(decoding.Decoding)
    reading._tick, reading.fps, reading._slots = Fraction(1, 90), Fraction(30), None
    reading._clock = Clock(Fraction(1, 90), 0, Fraction(0))
    dated = []
    for stamp in stamps:
        dated.append(reading._dated(FakePicture(stamp), dated[-1] if dated else None))
    assert dated[0].time >= 0
    assert all(b.time > a.time for a, b in itertools.pairwise(dated))
    if None not in stamps and stamps[0] >= 0 and all(a < b for a, b in itertools.pairwise(stamps)):
        assert [frame.time for frame in dated] == [Fraction(stamp, 90) for stamp in stamps]


# --- Pictures --------------------------------------------------------------------------------


def test_probe(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.numbered(30), fps=Fraction(30_000, 1001))
    info = probe(path)
    assert (info.width, info.height, info.orientation, info.codec) == (160, 96, Orientation(), "h264")
    assert (info.fps, info.duration) == (Fraction(30_000, 1001), Fraction(1_001_000, 10**6))


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_is_applied_as_opencv_applies_it(tmp_path: Path, rotation: int) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.numbered(5), rotation=rotation)
    _, expected = cv2.VideoCapture(str(path)).read()
    _, frame = next(iter_frames(path))
    info = probe(path)
    assert (info.height, info.width) == frame.shape[:2] == expected.shape[:2]
    assert abs(frame.astype(int) - expected[:, :, ::-1]).mean() < 2


def test_max_side_bounds_the_longer_side_and_never_enlarges(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.numbered(3), rotation=90)
    assert next(iter_frames(path, max_side=80))[1].shape == (80, 48, 3)
    assert next(iter_frames(path, max_side=4000))[1].shape == (160, 96, 3)
    assert fit(4000, 1, 10) == (10, 1)


def test_odd_sizes_keep_their_size(tmp_path: Path) -> None:
    assert next(iter_frames(hostile.odd_size(tmp_path / "a.mp4")))[1].shape == (97, 161, 3)


# --- Pixels that are not square, HDR, interlaced ---------------------------------------------

TFF, BFF = {"x264-params": "tff=1"}, {"x264-params": "bff=1"}


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi", "a.flv", "a.h264"])
@pytest.mark.parametrize("aspect", [Fraction(4, 3), Fraction(16, 15), Fraction(8, 9), Fraction(1), None])
def test_the_aspect_of_pixels_is_told(tmp_path: Path, name: str, aspect: Fraction | None) -> None:
    info = probe(hostile.make_video(tmp_path / name, hostile.shots([3]), sample_aspect=aspect))
    assert (info.width, info.height, info.sample_aspect) == (160, 96, aspect or 1)


@pytest.mark.parametrize(
    ("said", "expected"),
    [((16, 15), Fraction(16, 15)), ((1, 1), 1), ((0, 1), Fraction(4, 3)), ((1, 1000), Fraction(1, 1000))],
)
def test_the_containers_aspect_wins_where_it_says_one(tmp_path: Path, said: tuple[int, int], expected) -> None:
    """As in FFmpeg, mpv and VLC."""
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([3]), sample_aspect=Fraction(4, 3))
    assert probe(hostile.set_pixel_aspect(path, *said)).sample_aspect == expected


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_quarter_turn_turns_the_pixels_as_well(tmp_path: Path, rotation: int) -> None:
    path = tmp_path / "a.mp4"
    hostile.make_video(path, hostile.shots([3]), sample_aspect=Fraction(4, 3), rotation=rotation)
    info = probe(path)
    if rotation == 180:
        assert (info.sample_aspect, info.square_size) == (Fraction(4, 3), (213, 96))
    else:
        assert (info.sample_aspect, info.square_size) == (Fraction(3, 4), (96, 213))


def info_of(aspect: Fraction, width: int = 720, height: int = 576) -> VideoInfo:
    return VideoInfo(
        width, height, aspect, "bt709", None, Orientation(), Fraction(25), Fraction(1, 25), None, "h264", 0, 1
    )


@pytest.mark.parametrize(
    ("aspect", "size"),
    [
        (Fraction(1), (720, 576)), (Fraction(16, 15), (768, 576)), (Fraction(64, 45), (1024, 576)),
        (Fraction(8, 9), (720, 648)), (Fraction(10_000, 10_001), (720, 576)), (Fraction(16), (11_520, 576)),
    ],
)  # fmt: skip
def test_the_side_that_is_too_short_grows(aspect: Fraction, size: tuple[int, int]) -> None:
    assert info_of(aspect).square_size == size


@pytest.mark.parametrize("aspect", [Fraction(1, 1000), Fraction(17), Fraction(2**31 - 1), Fraction(1, 2**31 - 1)])
def test_pixels_that_cannot_be_meant_are_refused(aspect: Fraction) -> None:
    with pytest.raises(UnreadableVideo, match=f"pixels of {aspect.numerator}:{aspect.denominator} would be"):
        _ = info_of(aspect).square_size


def test_stretched_pictures_have_a_limit() -> None:
    with pytest.raises(UnreadableVideo, match="16384x8192 with square ones"):
        _ = info_of(Fraction(2), 8192, 8192).square_size


@pytest.mark.parametrize("rotation", [0, 90])
def test_a_stretched_clip_looks_as_it_was_before_it_was_squeezed(tmp_path: Path, rotation: int) -> None:
    scene = cv2.GaussianBlur(hostile.shots([1], width=214)[0], (0, 0), 2)
    cv2.circle(scene, (120, 48), 30, (250, 250, 250), -1)
    squeezed = cv2.resize(scene, (160, 96), interpolation=cv2.INTER_AREA)
    aspect, turns = Fraction(214, 160), rotation // 90
    path = tmp_path / "a.mp4"
    hostile.make_video(path, [squeezed] * 6, sample_aspect=aspect, rotation=rotation, options={"crf": "8"})
    upright, squeezed = np.rot90(scene, turns), np.rot90(squeezed, turns)
    height, width = upright.shape[:2]
    assert probe(path).square_size == (width, height)
    clip = clip_of(Fraction(0), Fraction(6, 30), 6, size=(width, height))
    published = ClipVideo(path, Fraction(0), Fraction(6, 30), (width, height))
    _, of_iterator = next(iter_frames(path, size=(width, height)))
    for picture in (read_frames(path, clip)[0], read_frames(path, clip, [3])[0], read_video(published)[0], of_iterator):
        assert picture.shape == upright.shape
        assert np.abs(picture.astype(int) - upright).mean() < 4
    assert read_frames(path, clip, [3], max_side=107)[0].shape == ((48, 107, 3) if rotation == 0 else (107, 48, 3))
    as_stored = clip_of(Fraction(0), Fraction(6, 30), 6, size=squeezed.shape[1::-1])
    assert np.abs(read_frames(path, as_stored)[0].astype(int) - squeezed).mean() < 4


def test_a_stretched_clip_that_does_not_fit_in_memory_fails_before_it_is_decoded(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([3]))
    with pytest.raises(RowFailed) as failure:
        read_frames(path, clip_of(Fraction(0), Fraction(2), 3 * 2**10, size=(2**13, 2**13)))
    assert failure.value.reason == "clip_too_large"


@pytest.mark.parametrize(
    ("name", "codec", "transfer", "expected"),
    [
        ("a.mp4", "libx264", ColorTrc.SMPTE2084, "smpte2084"),
        ("a.ts", "libx264", ColorTrc.ARIB_STD_B67, "arib-std-b67"),
        ("a.webm", "libvpx-vp9", ColorTrc.SMPTE2084, "smpte2084"),
        ("a.mkv", "mpeg4", ColorTrc.SMPTE2084, "smpte2084"),  # whose bitstream has no room for it
        ("a.mp4", "libx264", ColorTrc.BT709, "bt709"),
        ("a.mp4", "libx264", None, "unknown"),
    ],
)
def test_the_transfer_is_told_by_ffmpegs_name(tmp_path: Path, name, codec, transfer, expected) -> None:
    path = hostile.make_video(tmp_path / name, hostile.shots([3]), codec=codec, transfer=transfer)
    assert probe(path).transfer == expected


def test_every_transfer_has_a_name() -> None:
    assert set(decoding._TRANSFERS) == set(ColorTrc) - {ColorTrc.UNSPECIFIED}


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [("a.mp4", TFF, "tt"), ("a.mp4", BFF, "bb"), ("a.ts", TFF, "tt"), ("a.mkv", BFF, "bb"), ("a.mp4", {}, None)],
)
def test_the_order_of_fields_is_told(tmp_path: Path, name: str, options: dict[str, str], expected: str | None) -> None:
    path = hostile.make_video(tmp_path / name, hostile.shots([3]), options=options)
    assert probe(path).field_order == expected
    assert {f.picture.interlaced_frame for f in decode_span(path)} == {expected is not None}


# --- Broken files ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", hostile.BROKEN)
def test_a_broken_file_is_an_unreadable_row(tmp_path: Path, name: str) -> None:
    path = hostile.BROKEN[name](tmp_path / "a.mp4")
    with pytest.raises(UnreadableVideo) as failure:
        list(iter_frames(path))
    assert failure.value.reason == ("truncated_video" if name == "truncated" else "unreadable_video")
    assert not failure.value.retryable
    assert failure.value.detail


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.avi"])
def test_a_file_that_ends_early_says_how_much_there_was(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    codec = {"a.webm": "libvpx", "a.avi": "mpeg4"}.get(name, "libx264")
    options = {"movflags": "faststart"} if name == "a.mp4" else {}
    hostile.make_video(path, hostile.shots([90]), codec=codec, container_options=options)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 + 7])
    for _ in range(3):  # the same each time, whatever the threads did
        with pytest.raises(UnreadableVideo, match=r"[0-9]+ of [0-9]+ announced frames decoded") as failure:
            list(decode_span(path))
        assert failure.value.reason == "truncated_video"


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_sound_that_goes_on_after_the_pictures_is_no_truncation(tmp_path: Path, name: str) -> None:
    path = hostile.make_video(
        tmp_path / name, hostile.numbered(30), with_audio=True, pts=lambda i: i, time_base=Fraction(1, 60)
    )  # half a second of pictures with a second of sound
    assert len(list(decode_span(path))) == 30


def test_no_damaged_frame_is_handed_out(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "whole.mp4", hostile.shots([60]))
    whole = [frame.picture.to_ndarray() for frame in decode_span(path)]
    seen = []
    with pytest.raises(UnreadableVideo):
        seen.extend(frame.picture.to_ndarray() for frame in decode_span(hostile.damaged_middle(tmp_path / "a.mp4")))
    assert 0 < len(seen) < 60
    assert all((a == b).all() for a, b in zip(seen, whole, strict=False))


def test_a_jpeg_of_which_a_part_is_lost_is_refused(tmp_path: Path) -> None:
    """Its decoder fills the rest with grey, and says nothing unless it is asked."""
    plain = hostile.make_video(tmp_path / "plain.avi", hostile.shots([40]), codec="mjpeg", pix_fmt="yuvj420p")
    assert survey(plain)[1] == 40

    def cut_off(number: int, packet: av.Packet) -> av.Packet:
        if number != 20:
            return packet
        half = av.Packet(bytes(packet)[: packet.size // 2] + b"\xff\xd9")  # and the marker of its end
        half.pts, half.dts, half.time_base, half.is_keyframe = packet.pts, packet.dts, packet.time_base, True
        return half

    path = hostile.remuxed(tmp_path / "a.avi", plain, cut_off)
    with pytest.raises(UnreadableVideo, match="after 20"):
        survey(path)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts"])
def test_hevc_whose_reference_is_lost_is_refused(tmp_path: Path, name: str) -> None:
    """Its decoder leaves out the frames that need it, and says nothing unless it is asked."""
    options = {"x265-params": "log-level=none:bframes=0:ref=1"}
    plain = hostile.make_video(tmp_path / f"plain{name[1:]}", hostile.shots([40]), codec="libx265", options=options)
    assert survey(plain)[1] == 40
    path = hostile.remuxed(tmp_path / name, plain, lambda number, packet: None if number == 5 else packet)
    with pytest.raises(UnreadableVideo):
        survey(path)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
def test_a_recording_that_begins_in_the_middle_begins_with_its_first_keyframe(tmp_path: Path, codec: str) -> None:
    plain = hostile.make_video(tmp_path / "plain.ts", hostile.shots([60]), codec=codec)
    path = hostile.remuxed(tmp_path / "a.ts", plain, lambda number, packet: packet if number >= 3 else None)
    whole = [frame.picture.to_ndarray().tobytes() for frame in decode_span(plain)]
    frames = list(decode_span(path))
    assert 40 < len(frames) < 60
    assert [frame.picture.to_ndarray().tobytes() for frame in frames] == whole[-len(frames) :]
    assert [frame.time for frame in frames] == [Fraction(i, 30) for i in range(len(frames))]


@pytest.mark.parametrize("make", [hostile.concat_list, hostile.hls_playlist])
@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8", "list.ffconcat"])
def test_a_playlist_opens_no_other_file(tmp_path: Path, make, name: str) -> None:
    target = hostile.make_video(tmp_path / "secret.ts", hostile.numbered(5))
    with pytest.raises(UnreadableVideo):
        probe(make(tmp_path / name, target))


def test_a_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile.make_video(tmp_path / "a.ts", hostile.numbered(5))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RowFailed, match="missing_video"):
        probe(Path("concat:a.ts|a.ts"))


def test_a_missing_file_can_be_tried_again(tmp_path: Path) -> None:
    with pytest.raises(RowFailed) as failure:
        probe(tmp_path / "nowhere.mp4")
    assert (failure.value.reason, failure.value.retryable) == ("missing_video", True)


def test_a_frame_larger_than_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.numbered(2))
    monkeypatch.setattr(container, "MAX_FRAME_PIXELS", 160 * 96 - 1)
    with pytest.raises(UnreadableVideo, match="160x96"):
        probe(path)
