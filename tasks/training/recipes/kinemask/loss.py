"""KineMask's loss: CogVideoX's own, through the ControlNet.

    training_loss(transformer, control_net, batch, scheduler, generator, weight=0.5).backward()

KineMask (3.1) states a divergence and the noise-prediction task; CogVideoX predicts v, and its trainers, from which the
public ControlNets derive, compare the implied clean latents. Not stated and not done: noise on the first frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.training.models.cogvideox.denoising import denoising_loss
from tasks.training.recipes.kinemask.model import Batch, predict

if TYPE_CHECKING:
    import torch


def training_loss(
    transformer: Any, control_net: Any, batch: Batch, scheduler: Any, generator: torch.Generator, weight: float
) -> torch.Tensor:
    """The loss of a batch, a scalar: every clip at a timestep of its own.

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
    predicted = predict(transformer, control_net, batch, noisy, timesteps, weight)
    return denoising_loss(predicted, noisy, latents, timesteps, scheduler)
