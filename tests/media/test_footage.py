"""A row's pictures at the size that stages work at."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from schemas.clip import Clip
from schemas.grounding import Wanted
from schemas.outcome import RowFailed
from schemas.record import Rational
from tasks.engine.inputs import Inputs
from tasks.engine.shards import Shard
from tasks.engine.work import Work
from tasks.media import footage
from tasks.media.footage import ClipFootage, LazyFrames, all_of
from tasks.media.pictures import shrunk
from tests.support import hostile
from tests.support.builders import make_clip


@dataclass
class Counted:
    """Footage of numbered frames that knows what was read of it."""

    height: int = 72
    width: int = 128
    n_frames: int = 50
    read: list[tuple[int, int]] = field(default_factory=list)  # first frame, how many
    span: list[object] = field(default_factory=list)
    wanted: Wanted = field(default_factory=lambda: Wanted("", [], []))

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    def frames(self, indices: Sequence[int] | None = None, max_side_px: int | None = None) -> np.ndarray:
        assert indices is not None
        assert max_side_px == 64
        self.read.append((indices[0], len(indices)))
        return hostile.numbered(self.n_frames, width=64, height=36)[list(indices)]


def test_footage_of_a_clip_at_a_smaller_size(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([12]))
    clip = make_clip(
        video="a.mp4", video_sha256=hashlib.sha256(path.read_bytes()).hexdigest(), n_frames=12, width=160, height=96,
        start=Rational.of(0), end=Rational.of(Fraction(12, 30)),
    )  # fmt: skip
    [row] = Shard[Clip].of([clip]).rows
    seen = ClipFootage(Work(root=tmp_path / "work", inputs=Inputs(folder=tmp_path)), row)
    assert seen.size == (96, 160)
    whole = seen.frames()
    assert whole.shape == (12, 96, 160, 3)
    np.testing.assert_array_equal(seen.frames([2, 7], max_side_px=80), [shrunk(frame, 80) for frame in whole[[2, 7]]])
    np.testing.assert_array_equal(LazyFrames(seen, 48)[7], shrunk(whole[7], 80))
    np.testing.assert_array_equal(LazyFrames(seen, 500)[7], whole[7])


def test_lazy_frames_are_the_clips_and_few_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footage, "HELD_BYTES", 20 * 64 * 36 * 3)
    clip = Counted()
    lazy = LazyFrames(clip, 36)
    assert len(lazy) == 50
    for walk in (range(50), range(50)[::-1]):
        assert [hostile.number_of(lazy[t]) for t in walk] == list(walk)
    parts = [(0, 20), (20, 20), (40, 10)]
    assert clip.read == parts + parts[-2::-1], "each part once a walk, the last one of a walk is the next one's first"
    for t in (-1, 50):
        with pytest.raises(IndexError, match="of 50"):
            lazy[t]


def test_a_frame_of_lazy_frames_is_its_takers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footage, "HELD_BYTES", 20 * 64 * 36 * 3)
    lazy = LazyFrames(Counted(), 36)
    lazy[3][:] = 0
    assert hostile.number_of(lazy[3]) == 3
    assert lazy[3].base is None, "it keeps no part of the clip alive"


def test_all_frames_at_once_are_refused_where_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = LazyFrames(Counted(), 36)
    assert [hostile.number_of(frame) for frame in all_of(lazy)] == list(range(50))
    assert lazy._held.nbytes == 0, "they are not held twice"
    monkeypatch.setattr(footage, "MAX_CLIP_BYTES", 50 * 64 * 36 * 3 - 1)
    with pytest.raises(RowFailed, match="clip_too_large"):
        all_of(lazy)
