"""GameCraft-2's loss in stages 1 and 2: flow matching (line 186), as Wan is trained.

gameplay_loss(model, batch, shifted_sigmas(1000, config.flow_shift), generator).backward()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.training.flow_matching import flow_matching_loss
from tasks.training.recipes.gameplay.model import Batch

if TYPE_CHECKING:
    import torch


def gameplay_loss(model: Any, batch: Batch, sigmas: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """mean[(velocity - (noise - latents))^2], a scalar: this model draws the first frame, too.

    model: `new_model`'s, or its wrapper of distributed training
    """

    def predict(noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        predicted: torch.Tensor = model(noisy, sigma, batch)
        return predicted

    return flow_matching_loss(predict, batch.latents, sigmas, generator)
