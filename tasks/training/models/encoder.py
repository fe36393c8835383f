"""Which encoders stand before a model's denoiser.

encoder = load_encoder(EncoderConfig(family="cogvideox", model="THUDM/CogVideoX-5b-I2V"), TorchConfig())
encoder.identity    {"backend": "cogvideox", "model": "THUDM/CogVideoX-5b-I2V@main", "diffusers": "0.39.0", ...}

cogvideox/encoding.py    CogVideoX 1.0      wan/encoding.py    Wan2.1 and Wan2.2
"""

from __future__ import annotations

from tasks.backends.torch_runtime import TorchConfig
from tasks.training.encoders import Encoder, EncoderConfig


def load_encoder(config: EncoderConfig, torch: TorchConfig) -> Encoder:
    """Networks are loaded with the first video or text."""
    match config.family:
        case "cogvideox":
            from tasks.training.models.cogvideox.encoding import CogVideoXEncoder

            return CogVideoXEncoder(config, torch)
        case "wan" | "wan22":
            from tasks.training.models.wan.encoding import WanEncoder

            return WanEncoder(config, torch)
