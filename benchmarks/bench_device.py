"""How busy a device is in propagate_masks, with a network of known cost: one row after the other, and as it is done.

    python -m benchmarks.bench_device                       # a shard of 64 clips, about five minutes
    python -m benchmarks.bench_device --decode-share 0.9    # decoding costs nearly as much as the network

The network sleeps 50 ms a frame. A clip of 1280x720 is really decoded; what that takes less than half of the network's
time is slept, so that its share is known on machines of any speed. All else is real: `run_stage`, clips of different
lengths, three moving masks a frame, their run lengths, results on disk. "in turn": the next clip enters the network
after the last one's masks are encoded, as it was; now they are encoded meanwhile. All ways must store the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import threading
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from schemas.candidate import Anchor
from schemas.clip import Clip
from schemas.mask_track import Tracks, encode_mask
from schemas.record import Rational
from schemas.source import Source
from schemas.usage import DeviceTime
from tasks.engine.inputs import Inputs
from tasks.engine.progress import device_at_work
from tasks.engine.shards import Shard
from tasks.engine.stage import Stage, chain_of, run_stage
from tasks.engine.work import Work
from tasks.media.encoding import write_video
from tasks.media.footage import Frames
from tasks.media.video import read_frames
from tasks.propagate_masks import PropagateConfig, propagate_masks
from tasks.split_scenes import SplitConfig, split_scenes

FPS, WIDTH, HEIGHT = 30, 1280, 720
CLIP_FRAMES = (16, 6, 26, 10, 32, 6, 19, 13)  # the lengths of clips, over and over
N_INSTANCES, N_MASKS = 3, 20
NETWORK_S = 0.05  # a frame


class SleepingNetwork:
    """A propagator whose network takes a known time; its masks are given."""

    identity = {"backend": "sleeping", "model": "1"}  # noqa: RUF012
    short_side_px = HEIGHT

    def __init__(self, masks: np.ndarray, *, in_turn: bool) -> None:
        """masks: (instances, M, H, W) bool, shown over and over"""
        self.concurrency = 1
        self._masks, self._in_turn = masks, in_turn
        self._one = threading.Lock()

    def propagate(
        self, frames: Frames, anchors: list[Anchor], size: tuple[int, int] | None = None
    ) -> dict[str, list[str]]:
        with self._one:
            with device_at_work():
                time.sleep(NETWORK_S * len(frames))
            if self._in_turn:
                return self._encode(len(frames), anchors)
        return self._encode(len(frames), anchors)

    def _encode(self, n_frames: int, anchors: list[Anchor]) -> dict[str, list[str]]:
        return {
            anchor.instance_id: [encode_mask(masks[t % len(masks)]) for t in range(n_frames)]
            for anchor, masks in zip(anchors, self._masks, strict=True)
        }


def draw_masks() -> np.ndarray:
    """(N_INSTANCES, N_MASKS, H, W) bool, columns contiguous as SAM2's come: discs of 120 to 360 px that go round."""
    y, x = np.ogrid[:HEIGHT, :WIDTH]
    turn = np.linspace(0, 2 * np.pi, N_MASKS, endpoint=False)
    discs = [
        [(x - 640 - 200 * np.cos(a)) ** 2 + (y - 360 - 100 * np.sin(a)) ** 2 < (60 * n) ** 2 for a in turn]
        for n in range(1, N_INSTANCES + 1)
    ]
    return np.ascontiguousarray(np.array(discs).swapaxes(2, 3)).swapaxes(2, 3)


class Way(NamedTuple):
    """How rows share the device."""

    name: str
    rows_at_work: int
    in_turn: bool


WAYS = (
    Way("one row after the other", 1, True),
    Way("2 rows at work, in turn", 2, True),
    Way("look-ahead 1", 2, False),
    Way("look-ahead 2", 3, False),
)


