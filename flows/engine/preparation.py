"""What the flows share that prepare a published snapshot for a training: which rows, in which shards, from where.

    class PrepareMatrixSamples(PreparationConfig):
        takes: ClassVar[str] = "curate-matrix11k"
        steps: ClassVar[Sequence[Step]] = (Step(SnapshotRow, PlacedRoles, lambda c: place_roles.stage(c.tables)), ...)

        def read_rows(self) -> list[SnapshotRow]: ...

    @curation_flow(PrepareMatrixSamples)
    def prepare_matrix_samples(config: PrepareMatrixSamples) -> AnyPath:
        return prepare(config, prepare_matrix_samples_shard)

A run takes one snapshot from its beginning to its end, though LATEST may name another one meanwhile.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

from pydantic import Field

from flows.engine.config import CurationConfig
from flows.engine.growing_page import GrowingPage
from flows.engine.pipeline import Preview, curate_shards, finish, preview
from flows.engine.steps import run_logger, run_step
from schemas.config import StageConfig
from schemas.scene import Split
from schemas.storage import AnyPath, DataPath
from schemas.training_samples import SnapshotRow
from tasks.datasets.samples.ledger import SnapshotLedger
from tasks.engine.clip_tables import ClipTables
from tasks.engine.inputs import Inputs
from tasks.engine.shards import Shard, plan_clip_shards
from tasks.engine.snapshots import Snapshot
from tasks.engine.work import Work


class Lineage(StageConfig):
    """What samples are made from: for the manifest."""

    snapshot_id: str = Field(description="The snapshot that the rows were taken from")
    flow: str = Field(description="The flow that published it")


class PreparationConfig(CurationConfig):
    """What every flow can be told that prepares a snapshot."""

    takes: ClassVar[str]  # the flow whose snapshots it takes

    snapshot: DataPath = Field(
        description="The published dataset: a snapshot's folder, or its flow's root, whose latest one is taken"
    )

    @abstractmethod
    def read_rows(self) -> list[SnapshotRow]:
        """The snapshot's accepted rows (`self.tables`), in its order, with the hash of all that each is made from."""

    @cached_property
    def tables(self) -> ClipTables:
        """The snapshot's tables. Raises SnapshotError if there is none, it is damaged, or another flow's."""
        snapshot = Snapshot.given(self.snapshot)
        snapshot.require_flow(self.takes)
        return ClipTables(snapshot)

    def require_inputs(self) -> None:
        _ = self.tables

    @property
    def work(self) -> Work:
        work = self.root / "work"
        return Work(root=work, inputs=Inputs(folder=work))  # the snapshot's tables hold all

    @property
    def settings(self) -> dict[str, StageConfig]:
        snapshot = self.tables.snapshot
        return {"snapshot": Lineage(snapshot_id=snapshot.id, flow=snapshot.manifest.flow)}

    def pinned(self) -> Self:
        """The same, with the folder of the snapshot that LATEST names now: shards run later, and on other machines."""
        return self.model_copy(update={"snapshot": self.tables.snapshot.folder})


def prepare(config: PreparationConfig, shard_flow: Any) -> AnyPath:
    """Every row of the snapshot through the stages; publish. Returns the published folder.

    Raises SnapshotError, ShardsFailed, LedgerError.
    """
    log, config = run_logger(), config.pinned()
    rows = run_step("read_rows", taken_rows, config)
    log.info("%s: %d accepted rows are taken", config.tables.snapshot.folder, len(rows))
    ledger = SnapshotLedger(rows)
    latest = Snapshot.latest_readable(config.snapshots)
    earlier = [shard.clip_ids for shard in latest.manifest.shards] if latest and latest.exists else []
    planned, page = plan_sample_shards(rows, config.shard_size, earlier), GrowingPage(config, ledger, log)
    return finish(config, ledger, curate_shards(config, shard_flow, planned, log, page), log)


def look_ahead(config: PreparationConfig) -> list[Preview]:
    """What a run would do, stage by stage; nothing is computed."""
    return preview(config, config.shard_stage_names, taken_rows(config))[0]


def taken_rows(config: PreparationConfig) -> list[SnapshotRow]:
    """The first `limit` of the snapshot's rows."""
    return config.read_rows()[: config.limit]


def plan_sample_shards(
    rows: Sequence[SnapshotRow], size: int, earlier: Sequence[Sequence[str]] = ()
) -> list[Shard[SnapshotRow]]:
    """Shards of each split apart; those of an earlier snapshot stay together, so that a grown one redoes little."""
    splits = dict.fromkeys(row.split for row in rows)
    return [
        shard
        for split in splits
        for shard in plan_clip_shards([row for row in rows if row.split == split], size, earlier)
    ]


def split_by(key: str, test_share: float) -> Split:
    """Where a dataset has no splits: what is kept out, by a hash of the key, whatever else there is.

    key: what may not lie on both sides: the source's SHA-256 keeps all clips of a video together
    A larger share keeps out what a smaller one did, and more.
    """
    draw = int.from_bytes(hashlib.sha256(f"test split {key}".encode()).digest()[:8], "big") / 2**64
    return "test" if draw < test_share else "train"
