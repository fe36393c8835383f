"""Mask tracks in Parquet against a tree of PNG files: the same bits, side by side in one run.

    python -m benchmarks.bench_masks                          # tracks it draws itself
    python -m benchmarks.bench_masks SNAPSHOT/mask_tracks/*   # and these

The tree holds one file a mask, <clip>/<instance>/<frame>.png, as datasets usually ship. It is written four
times: with 8 and with 1 bit a pixel, at OpenCV's default compression and at its strongest. Every form is
loaded into one (N, H, W) bool array per track, from a warm page cache; the forms take turns. `files` is the
sum of the file sizes, `disk` the sum of their disk blocks.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq

from schemas.mask_track import MaskTrack, decode_masks, encode_mask
from schemas.matrix11k import MaskTrackRow
from schemas.record import read_table, write_table
from schemas.truth import read_truths
from tasks.datasets.matrix11k.drawn_input import draw_scenes
from tasks.media.drawing.canvas import SHOT_FRAMES

REPEATS = 5
N_CLIPS, N_FRAMES, HEIGHT, WIDTH, INSTANCES_PER_CLIP = 40, 49, 480, 720, 3
N_SCENES = 10  # the source of the outlines

STRONGEST = [cv2.IMWRITE_PNG_COMPRESSION, 9]
ONE_BIT = [cv2.IMWRITE_PNG_BILEVEL, 1]
PNG_FORMS: dict[str, list[int]] = {
    "PNG, 8 bit, default": [],
    "PNG, 8 bit, strongest": STRONGEST,
    "PNG, 1 bit, default": ONE_BIT,
    "PNG, 1 bit, strongest": ONE_BIT + STRONGEST,
}
PARQUET = "Parquet"


@dataclass(frozen=True)
class Cost:
    """The cost of storing and loading one form."""

    file_bytes: int
    disk_bytes: int
    wall_s: float
    cpu_s: float


# --- Tracks ----------------------------------------------------------------------------------


def drawn_tracks(folder: Path) -> list[MaskTrackRow]:
    """Clips with tracks from the drawn scenes, each placed and moved differently: no two masks are equal."""
    draw_scenes(folder, n_scenes=N_SCENES)
    shots = [
        (truth.height, truth.width, shot)
        for truth in read_truths(folder)
        for instance in truth.instances
        for start in range(0, len(instance.counts), SHOT_FRAMES)
        if len(set(shot := instance.counts[start : start + SHOT_FRAMES])) > 1  # else it is not in this shot
    ]
    rng = np.random.default_rng(0)
    rows = []
    for clip in range(N_CLIPS):
        for number, place in enumerate(rng.choice(len(shots), INSTANCES_PER_CLIP, replace=False), start=1):
            height, width, counts = shots[place]
            masks = placed_differently(decode_masks(counts, height, width), rng)
            name = f"id{number}"
            track = MaskTrack.of(name, [encode_mask(m) for m in masks], height=HEIGHT, width=WIDTH, anchor_frame=0)
            rows.append(MaskTrackRow(clip_id=f"clip-{clip:04d}", **track.model_dump()))
    return rows


def placed_differently(masks: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """(n, h, w) bool -> N_FRAMES times (HEIGHT, WIDTH) bool, smoothly enlarged, turned, shifted and drifting."""
    height, width = masks.shape[1:]
    scale = rng.uniform(0.9, 1.1) * min(HEIGHT / height, WIDTH / width)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-8, 8), scale)
    middle = np.array([WIDTH - width, HEIGHT - height]) / 2
    shift = middle + rng.uniform((-60, -30), (60, 30))
    drift = rng.uniform(-0.7, 0.7, 2)  # px a frame
    for frame, place in enumerate(np.linspace(0, len(masks) - 1, N_FRAMES).round().astype(int)):
        moved = np.column_stack([turn[:, :2], turn[:, 2] + shift + drift * frame])
        picture = masks[place].astype(np.uint8) * 255
        yield cv2.warpAffine(picture, moved, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR) > 127


# --- Forms -----------------------------------------------------------------------------------


def write_tree(rows: Sequence[MaskTrackRow], folder: Path, flags: list[int]) -> None:
    for row in rows:
        track = folder / row.clip_id / row.instance_id
        track.mkdir(parents=True)
        for frame, mask in enumerate(row.masks()):
            cv2.imwrite(str(track / f"{frame:05d}.png"), mask.astype(np.uint8) * 255, flags)


def load_tree(rows: Sequence[MaskTrackRow], folder: Path) -> Iterator[np.ndarray]:
    """(N, H, W) bool per track. Sizes and names are given: no folder is listed."""
    for row in rows:
        masks = np.empty((len(row.counts), row.height, row.width), bool)
        track = folder / row.clip_id / row.instance_id
        for frame in range(len(masks)):
            picture = cv2.imread(str(track / f"{frame:05d}.png"), cv2.IMREAD_GRAYSCALE)
            assert picture is not None, f"{track} lost frame {frame}"
            np.not_equal(picture, 0, out=masks[frame])
        yield masks


def load_parquet(path: Path) -> Iterator[np.ndarray]:
    """(N, H, W) bool a track."""
    for row in pq.read_table(path, columns=["counts", "height", "width"]).to_pylist():
        yield decode_masks(row["counts"], row["height"], row["width"])


def load(form: str, rows: Sequence[MaskTrackRow], folder: Path) -> Iterator[np.ndarray]:
    return load_parquet(folder / form) if form == PARQUET else load_tree(rows, folder / form)


# --- Measures --------------------------------------------------------------------------------


def measure(rows: Sequence[MaskTrackRow], repeats: int, folder: Path) -> dict[str, Cost]:
    """Write every form, check that all hold the same bits, and load them in turns."""
    write_table(MaskTrackRow, rows, folder / PARQUET)
    for form, flags in PNG_FORMS.items():
        write_tree(rows, folder / form, flags)
    forms = [PARQUET, *PNG_FORMS]
    for tracks in zip(*(load(form, rows, folder) for form in forms), strict=True):
        assert all(np.array_equal(tracks[0], others) for others in tracks[1:]), "the forms hold different masks"
    runs: dict[str, list[tuple[float, float]]] = {form: [] for form in forms}
    for turn in range(repeats):
        for form in forms if turn % 2 == 0 else reversed(forms):
            runs[form].append(time_of(load(form, rows, folder)))
    return {
        form: Cost(*sizes(folder / form), *(statistics.median(times) for times in zip(*runs[form], strict=True)))
        for form in forms
    }


def time_of(tracks: Iterator[np.ndarray]) -> tuple[float, float]:
    """Wall and CPU seconds until the last track is loaded; each is dropped before the next."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    for _ in tracks:
        pass
    return time.perf_counter() - wall_s, time.process_time() - cpu_s


