"""Videos by a diffusers text-to-video pipeline (SpatialAlign 4.1: Wan2.1-1.3B).

    DiffusersVideos(GenerateConfig(generator="diffusers"), DiffusersConfig(), TorchConfig()).generate(sample)
    ->  Generation(video=b"...")     81 frames of 832x480 px: a function of prompt, seed and settings

    pipeline.py   a sample -> its video      weights.py   a folder or a repository of weights -> the loaded pipeline

The paper's second round samples the fine-tuned model: set `lora` to its weights.
"""

from __future__ import annotations

from pydantic import Field

from schemas.config import StageConfig
from tasks.backends.torch_runtime import Precision


class DiffusersConfig(StageConfig):
    """Which pipeline generates, and how. Model, frames and size: SpatialAlign; the rest: diffusers' values for Wan."""

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
    guidance: float = Field(5.0, ge=0, description="Scale of classifier-free guidance; none at 1 or less")
    flow_shift: float | None = Field(
        3.0,
        gt=0,
        description="Shift of the noise schedule towards high noise; diffusers advises 3 for 480p, 5 for 720p, "
        "SpatialAlign gives none. null: the model's own, and for schedulers without a shift",
    )
    negative_prompt: str = Field("", description="What guidance steers away from; empty: the unconditional prompt")
    precision: Precision = Field("bfloat16", description="Precision of the text encoder and the denoiser")
    vae_precision: Precision = Field(
        "float32",
        description="Precision of the decoder: float32 decodes better for Wan (diffusers); CogVideoX needs `precision`",
    )
    offload: bool = Field(
        False, description="Keep each network in main memory until it runs: less GPU memory, a little slower"
    )
