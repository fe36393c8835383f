"""prepare-matrix-samples: matrix11k's clips -> latents, prompts with roles, masks, ID maps (MATRIX, 4.2 and 5).

    triptych prepare matrix-samples --snapshot data --inputs videos --root training/matrix
    triptych run matrix-samples --watch    once it is deployed, on its workers

Read downward: place roles, fit clips, encode, publish. No caption is read by a language model again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from flows.engine.command import CurationFlow
from flows.engine.config import Step
from flows.engine.pipeline import curation_flow, shard_flow
from flows.engine.preparation import KeptOut, PreparationConfig, look_ahead, prepare, split_by
from schemas.config import StageConfig
from schemas.encoded_sample import EncodedSample
from schemas.preparation import FittedClip, PlacedRoles
from schemas.storage import AnyPath, DataPath
from schemas.training_samples import SnapshotRow
from tasks import encode_samples, fit_clips, place_roles
from tasks.backends.torch_runtime import TorchConfig
from tasks.datasets.matrix_samples.dataset import MATRIX_SAMPLES
from tasks.engine.dataset import Dataset
from tasks.engine.inputs import Inputs
from tasks.engine.shards import Row
from tasks.engine.snapshots import SnapshotError
from tasks.engine.work import Work
from tasks.training.encoders import EncoderConfig

# What a sample is made from; a source's path and remarks are no part of it.
CONTENT = {
    "clips": [
        *("video_sha256", "start", "end", "stream_index", "orientation", "n_frames", "width", "height", "stretched"),
        "caption",
    ],
    "interactions": ["subject_id", "verb", "object_id", "source_sentence"],
    "instances": ["instance_id", "class_name", "noun"],
    "mask_tracks": ["instance_id", "height", "width", "counts"],
}


class PrepareMatrixSamples(PreparationConfig):
    """Everything the flow can be told. Defaults are the paper's where it states a number."""

    product: ClassVar[Dataset] = MATRIX_SAMPLES
    takes: ClassVar[str] = "curate-matrix11k"
    first_options: ClassVar[Sequence[str]] = (
        *("snapshot", "inputs", "root", "limit", "test_share"),
        *("encoder.model", "place.words", "fit.fps", "fit.n_frames", "fit.width", "fit.height"),
    )
    steps: ClassVar[Sequence[Step]] = (
        Step(SnapshotRow, PlacedRoles, lambda c: place_roles.stage(c.tables, c.place)),
        Step(SnapshotRow, FittedClip, lambda c: fit_clips.stage(c.fit, fit_clips.clip_footage(c.work, c.tables))),
        Step(SnapshotRow, EncodedSample, lambda c: encode_samples.stage(c.fitted_sample, c.encoder, c.torch)),
    )

    dataset: str = Field("matrix-samples", pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Name of the dataset")
    inputs: DataPath = Field(
        description="Folder of the videos that the snapshot was made from (its manifest's folder): it stores none"
    )
    allow_outside: bool = Field(
        False, title="Allow files outside", description="Let the snapshot name videos outside that folder"
    )
    test_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of the videos that are kept out of training, with all their clips: chosen by their bytes, "
        "so that the choice stays when the dataset grows (the paper tells none)",
    )

    place: place_roles.PlaceConfig = place_roles.PlaceConfig()
    fit: fit_clips.FitConfig = fit_clips.FitConfig()
    encoder: EncoderConfig = Field(
        EncoderConfig(family="cogvideox", model="THUDM/CogVideoX-5b-I2V"),
        description="The model that will be trained: its autoencoder and text encoder (MATRIX 5)",
    )
    torch: TorchConfig = Field(TorchConfig(), description="Where networks run")

    @property
    def work(self) -> Work:
        return Work(root=self.root / "work", inputs=Inputs(folder=self.inputs, allow_outside=self.allow_outside))

    def require_inputs(self) -> None:
        super().require_inputs()
        if isinstance(self.inputs, Path) and not self.inputs.is_dir():
            raise SnapshotError(f"--inputs {self.inputs} is no folder; name the one of the snapshot's videos")

    @property
    def settings(self) -> dict[str, StageConfig]:
        return super().settings | {"split": KeptOut(test_share=self.test_share)}

    def fitted_sample(self, row: Row[SnapshotRow]) -> fit_clips.FittedSample:
        placed, fitted = self.work.result(row, PlacedRoles), self.work.result(row, FittedClip)
        return fit_clips.FittedSample(placed.prompt, fitted)

    def read_rows(self) -> list[SnapshotRow]:
        contents = self.tables.contents(CONTENT)
        sources = self.tables.snapshot.scan("clips").select("clip_id", "video_sha256").collect()
        split_of = {clip_id: split_by(sha256, self.test_share) for clip_id, sha256 in sources.iter_rows()}
        return [
            SnapshotRow(clip_id=clip_id, split=split_of[clip_id], content=contents[clip_id])
            for clip_id in self.tables.snapshot.accepted_ids()
        ]


@curation_flow(PrepareMatrixSamples)
def prepare_matrix_samples(config: PrepareMatrixSamples) -> AnyPath:
    """Prepare a snapshot's clips for MATRIX's training and publish them; returns the published folder.

    Run again after any failure, it redoes only what is missing.
    Raises SnapshotError, ShardsFailed, LedgerError.
    """
    return prepare(config, prepare_matrix_samples_shard)


prepare_matrix_samples_shard = shard_flow(PrepareMatrixSamples)

FLOW = CurationFlow(PrepareMatrixSamples, prepare_matrix_samples, look_ahead)


if __name__ == "__main__":
    FLOW.main()
