"""prompts x seeds -> videos, by a text-to-video model or one that is already through (SpatialAlign 3.3, 4.1).

    ("a fox is on the right of a stump, then the fox walks to the left of the stump", seed 3) -> 81 frames of H.264

Whatever made it, a sample goes on as the bytes of a video and what is to be found in it: the prompt's animal (id1) and
object (id2). An embedded generator knows more, and says it: how things look, where it drew them, and what it got wrong
on purpose.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from pydantic import Field

from schemas.config import StageConfig
from schemas.dsr import ANIMAL, OBJECT, DsrSample, TrueBoxes
from schemas.generation import Generated, Generation
from schemas.grounding import Wanted
from schemas.instance import Instance
from schemas.outcome import RowFailed
from schemas.provenance import MadeBy
from tasks.backends.diffusers_videos import DiffusersConfig
from tasks.backends.torch_runtime import TorchConfig
from tasks.datasets.dsr.wording import with_article
from tasks.engine.shards import Row
from tasks.engine.stage import Stage
from tasks.engine.work import Work
from tasks.media.video import decode_bytes, survey


class GenerateConfig(StageConfig):
    """Who makes the videos, and of what size."""

    generator: Literal["drawn", "diffusers", "folder"] = Field(
        "drawn",
        description="drawn: draws the two things, well or badly on purpose, embedded; diffusers: a text-to-video "
        "pipeline; folder: videos that are there already, named as the authors name them",
    )
    n_frames: int = Field(81, ge=1, description="Frames of a video (SpatialAlign 4.1); a folder's have what they have")
    width: int = Field(832, ge=16, multiple_of=16, description="Width in px (SpatialAlign 4.1)")
    height: int = Field(480, ge=16, multiple_of=16, description="Height in px (SpatialAlign 4.1)")
    fps: int = Field(16, ge=1, description="Frames a second (Wan2.1's)")
    crf: int = Field(16, ge=0, le=51, description="H.264 quality: 0 is lossless, 51 the worst")


class Generator(Protocol):
    """Makes a sample's video."""

    identity: dict[str, str]
    concurrency: int

    def generate(self, sample: DsrSample) -> Generation:
        """Same sample, same bytes. Raises RowFailed if this one cannot be had, ServiceDown if none can."""


def store_generation(sample: DsrSample, generation: Generation, made_by: list[MadeBy]) -> Generated:
    """Look into the video once: what cannot be read whole is no sample.

    Raises UnreadableVideo (a RowFailed) for damaged bytes, RowFailed for boxes that are not one a frame.
    """
    info, n_frames = survey(generation.video)
    for instance_id, boxes in generation.boxes.items():
        if len(boxes) != n_frames:
            detail = f"{instance_id}: {len(boxes)} boxes for {n_frames} frames"
            raise RowFailed("wrong_length", detail, retryable=False)
    return Generated(
        video=generation.video,
        video_sha256=hashlib.sha256(generation.video).hexdigest(),
        n_frames=n_frames,
        fps=float(info.fps),
        width=info.width,
        height=info.height,
        instances=wanted_instances(sample, generation.looks),
        true_boxes=[TrueBoxes(instance_id=i, box_xyxy=boxes) for i, boxes in generation.boxes.items()],
        drawn=generation.drawn,
        made_by=made_by,
    )


def wanted_instances(sample: DsrSample, looks: dict[str, str]) -> list[Instance]:
    """The prompt's animal and object, as it names them unless their looks are known."""
    nouns = {ANIMAL: sample.animal, OBJECT: sample.object}
    return [
        Instance(
            instance_id=instance_id,
            class_name=noun,
            noun=looks.get(instance_id, with_article(noun)),
            appearance="",
            spatial="",
            living=instance_id == ANIMAL,
        )
        for instance_id, noun in nouns.items()
    ]


@dataclass(frozen=True)
class SampleFootage:
    """Footage of a generated video (tasks/media/footage.py)."""

    caption: str
    generated: Generated

    @property
    def span(self) -> list[object]:
        return [self.generated.video_sha256]

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.caption, self.generated.instances, [(ANIMAL, OBJECT)])

    @property
    def n_frames(self) -> int:
        return self.generated.n_frames

    @property
    def size(self) -> tuple[int, int]:
        return self.generated.height, self.generated.width

    def frames(self, indices: Sequence[int] | None = None, max_side_px: int | None = None) -> np.ndarray:
        return decode_bytes(self.generated.video, indices, max_side_px)


def sample_footage(work: Work, row: Row[DsrSample]) -> SampleFootage:
    return SampleFootage(row.payload.text, result_of(work, row))


def load_backend(config: GenerateConfig, work: Work, diffusers: DiffusersConfig, torch: TorchConfig) -> Generator:
    match config.generator:
        case "drawn":
            from tasks.backends.drawn_videos import DrawnVideos

            return DrawnVideos(config)
        case "diffusers":
            from tasks.backends.diffusers_videos.pipeline import DiffusersVideos

            return DiffusersVideos(config, diffusers, torch)
        case "folder":
            from tasks.backends.given_videos import GivenVideos

            return GivenVideos(work.inputs)


def stage(
    work: Work, config: GenerateConfig, diffusers: DiffusersConfig, torch: TorchConfig
) -> Stage[DsrSample, DsrSample, Generated]:
    generator = load_backend(config, work, diffusers, torch)
    made_by = [MadeBy.of(Generated.stage_name, generator.identity)]

    def key_of(sample: DsrSample) -> list[object]:
        # The path is not among them: the bytes are.
        return [sample.model_dump(mode="json", exclude={"prompt_id", "split", "clip_id", "video"})]

    return Stage(
        version=1,
        result=Generated,
        config=config,
        made_by=made_by,
        read=lambda row: row.payload,
        key_of=key_of,
        compute=lambda sample: store_generation(sample, generator.generate(sample), made_by),
        concurrency=generator.concurrency,
    )


def result_of(work: Work, row: Row[DsrSample]) -> Generated:
    return work.result(row, Generated)
