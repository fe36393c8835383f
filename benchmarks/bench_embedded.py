"""A newcomer's own video, on the embedded backends: CPU time a stage, memory, and how long the log is silent.

    python -m benchmarks.bench_embedded                     # a drawn clip of 10 s, 1280x720, two instances
    python -m benchmarks.bench_embedded --seconds 60        # a longer one
    python -m benchmarks.bench_embedded --video dog.mp4 --caption "A woman throws a red ball."

`triptych curate matrix11k` runs as a user runs it, with its page. The drawn clip is a scene of the demo, enlarged three
times, with grain, there and back again until it is long enough; its true masks are enlarged likewise. What is timed is
the process: its CPU time between the lines that begin a step, its largest resident size, and the longest time between
two lines.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from schemas.mask_track import decode_masks, encode_mask, mask_iou
from schemas.matrix11k import MaskTrackRow
from schemas.truth import TrueInstance, read_truths
from tasks.datasets.matrix11k.drawn_input import draw_scenes
from tasks.engine.snapshots import Snapshot
from tasks.media.encoding import write_video
from tasks.media.video import iter_frames

FPS, WIDTH, HEIGHT, ENLARGED = 30, 1280, 720, 3
SCENE = "push-0"  # a boy and a box, neither of which leaves the picture
GRAIN = 2.0  # 8-bit levels
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
STEP = re.compile(r"\| INFO +\| ([a-z_]+)$")


# --- Input -----------------------------------------------------------------------------------


def draw_clip(folder: Path, n_frames: int) -> tuple[str, dict[str, list[str]]]:
    """Write folder/clip.mp4; returns its caption, and {noun: true masks, one a frame}."""
    draw_scenes(folder / "scenes", n_scenes=1)
    truth = next(truth for truth in read_truths(folder / "scenes") if truth.id == SCENE)
    drawn = [frame for _, frame in iter_frames(folder / "scenes" / truth.video)]
    order = there_and_back(len(drawn), n_frames)
    grain = np.random.default_rng(0).normal(0, GRAIN, (8, HEIGHT, WIDTH, 1)).astype(np.float32)
    frames = (
        np.clip(enlarge(drawn[t], cv2.INTER_CUBIC) + grain[number % len(grain)], 0, 255).astype(np.uint8)
        for number, t in enumerate(order)
    )
    write_video(folder / "clip.mp4", frames, Fraction(FPS))
    return truth.caption, {instance.noun: enlarge_masks(instance, order) for instance in truth.instances}


def there_and_back(n: int, n_frames: int) -> list[int]:
    """0, 1, ... n-1, n-2, ... 1, 0, 1, ..."""
    turn = [*range(n), *range(n - 2, 0, -1)]
    return [turn[t % len(turn)] for t in range(n_frames)]


def enlarge(picture: np.ndarray, interpolation: int) -> np.ndarray:
    """(240, 320[, 3]) -> (HEIGHT, WIDTH[, 3]): ENLARGED times as large, its edges repeated to the left and right."""
    large = cv2.resize(picture, None, fx=ENLARGED, fy=ENLARGED, interpolation=interpolation)
    side = (WIDTH - large.shape[1]) // 2
    return cv2.copyMakeBorder(large, 0, 0, side, side, cv2.BORDER_REPLICATE)


def enlarge_masks(instance: TrueInstance, order: list[int]) -> list[str]:
    """Run lengths of an instance's visible masks at the clip's size."""
    masks = decode_masks(instance.counts, HEIGHT // ENLARGED, HEIGHT // ENLARGED * 4 // 3)
    large = [encode_mask(enlarge(mask.astype(np.uint8), cv2.INTER_NEAREST).astype(bool)) for mask in masks]
    return [large[t] for t in order]


# --- Measures --------------------------------------------------------------------------------


@dataclass
class Watched:
    """What a run took, looked at from outside."""

    cpu_s: dict[str, float] = field(default_factory=dict)  # by step
    wall_s: float = 0.0
    most_mb: float = 0.0
    silence_s: float = 0.0
    silent_in: str = ""


def watch(command: list[str]) -> Watched:
    """Run a command to its end. Raises CalledProcessError if it fails."""
    seen, step = Watched(), "start"
    started_s = last_s = time.monotonic()
    spent_s = 0.0
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    looking = threading.Thread(target=lambda: looked_at(process, seen), daemon=True)
    looking.start()
    lines = []
    for line in process.stdout:
        lines.append(line)
        now_s, cpu_s = time.monotonic(), cpu_of(process.pid)
        seen.cpu_s[step] = seen.cpu_s.get(step, 0.0) + cpu_s - spent_s
        if now_s - last_s > seen.silence_s:
            seen.silence_s, seen.silent_in = now_s - last_s, step
        spent_s, last_s = cpu_s, now_s
        if found := STEP.search(line):
            step = found[1]
    if code := process.wait():
        raise subprocess.CalledProcessError(code, command, "".join(lines[-20:]))
    seen.wall_s = time.monotonic() - started_s
    looking.join()
    return seen


def looked_at(process: subprocess.Popen[str], seen: Watched) -> None:
    """Keep the largest resident size, until the process ends."""
    while process.poll() is None:
        seen.most_mb = max(seen.most_mb, resident_mb(process.pid))
        time.sleep(0.1)


def cpu_of(pid: int) -> float:
    """User and system seconds of a process and of its children that ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / CLOCK_TICKS


