"""curate-matrix11k: captioned videos -> interaction triplets and exact mask tracks (MATRIX, section 3).

    python -m flows.curate_matrix11k --manifest videos/captions.jsonl --root data
    prefect deployment run curate-matrix11k/default --param config='{"manifest": ..., "root": ...}'

Read downward, this is the paper's figure 4: split, extract, ground, propagate, check, publish. Both
commands, and the tests, call the same flow with the same config.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import CliApp

from flows.dispatch import DispatchConfig, Job, ShardsFailed, crash_silent_parents, rearm_parent, run_shards
from schemas.clip import Clip
from schemas.outcome import ServiceDown
from schemas.source import Source
from schemas.storage import AnyPath, DataPath, ObjectPath, at_once
from schemas.usage import TokenPrices
from tasks import check_tracks, extract_triplets, ground_instances, propagate_masks, split_scenes
from tasks.backends.grounding_dino import DinoConfig
from tasks.backends.openai_api import EndpointConfig
from tasks.backends.sam2_video import Sam2Config
from tasks.backends.torch_runtime import TorchConfig
from tasks.compare_truth import compare_snapshot
from tasks.draw_scenes import read_truths
from tasks.plan_shards import SHARD_SIZE, plan_clip_shards, plan_shards
from tasks.publish_snapshot import Ledger, LedgerError, latest_snapshot, publish_snapshot, read_snapshot
from tasks.read_manifest import Inputs, Listing, ManifestError, inputs_folder, read_manifest, require_manifest
from tasks.stage import (
    Row,
    Shard,
    Stage,
    Work,
    chain_of,
    full_disk_is_a_service_down,
    load_shard,
    recall,
    run_stage,
)
from tasks.write_report import read_usage, write_report
from tasks.write_shard import ShardDone, find_done, require_done, write_shard

SOURCE_STAGES = ("split_scenes",)
CLIP_STAGES = ("extract_triplets", "ground_instances", "propagate_masks", "check_tracks")
WRITE = "write_shard"

# What each profile sets where nothing else is asked for. The paper's: an LLM and a VLM, GroundingDINO, SAM2.
PROFILES: dict[str, dict[str, dict[str, str]]] = {
    "embedded": {},
    "paper": {
        "extract": {"llm": "openai"},
        "ground": {"grounding": "groundingdino", "vlm": "openai"},
        "propagate": {"masks": "sam2"},
    },
}


class CurateMatrix11k(BaseModel):
    """Everything the flow can be told. Defaults are the paper's where it states a number."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    profile: Literal["embedded", "paper"] = Field(
        "embedded",
        description="The backends where none is named. embedded: no weights, no server; paper: an LLM and a VLM behind "
        "OpenAI-compatible servers, GroundingDINO, SAM2",
    )
    manifest: DataPath = Field(
        description="JSONL, CSV or Parquet of videos and captions, or a folder of videos; a path or s3://bucket/key"
    )
    root: DataPath = Field(
        Path("data"), description="Folder for the work, the snapshots and the reports; a path or s3://bucket/prefix"
    )
    dataset: str = Field("matrix11k", pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Name of the dataset")
    allow_outside: bool = Field(False, description="Let a manifest name files outside its own folder")
    shard_size: int = Field(SHARD_SIZE, ge=1, description="Clips a shard")

    truth: Path | None = Field(
        None, description="Folder that tasks/draw_scenes.py drew: the report compares with its truth"
    )

    split: split_scenes.SplitConfig = split_scenes.SplitConfig()
    extract: extract_triplets.ExtractConfig = extract_triplets.ExtractConfig()
    ground: ground_instances.GroundConfig = ground_instances.GroundConfig()
    propagate: propagate_masks.PropagateConfig = propagate_masks.PropagateConfig()
    check: check_tracks.CheckConfig = check_tracks.CheckConfig()

    endpoint: EndpointConfig = Field(EndpointConfig(), description="How LLM and VLM servers are asked")
    dino: DinoConfig = Field(DinoConfig(), description="GroundingDINO's weights and settings")
    sam2: Sam2Config = Field(Sam2Config(), description="SAM2's weights and settings")
    torch: TorchConfig = Field(TorchConfig(), description="Where networks run")
    dispatch: DispatchConfig = Field(DispatchConfig(), description="Where shards run")
    prices: TokenPrices = Field(TokenPrices(), description="What tokens cost: told in the report, no part of any key")

    @model_validator(mode="before")
    @classmethod
    def _fill_from_profile(cls, values: Any) -> Any:
        choices = PROFILES.get(str(values.get("profile")), {}) if isinstance(values, dict) else {}
        filled = {stage: choice | _given(values.get(stage)) for stage, choice in choices.items()}
        return {**values, **filled} if choices else values

    @field_validator("manifest")
    @classmethod
    def _is_named(cls, manifest: AnyPath) -> AnyPath:
        if manifest == Path():
            raise ValueError("the manifest is empty; name a file or a folder (deployed: export TRIPTYCH_MANIFEST)")
        return manifest

    @property
    def work(self) -> Work:
        inputs = Inputs(folder=inputs_folder(self.manifest), allow_outside=self.allow_outside)
        return Work(root=self.root / "work", inputs=inputs)

    @property
    def snapshots(self) -> AnyPath:
        return self.root / "snapshots"

    def stage(self, name: str) -> Stage[Any, Any]:
        match name:
            case "split_scenes":
                return split_scenes.stage(self.work, self.split)
            case "extract_triplets":
                return extract_triplets.stage(self.work, self.extract, self.endpoint)
            case "ground_instances":
                return ground_instances.stage(self.work, self.ground, self.endpoint, self.dino, self.torch)
            case "propagate_masks":
                return propagate_masks.stage(self.work, self.propagate, self.sam2, self.torch)
            case "check_tracks":
                return check_tracks.stage(self.work, self.check)
        raise ValueError(f"no stage {name!r}; there are {', '.join(SOURCE_STAGES + CLIP_STAGES)}")


def _given(section: BaseModel | dict[str, Any] | None) -> dict[str, Any]:
    """What was asked for in a section of the config."""
    if isinstance(section, BaseModel):
        return section.model_dump(exclude_unset=True)
    return section or {}


@flow(name="curate-matrix11k", flow_run_name="curate {config.dataset}", validate_parameters=True)
def curate_matrix11k(config: CurateMatrix11k) -> AnyPath:
    """Curate a manifest and publish a snapshot; returns its folder.

    Run again after any failure, it redoes only what is missing.
    Raises ManifestError, ShardsFailed, LedgerError.
    """
    log = get_run_logger()
    crash_silent_parents(config.dispatch, log)
    listing = read_listing(config)
    ledger = split_sources(config, listing, log)
    shards = curate_clips(config, ledger, log)
    snapshot = publish(config, ledger, shards)
    report = report_on(config, snapshot)
    show_yield(snapshot, report, log)
    return snapshot


@flow(name="curate-matrix11k-shard", flow_run_name="{shard.parent.name}", on_completion=[rearm_parent])
def curate_matrix11k_shard(config: CurateMatrix11k, shard: DataPath, stages: list[str]) -> None:
    """One shard through some neighbouring stages; fails alone and is rerun alone.

    shard: the planned shard's file. Raises ServiceDown when no row of it can be done.
    """
    state = shard_before(config, shard, stages[0])
    for name in stages:
        if name == WRITE:
            write_tables(config, state)
        else:
            state = run_shard_stage.with_options(name=name, task_run_name=name)(config, name, state)


@task(name="stage", cache_policy=NO_CACHE)
def run_shard_stage(config: CurateMatrix11k, name: str, shard: AnyPath) -> AnyPath:
    return run_stage(config.work, load_shard(shard, _payload_of(name)), config.stage(name), get_run_logger())


@task(name=WRITE, task_run_name=WRITE, cache_policy=NO_CACHE)
def write_tables(config: CurateMatrix11k, shard: AnyPath) -> None:
    with full_disk_is_a_service_down(WRITE, config.root):
        write_shard(config.work, load_shard(shard, Clip))


@task(name="read_manifest", task_run_name="read_manifest", cache_policy=NO_CACHE)
def read_listing(config: CurateMatrix11k) -> Listing:
    known = config.work.root / "known"
    listing = read_manifest(config.manifest, allow_outside=config.allow_outside, known=known)
    log = get_run_logger()
    log.info("%s: %d sources, %d other lines", config.manifest, len(listing.sources), len(listing.outcomes))
    for outcome in listing.outcomes:
        log.warning("%s %s: %s", outcome.status, outcome.reason, outcome.detail)
    return listing


@task(name="publish_snapshot", task_run_name="publish_snapshot", cache_policy=NO_CACHE)
def publish(config: CurateMatrix11k, ledger: Ledger, shards: list[tuple[Shard[Clip], ShardDone]]) -> AnyPath:
    names = SOURCE_STAGES + CLIP_STAGES
    stages = [config.stage(name) for name in names]
    with full_disk_is_a_service_down("publish_snapshot", config.root):
        return publish_snapshot(
            config.work,
            config.snapshots,
            config.dataset,
            ledger,
            shards,
            configs={name: stage.config.model_dump(mode="json") for name, stage in zip(names, stages, strict=True)},
            made_by=[maker for stage in stages for maker in stage.made_by],
        )


@task(name="write_report", task_run_name="write_report", cache_policy=NO_CACHE)
def report_on(config: CurateMatrix11k, snapshot: AnyPath) -> AnyPath:
    truth = compare_snapshot(snapshot, read_truths(config.truth)) if config.truth else None
    shards, stages = read_snapshot(snapshot).shards, [config.stage(name) for name in CLIP_STAGES]
    spent = read_usage(config.work, shards, stages)
    with full_disk_is_a_service_down("write_report", config.root):
        folder = config.root / "reports" / snapshot.name
        return write_report(snapshot, config.work, folder, truth, spent=spent, prices=config.prices)


# --- Planning --------------------------------------------------------------------------------


def split_sources(config: CurateMatrix11k, listing: Listing, log: Any) -> Ledger:
    """Every source into clips: those known from an earlier run at once, the others in shards."""
    work, stage = config.work, config.stage("split_scenes")
    known = at_once(work.root, lambda s: recall(work, stage, Row[Source](payload=s)), listing.sources)
    rows = {source.source_id: row for source, row in zip(listing.sources, known, strict=True)}
    new = [s for s in listing.sources if rows[s.source_id] is None]
    log.info("split_scenes: %d of %d sources are new", len(new), len(rows))
    shards = plan_shards(new, config.shard_size)
    jobs = [_job(config, shard, SOURCE_STAGES) for shard in shards]
    run_shards(curate_matrix11k_shard, jobs, config.dispatch, log)
    for shard in shards:
        for row in load_shard(work.state_path(shard.shard_id, [stage]), Source).rows:
            rows[row.payload.source_id] = row

    def split_of(row: Row[Source]) -> tuple[str, split_scenes.SplitResult]:
        return row.payload.source_id, split_scenes.load_split(work, row)

    ended = [row for row in rows.values() if row is not None]
    return Ledger(
        n_lines=len(listing.sources) + len(listing.outcomes),
        sources=listing.sources,
        line_outcomes=listing.outcomes,
        splits=dict(at_once(work.root, split_of, [row for row in ended if row.outcome is None])),
        source_outcomes=[row.outcome for row in ended if row.outcome is not None],
    )


def curate_clips(config: CurateMatrix11k, ledger: Ledger, log: Any) -> list[tuple[Shard[Clip], ShardDone]]:
    """Every clip through the stages, then the parts of those that turned out to be crowded.

    The parts are entered into the ledger.
    """
    whole = [clip for split in ledger.splits.values() for clip in split.clips]
    shards = curate_shards(config, whole, log)
    if config.extract.over_cap == "split":
        ledger.parts = cut_crowded(config, shards, log)
        shards += curate_shards(config, [part for parts in ledger.parts.values() for part in parts], log)
    return shards


def curate_shards(config: CurateMatrix11k, clips: list[Clip], log: Any) -> list[tuple[Shard[Clip], ShardDone]]:
    """Clips in shards; the shards that are done already are left as they are."""
    work = config.work
    chain = chain_of([config.stage(name) for name in CLIP_STAGES])
    latest = latest_snapshot(config.snapshots)
    earlier = [entry.clip_ids for entry in read_snapshot(latest).shards] if latest else []
    shards = plan_clip_shards(clips, config.shard_size, earlier)
    done = at_once(work.root, lambda shard: find_done(work, shard.shard_id, chain), shards)
    todo = [shard for shard, d in zip(shards, done, strict=True) if d is None or d.retryable]
    log.info("%d clips in %d shards, %d of them to do", len(clips), len(shards), len(todo))
    jobs = [_job(config, shard, (*CLIP_STAGES, WRITE)) for shard in todo]
    run_shards(curate_matrix11k_shard, jobs, config.dispatch, log)
    return at_once(work.root, lambda shard: (shard, require_done(work, shard.shard_id, chain)), shards)


def cut_crowded(
    config: CurateMatrix11k, shards: list[tuple[Shard[Clip], ShardDone]], log: Any
) -> dict[str, list[Clip]]:
    """The parts of each clip that names more instances than are tracked: {clip_id: parts}."""
    work, extract = config.work, config.stage("extract_triplets")
    parts = {}
    for shard, _ in shards:
        for row in load_shard(work.state_path(shard.shard_id, [extract]), Clip).rows:
            clip = row.payload
            if (n_parts := extract_triplets.n_parts_of(work, row, config.extract)) > 1:
                path = work.inputs.verified(clip.video, clip.video_sha256)
                parts[clip.clip_id] = split_scenes.cut_parts(path, clip, n_parts)
    log.info("%d crowded clips are cut into %d parts", len(parts), sum(map(len, parts.values())))
    return parts


def shard_before(config: CurateMatrix11k, planned: AnyPath, stage: str) -> AnyPath:
    """The shard's state before a stage: its plan, or what the stages before have left (on another machine)."""
    order = (*CLIP_STAGES, WRITE)
    before = order[: order.index(stage)] if stage in order else ()
    stages = [config.stage(name) for name in before]
    return config.work.state_path(planned.parent.name, stages) if stages else planned


def _job(config: CurateMatrix11k, shard: Shard[Any], stages: Sequence[str]) -> Job:
    path = str(config.work.save_shard(shard))  # as text it crosses to any machine
    return Job(name=shard.shard_id, parameters={"config": config, "shard": path}, stages=list(stages))


def _payload_of(stage: str) -> type[Source] | type[Clip]:
    return Source if stage in SOURCE_STAGES else Clip


# --- What people look at ---------------------------------------------------------------------


def show_yield(snapshot: AnyPath, report: AnyPath, log: Any) -> None:
    """The yield funnel and where to look, in the log and as artifacts in the Prefect UI."""
    manifest = read_snapshot(snapshot)
    steps = [step.model_dump() for step in manifest.funnel]
    create_table_artifact(steps, key="yield", description=f"Yield of {manifest.snapshot_id}, stage by stage")
    # A browser opens no s3://.
    link = str(report) if isinstance(report, ObjectPath) else f"[{report}]({report.resolve().as_uri()})"
    create_markdown_artifact(f"{manifest.snapshot_id}: {manifest.tally}\n\nReport: {link}", key="snapshot")
    log.info("%s: %s", manifest.snapshot_id, manifest.tally)
    log.info("snapshot %s", snapshot)
    log.info("report %s", report)


def main(arguments: list[str] | None = None) -> None:
    try:
        config = CliApp.run(CurateMatrix11k, cli_args=arguments)
        require_manifest(config.manifest)  # before a server is started for it
        curate_matrix11k(config)
    except (ManifestError, ShardsFailed, LedgerError, ServiceDown, ValidationError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
