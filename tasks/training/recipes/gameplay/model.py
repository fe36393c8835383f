"""The experts of a Wan2.2 and the encoder of the cameras that steer them; what each of the paper's stages trains.

    model = new_model([transformer, transformer_2], config)     at first the base model exactly
    set_trained(model, "first")                                 experts and encoder (GameCraft-2, line 186)
    set_trained(model, "second")                                experts alone (line 190)
    velocity = model(noisy, sigma, batch)

Not stated, ours: all weights of the experts are trained, and both experts share one encoder. A full training at 14B
needs the weights of both spread over many GPUs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tasks.training.flow_matching import N_TIMESTEPS
from tasks.training.recipes.gameplay.config import CaptionConfig, GameplayTraining, Stage

if TYPE_CHECKING:
    import torch

MASK_CHANNELS = 4  # a latent frame's video frames


@dataclass(frozen=True)
class Batch:
    """A batch of clips, encoded for Wan2.2-I2V-A14B."""

    latents: torch.Tensor  # (B, 16, 21, 60, 104) of its VAE, normalised: the clip
    image_latents: torch.Tensor  # the same shape: of the first frame with black ones behind it
    text: torch.Tensor  # (B, 512, 4096)
    cameras: torch.Tensor  # (B, 81, 6, 480, 832): tasks/media/plucker.py


class Captions(NamedTuple):
    """What is said of a clip."""

    long: str
    short: str
    interaction: str | None


def choose_prompt(captions: Captions, config: CaptionConfig, rng: np.random.Generator) -> str:
    """The long or the short caption at random, and the interaction's behind it (line 186).

    rng: keyed by seed, epoch and sample, so that a resumed run chooses the same
    """
    chosen = captions.long if rng.random() < config.long_share else captions.short
    return f"{chosen} {captions.interaction}" if captions.interaction else chosen


def new_model(experts: Sequence[Any], config: GameplayTraining) -> Any:
    """A module of the experts and a new camera encoder, which changes nothing yet.

    experts: the pipeline's transformer, for high noise, and its transformer_2, for low; or one for all. Their inputs
             are noisy latents, then the mask of what is given, then the first frame's latents
    The encoder is drawn from torch's global generator: seed it before. Raises ValueError for other transformers.
    """
    if len(experts) not in (1, 2):
        raise ValueError(f"{len(experts)} experts; give one transformer, or those for high and low noise")
    for expert in experts:
        needed = 2 * expert.config.out_channels + MASK_CHANNELS
        if expert.config.in_channels != needed or expert.config.image_dim is not None:
            raise ValueError(
                f"a transformer of {expert.config.in_channels} input channels, where noise, mask and first frame are "
                f"{needed}, or with an image encoder; give Wan2.2-I2V-A14B's"
            )
    return _classes()(experts, config)


def set_trained(model: Any, stage: Stage) -> None:
    """Let gradients reach what a stage trains: all of it in the first, the experts alone in the second."""
    model.experts.requires_grad_(True)
    model.camera.requires_grad_(stage == "first")


@cache
def _classes() -> type[Any]:
    import torch
    from torch import nn

    from tasks.training.models.wan.camera import CameraEncoder, steered

    class SteeredExperts(nn.Module):
        """`new_model` makes it."""

        def __init__(self, experts: Sequence[Any], config: GameplayTraining) -> None:
            super().__init__()
            self.experts = nn.ModuleList(experts)
            self.camera = CameraEncoder.from_transformer(experts[0], **config.camera.model_dump())
            self._boundary = config.boundary

        def forward(self, noisy: torch.Tensor, sigma: torch.Tensor, batch: Batch) -> torch.Tensor:
            """The velocity, of noisy's shape. sigma: (B,) in 0..1, how much noise.

            Each clip is asked of its level's expert; one that no clip of the batch asks gets no gradient.
            """
            given = torch.zeros_like(noisy[:, :1]).repeat(1, MASK_CHANNELS, 1, 1, 1)
            given[:, :, 0] = 1  # the first frame, as diffusers' image-to-video pipeline tells it
            hidden = torch.cat([noisy, given, batch.image_latents], dim=1)
            high = sigma >= self._boundary
            asked = [high, ~high] if len(self.experts) == 2 else [torch.ones_like(high)]
            predicted = torch.zeros_like(noisy)
            for expert, chosen in zip(self.experts, asked, strict=True):
                if not chosen.any():
                    continue
                with steered(expert, self.camera, batch.cameras[chosen]):
                    velocity = expert(
                        hidden_states=hidden[chosen],
                        encoder_hidden_states=batch.text[chosen],
                        timestep=N_TIMESTEPS * sigma[chosen],
                        return_dict=False,
                    )[0]
                predicted[chosen] = velocity.to(predicted.dtype)
            return predicted

    return SteeredExperts
