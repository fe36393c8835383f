"""propagate_masks: frames at the size that a backend works at, masks at the clip's own."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from schemas.candidate import Anchor
from schemas.clip import Clip
from schemas.grounding import Grounding
from schemas.mask_track import Tracks
from schemas.record import Rational
from tasks import ground_instances, propagate_masks
from tasks.backends.optical_flow import FlowPropagator
from tasks.backends.sam2_video import Sam2Config
from tasks.backends.torch_runtime import TorchConfig
from tasks.engine.inputs import Inputs
from tasks.engine.shards import Row, Shard, load_shard
from tasks.engine.stage import run_stage
from tasks.engine.work import Work
from tasks.media import footage
from tasks.media.footage import ClipFootage
from tests.support import hostile
from tests.support.builders import make_clip

N_FRAMES, HEIGHT, WIDTH = 12, 192, 320


def ball(t: int) -> np.ndarray:
    y, x = np.ogrid[:HEIGHT, :WIDTH]
    return np.hypot(x - 80 - 8 * t, y - 90) <= 30


def test_a_clip_is_read_no_larger_than_the_backend_works_and_few_frames_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sand = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 40, (HEIGHT, WIDTH, 1)), (0, 0), 3)[..., None] + 170
    frames = [np.where(ball(t)[..., None], (205, 40, 45), sand).astype(np.uint8) for t in range(N_FRAMES)]
    path = hostile.make_video(tmp_path / "a.mp4", frames, fps=24)
    clip = make_clip(
        video="a.mp4", video_sha256=hashlib.sha256(path.read_bytes()).hexdigest(), n_frames=N_FRAMES, width=WIDTH,
        height=HEIGHT, start=Rational.of(0), end=Rational.of(Fraction(N_FRAMES, 24)),
    )  # fmt: skip
    anchors = [Anchor(instance_id="id1", frame=5, box_xyxy=(90, 60, 151, 121))]
    grounding = Grounding(anchors=anchors, candidates=[], lost_ids=[], made_by=[])
    monkeypatch.setattr(ground_instances, "result_of", lambda *_: grounding)
    monkeypatch.setattr(FlowPropagator, "short_side_px", 96)
    monkeypatch.setattr(footage, "HELD_BYTES", 5 * 96 * 160 * 3)
    held: list[tuple[int, ...]] = []
    read = ClipFootage.frames

    def frames_of(self: ClipFootage, *asked: Any) -> np.ndarray:
        held.append((part := read(self, *asked)).shape)
        return part

    monkeypatch.setattr(ClipFootage, "frames", frames_of)
    work = Work(root=tmp_path / "work", inputs=Inputs(folder=tmp_path))

    def footage_of(row: Row[Clip]) -> ClipFootage:
        return ClipFootage(work, row)

    config = propagate_masks.PropagateConfig(masks="flow")
    stage = propagate_masks.stage(work, footage_of, config, Sam2Config(), TorchConfig())
    [row] = load_shard(run_stage(work, Shard[Clip].of([clip]), stage), Clip).rows
    (track,) = work.result(row, Tracks).tracks
    assert (track.height, track.width, len(track.counts)) == (HEIGHT, WIDTH, N_FRAMES)
    for t, mask in enumerate(track.masks()):
        assert (mask & ball(t)).sum() > 0.93 * (mask | ball(t)).sum()
    assert set(held) == {(5, 96, 160, 3), (2, 96, 160, 3)}