def draw_clips(folder: Path, n_clips: int) -> list[Clip]:
    """Clips of one drawn video, a texture that drifts; each is a row of its own."""
    n_frames = max(CLIP_FRAMES)
    rng = np.random.default_rng(0)
    texture = np.kron(rng.integers(0, 255, (HEIGHT // 8, WIDTH // 4, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    path = folder / "drawn.mp4"
    write_video(path, (texture[:, 2 * i : 2 * i + WIDTH] for i in range(n_frames)), Fraction(FPS))
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    source = Source(source_id="src-drawn", line=1, video=path.name, video_sha256=digest, n_bytes=len(data))
    (whole,) = split_scenes(path, source, SplitConfig(threshold=255, detector=["content"])).clips
    lengths = [CLIP_FRAMES[n % len(CLIP_FRAMES)] for n in range(n_clips)]
    return [
        whole.model_copy(
            update={"clip_id": f"clip-{n:04d}", "n_frames": length, "end": Rational.of(Fraction(length, FPS))}
        )
        for n, length in enumerate(lengths)
    ]


class PaddedReader:
    """Decodes clips, and sleeps for the rest of the time that this is to take."""

    def __init__(self, videos: Path, s_per_frame: float) -> None:
        self._videos, self._s_per_frame = videos, s_per_frame
        self.taken_s = 0.0  # summed over rows, those side by side too

    def frames(self, clip: Clip) -> np.ndarray:
        start = time.perf_counter()
        frames = read_frames(self._videos / clip.video, clip)
        time.sleep(max(0.0, start + self._s_per_frame * len(frames) - time.perf_counter()))
        self.taken_s += time.perf_counter() - start
        return frames


class Found(NamedTuple):
    """What a run measured."""

    taken: DeviceTime
    decode_s: float
    digest: str  # of all results


def run(clips: Sequence[Clip], videos: Path, way: Way, masks: np.ndarray, decode_share: float) -> Found:
    network = SleepingNetwork(masks, in_turn=way.in_turn)
    reader = PaddedReader(videos, decode_share * NETWORK_S)
    anchors = [Anchor(instance_id=f"id{n}", frame=0, box_xyxy=(0, 0, 9, 9)) for n in range(1, N_INSTANCES + 1)]
    with tempfile.TemporaryDirectory() as folder:
        work = Work(root=Path(folder), inputs=Inputs(folder=videos))
        stage: Stage[Clip, Clip, Tracks] = Stage(
            version=1,
            result=Tracks,
            config=PropagateConfig(),
            made_by=[],
            read=lambda row: row.payload,
            compute=lambda clip: propagate_masks(reader.frames(clip), anchors, network),
            concurrency=way.rows_at_work,
        )
        shard = Shard[Clip].of(clips)
        run_stage(work, shard, stage)
        taken = work.device_times(stage.name, {shard.shard_id: chain_of([stage])})[shard.shard_id]
        results = sorted((work.root / "rows").rglob("*.json"))
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in results)).hexdigest()
    return Found(taken, reader.taken_s, digest)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_device", description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=64, help="clips of the shard (default: 64)")
    parser.add_argument(
        "--decode-share", type=float, default=0.5, help="time of decoding over that of the network (default: 0.5)"
    )
    parser.add_argument("--repeats", type=int, default=1, help="the table holds medians (default: 1)")
    options = parser.parse_args()
    found: dict[Way, list[Found]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        clips, masks = draw_clips(Path(folder), options.clips), draw_masks()
        for _ in range(options.repeats):
            for way in WAYS:
                found[way].append(run(clips, Path(folder), way, masks, options.decode_share))
    if len({run.digest for runs in found.values() for run in runs}) != 1:
        raise AssertionError("the ways stored different bytes")
    print(f"{len(clips)} clips, {sum(clip.n_frames for clip in clips)} frames")
    print("| | device busy | lowest of the runs | stage, s | decoding over network |\n|---|---|---|---|---|")
    for way, runs in found.items():
        shares = [run.taken.share for run in runs]
        wall_s = median(run.taken.wall_s for run in runs)
        decoding = median(run.decode_s / run.taken.busy_s for run in runs)
        print(f"| {way.name} | {median(shares):.1%} | {min(shares):.1%} | {wall_s:.1f} | {decoding:.2f} |")


if __name__ == "__main__":
    main()
