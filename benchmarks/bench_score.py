"""Scoring clips with NumPy, all at once, against a plain loop over clips and frames: the same scores, side by side.

    python -m benchmarks.bench_score                 # the paper's training and test samples: 500 x 10 + 120 x 5 clips

Both sides compute the two SSR curves and the DSR-Score of every clip; results must agree to 1e-9. Two inputs: boxes in
memory, in the form that suits each side (arrays; lists of tuples), and the tables of a snapshot on disk. The sides take
turns, so a change of load affects both.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from schemas.candidate import Box
from schemas.dsr import ANIMAL, OBJECT, ROLES, DsrLabels, DsrPrompt, DsrSample, SampleRow, TrackRow
from schemas.relation import DSR_TYPES, RELATIONS
from schemas.scores import Variant
from tasks.datasets.dsr.rescore import read_boxes, score_snapshot
from tasks.engine.snapshots import Snapshot
from tasks.metrics.dsr_score import END_FRAMES, GAP_WEIGHTS, ClipScores, directions_of, score_clips
from tests.support.snapshots import write_snapshot

N_CLIPS = 500 * 10 + 120 * 5  # prompts x seeds of training and test (SpatialAlign 4.1)
N_FRAMES, HEIGHT, WIDTH = 81, 480, 832
N_STORED_CLIPS = 1000
REPEATS = 7
MISSING = 0.05  # share of boxes

Boxes = list[Box | None]


# --- Clips -----------------------------------------------------------------------------------


class Clips(NamedTuple):
    """Synthetic clips as arrays: the animal moves between two random places, the object stays."""

    relations: list[tuple[str, str]]  # initial and final, one pair a clip
    animal: np.ndarray  # (B, N, 4)
    object_: np.ndarray  # (B, N, 4)
    found: np.ndarray  # (B, N) bool; boxes are NaN elsewhere


def make_clips(n_clips: int, n_frames: int = N_FRAMES) -> Clips:
    rng = np.random.default_rng([n_clips, n_frames])
    time_ = np.linspace(0, 1, n_frames)[:, None]
    start, end = rng.uniform((0, 0), (WIDTH - 160, HEIGHT - 160), (2, n_clips, 1, 2))
    animal = _boxes(start + (end - start) * time_, rng)
    object_ = _boxes(rng.uniform((200, 150), (500, 300), (n_clips, 1, 2)) + 0 * time_, rng)
    for boxes in (animal, object_):
        boxes[rng.random(boxes.shape[:2]) < MISSING] = np.nan
    types = list(DSR_TYPES.values())
    relations = [types[clip % len(types)][1:] for clip in range(n_clips)]
    return Clips(relations, animal, object_, ~np.isnan(animal + object_).any(axis=-1))


def _boxes(corners: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(B, N, 2) near corners -> (B, N, 4) boxes in whole pixels, like those of masks, with varying sizes."""
    sizes = rng.uniform(60, 160, (len(corners), 1, 2)) + rng.normal(0, 3, corners.shape)
    return np.concatenate([corners, corners + sizes], axis=-1).round()


def as_lists(boxes: np.ndarray) -> list[Boxes]:
    """(B, N, 4) -> for each clip and frame a tuple of floats, None where it is missing."""
    return [[None if math.isnan(box[0]) else tuple(box) for box in clip] for clip in boxes.tolist()]


# --- The plain way ---------------------------------------------------------------------------


class PlainScores(NamedTuple):
    """The plain way's result for one clip."""

    ssr_initial: list[float | None]
    ssr_final: list[float | None]
    score: float | None


def plain_ssr(
    animal: Box | None, object_: Box | None, direction: tuple[float, float, float], variant: Variant = "official"
) -> float | None:
    """The SSR-Score of one frame."""
    if animal is None or object_ is None:
        return None
    width_a, height_a = animal[2] - animal[0], animal[3] - animal[1]
    width_o, height_o = object_[2] - object_[0], object_[3] - object_[1]
    mean_width, mean_height = abs(width_a + width_o) / 2, abs(height_a + height_o) / 2
    if not all(map(math.isfinite, (*animal, *object_))):
        return None
    if 0 in (width_a, width_o, mean_width, mean_height):
        return None
    if variant == "paper" and min(width_a, height_a, width_o, height_o) <= 0:
        return None
    dx = (animal[0] + animal[2]) / 2 - (object_[0] + object_[2]) / 2
    dy = (animal[1] + animal[3]) / 2 - (object_[1] + object_[3]) / 2
    length = math.hypot(dx, dy)
    if length == 0:
        return 0.0
    distance = abs(dx) / mean_width if direction[0] else abs(dy) / mean_height
    return min(distance, 1.0) * (dx * direction[0] + dy * direction[1]) / length


