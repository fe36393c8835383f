"""What KineMask trains, on what, and which masks each stage shows it.

    net = new_control_net(transformer, config)         a copy of the first layers, steered by velocity masks
    net = CogVideoXControlNet.from_pretrained(folder)  or the first stage's, for the second
    freeze(transformer)
    shown = stage_masks(masks, "second", config.dropout, weights, np.random.default_rng([seed, epoch, sample]))
    v = predict(transformer, net, batch, noisy, timesteps, config.control.weight)

Only the CogVideoX backbone has a ControlNet so far: `new_control_net` refuses the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tasks.datasets.kinemask.condition_clips import ConditioningConfig, draw_kept_frames, drop_masks
from tasks.training.models.cogvideox.control import controlled
from tasks.training.models.cogvideox.denoising import rotary_embedding
from tasks.training.recipes.kinemask.config import KinemaskTraining

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Batch:
    """A batch of clips, encoded."""

    latents: torch.Tensor  # (B, 13, 16, 60, 90) of CogVideoX's VAE, scaled: the clip
    image_latents: torch.Tensor  # the same shape: the first frame, then zeros
    text: torch.Tensor  # (B, 226, 4096)
    masks: torch.Tensor  # (B, 49, 3, 480, 720) m/s: the stage's velocity masks


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


def new_control_net(transformer: Any, config: KinemaskTraining) -> Any:
    """A CogVideoXControlNet for a CogVideoXTransformer3DModel; it changes nothing yet. Kept in float32.

    Its encoder is drawn from torch's global generator: seed it before.
    Raises ValueError for the Wan backbone, whose ControlNet is not built.
    """
    from tasks.training.models.cogvideox.control import CogVideoXControlNet

    if config.backbone != "cogvideox":
        raise ValueError(f"no ControlNet for the backbone {config.backbone} yet; set backbone to cogvideox")
    control = config.control
    return CogVideoXControlNet.from_transformer(
        transformer,
        n_layers=control.n_layers,
        control_max=control.v_max_mps,
        downscale=control.downscale,
        encoded_channels=control.encoded_channels,
    )


def freeze(transformer: Any) -> None:
    """The backbone is not trained (KineMask 3.1)."""
    transformer.requires_grad_(False)
    transformer.eval()


def predict(
    transformer: Any, control_net: Any, batch: Batch, noisy: torch.Tensor, timesteps: torch.Tensor, weight: float
) -> torch.Tensor:
    """The controlled backbone's v-prediction, (B, 13, 16, 60, 90).

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
