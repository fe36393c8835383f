"""A tiny Wan transformer, its ControlNet, and the other parts of its image-to-video pipeline.

Clips are 9 frames of 32x48 px: 3 latents of 4x6 with 4 channels, 3 x 2 x 3 = 18 tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.backends.torch_runtime import import_torchvision
from tasks.training.models.tiny import CHANNELS, draw_wan_transformer, make_lively, save_tiny_wan

N_FRAMES, HEIGHT, WIDTH = 9, 32, 48
N_LATENTS, LATENT_HEIGHT, LATENT_WIDTH = 3, 4, 6
N_TEXT, TOKENS_PER_FRAME = 6, 6


def tiny_transformer(n_blocks: int = 3) -> Any:
    import_torchvision()
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformer = draw_wan_transformer(n_blocks=n_blocks)
        make_lively(transformer)
    return transformer.eval()


def tiny_control_net(transformer: Any, **settings: Any) -> Any:
    """A new ControlNet on the first two blocks."""
    import torch

    from tasks.training.models.wan.control import WanControlNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return WanControlNet.from_transformer(transformer, **{"n_layers": 2, "downscale": 8} | settings)


def make_trained(net: Any) -> Any:
    """Give it the weights that are zero before training."""
    import torch

    drawn = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for projection in net.projections:
            projection.weight.normal_(std=0.2, generator=drawn)
        net.patch_embedding.weight[:, CHANNELS:].normal_(std=0.2, generator=drawn)
    return net


def save_stock(folder: Path) -> Path:
    """A WanImageToVideoPipeline of the kind of Wan2.2-TI2V-5B: no image encoder, the first frame at timestep 0."""
    from diffusers import WanImageToVideoPipeline, WanPipeline

    parts = WanPipeline.from_pretrained(save_tiny_wan(folder / "t2v")).components
    stock = {name: parts[name] for name in ("tokenizer", "text_encoder", "vae", "scheduler")}
    WanImageToVideoPipeline(**stock, transformer=tiny_transformer(), expand_timesteps=True).save_pretrained(folder)
    return folder
