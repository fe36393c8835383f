"""What all curation flows share: the config's common part, shards through stages, publishing, the command.

A flow file states its stages, where its clips come from and what its report is; the rest is here.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import CliApp

from flows.engine.dispatch import DispatchConfig, Job, ShardsFailed, run_shards
from flows.engine.steps import in_run, run_logger, run_step
from schemas.config import StageConfig
from schemas.outcome import ServiceDown, Subject
from schemas.storage import AnyPath, DataPath, ObjectPath, at_once
from schemas.usage import TokenPrices
from tasks.backends.openai.api import EndpointConfig
from tasks.engine.dataset import Dataset, Ledger
from tasks.engine.publish import LedgerError, publish_snapshot
from tasks.engine.shards import SHARD_SIZE, Row, Shard, load_shard, plan_shards
from tasks.engine.snapshots import Snapshot, read_snapshot
from tasks.engine.stage import Stage, chain_of, recall, run_stage, state_path
from tasks.engine.work import Work, full_disk_is_a_service_down
from tasks.engine.write_shard import ShardDone, find_done, require_done, write_shard
from tasks.metrics.compare_truth import TruthReport
from tasks.pages.page import PageContext
from tasks.pages.usage import read_usage
from tasks.readers.lines import ManifestError

WRITE = "write_shard"

Done = list[tuple[Shard[Any], ShardDone]]


class CurationConfig(BaseModel):
    """What every curation flow can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    product: ClassVar[Dataset]
    stage_names: ClassVar[tuple[str, ...]]  # all of them, those before the clips' as well

    dataset: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Name of the dataset")
    root: DataPath = Field(
        Path("data"), description="Folder for the work, the snapshots and the reports; a path or s3://bucket/prefix"
    )
    report: bool = Field(True, description="Write a page about the snapshot, with videos of some of its clips")
    shard_size: int = Field(SHARD_SIZE, ge=1, description="Clips a shard")
    endpoint: EndpointConfig = Field(EndpointConfig(), description="How LLM and VLM servers are asked")
    dispatch: DispatchConfig = Field(DispatchConfig(), description="Where shards run")
    prices: TokenPrices = Field(TokenPrices(), description="What tokens cost: told in the report, no part of any key")

    @field_validator("root", mode="before")
    @classmethod
    def _is_named(cls, root: Any) -> Any:
        if root == "":
            raise ValueError("the root is empty; name a folder (deployed: export it before `prefect deploy --all`)")
        return root

    @property
    @abstractmethod
    def work(self) -> Work:
        """Where everything is computed."""

    @property
    def snapshots(self) -> AnyPath:
        return self.root / "snapshots"

    @abstractmethod
    def stage(self, name: str) -> Stage[Any, Any]:
        """A stage with its config and backends. Raises ValueError if there is none of this name."""

    @abstractmethod
    def payload_of(self, stage: str) -> type[Subject]:
        """What the rows of a stage's shards are."""

    @property
    def stages(self) -> list[Stage[Any, Any]]:
        """Those that rows go through with this config, in order."""
        return [self.stage(name) for name in self.stage_names]

    @property
    def clip_stages(self) -> list[Stage[Any, Any]]:
        return [self.stage(name) for name in self.product.clip_stages]

    def require_inputs(self) -> None:
        """Look before a server is started for it. Raises ManifestError if what the run would read is not there."""

    @property
    def settings(self) -> dict[str, StageConfig]:
        """What is not a stage's and yet decides on what is published, by the name of what it is given to."""
        return {}


def fill_from_profile(values: Any, profiles: dict[str, dict[str, dict[str, str]]]) -> Any:
    """The config's raw values, with its profile's choices where nothing else is asked for."""
    choices = profiles.get(str(values.get("profile")), {}) if isinstance(values, dict) else {}
    filled = {section: choice | _given(values.get(section)) for section, choice in choices.items()}
    return {**values, **filled} if choices else values


def _given(section: BaseModel | dict[str, Any] | None) -> dict[str, Any]:
    """What was asked for in a section of the config."""
    if isinstance(section, BaseModel):
        return section.model_dump(exclude_unset=True)
    return section or {}


# --- Shards ----------------------------------------------------------------------------------


def run_shard(config: CurationConfig, planned: AnyPath, stages: Sequence[str]) -> None:
    """One shard through some neighbouring stages. Raises ServiceDown when no row of it can be done."""
    state = shard_before(config, planned, stages[0])
    for name in stages:
        if name == WRITE:
            run_step(WRITE, write_tables, config, state)
        else:
            state = run_step(name, run_shard_stage, config, name, state)


def run_shard_stage(config: CurationConfig, name: str, shard: AnyPath) -> AnyPath:
    return run_stage(config.work, load_shard(shard, config.payload_of(name)), config.stage(name), run_logger())


def write_tables(config: CurationConfig, shard: AnyPath) -> None:
    with full_disk_is_a_service_down(WRITE, config.root):
        write_shard(config.work, load_shard(shard, config.payload_of(WRITE)), config.product)


