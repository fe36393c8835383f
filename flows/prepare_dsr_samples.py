"""prepare-dsr-samples: dsr's valid videos -> latents, prompts, scores (SpatialAlign, 3.3).

    triptych prepare dsr-samples --snapshot data/dsr --root training/dsr
    triptych run dsr-samples --watch    once it is deployed, on its workers

Read downward: take rows, fit clips, encode, publish. Every valid video of a training prompt is prepared: by some reward
and threshold it is a winner, a loser, or one of its prompt's best. A test prompt has one: its text is all that is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import polars as pl
from pydantic import Field

from flows.engine.command import CurationFlow
from flows.engine.config import Step
from flows.engine.pipeline import curation_flow, shard_flow
from flows.engine.preparation import PreparationConfig, look_ahead, prepare
from schemas.dsr import VideoRow
from schemas.encoded_sample import EncodedSample
from schemas.preparation import FittedClip, TakenScores
from schemas.storage import AnyPath
from schemas.training_samples import SnapshotRow
from tasks import encode_samples, fit_clips, take_rows
from tasks.backends.torch_runtime import TorchConfig
from tasks.datasets.dsr_samples.dataset import DSR_SAMPLES
from tasks.datasets.samples.footage import StoredFootage
from tasks.engine.dataset import Dataset
from tasks.engine.shards import Row
from tasks.training.encoders import EncoderConfig


class PrepareDsrSamples(PreparationConfig):
    """Everything the flow can be told. Defaults are the paper's where it states a number."""

    product: ClassVar[Dataset] = DSR_SAMPLES
    takes: ClassVar[str] = "curate-dsr"
    first_options: ClassVar[Sequence[str]] = (
        *("snapshot", "root", "limit"),
        *("encoder.model", "fit.fps", "fit.n_frames", "fit.width", "fit.height"),
    )
    steps: ClassVar[Sequence[Step]] = (
        Step(SnapshotRow, TakenScores, lambda c: take_rows.scores_stage(c.tables)),
        Step(SnapshotRow, FittedClip, lambda c: fit_clips.stage(c.fit, c.footage)),
        Step(SnapshotRow, EncodedSample, lambda c: encode_samples.stage(c.fitted_sample, c.encoder, c.torch)),
    )

    dataset: str = Field("dsr-samples", pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Name of the dataset")

    fit: fit_clips.FitConfig = Field(
        fit_clips.FitConfig(n_frames=81, width=832, height=480, fps=16.0, max_fps=16.0),
        description="Frames, size and rate of the generated videos (SpatialAlign 4.1)",
    )
    encoder: EncoderConfig = Field(
        EncoderConfig(family="wan", model="Wan-AI/Wan2.1-T2V-1.3B-Diffusers"),
        description="The model that will be trained: its autoencoder and text encoder (SpatialAlign 4.1)",
    )
    torch: TorchConfig = Field(TorchConfig(), description="Where networks run")

    def read_rows(self) -> list[SnapshotRow]:
        contents = self.tables.contents({"samples": None})
        samples = self.tables.snapshot.scan("samples").select("clip_id", "prompt_id", "split", "seed").collect()
        of_test = samples.filter(pl.col("split") == "test").sort("prompt_id", "seed", "clip_id")
        left_out = set(of_test["clip_id"]) - set(of_test.unique("prompt_id", keep="first")["clip_id"])
        splits = dict(samples.select("clip_id", "split").iter_rows())
        return [
            SnapshotRow(clip_id=clip_id, split=splits[clip_id], content=contents[clip_id])
            for clip_id in self.tables.snapshot.accepted_ids()
            if clip_id not in left_out
        ]

    def footage(self, row: Row[SnapshotRow]) -> StoredFootage:
        """A video; it has no masks to fit."""
        scores, tables = self.work.result(row, TakenScores).scores, self.tables
        size = scores.width, scores.height
        return StoredFootage(lambda: tables.rows(VideoRow, scores.clip_id)[0].video, scores.sha256, size)

    def fitted_sample(self, row: Row[SnapshotRow]) -> fit_clips.FittedSample:
        taken, fitted = self.work.result(row, TakenScores), self.work.result(row, FittedClip)
        return fit_clips.FittedSample(taken.prompt, fitted, wants_first_frame=False)


@curation_flow(PrepareDsrSamples)
def prepare_dsr_samples(config: PrepareDsrSamples) -> AnyPath:
    """Prepare a snapshot's videos for SpatialAlign's training and publish them; returns the published folder.

    Run again after any failure, it redoes only what is missing.
    Raises SnapshotError, ShardsFailed, LedgerError.
    """
    return prepare(config, prepare_dsr_samples_shard)


prepare_dsr_samples_shard = shard_flow(PrepareDsrSamples)

FLOW = CurationFlow(PrepareDsrSamples, prepare_dsr_samples, look_ahead)


if __name__ == "__main__":
    FLOW.main()
