"""curate-matrix11k: captioned videos -> interaction triplets and exact mask tracks (MATRIX, section 3).

    python -m flows.curate_matrix11k --manifest videos/captions.jsonl --root data
    triptych run matrix11k --watch    once it is deployed, on its workers

Read downward, this is the paper's figure 4: split, extract, ground, propagate, check, publish. Both
commands, and the tests, call the same flow with the same config.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from flows.engine.command import CurationFlow
from flows.engine.config import CurationConfig, Profiles, Step
from flows.engine.growing_page import GrowingPage
from flows.engine.pipeline import (
    Done,
    Preview,
    curate_shards,
    curation_flow,
    finish,
    preview,
    shard_flow,
    through_stage,
    warn_of,
)
from flows.engine.steps import run_logger, run_step
from schemas.clip import Clip
from schemas.extraction import Extraction
from schemas.grounding import Grounding
from schemas.mask_track import Tracks
from schemas.source import Source
from schemas.split import SplitResult
from schemas.storage import AnyPath, DataPath, at_once
from schemas.track_check import Checked
from schemas.truth import read_truths
from tasks import check_tracks, extract_triplets, ground_instances, propagate_masks, split_scenes
from tasks.backends.frame_readers import ReaderName, frame_reader
from tasks.backends.grounding_dino import DinoConfig
from tasks.backends.grounding_dino import port as dino_port
from tasks.backends.local_models import DINO, SAM2, LocalConfig
from tasks.backends.local_models.forecast import Use, forecast
from tasks.backends.sam2_video import Sam2Config
from tasks.backends.sam2_video import port as sam2_port
from tasks.backends.sam2_video.propagator import checkpoint_of
from tasks.backends.torch_runtime import Checkpoint, TorchConfig, device_of, memory_of
from tasks.datasets.matrix11k.accuracy import ACCURACY, EMBEDDED
from tasks.datasets.matrix11k.dataset import MATRIX11K
from tasks.datasets.matrix11k.drawn_input import draw_scenes
from tasks.datasets.matrix11k.ledger import VideoLedger
from tasks.datasets.story import one_line
from tasks.engine.dataset import Dataset
from tasks.engine.inputs import Inputs
from tasks.engine.shards import Row, load_shard, plan_clip_shards
from tasks.engine.snapshots import Snapshot
from tasks.engine.stage import state_path
from tasks.engine.work import Work
from tasks.media.footage import ClipFootage, FootageOf
from tasks.metrics.compare_truth import TruthReport, compare_snapshot
from tasks.readers.lines import require_manifest
from tasks.readers.read_manifest import ManifestListing, inputs_folder, read_manifest

# What each profile sets where nothing else is asked for. The paper's: an LLM and a VLM, GroundingDINO, SAM2; local: the
# same with small models in this process.
PROFILES: Profiles = {
    "embedded": {},
    "local": {
        "extract": {"llm": "transformers"},
        "ground": {"grounding": "transformers", "vlm": "transformers"},
        "propagate": {"masks": "transformers"},
        "dino": {"checkpoint": DINO, "batch_frames": 1},  # four at once take 4 GB more
        "sam2": {"architecture": "hiera_t", "checkpoint": SAM2},
    },
    "paper": {
        "extract": {"llm": "openai"},
        "ground": {"grounding": "groundingdino", "vlm": "openai"},
        "propagate": {"masks": "sam2"},
    },
}
# What each profile's datasets are like, in a sentence that ends each run.
PROFILE_MEANINGS = {
    "embedded": f"rules and small networks judged the clips. {ACCURACY[EMBEDDED].told.capitalize()}; look at the masks "
    "in the report before you use them.",
    "local": "small open models in this process judged the clips. How right they are was not measured: look at the "
    "masks in the report before you use them.",
    "paper": "how right triplets and masks are depends on the models named and was not measured here.",
}


class CurateMatrix11k(CurationConfig):
    """Everything the flow can be told. Defaults are the paper's where it states a number."""

    product: ClassVar[Dataset] = MATRIX11K
    profiles: ClassVar[Profiles] = PROFILES
    profile_meanings: ClassVar[Mapping[str, str]] = PROFILE_MEANINGS
    first_options: ClassVar[Sequence[str]] = (
        *("manifest", "root", "profile", "limit", "dataset"),
        *("extract.llm", "ground.grounding", "ground.vlm", "propagate.masks"),
    )
    steps: ClassVar[Sequence[Step]] = (
        Step(Source, SplitResult, lambda c: split_scenes.stage(c.work, c.split, c.torch)),
        Step(Clip, Extraction, lambda c: extract_triplets.stage(c.work, c.extract, c.endpoint, c.local, c.torch)),
        Step(
            Clip,
            Grounding,
            lambda c: ground_instances.stage(c.work, c.footage, c.ground, c.endpoint, c.dino, c.torch, c.local),
        ),
        Step(Clip, Tracks, lambda c: propagate_masks.stage(c.work, c.footage, c.propagate, c.sam2, c.torch)),
        Step(
            Clip,
            Checked,
            lambda c: check_tracks.stage(
                c.work, c.footage, c.check, c.ground, c.endpoint, c.propagate, c.sam2, c.torch, c.local
            ),
        ),
    )

    profile: Literal["embedded", "local", "paper"] = Field(
        "embedded",
        description="The backends where none is named. embedded: small networks that pip fetches, no server; local: "
        "the paper's chain with small models in this process, which tells first what it downloads; paper: an LLM and a "
        "VLM behind OpenAI-compatible servers, GroundingDINO, SAM2",
    )
    manifest: DataPath = Field(
        description="JSONL, CSV or Parquet of videos and captions, or a folder of videos; a path or s3://bucket/key"
    )
    dataset: str = Field("matrix11k", pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Name of the dataset")
    allow_outside: bool = Field(
        False, title="Allow files outside", description="Let a manifest name files outside its own folder"
    )
    reader: ReaderName = Field(
        "pyav",
        description="Reads the frames of clips: pyav, or decord (the extra of that name), which gives the same bits or "
        "fails the row as unsupported_by_decord; no part of any key",
    )

    truth: Path | None = Field(
        None,
        description="Folder with a known truth, drawn by the demo or exported from simulated clips, for the report to "
        "compare with",
    )

    split: split_scenes.SplitConfig = split_scenes.SplitConfig()
    extract: extract_triplets.ExtractConfig = extract_triplets.ExtractConfig()
    ground: ground_instances.GroundConfig = ground_instances.GroundConfig()
    propagate: propagate_masks.PropagateConfig = propagate_masks.PropagateConfig()
    check: check_tracks.CheckConfig = check_tracks.CheckConfig()

    dino: DinoConfig = Field(DinoConfig(), description="GroundingDINO's weights and settings")
    sam2: Sam2Config = Field(Sam2Config(), description="SAM2's weights and settings")
    local: LocalConfig = Field(
        LocalConfig(), title="Local models", description="LLM and VLM where they run in this process"
    )
    torch: TorchConfig = Field(TorchConfig(), description="Where networks run")

    @field_validator("manifest")
    @classmethod
    def _manifest_is_named(cls, manifest: AnyPath) -> AnyPath:
        if manifest == Path():
            raise ValueError("the manifest is empty; name a file or a folder (deployed: export TRIPTYCH_MANIFEST)")
        return manifest

    def require_inputs(self) -> None:
        require_manifest(self.manifest)

    @property
    def work(self) -> Work:
        inputs = Inputs(folder=inputs_folder(self.manifest), allow_outside=self.allow_outside)
        return Work(root=self.root / "work", inputs=inputs)

    @property
    def footage(self) -> FootageOf:
        # split_scenes has decoded every frame of a clip: one that is damaged became none.
        return partial(ClipFootage, self.work, reader=frame_reader(self.reader, known_intact=True))

    def compare_truth(self, snapshot: Snapshot) -> TruthReport | None:
        return compare_snapshot(snapshot, read_truths(self.truth)) if self.truth else None


@curation_flow(CurateMatrix11k)
def curate_matrix11k(config: CurateMatrix11k) -> AnyPath:
    """Curate a manifest and publish a snapshot; returns its folder.

    Run again after any failure, it redoes only what is missing.
    Raises ManifestError, ShardsFailed, LedgerError.
    """
    log = run_logger()
    tell_of_models(config, log)
    listing = run_step("read_manifest", read_listing, config)
    ledger = split_sources(config, listing, log)
    shards = curate_clips(config, ledger, log)
    return finish(config, ledger, shards, log)


curate_matrix11k_shard = shard_flow(CurateMatrix11k)


def read_listing(config: CurateMatrix11k) -> ManifestListing:
    log = run_logger()
    known = config.work.root / "known"
    listing = read_manifest(config.manifest, config.limit, allow_outside=config.allow_outside, known=known)
    log.info("%s: %d sources, %d other lines", config.manifest, len(listing.sources), len(listing.outcomes))
    warn_of(listing.outcomes, log)
    return listing


def look_ahead(config: CurateMatrix11k) -> list[Preview]:
    """What a run would do, stage by stage; nothing is computed."""
    tell_of_models(config, run_logger())
    listing = read_listing(config)
    splitting, sources = preview(config, [SplitResult.stage_name], listing.sources)
    split = [split_scenes.result_of(config.work, row) for row in sources if row.outcome is None]
    clips = [clip for result in split for clip in result.clips]
    if config.extract.over_cap == "split":
        _, extracted = preview(config, [Extraction.stage_name], clips)
        clips += [part for parts in cut_crowded(config, extracted).values() for part in parts]
    curating, _ = preview(config, config.shard_stage_names, clips, n_open=splitting[-1].to_compute)
    return splitting + curating


# --- Before it starts ------------------------------------------------------------------------


def tell_of_models(config: CurateMatrix11k, log: Any) -> None:
    """Say what language models in this process will download, keep in memory and take, with their companions."""
    uses = models_here(config)
    if config.dispatch.deployment is not None or not any(use.kind == "language_model" for use in uses):
        return
    device = device_of(config.torch)
    for line in forecast(uses, str(device), config.torch.threads, memory_of(device)):
        log.info("%s", line)


def models_here(config: CurateMatrix11k) -> list[Use]:
    """The networks by transformers that this run's stages name."""
    bytes_of_weights = 2 if config.local.precision == "bfloat16" else 4
    uses = []
    if config.extract.llm == "transformers":
        uses.append(Use("reads captions", Checkpoint.of(config.local.llm), "language_model", bytes_of_weights))
    if config.ground.grounding == "transformers":
        uses.append(
            Use("finds boxes", Checkpoint.of(config.dino.checkpoint or dino_port.HUB), "detector", 4, dino_port.FILES)
        )
    if config.ground.vlm == "transformers":
        uses.append(Use("verifies boxes", Checkpoint.of(config.local.vlm), "language_model", bytes_of_weights))
    if config.propagate.masks == "transformers":
        uses.append(Use("tracks masks", checkpoint_of(config.sam2), "tracker", 4, sam2_port.FILES))
    return uses


# --- Planning --------------------------------------------------------------------------------


def split_sources(config: CurateMatrix11k, listing: ManifestListing, log: Any) -> VideoLedger:
    """Every source into clips."""
    rows = through_stage(config, curate_matrix11k_shard, SplitResult.stage_name, listing.sources, "sources", log)

    def split_of(row: Row[Source]) -> tuple[str, SplitResult]:
        return row.payload.source_id, split_scenes.result_of(config.work, row)

    splits = dict(at_once(config.work.root, split_of, [row for row in rows if row.outcome is None]))
    warn_of_files(splits.values(), log)
    return VideoLedger(
        n_lines=len(listing.sources) + len(listing.outcomes),
        sources=listing.sources,
        line_outcomes=listing.outcomes,
        splits=splits,
        source_outcomes=[row.outcome for row in rows if row.outcome is not None],
    )


def warn_of_files(splits: Iterable[SplitResult], log: Any) -> None:
    """Say of which videos there is something to know; in every run, as what was known before is published, too."""
    firsts = {split.clips[0].video: split.clips[0] for split in splits if split.clips}
    for video, clip in firsts.items():
        for remark in clip.remarks:
            log.warning("%s: %s", one_line(video), remark)
    traits = {trait for clip in firsts.values() for trait in clip.traits}
    if traits:
        also = "; --split.square-pixels stretches anamorphic ones" if "anamorphic" in traits else ""
        log.warning("--split.reject %s drops such videos%s", ",".join(sorted(traits)), also)


def curate_clips(config: CurateMatrix11k, ledger: VideoLedger, log: Any) -> Done:
    """Every clip through the stages, then the parts of those that turned out to be crowded.

    The parts are entered into the ledger.
    """

    page = GrowingPage(config, ledger, log)

    def curate(clips: list[Clip], unit: str) -> Done:
        latest = Snapshot.latest(config.snapshots)
        earlier = [entry.clip_ids for entry in latest.manifest.shards] if latest else []
        planned = plan_clip_shards(clips, config.shard_size, earlier)
        return curate_shards(config, curate_matrix11k_shard, planned, log, page, unit)

    shards = curate(ledger.clips, "clips")
    if config.extract.over_cap == "split":
        extract = config.stage(Extraction.stage_name)
        states = [state_path(config.work, shard.shard_id, [extract]) for shard, _ in shards]
        ledger.parts = cut_crowded(config, [row for path in states for row in load_shard(path, Clip).rows])
        log.info("%d crowded clips are cut into %d parts", len(ledger.parts), sum(map(len, ledger.parts.values())))
        shards += curate([part for parts in ledger.parts.values() for part in parts], "parts")
    return shards


def cut_crowded(config: CurateMatrix11k, rows: Iterable[Row[Clip]]) -> dict[str, list[Clip]]:
    """The parts of each clip whose triplets name more instances than are tracked: {clip_id: parts}."""
    parts = {}
    for row in rows:
        clip = row.payload
        if (n_parts := extract_triplets.n_parts_of(config.work, row, config.extract)) > 1:
            path = config.work.inputs.verified(clip.video, clip.video_sha256)
            parts[clip.clip_id] = split_scenes.cut_parts(path, clip, n_parts)
    return parts


def demo(folder: Path) -> list[str]:
    """Draw a small captioned input with known masks; the options that curate it and compare the result with them."""
    manifest = draw_scenes(folder / "input")
    drawn = ("--ground.grounding", "colour", "--ground.vlm", "rules")  # the default's networks know photographs only
    return ["--manifest", str(manifest), "--truth", str(manifest.parent), *drawn]


FLOW = CurationFlow(CurateMatrix11k, curate_matrix11k, look_ahead, demo)


if __name__ == "__main__":
    FLOW.main()