def plain_clip(animal: Boxes, object_: Boxes, initial: str, final: str, variant: Variant = "official") -> PlainScores:
    """Curves and DSR-Score of one clip."""
    direction_initial, direction_final = RELATIONS[initial].direction, RELATIONS[final].direction
    ssr_initial, ssr_final = [], []
    for a, o in zip(animal, object_, strict=True):
        ssr_initial.append(plain_ssr(a, o, direction_initial, variant))
        ssr_final.append(plain_ssr(a, o, direction_final, variant))
    found_initial = [value for value in ssr_initial if value is not None]
    found_final = [value for value in ssr_final if value is not None]
    if not found_initial:
        return PlainScores(ssr_initial, ssr_final, None)
    first, last = found_initial[:END_FRAMES], found_final[-END_FRAMES:]
    ends = sum(first) / len(first) + sum(last) / len(last)
    gaps = found_initial[0] - found_initial[-1] + found_final[-1] - found_final[0]
    return PlainScores(ssr_initial, ssr_final, (ends + GAP_WEIGHTS[variant] * gaps) / 8 + 0.5)


def plain_clips(
    animals: list[Boxes], objects: list[Boxes], relations: list[tuple[str, str]], variant: Variant = "official"
) -> list[PlainScores]:
    return [plain_clip(a, o, *pair, variant) for a, o, pair in zip(animals, objects, relations, strict=True)]


# --- From memory -----------------------------------------------------------------------------


def numpy_clips(clips: Clips, variant: Variant = "official") -> ClipScores:
    initial = directions_of([initial for initial, _ in clips.relations])
    final = directions_of([final for _, final in clips.relations])
    return score_clips(clips.animal, clips.object_, clips.found, initial, final, variant)


def assert_equal(scores: ClipScores, plain: list[PlainScores]) -> None:
    """The two ways agree to 1e-9 on every curve and score."""
    close = {"rtol": 0, "atol": 1e-9, "equal_nan": True}
    np.testing.assert_allclose(scores.ssr_initial, np.array([p.ssr_initial for p in plain], float), **close)
    np.testing.assert_allclose(scores.ssr_final, np.array([p.ssr_final for p in plain], float), **close)
    np.testing.assert_allclose(scores.dsr.score, np.array([p.score for p in plain], float), **close)


def from_lists(animals: list[Boxes], objects: list[Boxes], relations: list[tuple[str, str]]) -> Clips:
    """Boxes as records hold them -> arrays."""
    absent = (math.nan,) * 4
    animal, object_ = (
        np.array([[absent if box is None else box for box in boxes] for boxes in clips]) for clips in (animals, objects)
    )
    return Clips(relations, animal, object_, ~np.isnan(animal + object_).any(axis=-1))


def from_memory(n_clips: int, repeats: int) -> str:
    clips = make_clips(n_clips)
    animals, objects = as_lists(clips.animal), as_lists(clips.object_)
    assert_equal(numpy_clips(clips), plain_clips(animals, objects, clips.relations))
    times = in_turns(
        {
            "a plain loop, from lists": lambda: plain_clips(animals, objects, clips.relations),
            "`score_clips`, from arrays": lambda: numpy_clips(clips),
            "`score_clips`, from lists": lambda: numpy_clips(from_lists(animals, objects, clips.relations)),
        },
        repeats,
    )
    return table(f"{n_clips} clips of {N_FRAMES} frames, from memory", times, n_clips * N_FRAMES)


# --- From a snapshot -------------------------------------------------------------------------


def write_clips(folder: Path, clips: Clips) -> Snapshot:
    """Write a snapshot with the tables `samples` and `tracks`; columns that scoring does not read hold dummies."""
    samples, tracks = [], []
    animals, objects = as_lists(clips.animal), as_lists(clips.object_)
    for number, (initial, final) in enumerate(clips.relations):
        sample = make_sample(number, initial, final)
        samples.append(make_row(sample, len(animals[number])))
        tracks += [make_track(sample, i, b[number]) for i, b in ((ANIMAL, animals), (OBJECT, objects))]
    return write_snapshot(folder, "curate-dsr", {"samples": (SampleRow, samples), "tracks": (TrackRow, tracks)})


