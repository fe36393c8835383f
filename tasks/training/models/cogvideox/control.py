"""A ControlNet for CogVideoX, which diffusers 0.39 lacks; how it works: tasks/training/models/control.py.

    net = CogVideoXControlNet.from_transformer(transformer, n_layers=8, control_max=1.5)
    with controlled(transformer, net, masks, weight=0.5):
        v = transformer(hidden_states=..., encoder_hidden_states=..., timestep=..., image_rotary_emb=...)

1.15 billion weights for the 8 layers of CogVideoX-5B. The class is built on first use: importing this module imports
no torch.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from tasks.training.models.control import check_control, check_layers, control_net_base

if TYPE_CHECKING:
    import torch


def __getattr__(name: str) -> Any:
    if name == "CogVideoXControlNet":
        return _control_net()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _control_net() -> type[Any]:
    base = control_net_base()
    import torch
    from diffusers import CogVideoXTransformer3DModel
    from diffusers.configuration_utils import register_to_config

    class CogVideoXControlNet(base):  # type: ignore[misc, valid-type]
        """A ControlNet for CogVideoX 1.0.

        transformer:       config of the transformer that it controls
        n_layers:          its blocks, copies of the transformer's first ones
        control_channels:  of the control video; 3 for velocities
        control_max:       the control's value that becomes 1 before it is encoded; what lies beyond is clipped, as in
                           tasks/media/velocity_masks.py. It is saved with the weights, so that a control at inference
                           has the scale of training
        downscale:         of the control's height and width, to those of the latents
        encoded_channels:  of the encoded control
        """

        blocks_name = "transformer_blocks"
        input_projection = "patch_embed.proj.weight"
        arguments = ("hidden_states", "encoder_hidden_states", "timestep", "image_rotary_emb")
        _no_split_modules: ClassVar = ["CogVideoXBlock", "CogVideoXPatchEmbed"]

        @register_to_config
        def __init__(
            self,
            transformer: dict[str, Any],
            n_layers: int = 8,
            control_channels: int = 3,
            control_max: float = 1.0,
            downscale: int = 8,
            encoded_channels: int = 32,
        ) -> None:
            super().__init__()
            if transformer.get("patch_size_t") is not None or transformer.get("ofs_embed_dim") is not None:
                raise ValueError("this is a CogVideoX 1.5, whose tokens span two frames; give a CogVideoX 1.0")
            check_layers(n_layers, transformer)
            channels = transformer["in_channels"] + encoded_channels
            stock = CogVideoXTransformer3DModel.from_config(
                transformer | {"in_channels": channels, "num_layers": n_layers}
            )
            self.patch_embed = stock.patch_embed
            self.time_proj = stock.time_proj
            self.time_embedding = stock.time_embedding
            self.transformer_blocks = stock.transformer_blocks
            width = transformer["num_attention_heads"] * transformer["attention_head_dim"]
            self._add_parts(width, control_channels, control_max, downscale, encoded_channels)

        def forward(
            self,
            hidden_states: torch.Tensor,
            encoder_hidden_states: torch.Tensor,
            timestep: torch.Tensor,
            control: torch.Tensor,
            image_rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
        ) -> tuple[torch.Tensor, ...]:
            """What is to be added to the transformer's video tokens after its first blocks: (B, tokens, width) each.

            control: (B, F, C, H, W); the other arguments are the transformer's own
            Raises ValueError unless the encoded control has the latents' frames and size.
            """
            coded = self.encoder(control).to(hidden_states.dtype)
            check_control(control, coded, hidden_states)
            moment = self.time_embedding(self.time_proj(timestep).to(hidden_states.dtype))
            tokens = self.patch_embed(encoder_hidden_states, torch.cat([hidden_states, coded], dim=2))
            n_text = encoder_hidden_states.shape[1]
            text, video = tokens[:, :n_text], tokens[:, n_text:]
            residuals = []
            for block, projection in zip(self.transformer_blocks, self.projections, strict=True):
                video, text = self._run(block, video, text, moment, image_rotary_emb)
                residuals.append(projection(video))
            return tuple(residuals)

    return CogVideoXControlNet
