"""A ControlNet for CogVideoX, which diffusers 0.39 lacks: a dense control video steers the frozen transformer.

    net = CogVideoXControlNet.from_transformer(transformer, n_layers=8, control_max=1.5)
    with controlled(transformer, net, masks, weight=0.5):     # masks (B, 49, 3, 480, 720)
        v = transformer(hidden_states=..., encoder_hidden_states=..., timestep=..., image_rotary_emb=...)
    net.save_pretrained(folder);  CogVideoXControlNet.from_pretrained(folder)      safetensors and config.json

    control (B, 49, 3, 480, 720)   pixel unshuffle by 8
         -> (B, 49, 192, 60, 90)   1x1 convolution, group norm, ReLU; halved in time
         -> (B, 25, 96, 60, 90)    the same once more
         -> (B, 13, 32, 60, 90)    beside the latents (B, 13, 32, 60, 90) that the transformer gets
         -> copies of the transformer's first blocks, a zero projection after each
         -> (B, 17550, 3072) each: times the weight, added to the video tokens after the transformer's same block

KineMask (3.1, A.2) states 8 layers, downscaling by 8 and weight 0.5, and no more; these are the arguments of the public
github.com/TheDenk/cogvideox-controlnet, whose form this is. From Force Prompting's fork of it, which KineMask compares
with, are the zero projections and the 32 channels (TheDenk: none, 48). Ours: the new kernels of the input projection
start at zero, as ControlNet's first zero convolution does, where both forks draw the whole projection anew.

The classes are built on first use: importing this module imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from tasks.backends.extras import MODELS
from tasks.backends.torch_runtime import import_torchvision

if TYPE_CHECKING:
    import torch

FRAMES_PER_LATENT = 4


def halve_time(frames: torch.Tensor) -> torch.Tensor:
    """(B, 1 + 2k, ...) -> (B, 1 + k, ...): the first frame as it is, then the means of pairs.

    Twice, latent j sees frames 4j - 3 .. 4j and latent 0 frame 0 alone: just what CogVideoX's causal VAE packs into it,
    and no later frame. Raises ValueError for an even number of frames.
    """
    import torch

    if frames.shape[1] % 2 == 0:
        raise ValueError(f"{frames.shape[1]} frames cannot be halved behind the first; give 4k + 1, such as 49")
    first, rest = frames[:, :1], frames[:, 1:]
    return torch.cat([first, rest.unflatten(1, (-1, 2)).mean(2)], dim=1)


@contextmanager
def controlled(transformer: Any, control_net: Any, control: torch.Tensor, weight: float = 0.5) -> Iterator[None]:
    """While it lasts, every forward pass of a stock CogVideoXTransformer3DModel has the control added.

    control: (B, F, C, H, W), F = 4k + 1 frames for k + 1 latent ones. A batch of n B (classifier-free guidance) gets
             it n times, so that the control steers both branches, as the public code does; the paper does not say.
    weight:  of every residual; 0.5 in KineMask (A.2)

    With the zero projections of a new ControlNet the output is exactly the transformer's own. Gradients flow into the
    ControlNet, also with diffusers' gradient checkpointing, and also if `backward` is called afterwards: the hooks on
    blocks only add, so that recomputing a block needs none of them. (Reentrant checkpointing would lose the gradient.)
    Raises TypeError if the transformer is called with positional arguments, ValueError if the batches do not fit.
    """
    residuals: list[torch.Tensor] = []

    def compute(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if args:
            raise TypeError("call a controlled transformer with keyword arguments only")
        hidden = kwargs["hidden_states"]
        times, beyond = divmod(len(hidden), len(control))
        if beyond or not times:
            raise ValueError(f"{len(control)} controls for a batch of {len(hidden)}; give one each, or one a branch")
        made = control_net(
            hidden_states=hidden,
            encoder_hidden_states=kwargs["encoder_hidden_states"],
            timestep=kwargs["timestep"],
            control=control.repeat(times, 1, 1, 1, 1),
            image_rotary_emb=kwargs.get("image_rotary_emb"),
        )
        residuals[:] = [weight * residual for residual in made]

    def add_after(index: int) -> Any:
        def add(block: Any, args: Any, output: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
            video, text = output
            return video + residuals[index].to(video.dtype), text

        return add

    n_layers = len(_unwrapped(control_net).transformer_blocks)
    hooks = [transformer.register_forward_pre_hook(compute, with_kwargs=True)]
    hooks += [
        block.register_forward_hook(add_after(index))
        for index, block in enumerate(transformer.transformer_blocks[:n_layers])
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def __getattr__(name: str) -> Any:
    if name == "CogVideoXControlNet":
        return _control_net()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _unwrapped(network: Any) -> Any:
    """The network inside a wrapper of distributed training."""
    return getattr(network, "module", network)


@cache
def _control_net() -> type[Any]:
    import_torchvision()  # diffusers imports it if it is installed
    with MODELS.imports("diffusers"):
        import torch
        from diffusers import CogVideoXTransformer3DModel, ConfigMixin, ModelMixin
        from diffusers.configuration_utils import register_to_config
    from torch import nn

    class CogVideoXControlNet(ModelMixin, ConfigMixin):
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

        __qualname__ = "CogVideoXControlNet"  # where it is found, by pickle too
        _supports_gradient_checkpointing = True
        _no_split_modules = ("CogVideoXBlock", "CogVideoXPatchEmbed")

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
            if not 1 <= n_layers <= transformer["num_layers"]:
                raise ValueError(f"{n_layers} layers to control of {transformer['num_layers']}")
            channels = transformer["in_channels"] + encoded_channels
            stock = CogVideoXTransformer3DModel.from_config(
                transformer | {"in_channels": channels, "num_layers": n_layers}
            )
            width = transformer["num_attention_heads"] * transformer["attention_head_dim"]
            wide = control_channels * downscale**2

            self.unshuffle = nn.PixelUnshuffle(downscale)
            self.encode_first = _encoder(wide, wide // 2)
            self.encode_second = _encoder(wide // 2, encoded_channels)
            self.patch_embed = stock.patch_embed
            self.time_proj = stock.time_proj
            self.time_embedding = stock.time_embedding
            self.transformer_blocks = stock.transformer_blocks
            self.projections = nn.ModuleList(nn.Linear(width, width) for _ in range(n_layers))
            for projection in self.projections:
                nn.init.zeros_(projection.weight)
                nn.init.zeros_(projection.bias)
            self.gradient_checkpointing = False

        @classmethod
        def from_transformer(cls, transformer: Any, **settings: Any) -> Any:
            """A new one, whose blocks and embeddings are copies of the transformer's; in float32, to be trained.

            The kernels of the input projection that meet the control start at zero.
            """
            config = {name: value for name, value in transformer.config.items() if not name.startswith("_")}
            net = cls(transformer=config, **settings)
            copied = net.state_dict()
            for name, value in transformer.state_dict().items():
                if name == "patch_embed.proj.weight":
                    copied[name].zero_()
                    copied[name][:, : value.shape[1]] = value
                elif name in copied:
                    copied[name].copy_(value)
            return net

        def encode(self, control: torch.Tensor) -> torch.Tensor:
            """(B, F, C, H, W), F = 4k + 1 -> (B, k + 1, encoded_channels, H / downscale, W / downscale)."""
            if control.shape[1] % FRAMES_PER_LATENT != 1:
                raise ValueError(f"a control of {control.shape[1]} frames; give 4k + 1, as many as the video has")
            n_clips = len(control)
            scaled = (control / self.config.control_max).clamp(-1, 1).to(self.dtype)
            coded = self.encode_first(self.unshuffle(scaled.flatten(0, 1)))
            coded = self.encode_second(halve_time(coded.unflatten(0, (n_clips, -1))).flatten(0, 1))
            return halve_time(coded.unflatten(0, (n_clips, -1)))

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
            coded = self.encode(control).to(hidden_states.dtype)
            if (len(coded), coded.shape[1], *coded.shape[3:]) != (
                len(hidden_states),
                hidden_states.shape[1],
                *hidden_states.shape[3:],
            ):
                raise ValueError(
                    f"a control {tuple(control.shape)} encodes to {tuple(coded.shape)}, beside latents of "
                    f"{tuple(hidden_states.shape)}; give it the video's frames, height and width"
                )
            moment = self.time_embedding(self.time_proj(timestep).to(hidden_states.dtype))
            tokens = self.patch_embed(encoder_hidden_states, torch.cat([hidden_states, coded], dim=2))
            n_text = encoder_hidden_states.shape[1]
            text, video = tokens[:, :n_text], tokens[:, n_text:]
            residuals = []
            for block, projection in zip(self.transformer_blocks, self.projections, strict=True):
                if torch.is_grad_enabled() and self.gradient_checkpointing:
                    video, text = self._gradient_checkpointing_func(block, video, text, moment, image_rotary_emb)
                else:
                    video, text = block(video, text, moment, image_rotary_emb)
                residuals.append(projection(video))
            return tuple(residuals)

    def _encoder(n_in: int, n_out: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(n_in, n_out, 1), nn.GroupNorm(2, n_out), nn.ReLU())

    return CogVideoXControlNet
