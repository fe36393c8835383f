"""curate-dsr: a prompt grammar -> generated videos, DSR-Scores and preference pairs (SpatialAlign, section 3).

    python -m flows.curate_dsr --root data/dsr --grammar.n-train 12 --grammar.n-test 6
    triptych run dsr --watch    once it is deployed, on its workers

Read downward, this is the paper's figure 2: prompts, samples, tracks, scores, pairs. The videos may as well be there
already, generated elsewhere: --generate.generator folder --videos DIR --prompts eval.csv.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, get_args

from pydantic import Field, field_validator, model_validator

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
from schemas.config import StageConfig
from schemas.dsr import DsrPrompt, DsrSample, PairRow, PromptRow, Rewritten, SampleRow
from schemas.generation import Generated
from schemas.grounding import Grounding
from schemas.mask_track import Tracks
from schemas.outcome import Outcome
from schemas.record import read_table
from schemas.scene import Split
from schemas.scores import Answers, Scored
from schemas.storage import AnyPath, DataPath, at_once
from tasks import ask_relations, generate_samples, ground_instances, propagate_masks, rewrite_prompts, score_dsr
from tasks.backends.diffusers_videos import DiffusersConfig
from tasks.backends.grounding_dino import DinoConfig
from tasks.backends.local_models import LocalConfig
from tasks.backends.sam2_video import Sam2Config
from tasks.backends.torch_runtime import TorchConfig
from tasks.datasets.dsr.dataset import DSR
from tasks.datasets.dsr.grammar import PromptConfig, generate_prompts, require_capacity
from tasks.datasets.dsr.ledger import PromptLedger
from tasks.datasets.dsr.pairs import PairConfig, pair_samples, prompt_rows
from tasks.engine.dataset import Dataset
from tasks.engine.inputs import Inputs
from tasks.engine.shards import Shard, plan_shards
from tasks.engine.stage import AnyStage
from tasks.engine.work import Work
from tasks.media.footage import FootageOf
from tasks.metrics.dsr_validity import unsearched
from tasks.readers.lines import require_manifest
from tasks.readers.read_prompts import read_prompts
from tasks.readers.read_samples import plan_samples, read_samples

# What each profile sets where nothing else is asked for. The paper's: Wan2.1, then GroundingDINO on every frame with
# the threshold of the authors' code, nobody who verifies its boxes, SAM2, and validity as the authors' code has it.
PROFILES: Profiles = {
    "embedded": {},
    "paper": {
        "generate": {"generator": "diffusers"},
        "ground": {"grounding": "groundingdino", "vlm": "none", "n_frames": 81},
        "dino": {"box_threshold": 0.4},
        "propagate": {"masks": "sam2"},
        "score": {"validity": "official"},
    },
}
PROFILE_MEANINGS = {
    "embedded": "the videos are simple drawings, some wrong on purpose, and scores and pairs are about these: a trial, "
    "no data to train a video model on.",
    "paper": "how right the boxes, tracks and scores are depends on the models named and was not measured here.",
}


class CurateDsr(CurationConfig):
    """Everything the flow can be told. Defaults are the paper's where it states a number."""

    product: ClassVar[Dataset] = DSR
    profiles: ClassVar[Profiles] = PROFILES
    profile_meanings: ClassVar[Mapping[str, str]] = PROFILE_MEANINGS
    first_options: ClassVar[Sequence[str]] = (
        *("root", "grammar.n_train", "grammar.n_test", "profile", "limit"),
        *("generate.generator", "prompts", "videos", "score.score"),
    )
    steps: ClassVar[Sequence[Step]] = (
        Step(DsrPrompt, Rewritten, lambda c: rewrite_prompts.stage(c.work, c.rewrite, c.endpoint)),
        Step(DsrSample, Generated, lambda c: generate_samples.stage(c.work, c.generate, c.diffusers, c.torch)),
        Step(
            DsrSample,
            Grounding,
            lambda c: ground_instances.stage(c.work, c.footage, c.ground, c.endpoint, c.dino, c.torch, c.local),
        ),
        Step(DsrSample, Tracks, lambda c: propagate_masks.stage(c.work, c.footage, c.propagate, c.sam2, c.torch)),
        Step(DsrSample, Scored, lambda c: score_dsr.stage(c.work, c.score, c.ground)),
        Step(DsrSample, Answers, lambda c: ask_relations.stage(c.work, c.ask, c.endpoint)),
    )

    profile: Literal["embedded", "paper"] = Field(
        "embedded",
        description="The backends where none is named. embedded: no weights, no server; paper: Wan2.1-1.3B by "
        "diffusers, GroundingDINO, SAM2",
    )
    dataset: str = Field("dsr", pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Name of the dataset")
    prompts: DataPath | None = Field(
        None,
        description="CSV (the authors' columns), JSONL or Parquet of prompts; a path or s3://bucket/key; empty: they "
        "are generated by the grammar",
    )
    prompts_split: Split = Field(
        "test", title="Split of the prompts", description="Split of the file's prompts that name none"
    )
    seeds_train: int = Field(
        10,
        ge=0,
        title="Seeds of a training prompt",
        description="Samples of a training prompt: seeds 0, 1, ... (SpatialAlign 4.1)",
    )
    seeds_test: int = Field(
        5,
        ge=0,
        title="Seeds of a test prompt",
        description="Samples of a test prompt: seeds 0, 1, ... (SpatialAlign 4.1)",
    )
    videos: DataPath | None = Field(
        None,
        description="generator folder: where the videos lie, named {prompt_id}_F{frames}_seed{NN}.mp4 as the authors "
        "name them; a path or s3://bucket/prefix",
    )

    grammar: PromptConfig = PromptConfig()
    rewrite: rewrite_prompts.RewriteConfig = rewrite_prompts.RewriteConfig()
    generate: generate_samples.GenerateConfig = generate_samples.GenerateConfig()
    ground: ground_instances.GroundConfig = ground_instances.GroundConfig(n_frames=16)
    propagate: propagate_masks.PropagateConfig = propagate_masks.PropagateConfig()
    score: score_dsr.ScoreConfig = score_dsr.ScoreConfig()
    ask: ask_relations.AskConfig = ask_relations.AskConfig()
    pair: PairConfig = PairConfig()

    diffusers: DiffusersConfig = Field(DiffusersConfig(), description="The text-to-video pipeline and its settings")
    dino: DinoConfig = Field(DinoConfig(), description="GroundingDINO's weights and settings")
    sam2: Sam2Config = Field(Sam2Config(), description="SAM2's weights and settings")
    local: LocalConfig = Field(LocalConfig(), title="Local models", description="The VLM where it runs in this process")
    torch: TorchConfig = Field(TorchConfig(), description="Where networks run")

    @field_validator("grammar")
    @classmethod
    def _holds_so_many(cls, grammar: PromptConfig) -> PromptConfig:
        require_capacity(grammar)
        return grammar

    @model_validator(mode="after")
    def _videos_are_for_the_folder(self) -> CurateDsr:
        if (self.generate.generator == "folder") != (self.videos is not None):
            raise ValueError("videos and generate.generator folder go together: name both or neither")
        return self

    @model_validator(mode="after")
    def _official_validity_sees_every_box(self) -> CurateDsr:
        if self.score.validity == "official":
            # Videos of a folder are as long as they are: score_dsr looks at each.
            if self.videos is None and self.ground.n_frames < self.generate.n_frames:
                raise ValueError(f"score.{unsearched(self.ground.n_frames, self.generate.n_frames)}")
            if self.ground.max_candidates < 2:
                raise ValueError("score.validity official counts second boxes: set ground.max_candidates to 2 or more")
        return self

    @property
    def work(self) -> Work:
        work = self.root / "work"
        return Work(root=work, inputs=Inputs(folder=work if self.videos is None else self.videos))

    def require_inputs(self) -> None:
        for given in (self.prompts, self.videos):
            if given is not None:
                require_manifest(given)

    @property
    def seeds(self) -> dict[Split, list[int]]:
        """The seeds that each prompt of a split is sampled with."""
        return {"train": list(range(self.seeds_train)), "test": list(range(self.seeds_test))}

    @property
    def stages(self) -> list[AnyStage]:
        return super().stages if self.rewrite.form == "rewritten" else self.shard_stages

    @property
    def settings(self) -> dict[str, StageConfig]:
        return {"generate_dsr_prompts": self.grammar, "pair_samples": self.pair}

    @property
    def footage(self) -> FootageOf:
        return partial(generate_samples.sample_footage, self.work)


@curation_flow(CurateDsr)
def curate_dsr(config: CurateDsr) -> AnyPath:
    """Generate, track, score and pair samples and publish a snapshot; returns its folder.

    Run again after any failure, it redoes only what is missing.
    Raises ManifestError, ShardsFailed, LedgerError.
    """
    log = run_logger()
    given = run_step("plan_prompts", plan_prompts, config)
    worded, lost = word_prompts(config, given.prompts, log)
    plan = run_step("plan_samples", plan_videos, config, worded)
    ledger = PromptLedger(
        n_lines=len(given.prompts) + len(given.outcomes),
        n_videos=plan.n_videos,
        last_step=Rewritten.stage_name if config.rewrite.form == "rewritten" else "plan_samples",
        prompts=given.prompts,
        samples=plan.samples,
        line_outcomes=given.outcomes,
        video_outcomes=plan.outcomes,
        prompt_outcomes=lost,
    )
    planned, page = plan_sample_shards(plan.samples, config.shard_size), GrowingPage(config, ledger, log)
    shards = curate_shards(config, curate_dsr_shard, planned, log, page)
    pairs, rows = run_step("pair_samples", pair_up, config, worded, shards)
    if not pairs and config.seeds_train and any(prompt.split == "train" for prompt in worded):
        log.warning("there is no pair: no training prompt has both a winner and a loser; the samples are published")
    return finish(config, replace(ledger, prompt_rows=rows, pairs=pairs), shards, log)


curate_dsr_shard = shard_flow(CurateDsr)


def look_ahead(config: CurateDsr) -> list[Preview]:
    """What a run would do, stage by stage; nothing is computed."""
    prompts, n_open = plan_prompts(config).prompts, 0
    lines: list[Preview] = []
    if config.rewrite.form == "rewritten":
        lines, rows = preview(config, [Rewritten.stage_name], prompts)
        read = [row for row in rows if row.outcome is None]
        prompts, n_open = [rewrite_prompts.rewritten_prompt(config.work, row) for row in read], lines[0].to_compute
    else:
        prompts, _ = word_prompts(config, prompts, run_logger())
    return lines + preview(config, config.shard_stage_names, plan_videos(config, prompts).samples, n_open)[0]


# --- Planning --------------------------------------------------------------------------------


class GivenPrompts(NamedTuple):
    prompts: list[DsrPrompt]
    outcomes: list[Outcome]  # lines that are no prompt


class SamplePlan(NamedTuple):
    samples: list[DsrSample]
    outcomes: list[Outcome]  # files that are no sample
    n_videos: int  # files that were given


def plan_prompts(config: CurateDsr) -> GivenPrompts:
    """The prompts of the file, or of the grammar."""
    if config.prompts is None:
        return GivenPrompts(generate_prompts(config.grammar)[: config.limit], [])
    log = run_logger()
    listing = read_prompts(config.prompts, config.prompts_split, config.limit)
    log.info("%s: %d prompts, %d other lines", config.prompts, len(listing.prompts), len(listing.outcomes))
    warn_of(listing.outcomes, log)
    return GivenPrompts(listing.prompts, listing.outcomes)


def word_prompts(config: CurateDsr, prompts: list[DsrPrompt], log: Any) -> tuple[list[DsrPrompt], list[Outcome]]:
    """The prompts in the form that was asked for, and what became of those that cannot be had in it."""
    form = config.rewrite.form
    if form is None:
        return prompts, []
    if form != "rewritten":
        return [rewrite_prompts.word_prompt(prompt, form) for prompt in prompts], []
    rows = through_stage(config, curate_dsr_shard, Rewritten.stage_name, prompts, "prompts", log)
    read = [row for row in rows if row.outcome is None]
    worded = at_once(config.work.root, lambda row: rewrite_prompts.rewritten_prompt(config.work, row), read)
    return list(worded), [row.outcome for row in rows if row.outcome is not None]


def plan_videos(config: CurateDsr, prompts: list[DsrPrompt]) -> SamplePlan:
    """Every prompt with every seed; with its video where videos are given."""
    if config.videos is None:
        return SamplePlan(plan_samples(prompts, config.seeds), [], 0)
    log = run_logger()
    listing = read_samples(config.videos, prompts, config.seeds, config.work.root / "known")
    n_found = sum(sample.video is not None for sample in listing.samples)
    log.info("%s: %d samples, %d of them with a video", config.videos, len(listing.samples), n_found)
    warn_of(listing.outcomes, log)
    return SamplePlan(listing.samples, listing.outcomes, n_found + len(listing.outcomes))


def plan_sample_shards(samples: Sequence[DsrSample], size: int) -> list[Shard[DsrSample]]:
    """Samples in their order, split by split: published files hold rows of one split."""
    splits: tuple[Split, ...] = get_args(Split)
    return [s for split in splits for s in plan_shards([x for x in samples if x.split == split], size)]


# --- Pairs -----------------------------------------------------------------------------------


def pair_up(config: CurateDsr, prompts: list[DsrPrompt], shards: Done) -> tuple[list[PairRow], list[PromptRow]]:
    """Pairs over all shards, and what became of each prompt's samples."""
    work = config.work
    paths = [
        work.shard_path(shard.shard_id, f"{done.folder}/samples.parquet")
        for shard, done in shards
        if done.tables["samples"]
    ]
    tables = at_once(work.root, lambda path: read_table(SampleRow, path), paths)
    samples = [sample for table in tables for sample in table]
    pairs = pair_samples(samples, config.pair)
    return pairs, prompt_rows(prompts, config.seeds, samples, pairs, config.pair)


def demo(folder: Path) -> list[str]:
    """The options of a few prompts and small samples of them, drawn well or badly on purpose."""
    few = ["--grammar.n-train", "6", "--grammar.n-test", "6", "--seeds-train", "4", "--seeds-test", "2"]
    small = ["--generate.width", "416", "--generate.height", "240", "--generate.n-frames", "41", "--generate.fps", "8"]
    return [*few, *small, "--ground.n-frames", "8"]


FLOW = CurationFlow(CurateDsr, curate_dsr, look_ahead, demo)


if __name__ == "__main__":
    FLOW.main()
