"""A tiny CogVideoX with random weights, of the same parts as THUDM/CogVideoX-5b-I2V, and a ControlNet for it.

Clips are 9 frames of 32x32 px: 3 latents of 4x4 with 4 channels, 12 tokens of 32.
"""

from __future__ import annotations

from typing import Any

from tasks.backends.torch_runtime import import_torchvision
from tests.support.tiny_wan import _make_lively, _tokenizer

N_FRAMES, SIDE = 9, 32
N_LATENTS, LATENTS, LATENT_SIDE = 3, 4, 4
N_TEXT, TEXT_DIM = 6, 16
N_BLOCKS = 3


def tiny_transformer(seed: int = 0) -> Any:
    """A CogVideoXTransformer3DModel that takes noisy and first-frame latents, with both position embeddings."""
    import_torchvision()
    import torch
    from diffusers import CogVideoXTransformer3DModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer = CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=2 * LATENTS,
            out_channels=LATENTS,
            time_embed_dim=8,
            text_embed_dim=TEXT_DIM,
            num_layers=N_BLOCKS,
            sample_width=LATENT_SIDE,
            sample_height=LATENT_SIDE,
            sample_frames=N_FRAMES,
            max_text_seq_length=N_TEXT,
            use_rotary_positional_embeddings=True,
            use_learned_positional_embeddings=True,
        )
        _make_lively(transformer)
    return transformer.eval()


def tiny_control_net(transformer: Any, seed: int = 0, **settings: Any) -> Any:
    """A new ControlNet on the first two blocks."""
    import torch

    from tasks.training.models.cogvideox.control import CogVideoXControlNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CogVideoXControlNet.from_transformer(transformer, **{"n_layers": 2} | settings)


def make_trained(net: Any) -> Any:
    """Give it the weights that are zero before training: projections, and the kernels that meet the control."""
    import torch

    drawn = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for projection in net.projections:
            projection.weight.normal_(std=0.2, generator=drawn)
        kernels = net.patch_embed.proj.weight
        kernels[:, 2 * LATENTS :].normal_(std=0.2, generator=drawn)
    return net


def scheduler() -> Any:
    """That of CogVideoX-5b-I2V."""
    from diffusers import CogVideoXDDIMScheduler

    return CogVideoXDDIMScheduler(
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        snr_shift_scale=1.0,
        timestep_spacing="trailing",
    )


def pipeline_parts(transformer: Any) -> dict[str, Any]:
    """The arguments of a CogVideoXImageToVideoPipeline."""
    import torch
    from diffusers import AutoencoderKLCogVideoX
    from transformers import T5Config, T5EncoderModel

    tokenizer = _tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        text_encoder = T5EncoderModel(
            T5Config(vocab_size=len(tokenizer), d_model=TEXT_DIM, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
        )
        vae = AutoencoderKLCogVideoX(
            down_block_types=("CogVideoXDownBlock3D",) * 4,
            up_block_types=("CogVideoXUpBlock3D",) * 4,
            block_out_channels=(4, 4, 4, 4),
            latent_channels=LATENTS,
            layers_per_block=1,
            norm_num_groups=2,
        )
    return {
        "tokenizer": tokenizer,
        "text_encoder": text_encoder.eval(),
        "vae": vae.eval(),
        "transformer": transformer,
        "scheduler": scheduler(),
    }
