"""A tiny CogVideoX with random weights, of the same classes as THUDM/CogVideoX-5b-I2V.

Clips are 9 frames of 64x96 px: 3 latents of 8x12 with 4 channels, 3 x 4 x 6 = 72 video tokens beside 8 text tokens.
"""

from __future__ import annotations

from typing import Any

from tasks.backends.torch_runtime import import_torchvision

N_FRAMES, HEIGHT, WIDTH = 9, 64, 96
N_LATENTS, CHANNELS, LATENT_HEIGHT, LATENT_WIDTH = 3, 4, 8, 12
GRID = (3, 4, 6)
N_TEXT, TEXT_DIM, N_BLOCKS, N_HEADS = 8, 16, 3, 2


def tiny_transformer(seed: int = 0) -> Any:
    """A CogVideoXTransformer3DModel for noisy and first-frame latents, with both position embeddings."""
    import_torchvision()
    import torch
    from diffusers import CogVideoXTransformer3DModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer = CogVideoXTransformer3DModel(
            num_attention_heads=N_HEADS,
            attention_head_dim=16,
            in_channels=2 * CHANNELS,
            out_channels=CHANNELS,
            time_embed_dim=8,
            text_embed_dim=TEXT_DIM,
            num_layers=N_BLOCKS,
            sample_width=LATENT_WIDTH,
            sample_height=LATENT_HEIGHT,
            sample_frames=N_FRAMES,
            max_text_seq_length=N_TEXT,
            use_rotary_positional_embeddings=True,
            use_learned_positional_embeddings=True,
        )
        for parameter in transformer.parameters():  # diffusers' own are so even that every token attends to all alike
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=1.5 / parameter[0].numel() ** 0.5)
    return transformer.eval()


def scheduler() -> Any:
    """That of CogVideoX-5b-I2V."""
    from diffusers import CogVideoXDDIMScheduler

    return CogVideoXDDIMScheduler(
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        snr_shift_scale=1.0,
        timestep_spacing="trailing",
    )


def drawn(*shape: int, seed: int = 0) -> Any:
    import torch

    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