def make_sample(seed: int, initial: str, final: str) -> DsrSample:
    labels = DsrLabels(scene="", animal="fox", object="stump", verb="walks", initial=initial, final=final)
    said = {"prompt_id": DsrPrompt.id_of(labels), "split": "train", "form": "structured", "text": "a fox and a stump"}
    return DsrSample.of(DsrPrompt(**labels.model_dump(), **said), seed)


def make_row(sample: DsrSample, n_frames: int, **changes: Any) -> SampleRow:
    values = {
        **{"type": sample.dsr_type, "fps": 16, "n_frames": n_frames, "width": WIDTH, "height": HEIGHT},
        **{"sha256": "0" * 64, "score": "official", "dsr_score": 0.5, "n_found": 0, "drawn": None, "made_by": []},
        **dict.fromkeys(("r_initial", "r_final", "g_initial", "g_final"), 0.0),
        **{"ssr_initial": [], "ssr_final": [], "initial_yes": True, "final_yes": True},
    }
    return SampleRow(**sample.model_dump(), **values | changes)


def make_track(sample: DsrSample, instance_id: str, boxes: Boxes) -> TrackRow:
    return TrackRow(
        clip_id=sample.clip_id,
        role=ROLES[instance_id],
        instance_id=instance_id,
        height=HEIGHT,
        width=WIDTH,
        anchor_frame=0,
        counts=[""] * len(boxes),
        box_xyxy=boxes,
        area=[0] * len(boxes),
        present=[box is not None for box in boxes],
    )


def plain_snapshot(snapshot: Snapshot) -> list[PlainScores]:
    """The plain way from the same tables, reading the same columns as ours."""
    samples = pq.read_table(snapshot.files("samples"), columns=["clip_id", "initial", "final"]).to_pylist()
    tracks = pq.read_table(snapshot.files("tracks"), columns=["clip_id", "role", "box_xyxy"]).to_pylist()
    boxes = {(track["clip_id"], track["role"]): track["box_xyxy"] for track in tracks}
    return plain_clips(
        [boxes[sample["clip_id"], "animal"] for sample in samples],
        [boxes[sample["clip_id"], "object"] for sample in samples],
        [(sample["initial"], sample["final"]) for sample in samples],
    )


def from_snapshot(n_clips: int, repeats: int) -> str:
    with tempfile.TemporaryDirectory() as name:
        snapshot = write_clips(Path(name), make_clips(n_clips))
        scores = score_snapshot(snapshot)["dsr_score"].to_numpy()
        np.testing.assert_allclose(scores, [p.score for p in plain_snapshot(snapshot)], rtol=0, atol=1e-9)
        times = in_turns(
            {
                "a plain loop over the tables' rows": lambda: plain_snapshot(snapshot),
                "`score_snapshot`": lambda: score_snapshot(snapshot),
                "of it, `read_boxes`": lambda: read_boxes(snapshot),
            },
            repeats,
        )
    return table(f"{n_clips} clips of {N_FRAMES} frames, from a snapshot on disk", times, n_clips * N_FRAMES)


# --- Measures --------------------------------------------------------------------------------


def in_turns(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """CPU seconds of every way in each round."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats):
        for name in ways if turn % 2 == 0 else reversed(ways):
            started = time.process_time()
            ways[name]()
            times[name].append(time.process_time() - started)
    return times


def table(title: str, times: dict[str, list[float]], n_frames: int) -> str:
    """Ratios of the first way to each way, per round: median, smallest and largest."""
    plain = next(iter(times.values()))
    lines = [title, "", "| | CPU, ms | a frame: ns | ratio | smallest to largest |", "|---|---|---|---|---|"]
    for name, seconds in times.items():
        ratios = sorted(a / b for a, b in zip(plain, seconds, strict=True))
        median = statistics.median(seconds)
        spread = f"{statistics.median(ratios):.1f}x | {ratios[0]:.1f}x to {ratios[-1]:.1f}x"
        lines.append(f"| {name} | {median * 1e3:.1f} | {median / n_frames * 1e9:.0f} | {spread} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_score", description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=N_CLIPS)
    parser.add_argument("--stored-clips", type=int, default=N_STORED_CLIPS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    options = parser.parse_args()
    print(from_memory(options.clips, options.repeats), flush=True)
    print(from_snapshot(options.stored_clips, options.repeats), flush=True)


if __name__ == "__main__":
    main()
