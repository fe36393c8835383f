"""Cameras steer a Wan: Plücker embeddings of a clip, encoded and added to its tokens (GameCraft-2, line 167).

    encoder = CameraEncoder.from_transformer(transformer)
    with steered(transformer, encoder, cameras):               # cameras (B, 81, 6, 480, 832)
        velocity = transformer(hidden_states=..., encoder_hidden_states=..., timestep=...)
    encoder.save_pretrained(folder);  CameraEncoder.from_pretrained(folder)

    cameras (B, 81, 6, 480, 832)        tasks/media/plucker.py
         -> (B, 21, 32, 60, 104)        the ControlNets' encoder of a dense control: tasks/training/models/control.py
         -> (B, width, 21, 30, 52)      a projection of the transformer's patches, which starts at zero
         added to the transformer's patch embedding

The paper says Plücker embeddings and token addition, and no more: the encoder's form and the zero start, by which a new
one changes nothing, are ours. The class is built on first use: importing this module imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from tasks.backends.extras import MODELS
from tasks.backends.torch_runtime import import_torchvision
from tasks.training.models.control import control_encoder, for_each_branch

if TYPE_CHECKING:
    import torch

CAMERA_CHANNELS = 6  # moment and direction


def __getattr__(name: str) -> Any:
    if name == "CameraEncoder":
        return _camera_encoder()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@contextmanager
def steered(transformer: Any, encoder: Any, cameras: torch.Tensor) -> Iterator[None]:
    """While it lasts, every forward pass of a stock WanTransformer3DModel has the encoded cameras added to its tokens.

    cameras: (B, F, 6, H, W), F = 4k + 1 frames for k + 1 latent ones. A batch of n B (classifier-free guidance) gets
             them n times; the paper does not say whether both branches have them.
    Raises ValueError if clips, frames or size do not fit the latents.
    """

    def add(patch_embedding: Any, args: tuple[Any, ...], tokens: torch.Tensor) -> torch.Tensor:
        coded: torch.Tensor = encoder(for_each_branch(cameras, len(tokens)))
        if coded.shape != tokens.shape:
            raise ValueError(
                f"cameras {tuple(cameras.shape)} encode to {tuple(coded.shape)}, beside tokens of "
                f"{tuple(tokens.shape)}; give them the video's frames, height and width"
            )
        return tokens + coded.to(tokens.dtype)

    hook = transformer.patch_embedding.register_forward_hook(add)
    try:
        yield
    finally:
        hook.remove()


@cache
def _camera_encoder() -> type[Any]:
    import_torchvision()  # diffusers imports it if it is installed
    with MODELS.imports("diffusers"):
        from diffusers import ConfigMixin, ModelMixin
        from diffusers.configuration_utils import register_to_config
    from torch import nn

    class CameraEncoder(ModelMixin, ConfigMixin):
        """Plücker embeddings -> what is added to a Wan's tokens.

        width:            of the tokens
        patch_size:       of the transformer: latent frames, rows and columns of a token
        downscale:        edge of a latent's pixel in the video: 8 for Wan2.1's VAE, 16 for Wan2.2's
        encoded_channels: between encoder and projection
        """

        @register_to_config
        def __init__(
            self, width: int, patch_size: tuple[int, int, int], downscale: int = 8, encoded_channels: int = 32
        ) -> None:
            super().__init__()
            self.encoder = control_encoder()(CAMERA_CHANNELS, None, downscale, encoded_channels)
            self.projection = nn.Conv3d(encoded_channels, width, kernel_size=patch_size, stride=patch_size)
            nn.init.zeros_(self.projection.weight)
            nn.init.zeros_(self.projection.bias)

        @classmethod
        def from_transformer(cls, transformer: Any, **settings: Any) -> Any:
            """A new one for a WanTransformer3DModel, drawn from torch's global generator; in float32."""
            config = transformer.config
            width = config.num_attention_heads * config.attention_head_dim
            return cls(width=width, patch_size=tuple(config.patch_size), **settings)

        def forward(self, cameras: torch.Tensor) -> torch.Tensor:
            """(B, F, 6, H, W), F = 4k + 1 -> (B, width, frames, rows, columns of tokens)."""
            coded: torch.Tensor = self.projection(self.encoder(cameras).transpose(1, 2))
            return coded

    return CameraEncoder
