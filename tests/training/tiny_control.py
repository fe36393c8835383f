"""A ControlNet for the tiny CogVideoX, and the other parts of its pipeline."""

from __future__ import annotations

from typing import Any

from tests.support.tiny_wan import _tokenizer
from tests.training.tiny_cogvideox import CHANNELS, TEXT_DIM, scheduler


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
        kernels[:, 2 * CHANNELS :].normal_(std=0.2, generator=drawn)
    return net


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
            latent_channels=CHANNELS,
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
