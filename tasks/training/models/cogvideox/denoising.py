"""How CogVideoX is trained to denoise: the loss of its v-prediction, and the positions of its tokens.

    noisy = scheduler.add_noise(latents, noise, timesteps)
    loss = denoising_loss(transformer(noisy, ...), noisy, latents, timesteps, scheduler)

Importing this module imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def denoising_loss(
    predicted: torch.Tensor, noisy: torch.Tensor, latents: torch.Tensor, timesteps: torch.Tensor, scheduler: Any
) -> torch.Tensor:
    """mean[(x_0 of the v-prediction - latents)^2 / (1 - alpha_bar_t)], a scalar, in float32.

        x_0 = sqrt(alpha_bar_t) noisy - sqrt(1 - alpha_bar_t) v

    As CogVideoX's own trainers do it. All (B, ...), timesteps (B,) int.
    Raises ValueError for a scheduler whose model does not predict v.
    """
    if scheduler.config.prediction_type != "v_prediction":
        raise ValueError(f"the scheduler has {scheduler.config.prediction_type}; CogVideoX predicts v")
    # In bfloat16, 1 - alpha_bar_t of the first timesteps would be 0.
    clean = scheduler.get_velocity(predicted.float(), noisy.float(), timesteps)  # the same formula as that of x_0
    noise_share = 1 - scheduler.alphas_cumprod.to(latents.device)[timesteps].float()
    errors = (clean - latents.float()).square().flatten(1).mean(1)
    return (errors / noise_share).mean()


def rotary_embedding(
    transformer: Any, n_latents: int, height: int, width: int
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """`image_rotary_emb` for latents of n_latents frames and height x width: cosines and sines, (tokens, d) each.

    As CogVideoX's pipelines make it; None for models without rotary embeddings (CogVideoX-2B).
    """
    from diffusers.models.embeddings import get_3d_rotary_pos_embed
    from diffusers.pipelines.cogvideo.pipeline_cogvideox_image2video import get_resize_crop_region_for_grid

    config = transformer.config
    if not config.use_rotary_positional_embeddings:
        return None
    grid = height // config.patch_size, width // config.patch_size
    native = config.sample_width // config.patch_size, config.sample_height // config.patch_size
    cosines, sines = get_3d_rotary_pos_embed(
        embed_dim=config.attention_head_dim,
        crops_coords=get_resize_crop_region_for_grid(grid, *native),
        grid_size=grid,
        temporal_size=n_latents,
        device=transformer.device,
    )
    return cosines, sines
