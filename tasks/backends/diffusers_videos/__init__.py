"""Videos by a diffusers text-to-video pipeline (SpatialAlign 4.1: Wan2.1-1.3B).

    DiffusersVideos(GenerateConfig(generator="diffusers"), DiffusersConfig(), TorchConfig()).generate(sample)
    ->  Generation(video=b"...")     81 frames of 832x480 px: a function of prompt, seed and settings

    pipeline.py   a sample -> its video      weights.py   a folder or a repository of weights -> the loaded pipeline

The second round of the paper's loop samples the fine-tuned model: `lora` names its weights.
"""

from __future__ import annotations

from pydantic import Field

from schemas.config import StageConfig
from tasks.backends.torch_runtime import Precision


class DiffusersConfig(StageConfig):
    """Which pipeline generates, and how. SpatialAlign gives model, frames and size; the rest are diffusers' for Wan."""

    model: str = Field(
        "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        description="A text-to-video pipeline as save_pretrained writes it: a folder, or OWNER/NAME[@REVISION] of the "
        "model hub",
    )
    lora: str | None = Field(
        None,
        description="LoRA weights for it: a file, a folder or a repository with pytorch_lora_weights.safetensors; "
        "null: the model as it is",
    )
    steps: int = Field(50, ge=1, description="Denoising steps")
    guidance: float = Field(5.0, ge=0, description="Scale of classifier-free guidance; 1 and less: none")
    flow_shift: float | None = Field(
        3.0,
        gt=0,
        description="How far the noise schedule leans to high noise; diffusers advises 3 for 480p and 5 for 720p, and "
        "SpatialAlign tells nothing; null: as the model's scheduler has it, or for one that knows no shift",
    )
    negative_prompt: str = Field("", description="What guidance leads away from; empty: from no prompt at all")
    precision: Precision = Field("bfloat16", description="Of the text encoder and the denoiser")
    vae_precision: Precision = Field(
        "float32",
        description="Of the decoder: in float32 Wan's decodes better (diffusers); CogVideoX's must have `precision`",
    )
    offload: bool = Field(
        False, description="Keep each network in main memory until its turn: less GPU memory, a little slower"
    )