def shard_before(config: CurationConfig, planned: AnyPath, stage: str) -> AnyPath:
    """The shard's state before a stage: its plan, or what the stages before have left (on another machine)."""
    order = (*config.product.clip_stages, WRITE)
    before = order[: order.index(stage)] if stage in order else ()
    stages = [config.stage(name) for name in before]
    return state_path(config.work, planned.parent.name, stages) if stages else planned


def job_of(config: CurationConfig, shard: Shard[Any], stages: Sequence[str]) -> Job:
    path = str(config.work.save_shard(shard))  # as text it crosses to any machine
    return Job(name=shard.shard_id, parameters={"config": config, "shard": path}, stages=list(stages))


def through_stage(config: CurationConfig, shard_flow: Any, name: str, rows: Sequence[Subject], log: Any) -> list[Row]:
    """Rows through one stage before the clips': those known from an earlier run at once, the others in shards."""
    work, stage = config.work, config.stage(name)
    known = at_once(work.root, lambda row: recall(work, stage, Row[Any](payload=row)), rows)
    after = {row.row_id: ended for row, ended in zip(rows, known, strict=True)}
    new = [row for row in rows if after[row.row_id] is None]
    log.info("%s: %d of %d rows are new", name, len(new), len(rows))
    shards = plan_shards(new, config.shard_size)
    run_shards(shard_flow, [job_of(config, shard, (name,)) for shard in shards], config.dispatch, log)
    for shard in shards:
        for row in load_shard(state_path(work, shard.shard_id, [stage]), config.payload_of(name)).rows:
            after[row.payload.row_id] = row
    return [ended for row in rows if (ended := after[row.row_id]) is not None]


def curate_shards(config: CurationConfig, shard_flow: Any, shards: list[Shard[Any]], log: Any) -> Done:
    """Shards of clips through all stages; those that are done already are left as they are."""
    work, chain = config.work, chain_of(config.clip_stages)
    done = at_once(work.root, lambda shard: find_done(work, shard.shard_id, chain), shards)
    todo = [shard for shard, d in zip(shards, done, strict=True) if d is None or d.retryable]
    log.info("%d clips in %d shards, %d of them to do", sum(len(s.rows) for s in shards), len(shards), len(todo))
    jobs = [job_of(config, shard, (*config.product.clip_stages, WRITE)) for shard in todo]
    run_shards(shard_flow, jobs, config.dispatch, log)
    return at_once(work.root, lambda shard: (shard, require_done(work, shard.shard_id, chain)), shards)


# --- The snapshot ----------------------------------------------------------------------------


def publish(config: CurationConfig, ledger: Ledger, shards: Done) -> AnyPath:
    """Publish what the shards left; returns the snapshot's folder. Raises LedgerError."""
    stages = config.stages
    configs = {stage.name: stage.config for stage in stages} | config.settings
    with full_disk_is_a_service_down("publish_snapshot", config.root):
        return publish_snapshot(
            config.work,
            config.snapshots,
            config.dataset,
            config.product,
            ledger,
            shards,
            configs={name: settings.model_dump(mode="json") for name, settings in configs.items()},
            made_by=[maker for stage in stages for maker in stage.made_by],
        )


def report_with(
    config: CurationConfig,
    snapshot: AnyPath,
    write: Callable[[Snapshot, AnyPath, PageContext], AnyPath],
    truth: TruthReport | None = None,
) -> AnyPath:
    """A snapshot's page. write: that of its dataset; truth: how the result compares with the truth, if there is any"""
    published = Snapshot(snapshot)
    payload = config.payload_of(config.product.clip_stages[0])
    spent = read_usage(config.work, published.manifest.shards, config.clip_stages, payload)
    context = PageContext(config.work, spent, config.prices, truth)
    with full_disk_is_a_service_down("write_report", config.root):
        return write(published, config.root / "reports" / published.id, context)


def show_yield(snapshot: AnyPath, report: AnyPath | None, log: Any) -> None:
    """The yield funnel and where to look, in the log and as artifacts in the Prefect UI."""
    manifest = read_snapshot(snapshot)
    if in_run():
        steps = [step.model_dump() for step in manifest.funnel]
        create_table_artifact(steps, key="yield", description=f"Yield of {manifest.snapshot_id}, stage by stage")
        where = f"\n\nReport: {_link(report)}" if report else ""
        create_markdown_artifact(f"{manifest.snapshot_id}: {manifest.tally}{where}", key="snapshot")
    log.info("%s: %s", manifest.snapshot_id, manifest.tally)
    log.info("snapshot %s", snapshot)
    if report:
        log.info("report %s", report)


def _link(page: AnyPath) -> str:
    # A browser opens no s3://.
    return str(page) if isinstance(page, ObjectPath) else f"[{page}]({page.resolve().as_uri()})"


# --- The command line ------------------------------------------------------------------------


def run_command(config_type: type[CurationConfig], curate: Any, arguments: list[str] | None = None) -> None:
    """A curation flow as a command: its config as options, what a user can mend as one line on the way out."""
    try:
        config = CliApp.run(config_type, cli_args=arguments)
        config.require_inputs()
        curate(config)
    except (ManifestError, ShardsFailed, LedgerError, ServiceDown, ValidationError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
