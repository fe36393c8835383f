"""A snapshot: a published, immutable version of a dataset, and its tables.

    snapshots/matrix11k-3f9c2a71b0de/
        manifest.json   README.md
        clips/  interactions/  instances/  mask_tracks/        the dataset: accepted clips only
        sources/  all_clips/  outcomes/  candidates/  track_checks/  dropped_interactions/   how it came about

Every table is a folder of Parquet files, most with one a shard, and every row names its clip.
"""

from __future__ import annotations

from typing import ClassVar

from schemas.candidate import Box, Candidate
from schemas.clip import Clip
from schemas.instance import Instance
from schemas.interaction import Interaction
from schemas.mask_track import MaskTrack
from schemas.outcome import Outcome
from schemas.provenance import MadeBy
from schemas.record import Record, column
from schemas.source import Source
from schemas.track_check import TrackCheck


class OfClip(Record):
    """A row of some clip."""

    clip_id: str = column("The clip it belongs to")


class ClipRow(Clip):
    """An accepted clip."""

    review_frames: list[int] = column("Frames to look at: first verified, last valid, eight evenly between")
    made_by: list[MadeBy] = column("Backend and model of every stage")


class InteractionRow(Interaction, OfClip):
    """An interaction of a clip."""


class InstanceRow(Instance, OfClip):
    """A tracked instance of an accepted clip."""

    anchor_frame: int = column("Frame of the accepted candidate", ge=0)
    anchor_box_xyxy: Box = column("Box of the accepted candidate, right and bottom exclusive", unit="px")
    anchor_score: float = column("The detector's confidence in it", unit="0..1")
    verifier_confidence: float | None = column("The verifier's confidence in it", unit="0..1", default=None)


class MaskTrackRow(MaskTrack, OfClip):
    """An instance's masks in an accepted clip."""


class CandidateRow(Candidate, OfClip):
    """A candidate of any clip, with its verdict."""


class TrackCheckRow(TrackCheck, OfClip):
    """A measure of a track of any clip."""


class OutcomeRow(Outcome):
    """What became of an input, with enough to find it again."""

    source_id: str | None = column("The source; null for a line that never became one", default=None)
    video: str | None = column("Path as the manifest writes it", default=None)
    start_s: float | None = column("Start of the clip", unit="s", default=None)
    end_s: float | None = column("End of the clip", unit="s", default=None)
    caption: str | None = column("The source's caption", default=None)


class Count(Record):
    """How many rows ended one way."""

    status: str = column("accepted, rejected or failed")
    stage: str = column("Where")
    reason: str | None = column("Why", default=None)
    n: int = column("How many", ge=0)


class FunnelStep(Record):
    """How many rows a stage was given, and how they left it."""

    stage: str = column("The stage")
    unit: str = column("What is counted: lines, sources or clips")
    given: int = column("Rows that entered", ge=0)
    passed: int = column("Rows that went on", ge=0)
    rejected: int = column("Rows judged and dropped", ge=0)
    failed: int = column("Rows that could not be judged", ge=0)
    made: int = column("Rows that came of them: clips of sources", ge=0)


class Named(Record):
    """A word and how often it occurs."""

    name: str = column("Verb or noun")
    n: int = column("Occurrences", ge=0)


class Statistics(Record):
    """Figure 10 of MATRIX, for the accepted clips."""

    contact_dynamism: list[list[int]] = column("5 x 5 counts of interactions: contactness down, dynamism across, 1..5")
    interactions_per_clip: list[int] = column("Clips with 0, 1, 2, ... interactions")
    instances_per_clip: list[int] = column("Clips with 0, 1, 2, ... tracked instances")
    top_verbs: list[Named] = column("The 50 most frequent verbs")
    top_nouns: list[Named] = column("The 50 most frequent base nouns")


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

    schema_version: ClassVar[int] = 1

    snapshot_id: str = column("Derived from everything below")
    dataset: str = column("The dataset's name")
    format_version: int = column("Version of this manifest's own format")
    record_versions: list[Named] = column("Schema version of each table's record")
    configs: str = column("The stages' configs", unit="JSON")
    made_by: list[MadeBy] = column("Backends, models and prompts that made the rows")
    n_lines: int = column("Lines of the input manifest", ge=0)
    n_inputs: int = column("Rows to be accounted for: clips, and lines and sources that gave none", ge=0)
    n_accepted: int = column("Accepted rows", ge=0)
    n_rejected: int = column("Rejected rows", ge=0)
    n_failed: int = column("Failed rows", ge=0)
    funnel: list[FunnelStep] = column("The yield, stage by stage")
    outcomes: list[Count] = column("How the inputs ended")
    statistics: Statistics = column("Figure 10 of MATRIX")
    shards: list[ShardEntry] = column("Shards in order")
    files: list[DataFile] = column("Every Parquet file")

    @property
    def tally(self) -> str:
        return (
            f"{self.n_inputs} inputs = {self.n_accepted} accepted + {self.n_rejected} rejected + {self.n_failed} failed"
        )


DATASET_TABLES: dict[str, type[Record]] = {
    "clips": ClipRow,
    "interactions": InteractionRow,
    "instances": InstanceRow,
    "mask_tracks": MaskTrackRow,
}
AUDIT_TABLES: dict[str, type[Record]] = {
    "outcomes": OutcomeRow,
    "candidates": CandidateRow,
    "track_checks": TrackCheckRow,
    "dropped_interactions": InteractionRow,
}
SHARD_TABLES = DATASET_TABLES | AUDIT_TABLES  # one file a shard
TABLES = SHARD_TABLES | {"sources": Source, "all_clips": Clip}
