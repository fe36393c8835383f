"""What a training of GameCraft-2's stages 1 and 2 is made from; each number says where it stands.

    GameplayTraining()                                     45, 81, then 149 frames with cameras; then the experts alone
    GameplayTraining(second=ClipPhase(n_frames=81, ...))   the same with another setting

Numbers in brackets are lines of the paper's text: 165 base model, 167 cameras, 186 stage 1, 190 stage 2, 197-202 table
2, 289 settings of Wan2.2. Neither learning rates nor batches are published.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from schemas.config import StageConfig
from tasks.training.optimisation import Optimisation

Stage = Literal["first", "second"]


class CameraConfig(StageConfig):
    """The camera encoder. The paper says Plücker embeddings, by token addition (167), and no more."""

    downscale: int = Field(8, ge=1, description="Edge of a latent's pixel in the video: 8 for Wan2.1's VAE, the A14B's")
    encoded_channels: int = Field(
        32, ge=2, multiple_of=2, description="Channels between encoder and projection; not stated, ours"
    )


class CaptionConfig(StageConfig):
    """The prompt of a clip: a long or a short caption, and the interaction's behind it (186)."""

    long_share: float = Field(0.5, ge=0, le=1, description="How often it is the long one; not stated, ours")


class ClipPhase(StageConfig):
    """Training on clips of one length."""

    n_frames: int = Field(..., ge=5, description="Frames of a clip: 4k + 1")
    optimisation: Optimisation

    @model_validator(mode="after")
    def _is_encodable(self) -> ClipPhase:
        if self.n_frames % 4 != 1:
            raise ValueError(f"n_frames is {self.n_frames}; the model makes 4k + 1, such as 45, 81 or 149")
        return self


def _phase(n_frames: int, n_steps: int) -> ClipPhase:
    """All but the steps is not stated and ours: learning rate, batch, schedule, warm-up."""
    optimisation = Optimisation(
        n_steps=n_steps,
        batch_size=64,
        learning_rate=1e-5,
        schedule="constant",
        n_warmup_steps=min(1000, n_steps // 10),
        checkpoint_every=1000,
    )
    return ClipPhase(n_frames=n_frames, optimisation=optimisation)


class GameplayTraining(StageConfig):
    """Action-injected training, then instruction-oriented fine-tuning, of a 14B image-to-video mixture of experts."""

    model: str = Field(
        "Wan-AI/Wan2.2-I2V-A14B-Diffusers",
        description="A WanImageToVideoPipeline with one or two experts: a folder or OWNER/NAME[@REVISION]. The paper "
        "cites Wan for its 14B image-to-video mixture of experts (165); that it is Wan2.2's is our reading",
    )
    stages: Literal["both", "first", "second"] = Field("both", description="Of the paper's four, the first two")
    camera: CameraConfig = CameraConfig()
    captions: CaptionConfig = CaptionConfig()
    first: tuple[ClipPhase, ...] = Field(
        (_phase(45, 40_000), _phase(81, 30_000), _phase(149, 30_000)),
        min_length=1,
        description="Stage 1: 45, 81, then 149 frames (186), 100k iterations (199); their shares are not stated, ours",
    )
    second: ClipPhase = Field(
        _phase(149, 20_000), description="Stage 2: 20k iterations (200); the length is not stated: stage 1's last, ours"
    )
    flow_shift: float = Field(
        5.0,
        gt=0,
        description="Shift of the training's noise levels; not stated, ours: the one that the paper samples Wan2.2 "
        "with (289)",
    )
    boundary: float = Field(
        0.9,
        ge=0,
        le=1,
        description="Noise level from which the high-noise expert is asked; of Wan2.2, as the paper samples it (289)",
    )
    width: int = Field(832, ge=16, multiple_of=16, description="Width in px; the paper says 480p (186)")
    height: int = Field(480, ge=16, multiple_of=16, description="Height in px (186)")
    seed: int = Field(0, ge=0, description="Of noise, noise levels and captions")
