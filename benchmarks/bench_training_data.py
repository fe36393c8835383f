"""What the cache of encodings is worth: an epoch that reads it against one that encodes, and what reading costs.

    python -m benchmarks.bench_training_data
    python -m benchmarks.bench_training_data --quick          # few clips, one epoch: does it run?

KineMask's recipe, a tiny CogVideoX, the job's own loop in this process. Both sides train on the same clips in the same
order; one reads latents and embeddings from the snapshot, the other decodes the stored video and encodes it and the
prompt whenever a sample is read, in the loader's threads. Their batches have the same bits. The loader's share is the
time that the loop waits for a batch.

`full size` has no network: clips of 49 x 480 x 720, encodings of CogVideoX-5B's shapes with random values. It times the
first batch, and what reading a sample costs, most of which is painting its velocity masks.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple
from unittest import mock

import numpy as np
from pydantic import Field

from benchmarks import bench_learning_kinemask as kinemask
from benchmarks.learning import train
from flows.curate_kinemask import CurateKinemask, curate_kinemask
from schemas.kinemask import CollisionRow, ObjectRow, SceneClipRow
from schemas.training_samples import EncodingRow, SampleObjectRow, SampleRow, SampleSceneRow
from tasks.backends.torch_runtime import TorchConfig, release_others
from tasks.datasets.kinemask.condition_clips import CONSTANT_PROMPT
from tasks.encode_samples import encode_sample
from tasks.engine.snapshots import Snapshot
from tasks.media.video import decode_bytes
from tasks.training.encoders import EncoderConfig
from tasks.training.models.base import base_identity
from tasks.training.models.encoder import load_encoder
from tasks.training.models.tiny import save_tiny_cogvideox
from tasks.training.recipe import Recipe
from tasks.training.recipes.kinemask.config import VARIANTS, KinemaskTraining, variant
from tasks.training.recipes.kinemask.data import KinemaskSamples
from tasks.training.recipes.kinemask.recipe import KinemaskTrainer
from tests.support.snapshots import write_snapshot

SIDES: dict[str, Literal["cache", "encoder"]] = {"encoded once": "cache", "encoded online": "encoder"}
BATCH = 4
N_EPOCHS = 3  # the first one warms up
FULL_LATENTS, FULL_TEXT = (13, 16, 60, 90), (226, 4096)  # CogVideoX-5B's, bfloat16
NAME = "benchmarks.bench_training_data:RECIPE"


# --- Encoding online -------------------------------------------------------------------------


class EncodedFrom(KinemaskTraining):
    """KineMask's, and where a batch's latents and embeddings come from."""

    encoded_by: Literal["cache", "encoder"] = Field("cache", description="cache: the snapshot; encoder: the networks")


@dataclass(frozen=True)
class StoredSample:
    """`Encodable` of encode_samples, from the stored video."""

    row: SampleRow
    video: bytes

    wants_first_frame = True

    @property
    def content(self) -> list[object]:
        return [self.row.clip_id]

    @property
    def prompt(self) -> str:
        return self.row.prompt

    def frames(self) -> np.ndarray:
        return decode_bytes(self.video)

    def id_map(self) -> None:
        return None


class OnlineEncodings:
    """What `RowsByClip` of encodings is, computed anew each time."""

    def __init__(self, samples: KinemaskSamples, config: EncodedFrom) -> None:
        self._samples, self._rows = samples, {row.clip_id: row for row in samples.samples}
        encoder = EncoderConfig(family="cogvideox", model=config.weights, precision="float32")
        self._encoder = load_encoder(encoder, TorchConfig(threads=1))

    def one(self, clip_id: str) -> EncodingRow:
        sample = StoredSample(self._rows[clip_id], self._samples.video(clip_id))
        made = encode_sample(sample, self._encoder, [])
        return EncodingRow(clip_id=clip_id, latents=made.latents, text=made.text, image_latents=made.image_latents)


class TimedTrainer(KinemaskTrainer):
    """KineMask's without videos, on either side."""

    def __init__(self, config: EncodedFrom, snapshot: Snapshot) -> None:
        super().__init__(config, snapshot)
        if config.encoded_by == "encoder":
            online: Any = OnlineEncodings(self._samples, config)
            self._samples._encodings = online

    def validate(self, module: Any, folder: Path, step: int) -> list[Any]:
        return []


