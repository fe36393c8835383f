"""inputs -> videos, by a model that a training run published (MATRIX 5, KineMask 3.3, SpatialAlign 4).

    ("A blue mug slides ...", mug.jpg, its mask, an arrow, seed 0)  ->  49 frames of 720x480, H.264

Each recipe has its generator in its room (`GENERATORS`): the base model's pipeline with what the run has learnt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from math import inf
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from pydantic import Field

from schemas.config import StageConfig
from schemas.generated_videos import GeneratedVideo, GenerationInput
from schemas.outcome import RowFailed
from schemas.provenance import MadeBy
from schemas.scene import Vector
from schemas.storage import AnyPath
from schemas.training_run import RunManifest
from tasks.backends.torch_runtime import Precision, TorchConfig
from tasks.datasets.kinemask.condition_image import UnusableInput, arrow_velocity, read_mask, read_picture
from tasks.engine.shards import Row
from tasks.engine.stage import Stage
from tasks.engine.work import Work
from tasks.fit_clips import FitConfig, fit_box
from tasks.media.video import survey
from tasks.readers.lines import ManifestError
from tasks.readers.read_generation_inputs import Needs

GENERATORS: dict[str, str] = {
    "matrix": "tasks.training.recipes.matrix.generate:load",
    "kinemask": "tasks.training.recipes.kinemask.generate:load",
    "dsr": "tasks.training.recipes.dsr.generate:load",
}


class GenerateVideosConfig(StageConfig):
    """How videos are denoised. Their size is that of the run's training."""

    steps: int = Field(50, ge=1, description="Denoising steps")
    guidance: float = Field(
        6.0, ge=0, description="Scale of classifier-free guidance, 6 in CogVideoX's pipeline, 5 in Wan's; none at <= 1"
    )
    fps: int | None = Field(
        None, ge=1, description="Frames a second; null: the model's own: CogVideoX 8, Wan2.1 16, Wan2.2 24"
    )
    negative_prompt: str = Field("", description="What guidance steers away from; empty: the unconditional prompt")
    precision: Precision = Field("bfloat16", description="Precision of the text encoder and the denoiser")
    vae_precision: Precision = Field("float32", description="Precision of the decoder")
    crf: int = Field(16, ge=0, le=51, description="H.264 quality: 0 is lossless, 51 the worst")


@dataclass(frozen=True)
class Shown:
    """What a generator is shown, in the size of its videos."""

    prompt: str
    seed: int
    image: np.ndarray | None  # (H, W, 3) uint8 RGB: the first frame
    masks: Mapping[str, np.ndarray]  # (H, W) bool of every instance in it
    velocities: Mapping[str, Vector]  # m/s, world axes, of those that are pushed (KineMask 3.3)

    @property
    def text(self) -> str:
        """What a text-to-video pipeline is given."""
        return self.prompt


class VideoGenerator(Protocol):
    """Makes videos with a run's weights."""

    needs: Needs
    size: tuple[int, int] | None  # (height, width) in px of its videos; None where no picture goes in
    identity: Mapping[str, str]
    concurrency: int

    def generate(self, shown: Shown) -> bytes:
        """H.264 in MP4: the same input, the same bytes. Raises RowFailed if this one cannot be had, ServiceDown."""


def load_generator(
    recipe: str, run: AnyPath, manifest: RunManifest, config: GenerateVideosConfig, torch: TorchConfig
) -> VideoGenerator:
    """The generator of a recipe's runs; loads no network yet. Raises ManifestError."""
    if recipe not in GENERATORS:
        raise ManifestError(f"{run} is of {recipe!r}, which makes no videos here; {', '.join(GENERATORS)} do")
    if not isinstance(run, Path):
        raise ManifestError(f"{run}: weights are loaded from a disk; copy the run there")
    module, _, name = GENERATORS[recipe].partition(":")
    load: Callable[..., VideoGenerator] = getattr(import_module(module), name)
    return load(run, manifest, config, torch)


def weights_of(manifest: RunManifest) -> str:
    """A digest of what the run has learnt: two runs with the same weights make the same videos."""
    weights = [(file.path, file.sha256) for file in manifest.files if file.path.startswith("weights/")]
    return hashlib.sha256(repr(sorted(weights)).encode()).hexdigest()[:16]


def shown(work: Work, given: GenerationInput, size: tuple[int, int] | None) -> Shown:
    """An input's files, read and brought to the model's size: their middle, as much as its shape takes.

    Raises RowFailed("unusable_input") for a picture or a mask that is none, and for one that was rewritten.
    """
    image, masks, velocities = None, {}, {}
    try:
        if given.image is not None and given.image_sha256 is not None and size is not None:
            picture = read_picture(work.inputs.verified(given.image, given.image_sha256).read_bytes(), given.image)
            height, width = picture.shape[:2]
            wanted = FitConfig(height=size[0], width=size[1], max_enlarge=inf)
            left, top, right, bottom = fit_box((width, height), wanted)
            crop = slice(top, bottom), slice(left, right)
            image = cv2.resize(picture[crop], size[::-1], interpolation=cv2.INTER_AREA)
            for one in given.instances:
                data = work.inputs.verified(one.mask, one.mask_sha256).read_bytes()
                mask = read_mask(data, one.mask, height, width)
                fitted = cv2.resize(mask[crop].astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0
                if not fitted.any():
                    raise UnusableInput(f"{one.mask}: nothing of it is left in the middle of {width}x{height} px")
                masks[one.instance_id] = fitted
                if one.arrow_px and one.speed_mps is not None:
                    start, end = (one.arrow_px[0], one.arrow_px[1]), (one.arrow_px[2], one.arrow_px[3])
                    velocities[one.instance_id] = arrow_velocity(start, end, one.speed_mps)
    except UnusableInput as error:
        raise RowFailed("unusable_input", str(error), retryable=False) from error
    return Shown(given.prompt, given.seed, image, masks, velocities)


def stage(work: Work, config: GenerateVideosConfig, generator: VideoGenerator) -> Stage[Any, Any, GeneratedVideo]:
    made_by = [MadeBy.of(GeneratedVideo.stage_name, dict(generator.identity))]

    def read(row: Row[GenerationInput]) -> GenerationInput:
        return row.payload

    def compute(given: GenerationInput) -> GeneratedVideo:
        video = generator.generate(shown(work, given, generator.size))
        info, n_frames = survey(video)
        return GeneratedVideo(
            video=video,
            video_sha256=hashlib.sha256(video).hexdigest(),
            n_frames=n_frames,
            fps=float(info.fps),
            width=info.width,
            height=info.height,
            made_by=made_by,
        )

    return Stage(
        version=1,
        result=GeneratedVideo,
        config=config,
        made_by=made_by,
        read=read,
        key_of=lambda given: given.content[1:],
        compute=compute,
        concurrency=generator.concurrency,
    )
