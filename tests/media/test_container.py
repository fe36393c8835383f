"""tasks/media/container.py: of several streams, the one that players show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
from av.stream import Disposition

from tasks.media.container import UnreadableVideo
from tasks.media.decoding import probe
from tasks.media.video import iter_frames
from tests.support import hostile

DEFAULT = Disposition.default


class Track(NamedTuple):
    """A stream of one grey."""

    grey: int
    disposition: Disposition | int = 0
    width: int = 64
    n_frames: int = 5
    codec: str = "libx264"


def make(path: Path, tracks: Sequence[Track]) -> Path:
    with av.open(str(path), "w") as container:
        streams = []
        for track in tracks:
            stream = container.add_stream(track.codec, rate=30)
            stream.width, stream.height, stream.pix_fmt = track.width, 48, "yuv420p"
            stream.codec_context.options = {"threads": "1"}
            if track.codec == "mjpeg":
                stream.pix_fmt = "yuvj420p"
            stream.disposition = track.disposition
            streams.append(stream)
        for stream, track in zip(streams, tracks, strict=True):
            for _ in range(track.n_frames):
                grey = np.full((48, track.width, 3), track.grey, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
            container.mux(stream.encode())
    return path


COMMENT = Disposition.comment
CHOICES = {
    "the default, though it is the second": ([Track(50), Track(200, DEFAULT)], 1),
    "the default, though it is smaller": ([Track(50, width=128), Track(200, DEFAULT)], 1),
    "the first of several defaults": ([Track(50, DEFAULT), Track(200, DEFAULT)], 0),
    "the largest of several defaults": ([Track(50, DEFAULT), Track(200, DEFAULT, width=128)], 1),
    "the largest where none is the default": ([Track(50), Track(200, width=128)], 1),
    "the first where none differs": ([Track(50), Track(200)], 0),
    "no commentary": ([Track(50, DEFAULT | COMMENT), Track(200)], 1),
    "no single frame": ([Track(50, DEFAULT, 128, n_frames=1), Track(200)], 1),
}
CANNOT_SAY = {("a.mkv", "no single frame"), ("a.mp4", "the largest where none is the default")}  # MP4: some track is


CASES = [(name, why) for name in ("a.mp4", "a.mkv") for why in CHOICES if (name, why) not in CANNOT_SAY]


@pytest.mark.parametrize(("name", "why"), CASES)
def test_the_stream_is_the_one_that_players_show(tmp_path: Path, name: str, why: str) -> None:
    tracks, chosen = CHOICES[why]
    path = make(tmp_path / name, tracks)
    info = probe(path)
    _, frame = next(iter_frames(path))
    assert (info.stream_index, info.n_streams) == (chosen, 2)
    assert abs(frame.mean() - tracks[chosen].grey) < 5
    assert info.width == tracks[chosen].width == frame.shape[1]


def test_covers_and_thumbnails_are_no_video(tmp_path: Path) -> None:
    cover = Track(50, Disposition.attached_pic, 256, 1, "mjpeg")
    info = probe(make(tmp_path / "a.mp4", [cover, Track(200)]))
    assert (info.n_streams, info.width) == (1, 64)
    with pytest.raises(UnreadableVideo, match="no moving picture"):
        probe(make(tmp_path / "b.mp4", [cover]))


def test_the_stream_counts_those_of_sound(tmp_path: Path) -> None:
    plain = hostile.make_video(tmp_path / "plain.mp4", hostile.numbered(3), with_audio=True)
    path = tmp_path / "a.mp4"
    with av.open(str(plain)) as read, av.open(str(path), "w") as written:
        streams = {s.index: written.add_stream_from_template(s) for s in reversed(list(read.streams))}
        for packet in read.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                written.mux(packet)
    assert (probe(plain).stream_index, probe(path).stream_index, probe(path).n_streams) == (0, 1, 1)
