"""A tiny Wan2.1 with random weights, saved and loaded like anyone's checkpoint.

tiny_wan(folder)            DiffusersVideos on the CPU: 5 frames of 32x32 px in 2 steps
save_lora(folder / "lora")  LoRA weights for it, on the projections that SpatialAlign trains (4.1)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.dsr import DsrPrompt, DsrSample
from tasks.backends.diffusers_videos import DiffusersConfig
from tasks.backends.torch_runtime import TorchConfig, import_torchvision
from tasks.generate_samples import GenerateConfig
from tasks.training.models.tiny import save_tiny_wan

if TYPE_CHECKING:
    from tasks.backends.diffusers_videos.pipeline import DiffusersVideos

N_FRAMES, SIDE = 5, 32
LORA_RANK = 2


def tiny_wan(folder: Path, generate: dict[str, Any] | None = None, **settings: Any) -> DiffusersVideos:
    """The backend on the network in `folder`, which is made if it is not there."""
    from tasks.backends.diffusers_videos.pipeline import DiffusersVideos

    if not (folder / "wan").exists():
        save_tiny_wan(folder / "wan")
    wanted = {"generator": "diffusers", "n_frames": N_FRAMES, "width": SIDE, "height": SIDE}
    chosen = {"model": str(folder / "wan"), "steps": 2, "precision": "float32"}
    return DiffusersVideos(
        GenerateConfig(**wanted | (generate or {})), DiffusersConfig(**chosen | settings), TorchConfig(device="cpu")
    )


def asked(text: str = "a fox is on the left of a stump", seed: int = 0, **changes: Any) -> DsrSample:
    """A sample to generate."""
    values = {
        "prompt_id": "LR_0",
        "split": "train",
        "form": "structured",
        "text": text,
        "scene": "In a wood",
        "animal": "fox",
        "object": "stump",
        "verb": "walks",
        "initial": "left",
        "final": "right",
    }
    return DsrSample.of(DsrPrompt(**values | changes), seed)


def save_lora(folder: Path, prefix: str = "transformer.", layer: str = "blocks.0.attn2.to_k") -> Path:
    """Low-rank weights for one layer of a tiny network, as diffusers stores them."""
    import_torchvision()
    import torch
    from diffusers import WanPipeline

    width = 24
    drawn = torch.Generator().manual_seed(0)
    layers = {
        f"{prefix}{layer}.lora_A.weight": torch.randn(LORA_RANK, width, generator=drawn),
        f"{prefix}{layer}.lora_B.weight": torch.randn(width, LORA_RANK, generator=drawn),
    }
    WanPipeline.write_lora_layers(
        layers,
        save_directory=str(folder),
        is_main_process=True,
        weight_name=None,
        save_function=None,
        safe_serialization=True,
    )
    return folder
