"""The encoders of Wan2.1 and of Wan2.2-TI2V-5B: their causal autoencoders and UMT5.

    WanEncoder(config, TorchConfig()).encode_video(frames)    (81, 480, 832, 3) -> (16, 21, 60, 104)

Latents are normalised by the mean and deviation of each channel, which the autoencoder's config has. Texts are cleaned
as the pipeline cleans them (broken encodings, HTML entities, white space); embeddings are zero behind the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tasks.backends.torch_runtime import TorchConfig
from tasks.training.encoders import EncoderConfig
from tasks.training.models.pipeline_encoder import PipelineEncoder

if TYPE_CHECKING:
    import torch


class WanEncoder(PipelineEncoder):
    """Latents are (C, F, h, w)."""

    pipelines: ClassVar = ("WanPipeline", "WanImageToVideoPipeline")
    max_tokens = 512

    def __init__(self, config: EncoderConfig, torch: TorchConfig) -> None:
        super().__init__(config, torch)
        self.pixels_per_token = 32 if config.family == "wan22" else 16

    def scale(self, latents: torch.Tensor, vae: Any) -> torch.Tensor:
        mean, deviation = (
            latents.new_tensor(values).view(-1, 1, 1, 1) for values in (vae.config.latents_mean, vae.config.latents_std)
        )
        return (latents[0] - mean) * (1.0 / deviation)

    scale_image = scale

    def cleaned(self, prompt: str) -> str:
        from diffusers.pipelines.wan.pipeline_wan import prompt_clean

        cleaned: str = prompt_clean(prompt)
        return cleaned