def resident_mb(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return sum(int(kb) for kb in re.findall(r"VmRSS:\s+(\d+)", status)) / 1000


# --- Report ----------------------------------------------------------------------------------


def table(seen: Watched) -> str:
    lines = ["| step | CPU, s |", "|---|---|"]
    lines += [f"| {step} | {cpu_s:.1f} |" for step, cpu_s in seen.cpu_s.items() if cpu_s >= 0.05]
    lines += [f"| all | {sum(seen.cpu_s.values()):.1f} |", ""]
    lines.append(
        f"{seen.wall_s:.0f} s, at most {seen.most_mb:.0f} MB resident, longest silence {seen.silence_s:.1f} s "
        f"({seen.silent_in})"
    )
    return "\n".join(lines)


def quality(root: Path, truth: dict[str, list[str]]) -> str:
    """Mean IoU of each true instance with the track that fits it best."""
    snapshot = Snapshot.latest(root / "snapshots")
    tracks = snapshot.rows(MaskTrackRow) if snapshot else []
    fits = {
        noun: max((mask_iou(track.counts, counts, HEIGHT, WIDTH).mean() for track in tracks), default=0.0)
        for noun, counts in truth.items()
    }
    return "mean IoU with the truth: " + ", ".join(f"{noun} {fit:.3f}" for noun, fit in fits.items())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_embedded", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=10, help="of the drawn clip (default: 10)")
    parser.add_argument("--video", type=Path, help="another video, read with the default backends")
    parser.add_argument("--caption", help="of that video")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = ["--split.max-clip-s", str(max(30, options.seconds))]
        if options.video:
            caption, truth = options.caption, {}
            shutil.copy(options.video, folder / "clip.mp4")
        else:
            caption, truth = draw_clip(folder, options.seconds * FPS)
            given += ["--ground.grounding", "colour", "--ground.vlm", "rules"]  # they know what is drawn
        manifest = folder / "manifest.jsonl"
        manifest.write_text(json.dumps({"video": "clip.mp4", "caption": caption}) + "\n")
        command = [sys.executable, "-m", "flows.commands.cli", "curate", "matrix11k"]
        print(table(watch([*command, "--manifest", str(manifest), "--root", str(folder / "data"), *given])))
        if truth:
            print(quality(folder / "data", truth))


if __name__ == "__main__":
    main()
