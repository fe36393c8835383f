"""tasks/media/encoding.py: what is written reads back, and appears whole or not at all."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tasks.media.decoding import probe
from tasks.media.encoding import write_video
from tasks.media.video import iter_frames
from tests.support import hostile


@pytest.mark.parametrize(("width", "height"), [(160, 96), (161, 97)])
def test_written_videos_read_back_and_have_the_same_bytes(tmp_path: Path, width: int, height: int) -> None:
    frames = hostile.shots([20], width=width, height=height)
    write_video(tmp_path / "a.mp4", frames, Fraction(24_000, 1001))
    write_video(tmp_path / "b.mp4", iter(frames), Fraction(24_000, 1001))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert probe(tmp_path / "a.mp4").fps == Fraction(24_000, 1001)
    read = np.stack([frame for _, frame in iter_frames(tmp_path / "a.mp4")])
    assert read.shape == (20, height + height % 2, width + width % 2, 3)
    assert abs(read[:, :height, :width].astype(int) - frames).mean() < 6


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"before")

    def breaks_off():
        yield hostile.numbered(1)[0]
        raise RuntimeError("no more frames")

    with pytest.raises(RuntimeError):
        write_video(path, breaks_off(), 30)
    with pytest.raises(ValueError, match="at least one frame"):
        write_video(path, [], 30)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
