"""KineMask's loss: the backbone's own, through the ControlNet.

    cogvideox_loss(transformer, control_net, batch, scheduler, generator, weight=0.5).backward()
    wan_loss(transformer, control_net, batch, shifted_sigmas(1000, 5.0), generator, weight=0.5).backward()

KineMask (3.1) states a divergence and the noise-prediction task; CogVideoX predicts v, and its trainers, from which the
public ControlNets derive, compare the implied clean latents. Not stated and not done: noise on the first frame. Wan is
trained by flow matching; that its first latent frame, which is given, counts for nothing is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.training.flow_matching import flow_matching_loss
from tasks.training.models.cogvideox.denoising import denoising_loss
from tasks.training.recipes.kinemask.model import CogVideoXBatch, WanBatch, predict_flow, predict_v

if TYPE_CHECKING:
    import torch


def cogvideox_loss(
    transformer: Any, control_net: Any, batch: CogVideoXBatch, scheduler: Any, generator: torch.Generator, weight: float
) -> torch.Tensor:
    """mean[(x_0 of the v-prediction - latents)^2 / (1 - alpha_bar_t)], a scalar; every clip has a timestep of its own.

    scheduler: CogVideoX's, as its pipeline has it
    generator: on the CPU, keyed by the step and the rank: it decides timesteps and noise on any device
    weight:    of the control, `ControlConfig.weight`
    """
    import torch

    latents = batch.latents
    n_timesteps = scheduler.config.num_train_timesteps
    timesteps = torch.randint(n_timesteps, (len(latents),), generator=generator).to(latents.device)
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    predicted = predict_v(transformer, control_net, batch, noisy, timesteps, weight)
    return denoising_loss(predicted, noisy, latents, timesteps, scheduler)


def wan_loss(
    transformer: Any,
    control_net: Any,
    batch: WanBatch,
    sigmas: torch.Tensor,
    generator: torch.Generator,
    weight: float,
) -> torch.Tensor:
    """mean[(velocity - (noise - latents))^2] over the latent frames after the first, a scalar, in float32.

    sigmas: the noise levels to draw from, one for every clip: `shifted_sigmas(1000, config.flow_shift)`
    """

    def predict(noisy: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        return predict_flow(transformer, control_net, batch, noisy, levels, weight)

    return flow_matching_loss(predict, batch.latents, sigmas, generator, n_given=1)
