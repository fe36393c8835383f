"""prepare-kinemask-samples: kinemask's clips -> latents, prompts, masks and motion of objects (KineMask, 3.1).

    triptych prepare kinemask-samples --snapshot data/kinemask --root training/kinemask
    triptych run kinemask-samples --watch    once it is deployed, on its workers

Read downward: take rows, fit clips, encode, publish. Velocity masks are rebuilt from `objects` in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from flows.engine.command import CurationFlow
from flows.engine.config import Step
from flows.engine.pipeline import curation_flow, shard_flow
from flows.engine.preparation import PreparationConfig, look_ahead, prepare
from schemas.encoded_sample import EncodedSample
from schemas.kinemask import VideoRow
from schemas.preparation import FittedClip, TakenScene
from schemas.storage import AnyPath
from schemas.training_samples import SnapshotRow
from tasks import encode_samples, fit_clips, take_rows
from tasks.backends.torch_runtime import TorchConfig
from tasks.datasets.kinemask_samples.dataset import KINEMASK_SAMPLES
from tasks.datasets.samples.footage import StoredFootage
from tasks.engine.dataset import Dataset
from tasks.engine.shards import Row
from tasks.training.encoders import EncoderConfig

# What a sample is made from; who made the clip and its whole scene are no part of it.
CONTENT = {
    "clips": ["set", "split", "seed", "caption", "video_sha256", "fps", "n_frames", "width", "height", "made_by"],
    "objects": None,
    "collisions": ["frame"],
}


class PrepareKinemaskSamples(PreparationConfig):
    """Everything the flow can be told. Defaults are the paper's where it states a number."""

    product: ClassVar[Dataset] = KINEMASK_SAMPLES
    takes: ClassVar[str] = "curate-kinemask"
    first_options: ClassVar[Sequence[str]] = (
        *("snapshot", "root", "limit"),
        *("take.prompt", "encoder.family", "encoder.model", "fit.width", "fit.height"),
    )
    steps: ClassVar[Sequence[Step]] = (
        Step(SnapshotRow, TakenScene, lambda c: take_rows.scenes_stage(c.tables, c.take)),
        Step(SnapshotRow, FittedClip, lambda c: fit_clips.stage(c.fit, c.footage)),
        Step(SnapshotRow, EncodedSample, lambda c: encode_samples.stage(c.fitted_sample, c.encoder, c.torch)),
    )

    dataset: str = Field("kinemask-samples", pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Name of the dataset")

    take: take_rows.TakeScenesConfig = take_rows.TakeScenesConfig()
    fit: fit_clips.FitConfig = Field(
        fit_clips.FitConfig(fps=24.0, max_fps=24.0, seen_first="any", min_area=0.0, id_map=False),
        description="The simulator's own frames and size (KineMask 4.1); Wan2.2 takes 704 x 480",
    )
    encoder: EncoderConfig = Field(
        EncoderConfig(family="cogvideox", model="THUDM/CogVideoX-5b-I2V"),
        description="The model that will be trained: its autoencoder and text encoder (KineMask 4.1)",
    )
    torch: TorchConfig = Field(TorchConfig(), description="Where networks run")

    def read_rows(self) -> list[SnapshotRow]:
        contents = self.tables.contents(CONTENT)
        splits = dict(self.tables.snapshot.scan("clips").select("clip_id", "split").collect().iter_rows())
        return [
            SnapshotRow(clip_id=clip_id, split=splits[clip_id], content=contents[clip_id])
            for clip_id in self.tables.snapshot.accepted_ids()
        ]

    def footage(self, row: Row[SnapshotRow]) -> StoredFootage:
        """A clip with the masks of every object that is ever seen."""
        taken, tables, clip_id = self.work.result(row, TakenScene), self.tables, row.payload.clip_id
        first = taken.objects[0]
        seen = [thing.track for thing in taken.objects if any(thing.area)]
        return StoredFootage(
            lambda: tables.rows(VideoRow, clip_id)[0].video, taken.video_sha256, (first.width, first.height), seen
        )

    def fitted_sample(self, row: Row[SnapshotRow]) -> fit_clips.FittedSample:
        taken, fitted = self.work.result(row, TakenScene), self.work.result(row, FittedClip)
        return fit_clips.FittedSample(taken.prompt, fitted, wants_first_frame=self.encoder.family == "cogvideox")


@curation_flow(PrepareKinemaskSamples)
def prepare_kinemask_samples(config: PrepareKinemaskSamples) -> AnyPath:
    """Prepare a snapshot's clips for KineMask's training and publish them; returns the published folder.

    Run again after any failure, it redoes only what is missing.
    Raises SnapshotError, ShardsFailed, LedgerError.
    """
    return prepare(config, prepare_kinemask_samples_shard)


prepare_kinemask_samples_shard = shard_flow(PrepareKinemaskSamples)

FLOW = CurationFlow(PrepareKinemaskSamples, prepare_kinemask_samples, look_ahead)


if __name__ == "__main__":
    FLOW.main()
