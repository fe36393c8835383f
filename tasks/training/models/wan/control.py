"""A ControlNet for Wan, which diffusers 0.39 lacks; how it works: tasks/training/models/control.py.

    net = WanControlNet.from_transformer(transformer, n_layers=8, control_max=1.5, downscale=16)
    with controlled(transformer, net, masks, weight=0.5):
        velocity = transformer(hidden_states=..., encoder_hidden_states=..., timestep=...)

KineMask trains one on Wan2.2-TI2V-5B (A.3, table 4) and says nothing about it: the same form on the same number of
layers is ours. That model's latents are 16 times smaller than the video, not 8. The class is built on first use:
importing this module imports no torch.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from tasks.training.models.control import check_control, check_layers, control_net_base

if TYPE_CHECKING:
    import torch


def __getattr__(name: str) -> Any:
    if name == "WanControlNet":
        return _control_net()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _control_net() -> type[Any]:
    base = control_net_base()
    import torch
    from diffusers import WanTransformer3DModel
    from diffusers.configuration_utils import register_to_config

    class WanControlNet(base):  # type: ignore[misc, valid-type]
        """A ControlNet for Wan2.1 and Wan2.2, text-to-video and the 5B model's image-to-video.

        Settings as CogVideoXControlNet's.
        """

        blocks_name = "blocks"
        input_projection = "patch_embedding.weight"
        arguments = ("hidden_states", "encoder_hidden_states", "timestep")
        _no_split_modules: ClassVar = ["WanTransformerBlock"]
        _keep_in_fp32_modules: ClassVar = [
            "time_embedder",
            "scale_shift_table",
            "norm1",
            "norm2",
            "norm3",
        ]  # as in Wan itself

        @register_to_config
        def __init__(
            self,
            transformer: dict[str, Any],
            n_layers: int = 8,
            control_channels: int = 3,
            control_max: float = 1.0,
            downscale: int = 16,
            encoded_channels: int = 32,
        ) -> None:
            super().__init__()
            if transformer.get("image_dim") is not None:
                raise ValueError("this is a Wan with an image encoder; give Wan2.2-TI2V-5B or a text-to-video one")
            check_layers(n_layers, transformer)
            channels = transformer["in_channels"] + encoded_channels
            stock = WanTransformer3DModel.from_config(transformer | {"in_channels": channels, "num_layers": n_layers})
            self.rope = stock.rope
            self.patch_embedding = stock.patch_embedding
            self.condition_embedder = stock.condition_embedder
            self.blocks = stock.blocks
            width = transformer["num_attention_heads"] * transformer["attention_head_dim"]
            self._add_parts(width, control_channels, control_max, downscale, encoded_channels)

        def forward(
            self,
            hidden_states: torch.Tensor,
            encoder_hidden_states: torch.Tensor,
            timestep: torch.Tensor,
            control: torch.Tensor,
        ) -> tuple[torch.Tensor, ...]:
            """What is to be added to the transformer's tokens after its first blocks: (B, tokens, width) each.

            control:  (B, F, C, H, W); the other arguments are the transformer's own
            timestep: (B,), or (B, tokens) where the first frame is given (Wan2.2-TI2V-5B)
            Raises ValueError unless the encoded control has the latents' frames and size.
            """
            coded = self.encoder(control).to(hidden_states.dtype)
            check_control(control, coded, hidden_states.transpose(1, 2))
            positions = self.rope(hidden_states)
            video = self.patch_embedding(torch.cat([hidden_states, coded.transpose(1, 2)], dim=1))
            video = video.flatten(2).transpose(1, 2)
            n_moments = timestep.shape[1] if timestep.ndim == 2 else None
            _, moment, text, _ = self.condition_embedder(
                timestep.flatten(), encoder_hidden_states, timestep_seq_len=n_moments
            )
            moment = moment.unflatten(-1, (6, -1))
            residuals = []
            for block, projection in zip(self.blocks, self.projections, strict=True):
                video = self._run(block, video, text, moment, positions)
                residuals.append(projection(video))
            return tuple(residuals)

    return WanControlNet
