"""A ControlNet for the tiny CogVideoX, and the other parts of its pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.training.models.tiny import save_tiny_cogvideox
from tests.training.tiny_cogvideox import CHANNELS


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


def pipeline_parts(transformer: Any, folder: Path) -> dict[str, Any]:
    """The arguments of a CogVideoXImageToVideoPipeline. folder: where the tiny one is saved that the others are of"""
    from diffusers import CogVideoXImageToVideoPipeline

    stock = CogVideoXImageToVideoPipeline.from_pretrained(save_tiny_cogvideox(folder), transformer=transformer)
    return dict(stock.components)
