"""CogVideoX that also sees who is who in the first frame: the ID map's latents are more input channels (MATRIX 5, C.1).

    widen_input(transformer, 16)          32 -> 48 channels
    transformer(hidden_states=model_input(noisy, first_frame, id_map), ...)

The ID map is a picture of frame 0 in which each instance's mask has the instance's colour. Latents: (B, F, C, h, w);
first frame and ID map have theirs in latent frame 0, and zeros in the others, as the base model has its first frame.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def widen_input(transformer: Any, n_channels: int) -> None:
    """Let a CogVideoXTransformer3DModel take n_channels more, after those that it takes.

    The kernels of the old channels are copied and the new ones zero, so whatever comes in the new channels changes
    nothing yet. The config's in_channels grows with it, so that save_pretrained and from_pretrained agree.
    Raises ValueError for CogVideoX 1.5, whose input projection is no convolution.
    """
    import torch

    old = transformer.patch_embed.proj
    if not isinstance(old, torch.nn.Conv2d):
        raise ValueError("only CogVideoX 1.0 can be widened: 1.5 has patches in time; take CogVideoX-5b-I2V")
    new = _projection()(
        old.in_channels + n_channels,
        old.out_channels,
        kernel_size=old.kernel_size,
        stride=old.stride,
        bias=old.bias is not None,
        device=old.weight.device,
        dtype=old.weight.dtype,
    )
    with torch.no_grad():
        new.weight.zero_()
        new.weight[:, : old.in_channels] = old.weight
        if old.bias is not None:
            new.bias.copy_(old.bias)
    transformer.patch_embed.proj = new
    transformer.register_to_config(in_channels=new.in_channels)


@cache
def _projection() -> Any:
    import torch

    class Projection(torch.nn.Conv2d):
        """Computes in its input's precision: it is trained in float32 before a transformer in bfloat16."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bias = None if self.bias is None else self.bias.to(x.dtype)
            patches: torch.Tensor = self._conv_forward(x, self.weight.to(x.dtype), bias)
            return patches

    return Projection


def model_input(noisy: torch.Tensor, first_frame: torch.Tensor, id_map: torch.Tensor) -> torch.Tensor:
    """(B, F, C, h, w) each -> (B, F, 3C, h, w): noise and first frame as in CogVideoX's pipeline, then the ID map."""
    import torch

    return torch.cat([noisy, first_frame, id_map], dim=2)
