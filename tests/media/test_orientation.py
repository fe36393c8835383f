"""tasks/media/orientation.py: all eight ways that a coded picture can be shown, against the matrix's definition."""

from __future__ import annotations

import itertools
import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext

from tasks.media.container import UnreadableVideo
from tasks.media.decoding import decode_span, probe
from tasks.media.orientation import OddMatrix, Orientation
from tasks.media.video import iter_frames, read_frames
from tasks.split_scenes import SplitConfig, split_scenes
from tests.support import hostile
from tests.test_split_scenes import source_of

ONE = 1 << 16
# (a, b, c, d) of the eight, and EXIF's number for each
EIGHT = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}


def matrix_of(a: int, b: int, c: int, d: int, scale: int = ONE) -> list[int]:
    return [a * scale, b * scale, 0, c * scale, d * scale, 0, 0, 0, 1 << 30]


def shown(picture: np.ndarray, a: int, b: int, c: int, d: int) -> np.ndarray:
    """Each pixel put where the matrix's definition puts it."""
    height, width = picture.shape[:2]
    places = {(a * x + c * y, b * x + d * y): picture[y, x] for y in range(height) for x in range(width)}
    columns, rows = sorted({x for x, _ in places}), sorted({y for _, y in places})
    return np.array([[places[x, y] for x in columns] for y in rows])