RECIPE = Recipe(
    name="kinemask",
    samples="kinemask-samples",
    config=EncodedFrom,
    variants=VARIANTS,
    trainer=TimedTrainer,
    base_model=lambda config: base_identity(config.weights),
)


def config_of(base: Path, side: str, n_steps: int) -> EncodedFrom:
    size = kinemask.Size(0, 0, n_steps, n_steps, 0)
    recipe = kinemask.config_of(base, "with masks", 0, size).model_dump(exclude={"masks"})
    recipe["first"]["batch_size"] = BATCH
    return EncodedFrom(**recipe, encoded_by=SIDES[side])


# --- An epoch --------------------------------------------------------------------------------


class Epoch(NamedTuple):
    """Seconds: medians over epochs."""

    wall: float
    waiting: float  # for the loader

    @property
    def share(self) -> float:
        return self.waiting / self.wall


@contextmanager
def timed_reading() -> Iterator[list[float]]:
    """While it lasts, how long the job waits for each micro-batch, in seconds, is added to the list."""
    from tasks.training.job import loop

    waits: list[float] = []
    read_ahead = loop.read_ahead

    def timed(*given: Any) -> Iterator[Any]:
        batches: Any = read_ahead(*given)
        try:
            while True:
                start = time.perf_counter()
                try:
                    batch = next(batches)
                except StopIteration:
                    return
                waits.append(time.perf_counter() - start)
                yield batch
        finally:
            batches.close()

    with mock.patch.object(loop, "read_ahead", timed):
        yield waits


def time_epochs(folder: Path, base: Path, samples: Snapshot, side: str, n_epochs: int) -> Epoch:
    n_per_epoch = samples.manifest.n_accepted // BATCH
    config = config_of(base, side, n_epochs * n_per_epoch)
    with timed_reading() as waits:
        metrics = train(NAME, config, samples, folder, micro_batch=BATCH).metrics
    return epoch_of([line["seconds"] for line in metrics], waits, n_per_epoch)


def epoch_of(seconds: Sequence[float], waits: Sequence[float], n_per_epoch: int) -> Epoch:
    """seconds: at the end of every step; the first epoch counts if it is the only one."""
    ends = np.array(seconds)[n_per_epoch - 1 :: n_per_epoch]
    of_epochs = np.array(waits).reshape(-1, n_per_epoch).sum(1)
    if len(ends) == 1:
        return Epoch(float(ends[0]), float(of_epochs[0]))
    return Epoch(statistics.median(np.diff(ends).tolist()), statistics.median(of_epochs[1:].tolist()))


def time_first_batch(config: EncodedFrom, samples: Snapshot) -> float:
    """From a snapshot's folder to a batch, networks of the encoder included where they are needed."""
    import torch

    release_others("encoders", None, torch.device("cpu"))
    start = time.perf_counter()
    TimedTrainer(config, Snapshot(samples.folder)).collate(range(BATCH), 0)
    return time.perf_counter() - start


def require_same_batch(configs: Sequence[EncodedFrom], samples: Snapshot) -> None:
    """Both sides train on the same bits. Raises ValueError."""
    import torch

    cached, online = (TimedTrainer(config, samples).collate(range(BATCH), 0) for config in configs)
    for field in fields(cached):
        if not torch.equal(getattr(cached, field.name), getattr(online, field.name)):
            raise ValueError(f"{field.name} of a batch differs between {' and '.join(SIDES)}")


# --- Full size -------------------------------------------------------------------------------


