"""A snapshot: a published, immutable version of a dataset.

    snapshots/matrix11k-3f9c2a71b0de/
        manifest.json   README.md
        clips/  mask_tracks/  outcomes/  ...        its tables: schemas/matrix11k.py, kinemask.py, dsr.py

Every table is a folder of Parquet files, mostly one per shard; every row of a clip names it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import model_validator

from schemas.provenance import MadeBy
from schemas.record import Record, column
from schemas.tables import Named


class Count(Record):
    """How many rows ended one way."""

    status: str = column("accepted, rejected or failed")
    stage: str = column("Where")
    reason: str | None = column("Why", default=None)
    n: int = column("How many", ge=0)


class FunnelStep(Record):
    """How many rows a stage was given, and how they left it."""

    stage: str = column("The stage")
    unit: str = column("What is counted: lines, sources, prompts or clips")
    given: int = column("Rows that entered", ge=0)
    passed: int = column("Rows that went on", ge=0)
    rejected: int = column("Rows judged and dropped", ge=0)
    failed: int = column("Rows that could not be judged", ge=0)
    made: int = column("Rows that came of them: clips of sources", ge=0)


class DataFile(Record):
    """One Parquet file of a snapshot."""

    path: str = column("Relative to the snapshot")
    table: str = column("The table it is part of")
    rows: int = column("Rows in it", ge=0)
    sha256: str = column("SHA-256 of its bytes", unit="hex")


class ShardEntry(Record):
    """A shard of a snapshot: a refresh keeps it as it is while its clips stay."""

    shard_id: str = column("Derived from its clips")
    clip_ids: list[str] = column("Its clips, in order")


class SnapshotManifest(Record):
    """Everything that says what a snapshot is. Holds no time and no path: same inputs, same bytes."""

    schema_version: ClassVar[int] = 2

    snapshot_id: str = column("Derived from everything below")
    flow: str = column("The flow that made it: which tables it has")
    dataset: str = column("The dataset's name")
    format_version: int = column("Version of this manifest's own format")
    record_versions: list[Named] = column("Schema version of each table's record")
    configs: str = column("The stages' configs", unit="JSON")
    made_by: list[MadeBy] = column("Backends, models and prompts that made the rows")
    n_given: int = column("What the run was given: lines of a manifest, seeds, or prompts", ge=0)
    n_inputs: int = column("Rows to be accounted for: clips, and what was given and made none", ge=0)
    n_accepted: int = column("Accepted rows", ge=0)
    n_rejected: int = column("Rejected rows", ge=0)
    n_failed: int = column("Failed rows", ge=0)
    funnel: list[FunnelStep] = column("The yield, stage by stage")
    outcomes: list[Count] = column("How the inputs ended")
    statistics: dict[str, Any] = column("What the accepted clips are like: a record of the flow's own")
    shards: list[ShardEntry] = column("Shards in order")
    files: list[DataFile] = column("Every Parquet file")

    @model_validator(mode="before")
    @classmethod
    def _read_format_1(cls, values: Any) -> Any:
        """Accept manifests of format 1, which had no `flow`."""
        if isinstance(values, dict) and "n_lines" in values:
            n_lines = {"n_given": values["n_lines"]}
            rest = {name: value for name, value in values.items() if name != "n_lines"}
            return rest | n_lines | {"flow": "curate-matrix11k"}
        return values

    @property
    def tally(self) -> str:
        return (
            f"{self.n_inputs} inputs = {self.n_accepted} accepted + {self.n_rejected} rejected + {self.n_failed} failed"
        )
