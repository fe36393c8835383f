"""CPU time of a rendered clip against the straightforward way, on the same scenes, side by side in one run.

    TRIPTYCH_BLENDER_PYTHON=... python -m benchmarks.bench_render      # `make blender` first; 10 minutes on a slow core

Both sides use Cycles with the same settings, one process with one thread per clip. The straightforward way draws every
frame whole, and again for the masks, with one path a pixel and no denoiser, which suffices for masks. Ours draws what
rests once, and boxes around what moves over it; masks come with the pictures. CPU time is user plus system time, of
Blender's process from start to end and of this process.

The straightforward way draws every sixth frame only. Its cost for all frames is estimated: a clip of one frame, plus
the mean of the drawn frames for each other frame. `--every 1` draws all.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from schemas.scene import Scene, SceneSeed, SceneSet, Trajectory
from schemas.simulation import Rendering
from tasks.backends.cycles import CyclesConfig
from tasks.backends.cycles.plan import plan_clip
from tasks.backends.cycles.renderer import CyclesRenderer
from tasks.media.floors import Floors
from tasks.simulate_scenes import SceneConfig, simulate

SETS: tuple[SceneSet, ...] = ("simple_motion", "interactions")
N_SEEDS = 3  # of each set
EVERY = 6  # frames
N_CLIPS = 20_000  # KineMask's training clips (4.1)

SCENES = SceneConfig()
OURS = CyclesConfig()
WHOLE = CyclesConfig(whole_frames=True)
MASKS = CyclesConfig(whole_frames=True, samples=1, denoise=False)


class Cost(NamedTuple):
    """The cost of one clip both ways, and how far the results agree."""

    name: str
    drawn: float  # pixels that ours draws, in whole frames
    ours_s: float  # CPU
    whole_s: float  # CPU, pictures
    masks_s: float  # CPU, masks
    psnr_db: float
    worst_db: float  # of any frame
    wrong_px: int  # of the masks

    @property
    def ratio(self) -> float:
        return (self.whole_s + self.masks_s) / self.ours_s


def measure(set_: SceneSet, seed: int, every: int) -> Cost:
    floors = Floors()
    simulation = simulate(SceneSeed.of(SCENES, set_, "train", seed), SCENES, floors)
    scene, trajectories = simulation.scene, simulation.trajectories
    floor = floors.picture(scene.floor)
    ours, ours_s = rendered(scene, trajectories, floor, OURS)
    sampled = sample(scene, trajectories, every)
    whole, whole_s = rendered(*sampled, floor, WHOLE)
    masks, masks_s = rendered(*sampled, floor, MASKS)
    if every > 1:
        first = sample(scene, trajectories, scene.n_frames)
        whole_s = for_all(scene.n_frames, whole.frames.shape[0], whole_s, rendered(*first, floor, WHOLE)[1])
        masks_s = for_all(scene.n_frames, masks.frames.shape[0], masks_s, rendered(*first, floor, MASKS)[1])
    errors = ((ours.frames[::every].astype(float) - whole.frames) ** 2).mean(axis=(1, 2, 3))
    return Cost(
        f"{set_} {seed}",
        plan_clip(scene, trajectories, OURS).n_pixels / ours.labels[0].size,
        ours_s,
        whole_s,
        masks_s,
        psnr_db(float(errors.mean())),
        psnr_db(float(errors.max())),
        int((ours.labels[::every] != masks.labels).sum()),
    )


def sample(scene: Scene, trajectories: Sequence[Trajectory], every: int) -> tuple[Scene, list[Trajectory]]:
    """Every `every`-th frame of a clip, from the first."""
    columns = ("position", "rotation", "velocity", "angular_velocity")
    thinned = [t.model_copy(update={name: getattr(t, name)[::every] for name in columns}) for t in trajectories]
    return scene.model_copy(update={"n_frames": len(thinned[0].position)}), thinned


def rendered(
    scene: Scene, trajectories: list[Trajectory], floor: np.ndarray, config: CyclesConfig
) -> tuple[Rendering, float]:
    """A clip and the CPU seconds that it took, here and in Blender's process."""
    before = cpu_s()
    pictures = CyclesRenderer(config).render(scene, trajectories, floor)
    return pictures, cpu_s() - before


def cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def for_all(n_frames: int, n_drawn: int, drawn_s: float, first_s: float) -> float:
    """Estimated CPU seconds of a clip, from those of some of its frames and of its first."""
    return first_s + (n_frames - 1) * (drawn_s - first_s) / (n_drawn - 1)


def psnr_db(mean_square: float) -> float:
    return float(10 * np.log10(255**2 / mean_square))


def report(costs: Sequence[Cost]) -> str:
    lines = [
        "| scene | drawn, frames | ours: CPU, s | pictures: CPU, s | masks: CPU, s | ratio | PSNR, dB | worst, dB "
        "| mask pixels that differ |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for c in costs:
        lines.append(
            f"| {c.name} | {c.drawn:.1f} | {c.ours_s:.1f} | {c.whole_s:.1f} | {c.masks_s:.1f} | {c.ratio:.1f}x "
            f"| {c.psnr_db:.1f} | {c.worst_db:.1f} | {c.wrong_px} |"
        )
    ours_s = statistics.mean(c.ours_s for c in costs)
    two_pass_s = statistics.mean(c.whole_s + c.masks_s for c in costs)
    lines += [
        "",
        f"A clip: {ours_s:.1f} against {two_pass_s:.1f} CPU-s, {two_pass_s / ours_s:.1f}x. "
        f"{N_CLIPS} clips: {N_CLIPS * ours_s / 3600:.0f} against {N_CLIPS * two_pass_s / 3600:.0f} CPU-h.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_render", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=N_SEEDS, help="scenes of each set")
    parser.add_argument("--every", type=int, default=EVERY, help="which frames the straightforward way draws")
    options = parser.parse_args()
    costs = [measure(set_, seed, options.every) for set_ in SETS for seed in range(options.seeds)]
    print(report(costs))


if __name__ == "__main__":
    main()