def full_samples(folder: Path, n_clips: int, n_scenes: int = 2) -> Snapshot:
    """n_clips samples of a few simulated scenes, with encodings of their own."""
    import torch
    from safetensors.torch import save

    curated = Snapshot(
        curate_kinemask.fn(
            CurateKinemask(root=folder / "full", sets=["simple_motion"], n_train=n_scenes, n_test=0, report=False)
        )
    )
    scenes, objects = list(curated.rows(SceneClipRow)), curated.rows_by_clip(ObjectRow, curated.accepted_ids())
    assert not list(curated.rows(CollisionRow))  # of simple_motion
    of_clip = {f"clip-{n:04}": scenes[n % len(scenes)] for n in range(n_clips)}

    def drawn(*shape: int) -> bytes:
        return save({"drawn": torch.randn(shape).bfloat16()})

    samples = [
        SampleRow(
            clip_id=clip_id,
            split="train",
            prompt=CONSTANT_PROMPT,
            fps=scene.fps,
            n_frames=scene.n_frames,
            width=scene.width,
            height=scene.height,
            source_frames=list(range(scene.n_frames)),
            source_box_xyxy=(0, 0, scene.width, scene.height),
            made_by=[],
        )
        for clip_id, scene in of_clip.items()
    ]
    encodings = [
        EncodingRow(
            clip_id=clip_id,
            latents=drawn(*FULL_LATENTS),
            text=drawn(*FULL_TEXT),
            image_latents=drawn(1, *FULL_LATENTS[1:]),
        )
        for clip_id in of_clip
    ]
    seeds = [
        SampleSceneRow(clip_id=clip_id, set=scene.set, split="train", seed=scene.seed, collision_frames=[])
        for clip_id, scene in of_clip.items()
    ]
    moved = [
        SampleObjectRow(**one.model_dump() | {"clip_id": clip_id})
        for clip_id, scene in of_clip.items()
        for one in objects[scene.clip_id]
    ]
    return write_snapshot(
        folder / "kinemask-samples-full",
        "prepare-kinemask-samples",
        {
            "samples": (SampleRow, samples),
            "encodings": (EncodingRow, encodings),
            "scenes": (SampleSceneRow, seeds),
            "objects": (SampleObjectRow, moved),
        },
    )


class FullSize(NamedTuple):
    """Seconds."""

    opening: float  # the snapshot: until samples can be read
    first: float  # from the snapshot's folder to the first sample
    sample: float  # a sample, median
    encodings: float  # of it: latents and text
    mb: float  # of a sample's encodings on disk


def time_full_size(samples: Snapshot, config: KinemaskTraining, n_read: int) -> FullSize:
    start = time.perf_counter()
    clips = KinemaskSamples(Snapshot(samples.folder), config)
    opening = time.perf_counter() - start
    clips.batch([0], 0, "first")
    first, whole, encodings = time.perf_counter() - start, [], []
    for index in range(1, n_read + 1):
        start = time.perf_counter()
        clips.batch([index], 0, "first")
        whole.append(time.perf_counter() - start)
        start = time.perf_counter()
        row = clips._encodings.one(clips.samples[index].clip_id)
        encodings.append(time.perf_counter() - start)
    n_bytes = sum(len(one or b"") for one in (row.latents, row.text, row.image_latents))
    return FullSize(opening, first, statistics.median(whole), statistics.median(encodings), n_bytes / 1e6)


# --- The benchmark ---------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few clips, one epoch: does it run?")
    given = parser.parse_args()
    n_train, n_epochs, n_full = (8, 1, 2) if given.quick else (24, N_EPOCHS, 48)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = save_tiny_cogvideox(folder / "base")
        samples = kinemask.make_samples(folder, base, kinemask.Size(n_train, 0, 0, 0, 0))
        require_same_batch([config_of(base, side, 1) for side in SIDES], samples)
        epochs = {
            side: time_epochs(folder / f"run-{number}", base, samples, side, n_epochs)
            for number, side in enumerate(SIDES)
        }
        for side, epoch in epochs.items():
            first = time_first_batch(config_of(base, side, 1), samples)
            print(
                f"{side}: {epoch.wall:.2f} s an epoch of {n_train} clips, {epoch.waiting:.2f} s of it for the loader "
                f"({epoch.share:.1%}); first batch after {first:.3f} s",
                flush=True,
            )
        once, online = (epochs[side].wall for side in SIDES)
        print(f"an epoch that encodes over one that reads: {online / once:.2f}")
        full = time_full_size(full_samples(folder, n_full), variant("simple_motion"), n_read=min(8, n_full - 1))
        print(
            f"full size, {n_full} clips of {full.mb:.1f} MB: {full.opening:.2f} s to open, first sample after "
            f"{full.first:.2f} s; a sample {full.sample:.2f} s, of it encodings {full.encodings:.3f} s"
        )


if __name__ == "__main__":
    main()