def sizes(path: Path) -> tuple[int, int]:
    """Bytes of a file or of a folder's files, and of the blocks they take; the folders themselves are not counted."""
    stats = [p.stat() for p in ([path] if path.is_file() else path.rglob("*.png"))]
    return sum(s.st_size for s in stats), sum(s.st_blocks for s in stats) * 512


# --- Report ----------------------------------------------------------------------------------


def report(name: str, rows: Sequence[MaskTrackRow], repeats: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        costs = measure(rows, repeats, Path(folder))
    ours = costs.pop(PARQUET)
    n_masks = sum(len(row.counts) for row in rows)
    n_clips = len({row.clip_id for row in rows})
    shapes = " ".join(sorted({f"{row.width}x{row.height}" for row in rows}))
    lines = [
        f"{name}: {n_clips} clips, {len(rows)} tracks, {n_masks} masks of {shapes}, the same bits in all forms",
        "",
    ]
    lines += [
        "| | files, MB | disk, MB | load: wall, s | load: CPU, s | a mask: CPU, µs |",
        "|---|---|---|---|---|---|",
    ]
    for form, cost in {PARQUET: ours, **costs}.items():
        cells = [
            f"{cost.file_bytes / 1e6:.2f}",
            f"{cost.disk_bytes / 1e6:.2f}",
            f"{cost.wall_s:.2f}",
            f"{cost.cpu_s:.2f}",
            f"{cost.cpu_s / n_masks * 1e6:.0f}",
        ]
        lines.append(f"| {form} | {' | '.join(cells)} |")
    lines += ["", "| over Parquet | files | disk | load: wall | load: CPU |", "|---|---|---|---|---|"]
    for form, cost in costs.items():
        ratios = [
            cost.file_bytes / ours.file_bytes,
            cost.disk_bytes / ours.disk_bytes,
            cost.wall_s / ours.wall_s,
            cost.cpu_s / ours.cpu_s,
        ]
        lines.append(f"| {form} | {' | '.join(f'{ratio:.1f}x' for ratio in ratios)} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_masks", description=__doc__.split("\n")[0])
    parser.add_argument(
        "tracks", nargs="*", type=Path, help="further tracks: Parquet files of a snapshot's mask_tracks"
    )
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--only-given", action="store_true", help="draw no tracks")
    options = parser.parse_args()
    if not options.only_given:
        with tempfile.TemporaryDirectory() as folder:
            rows = drawn_tracks(Path(folder))
        print(report("drawn", rows, options.repeats), flush=True)
    for path in options.tracks:
        print(report(path.stem, read_table(MaskTrackRow, path), options.repeats), flush=True)


if __name__ == "__main__":
    main()
