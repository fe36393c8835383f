"""The tables of matrix11k: captioned videos, their interactions, and the masks of every instance.

clips/  interactions/  instances/  mask_tracks/        the dataset: accepted clips only
sources/  all_clips/  outcomes/  candidates/  track_checks/  dropped_interactions/   the audit: how it was made
"""

from __future__ import annotations

from typing import ClassVar

from schemas.candidate import Box
from schemas.clip import Clip
from schemas.instance import Instance
from schemas.interaction import Interaction
from schemas.mask_track import MaskTrack
from schemas.outcome import Outcome
from schemas.provenance import MadeBy
from schemas.record import Record, column
from schemas.source import Source
from schemas.tables import CandidateRow as CandidateRow
from schemas.tables import Named, OfClip
from schemas.track_check import TrackCheck


class ClipRow(Clip):
    """An accepted clip."""

    table_name: ClassVar[str | None] = "clips"

    review_frames: list[int] = column("Frames to look at: first verified, last valid, eight evenly between")
    made_by: list[MadeBy] = column("Backend and model of every stage")


class InteractionRow(Interaction, OfClip):
    """An interaction of a clip."""

    table_name: ClassVar[str | None] = "interactions"


class InstanceRow(Instance, OfClip):
    """A tracked instance of an accepted clip."""

    table_name: ClassVar[str | None] = "instances"

    anchor_frame: int = column("Frame of the accepted candidate", ge=0)
    anchor_box_xyxy: Box = column("Box of the accepted candidate, right and bottom exclusive", unit="px")
    anchor_score: float = column("The detector's confidence in it", unit="0..1")
    verifier_confidence: float | None = column("The verifier's confidence in it", unit="0..1", default=None)


class MaskTrackRow(MaskTrack, OfClip):
    """An instance's masks in an accepted clip."""

    table_name: ClassVar[str | None] = "mask_tracks"


class TrackCheckRow(TrackCheck, OfClip):
    """A measure of a track of any clip."""

    table_name: ClassVar[str | None] = "track_checks"


class OutcomeRow(Outcome):
    """What became of an input, with enough to find it again."""

    table_name: ClassVar[str | None] = "outcomes"

    source_id: str | None = column("The source; null for a line that never became one", default=None)
    video: str | None = column("Path as the manifest writes it", default=None)
    start_s: float | None = column("Start of the clip", unit="s", default=None)
    end_s: float | None = column("End of the clip", unit="s", default=None)
    caption: str | None = column("The source's caption", default=None)


class MatrixStatistics(Record):
    """Figure 10 of MATRIX, for the accepted clips."""

    contact_dynamism: list[list[int]] = column("5 x 5 counts of interactions: contactness down, dynamism across, 1..5")
    interactions_per_clip: list[int] = column("Clips with 0, 1, 2, ... interactions")
    instances_per_clip: list[int] = column("Clips with 0, 1, 2, ... tracked instances")
    top_verbs: list[Named] = column("The 50 most frequent verbs")
    top_nouns: list[Named] = column("The 50 most frequent base nouns")
    unconverted: list[Named] = column(
        "Clips whose pictures a player would convert: hdr, interlaced, anamorphic (if not stretched)", default=[]
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
WHOLE_TABLES: dict[str, type[Record]] = {"sources": Source, "all_clips": Clip}  # one file, written at publishing
TABLES = SHARD_TABLES | WHOLE_TABLES
