"""The encoders of CogVideoX 1.0: its 3D autoencoder and T5.

    CogVideoXEncoder(config, TorchConfig()).encode_video(frames)    (49, 480, 720, 3) -> (13, 16, 60, 90)

Latents are multiplied by the autoencoder's scaling factor. Those of a first frame are divided by it where the config
says invert_scale_latents: CogVideoX-5b-I2V was trained without the factor there, so its pipeline does that, and a
training has to. An ID map is encoded as a first frame is (MATRIX C.1: it stands beside it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tasks.training.models.pipeline_encoder import PipelineEncoder

if TYPE_CHECKING:
    import torch


class CogVideoXEncoder(PipelineEncoder):
    """Latents are (F, C, h, w)."""

    pipelines: ClassVar = ("CogVideoXPipeline", "CogVideoXImageToVideoPipeline")
    max_tokens = 226
    pixels_per_token = 16

    def scale(self, latents: torch.Tensor, vae: Any) -> torch.Tensor:
        return vae.config.scaling_factor * latents[0].transpose(0, 1)

    def scale_image(self, latents: torch.Tensor, vae: Any) -> torch.Tensor:
        factor = vae.config.scaling_factor
        return (1 / factor if vae.config.invert_scale_latents else factor) * latents[0].transpose(0, 1)
