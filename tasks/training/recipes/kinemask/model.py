"""What KineMask trains, on what, and which masks each stage shows it.

    freeze(transformer)
    net = new_control_net(transformer, config)         a copy of the first layers, steered by velocity masks
    net = CogVideoXControlNet.from_pretrained(folder)  or the first stage's, for the second
    shown = stage_masks(masks, "second", config.dropout, weights, np.random.default_rng([seed, epoch, sample]))
    v = predict_v(transformer, net, batch, noisy, timesteps, config.control.weight)          backbone cogvideox
    velocity = predict_flow(transformer, net, batch, noisy, sigmas, config.control.weight)   backbone wan

The paper trains CogVideoX's and tells it; of Wan's it tells results alone (A.3). Whatever is particular to Wan is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tasks.datasets.kinemask.condition_clips import ConditioningConfig, draw_kept_frames, drop_masks
from tasks.training.flow_matching import N_TIMESTEPS
from tasks.training.models.cogvideox.denoising import rotary_embedding
from tasks.training.models.control import controlled
from tasks.training.recipes.kinemask.config import KinemaskTraining

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class CogVideoXBatch:
    """A batch of clips, encoded for CogVideoX-5B-I2V."""

    latents: torch.Tensor  # (B, 13, 16, 60, 90) of its VAE, scaled: the clip
    image_latents: torch.Tensor  # the same shape: the first frame, then zeros
    text: torch.Tensor  # (B, 226, 4096)
    masks: torch.Tensor  # (B, 49, 3, 480, 720) m/s: the stage's velocity masks


@dataclass(frozen=True)
class WanBatch:
    """A batch of clips, encoded for Wan2.2-TI2V-5B. The first latent frame holds the first frame alone."""

    latents: torch.Tensor  # (B, 48, 13, 30, 44) of its VAE, normalised
    text: torch.Tensor  # (B, 512, 4096)
    masks: torch.Tensor  # (B, 49, 3, 480, 704) m/s: the stage's velocity masks


def stage_masks(
    masks: np.ndarray,
    stage: Literal["first", "second"],
    dropout: ConditioningConfig,
    weights: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """The velocity masks that a stage shows of one sample: all of them, or those of a few frames (KineMask 3.2).

    masks:   (F, H, W, 3) m/s, as `velocity_masks_of(objects, encoding=config.encoding)` paints them
    weights: (F,) of `frame_weights(F, config.dropout, training_collisions(snapshot, config.set))`: how likely each
             frame is kept; most where the training set collides (4.1, A.3)
    rng:     keyed by seed, epoch and sample, so that a resumed run shows the same
    """
    if stage == "first":
        return masks
    return drop_masks(masks, draw_kept_frames(len(masks), dropout, weights, rng))


def freeze(transformer: Any) -> None:
    """The backbone is not trained (KineMask 3.1)."""
    transformer.requires_grad_(False)
    transformer.eval()


def new_control_net(transformer: Any, config: KinemaskTraining) -> Any:
    """A ControlNet for the backbone's transformer; it changes nothing yet. Kept in float32.

    Its encoder is drawn from torch's global generator: seed it before.
    """
    from tasks.training.models.cogvideox.control import CogVideoXControlNet
    from tasks.training.models.wan.control import WanControlNet

    network: Any = {"cogvideox": CogVideoXControlNet, "wan": WanControlNet}[config.backbone]
    control = config.control
    return network.from_transformer(
        transformer,
        n_layers=control.n_layers,
        control_max=control.v_max_mps,
        downscale=control.downscale,
        encoded_channels=control.encoded_channels,
    )


def predict_v(
    transformer: Any,
    control_net: Any,
    batch: CogVideoXBatch,
    noisy: torch.Tensor,
    timesteps: torch.Tensor,
    weight: float,
) -> torch.Tensor:
    """The controlled CogVideoX's v-prediction, (B, 13, 16, 60, 90).

    control_net: the ControlNet, or its wrapper of distributed training
    noisy:       the clip's latents with noise; timesteps: (B,) int
    """
    import torch

    with controlled(transformer, control_net, batch.masks, weight):
        predicted: torch.Tensor = transformer(
            hidden_states=torch.cat([noisy, batch.image_latents], dim=2),
            encoder_hidden_states=batch.text,
            timestep=timesteps,
            image_rotary_emb=rotary_embedding(transformer, noisy.shape[1], *noisy.shape[-2:]),
            return_dict=False,
        )[0]
    return predicted


def predict_flow(
    transformer: Any,
    control_net: Any,
    batch: WanBatch,
    noisy: torch.Tensor,
    sigmas: torch.Tensor,
    weight: float,
) -> torch.Tensor:
    """The controlled Wan's velocity, (B, 48, 13, 30, 44); that of the first latent frame means nothing.

    noisy: the clip's latents with noise; sigmas: (B,) in 0..1, how much
    The first latent frame is shown clean, and its tokens are told timestep 0, as diffusers' image-to-video pipeline
    does for this model.
    """
    import torch

    n_latents, height, width = noisy.shape[2:]
    _, down, across = transformer.config.patch_size
    levels = (N_TIMESTEPS * sigmas)[:, None].repeat(1, n_latents)
    levels[:, 0] = 0
    with controlled(transformer, control_net, batch.masks, weight):
        predicted: torch.Tensor = transformer(
            hidden_states=torch.cat([batch.latents[:, :, :1], noisy[:, :, 1:]], dim=2),
            encoder_hidden_states=batch.text,
            timestep=levels.repeat_interleave((height // down) * (width // across), dim=1),
            return_dict=False,
        )[0]
    return predicted
