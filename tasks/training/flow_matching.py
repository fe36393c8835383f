"""Flow matching as Wan is trained: noise levels, noisy latents, and the velocity that the network predicts.

    sigmas = shifted_sigmas(1000, shift=5.0)              1.0, 0.9998, ..., 0.005
    noisy = add_noise(latents, noise, sigma)              (1 - sigma) latents + sigma noise
    target = velocity(latents, noise)                     noise - latents
    timestep = 1000 sigma                                 what the network is told
    loss = flow_matching_loss(predict, latents, sigmas, generator)      all of it, of one batch

A shift above 1 draws more of the high noise levels: sigma = shift u / (1 + (shift - 1) u), u = 1000/1000 .. 1/1000.
These are the values of diffusers' FlowMatchEulerDiscreteScheduler(shift=...), and of DiffSynth-Studio's
FlowMatchScheduler(shift=..., sigma_min=0, extra_one_step=True) after set_timesteps(1000, training=True).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

N_TIMESTEPS = 1000


def shifted_sigmas(n_levels: int, shift: float) -> torch.Tensor:
    """(n_levels,) float32, falling from 1: the noise levels of training. Raises ValueError unless shift is positive."""
    import torch

    if not shift > 0:
        raise ValueError(f"a shift of {shift}; give a positive one, 1 for none")
    even = torch.arange(n_levels, 0, -1, dtype=torch.float64) / n_levels
    return (shift * even / (1 + (shift - 1) * even)).float()


def add_noise(latents: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """(B, ...) latents and noise, (B,) or (1,) sigma in 0..1 -> (B, ...): latents at 0, noise at 1."""
    level = sigma.to(latents).view(-1, *[1] * (latents.ndim - 1))
    return (1 - level) * latents + level * noise


def velocity(latents: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """What the network predicts: d add_noise / d sigma."""
    return noise - latents


def flow_matching_loss(
    predict: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    latents: torch.Tensor,
    sigmas: torch.Tensor,
    generator: torch.Generator,
    n_given: int = 0,
) -> torch.Tensor:
    """mean[(predicted - velocity)^2], a scalar, in float32; every clip has a noise level of its own.

    predict:   (noisy (B, C, T, h, w), sigma (B,)) -> the velocity, of noisy's shape
    latents:   (B, C, T, h, w)
    sigmas:    the noise levels to draw from, `shifted_sigmas(1000, shift)`
    generator: on the CPU, keyed by the step and the rank: it decides levels and noise on any device
    n_given:   first latent frames that the model is given, so that what it predicts of them counts for nothing
    """
    import torch

    levels = sigmas[torch.randint(len(sigmas), (len(latents),), generator=generator)].to(latents.device)
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    predicted = predict(add_noise(latents, noise, levels), levels)
    return (predicted.float() - velocity(latents, noise).float())[:, :, n_given:].square().mean()
