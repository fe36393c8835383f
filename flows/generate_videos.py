"""generate-videos: a training run's weights and a file of inputs -> videos, and the folder that evaluations read.

    triptych generate --run runs/dsr-3f9c2a71b0de --inputs prompts.csv --out generated

Read downward: read the inputs, generate, publish, write the folder. A killed run goes on where it stopped; other
weights, other settings or another picture make a video anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from pydantic import Field, ValidationError

from flows.engine.command import CurationFlow
from flows.engine.config import CurationConfig, Step
from flows.engine.growing_page import GrowingPage
from flows.engine.pipeline import Preview, curate_shards, curation_flow, finish, preview, shard_flow, warn_of
from flows.engine.steps import run_logger, run_step
from schemas.config import StageConfig
from schemas.generated_videos import GeneratedVideo, GenerationInput
from schemas.storage import AnyPath, DataPath, read_whole
from schemas.training_run import MANIFEST, RunManifest
from tasks import generate_videos as stage_file
from tasks.backends.torch_runtime import TorchConfig
from tasks.datasets.videos.dataset import VIDEOS
from tasks.datasets.videos.ledger import InputLedger
from tasks.datasets.videos.video_folder import write_folder
from tasks.engine.dataset import Dataset
from tasks.engine.inputs import Inputs
from tasks.engine.shards import plan_shards
from tasks.engine.snapshots import Snapshot
from tasks.engine.work import Work
from tasks.generate_videos import GenerateVideosConfig, VideoGenerator
from tasks.readers.lines import ManifestError, require_manifest
from tasks.readers.read_generation_inputs import GenerationListing, read_generation_inputs


class Weights(StageConfig):
    """What the videos are made with: for the manifest."""

    run_id: str = Field(description="The training run")
    recipe: str = Field(description="Its recipe")
    weights: str = Field(description="Digest of what it has learnt")


class GenerateVideos(CurationConfig):
    """Everything the flow can be told."""

    product: ClassVar[Dataset] = VIDEOS
    first_options: ClassVar[Sequence[str]] = ("run", "inputs", "root", "seeds", "limit", "generate.steps")
    steps: ClassVar[Sequence[Step]] = (
        Step(GenerationInput, GeneratedVideo, lambda c: stage_file.stage(c.work, c.generate, c.generator)),
    )

    dataset: str = Field("videos", pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Name of the dataset")
    run: DataPath = Field(description="The published training run: its folder, runs/RECIPE-...")
    inputs: DataPath = Field(
        description="JSONL, Parquet, or CSV of prompts alone: prompt, and by recipe image, instances (mask, arrow_px, "
        "speed_mps), name, seeds"
    )
    seeds: list[int] = Field([0], description="Seeds of every input that names none")

    generate: GenerateVideosConfig = Field(GenerateVideosConfig(), description="How videos are denoised")
    torch: TorchConfig = Field(TorchConfig(), description="Where networks run")

    @property
    def work(self) -> Work:
        return Work(root=self.root / "work", inputs=Inputs(folder=self.inputs.parent, allow_outside=True))

    def require_inputs(self) -> None:
        require_manifest(self.inputs)
        _ = self.manifest

    @cached_property
    def manifest(self) -> RunManifest:
        """Of the run. Raises ManifestError if it is not published."""
        try:
            return RunManifest.from_json(read_whole(self.run / MANIFEST))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ManifestError(
                f"{self.run} is no published run: it has no {MANIFEST}; the command that trains it finishes it"
            ) from error
        except ValidationError as error:
            raise ManifestError(f"{self.run / MANIFEST} is damaged, or a newer version wrote it") from error

    @cached_property
    def generator(self) -> VideoGenerator:
        recipe = self.manifest.request.recipe
        return stage_file.load_generator(recipe, self.run, self.manifest, self.generate, self.torch)

    @property
    def settings(self) -> dict[str, StageConfig]:
        manifest = self.manifest
        return {
            "run": Weights(
                run_id=manifest.run_id, recipe=manifest.request.recipe, weights=stage_file.weights_of(manifest)
            )
        }


@curation_flow(GenerateVideos)
def generate_videos(config: GenerateVideos) -> AnyPath:
    """Generate every input's video, publish a snapshot and write the folder of videos; returns the snapshot's folder.

    Raises ManifestError, ShardsFailed, LedgerError.
    """
    log = run_logger()
    listing = run_step("read_inputs", read_inputs, config)
    log.info("%s: %d inputs, %d other lines", config.inputs, len(listing.inputs), len(listing.outcomes))
    warn_of(listing.outcomes, log)
    ledger = InputLedger(listing.n_lines, listing.inputs, listing.outcomes)
    planned = plan_shards(listing.inputs, config.shard_size)
    shards = curate_shards(config, generate_videos_shard, planned, log, GrowingPage(config, ledger, log))
    folder = finish(config, ledger, shards, log)
    log.info("videos %s", run_step("write_folder", write_folder, Snapshot(folder), config.root))
    return folder


generate_videos_shard = shard_flow(GenerateVideos)


def read_inputs(config: GenerateVideos) -> GenerationListing:
    known = config.work.root / "known"
    return read_generation_inputs(config.inputs, config.generator.needs, config.seeds, known, config.limit)


def look_ahead(config: GenerateVideos) -> list[Preview]:
    """What a run would do, stage by stage; nothing is computed."""
    inputs: list[Any] = read_inputs(config).inputs
    return preview(config, config.shard_stage_names, inputs)[0]


FLOW = CurationFlow(GenerateVideos, generate_videos, look_ahead)


if __name__ == "__main__":
    FLOW.main()
