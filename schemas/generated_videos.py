"""What videos are generated from with a trained model, and the tables of those that were.

GenerationInput(name="mug", prompt="A blue mug slides ...", seed=0, image="photo.jpg", instances=[...])
"""

from __future__ import annotations

from typing import Any, ClassVar

from schemas.outcome import Kind, Outcome, Subject
from schemas.provenance import MadeBy
from schemas.record import Record, StageResult, column, content_hash
from schemas.tables import Named, OfClip

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"  # part of a file's name
MAX_INSTANCES = 5  # colours of an ID map (MATRIX 4.1)


class GivenInstance(Record):
    """A thing in the first frame: where it is, and how it is pushed if it is."""

    instance_id: str = column("id1, id2, ...: its place in the list")
    mask: str = column("Path of its mask's file, bright on black, as large as the picture")
    mask_sha256: str = column("SHA-256 of that file", unit="hex")
    arrow_px: list[float] = column("x0, y0, x1, y1 in the picture: where it is pushed to; empty: nowhere", default=[])
    speed_mps: float | None = column("How fast", unit="m/s", default=None)


class GenerationInput(Subject):
    """One video to generate."""

    schema_version: ClassVar[int] = 1
    kind: ClassVar[Kind] = "clip"

    clip_id: str = column("Derived from all that it is made from")
    name: str = column("What people call it", pattern=NAME)
    prompt: str = column("What happens", min_length=1)
    seed: int = column("Seed of the noise", ge=0)
    image: str | None = column("Path of the first frame's file", default=None)
    image_sha256: str | None = column("SHA-256 of that file", unit="hex", default=None)
    instances: list[GivenInstance] = column("The things in the first frame", default=[])

    @property
    def row_id(self) -> str:
        return self.clip_id

    @property
    def text(self) -> str:
        """What a text-to-video pipeline is given."""
        return self.prompt

    @classmethod
    def of(cls, **values: Any) -> GenerationInput:
        """An input; its id is derived from all but the paths."""
        unnamed = cls(clip_id="", **values)
        return unnamed.model_copy(update={"clip_id": "clip-" + content_hash("generate", *unnamed.content, length=16)})

    @property
    def content(self) -> list[object]:
        """Its name, and what the video is made from; no paths."""
        given = [one.model_dump(mode="json", exclude={"mask"}) for one in self.instances]
        return [self.name, self.prompt, self.seed, self.image_sha256, given]


class MadeVideo(Record):
    """What is known of a video that was made."""

    n_frames: int = column("Frames", ge=1)
    fps: float = column("Frames a second", unit="frames/s", gt=0)
    width: int = column("Width", unit="px", ge=1)
    height: int = column("Height", unit="px", ge=1)
    video_sha256: str = column("SHA-256 of the video", unit="hex")
    made_by: list[MadeBy] = column("The run's weights, its base model and the settings")


class GeneratedVideo(MadeVideo, StageResult):
    """A video, as a trained model made it."""

    schema_version: ClassVar[int] = 1
    stage_name: ClassVar[str] = "generate_videos"

    video: bytes = column("H.264 in MP4")


class GeneratedVideoRow(MadeVideo, GenerationInput):
    """A video that was generated, without its bytes."""

    table_name: ClassVar[str | None] = "clips"

    @property
    def file(self) -> str:
        """Its name in a folder, as SpatialAlign's authors name videos: 'mug_F49_seed00.mp4'."""
        return f"{self.name}_F{self.n_frames}_seed{self.seed:02d}.mp4"


class GeneratedBytesRow(OfClip):
    """A generated video's bytes: in a table of its own, so that the others are read without it."""

    table_name: ClassVar[str | None] = "videos"

    sha256: str = column("SHA-256 of the video", unit="hex")
    video: bytes = column("H.264 in MP4")


class GenerationOutcomeRow(Outcome):
    """What became of an input."""

    table_name: ClassVar[str | None] = "outcomes"

    name: str | None = column("What people call it; null for a line that is no input", default=None)
    seed: int | None = column("Seed of the noise", ge=0, default=None)


class VideoStatistics(Record):
    """What the videos are like."""

    sizes: list[Named] = column("Videos of each length, size and rate")
    seeds: list[Named] = column("Videos of each seed")


SHARD_TABLES: dict[str, type[Record]] = {
    "clips": GeneratedVideoRow,
    "videos": GeneratedBytesRow,
    "outcomes": GenerationOutcomeRow,
}
