"""The tables of samples that a training reads: a curated row, fitted to a model's size and encoded by it.

matrix-samples     samples/ encodings/ roles/ masks/ videos/
kinemask-samples   samples/ encodings/ objects/ videos/
dsr-samples        samples/ encodings/ videos/ pairs/
outcomes/          in each: one row for every row of the snapshot that was taken

Networks' inputs are stored as safetensors, one tensor a column, in the layout and precision that the network takes.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from schemas.candidate import Box
from schemas.kinemask import ObjectRow
from schemas.mask_track import MaskTrack
from schemas.outcome import Kind, Outcome, Subject
from schemas.provenance import MadeBy
from schemas.record import Record, column
from schemas.scene import Split
from schemas.tables import Named, OfClip

RoleKind = Literal["subject", "object", "verb"]


class SnapshotRow(Subject):
    """An accepted row of a published snapshot that is to become a sample."""

    schema_version: ClassVar[int] = 1
    kind: ClassVar[Kind] = "clip"

    clip_id: str = column("The row's id in its snapshot")
    split: Split = column("train or test; where its dataset has no splits: test if it is kept out")
    content: str = column("SHA-256 of everything that the sample is made from: its rows and its video's bytes")

    @property
    def row_id(self) -> str:
        return self.clip_id


class SampleRow(OfClip):
    """A clip as a model is shown it."""

    table_name: ClassVar[str | None] = "samples"

    split: Split = column("train or test; test is never trained on")
    prompt: str = column("The text that is encoded")
    fps: float = column("Frames a second", unit="frames/s", gt=0)
    n_frames: int = column("Frames", ge=1)
    width: int = column("Width", unit="px", ge=1)
    height: int = column("Height", unit="px", ge=1)
    source_frames: list[int] = column("One a frame: the frame of the curated clip that it is")
    source_box_xyxy: Box = column("The part of the curated clip's picture that is shown", unit="px")
    made_by: list[MadeBy] = column("Backend and model of every stage")


class EncodingRow(OfClip):
    """A sample as a network takes it. A table of its own, so that the others are read without it."""

    table_name: ClassVar[str | None] = "encodings"

    latents: bytes = column("safetensors `latents`: CogVideoX (F, C, h, w), Wan (C, F, h, w); scaled as it is trained")
    text: bytes = column("safetensors `text`: (L, D), the prompt's embedding")
    image_latents: bytes | None = column("safetensors `latents` of the first frame alone, F = 1", default=None)
    id_latents: bytes | None = column("safetensors `latents` of the ID map of the first frame, F = 1", default=None)


class SampleVideoRow(OfClip):
    """The pictures that were encoded."""

    table_name: ClassVar[str | None] = "videos"

    sha256: str = column("SHA-256 of the video", unit="hex")
    video: bytes = column("H.264 in MP4")
    id_map: bytes | None = column("The ID map of the first frame, PNG (MATRIX 4.1)", default=None)


class Span(Record):
    """Characters start to end (exclusive) of a text."""

    start: int = column("First character", ge=0)
    end: int = column("Behind the last one", ge=1)


class PlacedRole(Record):
    """One part of an interaction: which words of the prompt it is (MATRIX 4.2)."""

    role_id: str = column("Unique in its sample: 'id1' for an instance, 'id1-hold-id2' for a verb")
    kind: RoleKind = column("subject, object or verb; an instance that is both, in two interactions, is a subject")
    instance_ids: list[str] = column("The instances whose masks it has: a verb has its subject's and its object's")
    words: str = column("The words: a noun with its modifiers, a verb with its particles")
    spans: list[Span] = column("Where they stand in the prompt; several if words stand between")


class RoleRow(PlacedRole, OfClip):
    """A role of a sample, with the tokens of its words."""

    table_name: ClassVar[str | None] = "roles"

    tokens: list[int] = column("The prompt's tokens, from 0, that hold its words")


class SampleMaskRow(MaskTrack, OfClip):
    """An instance's masks in the sample's frames and size."""

    table_name: ClassVar[str | None] = "masks"


class SampleObjectRow(ObjectRow):
    """A simulated object: velocity masks are rebuilt from it (KineMask 3.1)."""

    table_name: ClassVar[str | None] = "objects"


class SampleOutcomeRow(Outcome):
    """What became of a row of the snapshot."""

    table_name: ClassVar[str | None] = "outcomes"

    split: str | None = column("train or test", default=None)


class SampleStatistics(Record):
    """What the samples are like."""

    splits: list[Named] = column("Samples of each split")
    sizes: list[Named] = column("Samples by frames, size and rate: '49 frames of 720x480 at 8 frames/s'")
