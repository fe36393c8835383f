"""Scene splitting against PySceneDetect's command line: same settings, same cuts, side by side in one run.

    python -m benchmarks.bench_split                 # videos it makes itself, 480p and 1080p
    python -m benchmarks.bench_split a.mp4 b.mp4     # and these

Every run is a separate process. The two programs and a bare decode of the same file take turns; the table holds
medians. `start-up` is the same program's time for a video of ten frames. The bare decode limits the possible gain, as
both sides must decode every frame. Compare wall times only on an idle machine, as the command line uses more threads.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from tasks.backends.torch_runtime import TorchConfig
from tasks.media.decoding import decode_span, probe
from tasks.split_scenes import SplitConfig, find_transitions, load_detectors

REPEATS = 3
FPS = 30
START_UP_FRAMES = 10

COMMANDS = {
    "command line": [sys.executable, "-m", "scenedetect", "-i", "{}", "detect-content", "list-scenes", "-n"],
    "split_scenes": [sys.executable, "-m", "benchmarks.bench_split", "--cuts", "{}"],
    "decode only": [sys.executable, "-m", "benchmarks.bench_split", "--decode", "{}"],
}


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    wall_s: float
    cpu_s: float  # user and system, over all its threads


# --- Runs ------------------------------------------------------------------------------------


def run(program: str, video: Path) -> tuple[Cost, str]:
    """One process: its cost and its output."""
    command = [part.format(video) for part in COMMANDS[program]]
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        cost = Cost(time.perf_counter() - start, usage.ru_utime + usage.ru_stime)
        process.returncode = os.waitstatus_to_exitcode(status)  # already reaped: Popen must not wait again
        if process.returncode != 0:
            raise RuntimeError(f"{program} ended with {process.returncode} on {video}")
        output.seek(0)
        return cost, output.read()


def cuts_of(program: str, output: str) -> list[int]:
    """The frames, from 0, that begin a shot after the first one."""
    if program == "split_scenes":
        return json.loads(output)
    return [int(start) - 1 for start in re.findall(r"^ \| +\d+ +\| +(\d+) \|", output, re.MULTILINE)][1:]


def median(costs: list[Cost]) -> Cost:
    return Cost(statistics.median(c.wall_s for c in costs), statistics.median(c.cpu_s for c in costs))


def measure(video: Path, repeats: int) -> tuple[dict[str, Cost], list[int]]:
    """Medians of each program, taking turns, and the cuts. Raises AssertionError if the cuts differ."""
    costs: dict[str, list[Cost]] = {program: [] for program in COMMANDS}
    for _ in range(repeats):
        cuts = {}
        for program in COMMANDS:
            cost, output = run(program, video)
            costs[program].append(cost)
            if program != "decode only":
                cuts[program] = cuts_of(program, output)
        assert cuts["split_scenes"] == cuts["command line"], f"{video}: the cuts differ: {cuts}"
    return {program: median(runs) for program, runs in costs.items()}, cuts["split_scenes"]


# --- Videos ----------------------------------------------------------------------------------


def moving_shots(width: int, height: int, n_shots: int) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 RGB frames of shots of 1.5 to 5 s in which a texture of fine and coarse detail drifts."""
    rng = np.random.default_rng(0)
    margin = 320
    for _ in range(n_shots):
        texture = rng.uniform(60, 200, 3) + sum(
            amplitude
            * cv2.resize(
                rng.standard_normal((height // cell + 2, width // cell + 2, 3)), (width + margin, height + margin)
            )
            for cell, amplitude in ((250, 60), (50, 40), (8, 20))
        )
        texture = np.clip(texture, 0, 255).astype(np.uint8)
        step_x, step_y = rng.integers(0, 3, 2)
        for i in range(int(rng.integers(45, 150))):
            x, y = step_x * i, step_y * i
            yield texture[y : y + height, x : x + width]


def make_video(path: Path, width: int, height: int, *, n_shots: int, times: int) -> None:
    """Encode shots once, like usual files (B-frames, one slice a frame), then append them `times` times."""
    once = path.with_suffix(".once.mp4")
    with av.open(str(once), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.thread_type = "FRAME"
        stream.options = {"preset": "veryfast", "crf": "23"}
        for frame in moving_shots(width, height, n_shots):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(path), "w") as target:
        copy, offset = None, 0
        for _ in range(times):
            with av.open(str(once)) as container:
                stream = container.streams.video[0]
                copy = copy or target.add_stream_from_template(stream)
                for packet in container.demux(stream):
                    if packet.dts is None or packet.pts is None:  # the end of the stream
                        continue
                    packet.pts, packet.dts, packet.stream = packet.pts + offset, packet.dts + offset, copy
                    target.mux(packet)
                offset += stream.duration
    once.unlink()


def cut_to_start(path: Path, video: Path) -> None:
    """Copy the first frames of a video to their own file: its cost is the start-up."""
    with av.open(str(video)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for number, packet in enumerate(source.demux(stream)):
            if number == START_UP_FRAMES or packet.dts is None:
                break
            packet.stream = copy
            target.mux(packet)


# --- Report ----------------------------------------------------------------------------------


def report(video: Path, repeats: int, folder: Path) -> str:
    """The rows of one video."""
    info = probe(video)
    start = folder / f"start-{video.stem}.mp4"
    cut_to_start(start, video)
    start_up, _ = measure(start, repeats)
    cost, cuts = measure(video, repeats)
    theirs, ours, decode = (cost[program] for program in COMMANDS)
    n_s = float(info.duration or 0)
    lines = [f"{video.name}: {info.width}x{info.height}, {n_s:.0f} s, {len(cuts)} cuts, the same in both", ""]
    lines += ["| | command line | split_scenes | ratio | decode only |", "|---|---|---|---|---|"]
    lines += [
        _row("wall, s", theirs.wall_s, ours.wall_s, decode.wall_s),
        _row("CPU, s", theirs.cpu_s, ours.cpu_s, decode.cpu_s),
        _row("start-up: wall, s", *(start_up[program].wall_s for program in COMMANDS)),
        _row("start-up: CPU, s", *(start_up[program].cpu_s for program in COMMANDS)),
        _row("without start-up: wall, s", *(cost[p].wall_s - start_up[p].wall_s for p in COMMANDS)),
        _row("without start-up: CPU, s", *(cost[p].cpu_s - start_up[p].cpu_s for p in COMMANDS)),
    ]
    return "\n".join([*lines, ""])


def _row(name: str, theirs: float, ours: float, decode: float) -> str:
    return f"| {name} | {theirs:.2f} | {ours:.2f} | {theirs / ours:.2f}x | {decode:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_split", description=__doc__.split("\n")[0])
    parser.add_argument("videos", nargs="*", type=Path, help="further videos")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--only-given", action="store_true", help="make no videos")
    parser.add_argument("--cuts", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--decode", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cuts:
        config = SplitConfig(detector=["content"])
        detectors = load_detectors(config, TorchConfig())
        _, found = find_transitions(options.cuts, probe(options.cuts), None, None, detectors, config)
        print(json.dumps([transition.cut for transition in found]))
        return
    if options.decode:
        print(sum(1 for _ in decode_span(options.decode)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        videos = list(options.videos)
        if not options.only_given:
            make_video(folder / "480p.mp4", 854, 480, n_shots=8, times=6)
            make_video(folder / "1080p.mp4", 1920, 1080, n_shots=8, times=3)
            videos = [folder / "480p.mp4", folder / "1080p.mp4", *videos]
        for video in videos:
            print(report(video, options.repeats, folder), flush=True)


if __name__ == "__main__":
    main()