def asymmetric(width: int, height: int) -> np.ndarray:
    """(H, W, 3) uint8: no turn or mirror of it looks like another."""
    picture = np.full((height, width, 3), 30, np.uint8)
    picture[: height // 3, : width // 4] = (230, 40, 40)
    picture[: height // 4, width // 2 :] = (40, 230, 40)
    picture[height // 2 :, : width // 5] = (40, 40, 230)
    return picture


@pytest.mark.parametrize(("signs", "exif"), EIGHT.items())
@pytest.mark.parametrize("size", [(40, 24), (41, 27)])
def test_every_orientation_is_shown_as_its_matrix_says(tmp_path: Path, signs, exif: int, size) -> None:
    picture = asymmetric(*size)
    path = hostile.make_video(tmp_path / "a.mp4", [picture] * 3, matrix=matrix_of(*signs), options={"crf": "1"})
    expected = shown(picture, *signs)
    info = probe(path)
    _, frame = next(iter_frames(path))
    assert (info.height, info.width) == frame.shape[:2] == expected.shape[:2]
    assert abs(frame.astype(int) - expected).mean() < 4
    others = [shown(picture, *other) for other in EIGHT if other != signs]
    assert all(o.shape != frame.shape or abs(frame.astype(int) - o).mean() > 15 for o in others)
    assert info.orientation.exif == exif

    (dropped,) = split_scenes(path, source_of(path), SplitConfig()).dropped  # a tenth of a second is too short
    clip = dropped.clip
    assert (clip.width, clip.height, clip.orientation) == (info.width, info.height, exif)
    np.testing.assert_array_equal(read_frames(path, clip, [0])[0], frame)
    assert (clip.video_span[3:] == [0, exif]) is (exif in (2, 4, 5, 7))


def test_the_eight_are_all_there_are() -> None:
    all_there_are = {Orientation(*bits) for bits in itertools.product([False, True], repeat=3)}
    assert {Orientation.of(matrix_of(*signs)) for signs in EIGHT} == all_there_are
    assert {Orientation.of(matrix_of(*signs)).exif for signs in EIGHT} == set(range(1, 9))


def test_scale_and_rounding_are_no_rotation_and_an_empty_matrix_is_none() -> None:
    assert Orientation.of([-3 * ONE, 5, 0, -7, 2 * ONE, 0, 640 * ONE, 0, 1 << 30]) == Orientation(mirrored_x=True)
    assert Orientation.of([0] * 9) == Orientation()


@pytest.mark.parametrize(
    ("matrix", "says"),
    [
        ([46341, -46341, 0, 46341, 46341, 0, 0, 0, 1 << 30], "45.0 degrees"),
        ([ONE, 0, 0, ONE // 2, ONE, 0, 0, 0, 1 << 30], "shears"),
        ([ONE, 0, 0, 0, 0, 0, 0, 0, 1 << 30], "only multiples"),
        ([ONE, 0, 7, 0, ONE, 0, 0, 0, 1 << 30], "perspective"),
    ],
)
def test_what_is_no_multiple_of_90_degrees_is_refused(matrix: list[int], says: str) -> None:
    with pytest.raises(OddMatrix, match=says):
        Orientation.of(matrix)


@pytest.mark.parametrize("read", [probe, lambda path: list(decode_span(path)), lambda path: list(iter_frames(path))])
def test_a_video_that_is_turned_by_45_degrees_is_refused_by_name(tmp_path: Path, read) -> None:
    matrix = [46341, -46341, 0, 46341, 46341, 0, 0, 0, 1 << 30]
    path = hostile.make_video(tmp_path / "a.mp4", hostile.numbered(3), matrix=matrix)
    with pytest.raises(UnreadableVideo, match=r"45\.0 degrees") as failure:
        read(path)
    assert (failure.value.reason, failure.value.retryable) == ("odd_rotation", False)


@pytest.mark.parametrize(("signs", "exif"), EIGHT.items())
def test_a_camera_may_tell_it_in_exif(tmp_path: Path, signs, exif: int) -> None:
    """Motion JPEG: each picture has its EXIF, which PyAV does not know."""
    picture = asymmetric(40, 24)
    jpeg = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    tag = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, exif, 0, 0)
    jpeg = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(tag) + 8) + b"Exif\0\0" + tag + jpeg[2:]
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.width, stream.height, stream.pix_fmt = 40, 24, "yuvj420p"
        for number in range(3):
            packet = av.Packet(jpeg)
            packet.pts = packet.dts = number
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 30), True
            container.mux(packet)
    frames = [frame for _, frame in iter_frames(path)]
    assert (len(frames), probe(path).orientation.exif) == (3, exif)
    assert abs(frames[-1].astype(int) - shown(picture, *signs)).mean() < 8


def with_message(path: Path, source: Path, options: str) -> Path:
    """The same stream with H.264's own message on how to show it: MPEG-TS has no matrix."""
    with av.open(str(source)) as read, av.open(str(path), "w") as written:
        stream = read.streams.video[0]
        out = written.add_stream_from_template(stream)
        filtered = BitStreamFilterContext(f"h264_metadata={options}", stream, out)
        packets = [p for packet in read.demux(stream) if packet.size for p in filtered.filter(packet)]
        for packet in [*packets, *filtered.filter(None)]:
            packet.stream = out
            written.mux(packet)
    return path


def test_the_stream_tells_its_orientation_where_the_container_does_not(tmp_path: Path) -> None:
    picture = asymmetric(40, 24)
    plain = hostile.make_video(tmp_path / "plain.ts", [picture] * 12, options={"crf": "1"})
    path = with_message(tmp_path / "a.ts", plain, "display_orientation=insert:rotate=90")
    _, frame = next(iter_frames(path))
    assert abs(frame.astype(int) - shown(picture, 0, -1, 1, 0)).mean() < 4  # counter-clockwise


def test_a_video_whose_orientation_changes_is_refused_by_name(tmp_path: Path) -> None:
    plain = hostile.make_video(tmp_path / "plain.ts", hostile.numbered(12))
    turned = [with_message(tmp_path / f"{n}.ts", plain, f"display_orientation=insert:rotate={n}") for n in (90, 180)]
    path = hostile.joined(tmp_path / "a.ts", turned)
    with pytest.raises(UnreadableVideo, match="after frame 12") as failure:
        list(decode_span(path))
    assert failure.value.reason == "orientation_changes"
