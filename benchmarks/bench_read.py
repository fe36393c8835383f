"""decord against PyAV as frame readers: CPU time for the same bits, side by side in one run.

    python -m benchmarks.bench_read                  # a video it makes itself
    python -m benchmarks.bench_read a.mp4 b.mp4      # and these

Each reads a whole clip, then eight frames spread over it, with one thread. decord's check of a file, once a process, is
told apart. The readers take turns; the table holds medians.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from statistics import median

import numpy as np

from tasks.backends.frame_readers import frame_reader
from tasks.engine.snapshots import ClipVideo
from tasks.media.encoding import write_video
from tasks.media.video import FrameReader, sample_indices, survey

REPEATS = 3
FPS, N_FRAMES, WIDTH, HEIGHT = 30, 300, 1280, 720


def draw(path: Path) -> Path:
    """A texture that drifts."""
    rng = np.random.default_rng(0)
    texture = np.kron(rng.integers(0, 255, (HEIGHT // 8, WIDTH // 4, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    write_video(path, (texture[:, 2 * i : 2 * i + WIDTH] for i in range(N_FRAMES)), Fraction(FPS))
    return path


def cpu_s(work: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """CPU time of this process, all threads, and what the work made."""
    start = time.process_time()
    made = work()
    return time.process_time() - start, made


def measure(path: Path) -> dict[str, float]:
    """CPU seconds by what was read, and by whom."""
    _, n_frames = survey(path)
    video, few = ClipVideo(path), sample_indices(n_frames, 8)
    decord: FrameReader = frame_reader("decord", known_intact=True)
    check_s, _ = cpu_s(lambda: decord.read_video(video, [0]))
    readers = {"pyav": frame_reader("pyav"), "decord": decord}
    taken: dict[str, list[float]] = {}
    for _ in range(REPEATS):
        for name, indices in {"whole clip": None, "eight frames": few}.items():
            made = []
            for by, reader in readers.items():
                seconds, pictures = cpu_s(lambda reader=reader, indices=indices: reader.read_video(video, indices))
                taken.setdefault(f"{name}, {by}", []).append(seconds)
                made.append(pictures)
            if not np.array_equal(*made):
                raise AssertionError(f"{path}: the readers differ in {name}")
    return {what: median(seconds) for what, seconds in taken.items()} | {"decord's check": check_s}


def main(paths: list[Path]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for path in [draw(Path(folder) / "drawn.mp4"), *paths]:
            costs = measure(path)
            print(f"{path.name}: CPU, s: " + "; ".join(f"{what} {seconds:.2f}" for what, seconds in costs.items()))
            for what in ("whole clip", "eight frames"):
                print(f"    {what}: decord / pyav = {costs[f'{what}, decord'] / costs[f'{what}, pyav']:.2f}")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
