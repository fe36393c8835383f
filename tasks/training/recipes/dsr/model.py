"""A text-to-video transformer, frozen, with SpatialAlign's LoRA in it: what is trained, and what it is compared with.

add_lora(transformer, LoraConfig())                in place; 4 + 4 n_blocks low-rank matrices, in float32
with reference(transformer):                       the model before training, without a second copy
    anchor = transformer(...)
save_lora(transformer, folder)                     WanPipeline.from_pretrained(...).load_lora_weights(folder)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.backends.extras import MODELS
from tasks.backends.torch_runtime import import_torchvision
from tasks.training.recipes.dsr.config import LoraConfig

if TYPE_CHECKING:
    import torch

LORA_FILE = "pytorch_lora_weights.safetensors"  # what load_lora_weights looks for


def add_lora(transformer: Any, config: LoraConfig) -> None:
    """Freeze a WanTransformer3DModel and add the LoRA, which changes nothing yet: its second matrices are zero.

    The first matrices are drawn from torch's global generator: seed it before.
    Raises ValueError if no layer has a name as config.target.
    """
    import_torchvision()  # diffusers imports it if it is installed
    with MODELS.imports("peft", "diffusers"):
        import peft
        import torch
        from diffusers.training_utils import cast_training_params
    transformer.requires_grad_(False)
    transformer.add_adapter(
        peft.LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules=config.target, init_lora_weights=True)
    )
    cast_training_params(transformer, dtype=torch.float32)


def trained_weights(transformer: Any) -> dict[str, torch.nn.Parameter]:
    """The LoRA's matrices by name."""
    return {name: weight for name, weight in transformer.named_parameters() if weight.requires_grad}


@contextmanager
def reference(transformer: Any) -> Iterator[None]:
    """While it lasts, the transformer is the model before training, and nothing is recorded for gradients.

    Pass the transformer itself, not a wrapper of distributed training.
    """
    import torch

    transformer.disable_adapters()
    try:
        with torch.no_grad():
            yield
    finally:
        transformer.enable_adapters()


def save_lora(transformer: Any, folder: Path) -> Path:
    """Write the LoRA as diffusers' WanPipeline loads it, rank and scale with it; gives the file."""
    import peft
    from diffusers import WanPipeline

    WanPipeline.save_lora_weights(
        folder,
        transformer_lora_layers=peft.get_peft_model_state_dict(transformer),
        transformer_lora_adapter_metadata=transformer.peft_config["default"].to_dict(),  # else alpha is lost
    )
    return folder / LORA_FILE
