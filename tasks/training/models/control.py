"""ControlNets for video transformers: a dense control video steers a frozen one (Zhang et al., as KineMask 3.1 has it).

    net = CogVideoXControlNet.from_transformer(transformer, n_layers=8, control_max=1.5)      cogvideox/control.py
    net = WanControlNet.from_transformer(transformer, n_layers=8, downscale=16)               wan/control.py
    with controlled(transformer, net, masks, weight=0.5):     # masks (B, 49, 3, 480, 720)
        predicted = transformer(hidden_states=..., encoder_hidden_states=..., timestep=...)
    net.save_pretrained(folder);  CogVideoXControlNet.from_pretrained(folder)      safetensors and config.json

    control (B, 49, 3, 480, 720)   pixel unshuffle by 8
         -> (B, 49, 192, 60, 90)   1x1 convolution, group norm, ReLU; halved in time
         -> (B, 25, 96, 60, 90)    the same once more
         -> (B, 13, 32, 60, 90)    beside the latents that the transformer gets, on their channels
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

    Twice, latent j sees frames 4j - 3 .. 4j and latent 0 frame 0 alone: just what CogVideoX's and Wan's causal VAEs
    pack into it, and no later frame. Raises ValueError for an even number of frames.
    """
    import torch

    if frames.shape[1] % 2 == 0:
        raise ValueError(f"{frames.shape[1]} frames cannot be halved behind the first; give 4k + 1, such as 49")
    first, rest = frames[:, :1], frames[:, 1:]
    return torch.cat([first, rest.unflatten(1, (-1, 2)).mean(2)], dim=1)


@contextmanager
def controlled(transformer: Any, control_net: Any, control: torch.Tensor, weight: float = 0.5) -> Iterator[None]:
    """While it lasts, every forward pass of a stock transformer has the control added.

    control: (B, F, C, H, W), F = 4k + 1 frames for k + 1 latent ones. A batch of n B (classifier-free guidance) gets
             it n times, so that the control steers both branches, as the public code does; the paper does not say.
    weight:  of every residual; 0.5 in KineMask (A.2)

    With the zero projections of a new ControlNet the output is exactly the transformer's own. Gradients flow into the
    ControlNet, also with diffusers' gradient checkpointing, and also if `backward` is called afterwards: the hooks on
    blocks only add, so that recomputing a block needs none of them. (Reentrant checkpointing would lose the gradient.)
    Raises TypeError if the transformer is called with positional arguments, ValueError if the batches do not fit.
    """
    network = getattr(control_net, "module", control_net)  # inside the wrapper of distributed training
    blocks = getattr(transformer, network.blocks_name)[: len(network.projections)]
    residuals: list[torch.Tensor] = []

    def compute(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if args:
            raise TypeError("call a controlled transformer with keyword arguments only")
        asked = {name: kwargs[name] for name in network.arguments if name in kwargs}
        made = control_net(**asked, control=for_each_branch(control, len(kwargs["hidden_states"])))
        residuals[:] = [weight * residual for residual in made]

    def add_after(index: int) -> Any:
        def add(block: Any, args: Any, output: Any) -> Any:
            if isinstance(output, tuple):  # CogVideoX's blocks: video and text
                video, *others = output
                return video + residuals[index].to(video.dtype), *others
            return output + residuals[index].to(output.dtype)

        return add

    hooks = [transformer.register_forward_pre_hook(compute, with_kwargs=True)]
    hooks += [block.register_forward_hook(add_after(index)) for index, block in enumerate(blocks)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def for_each_branch(control: torch.Tensor, n_asked: int) -> torch.Tensor:
    """(B, ...) -> (n_asked, ...): a control for each branch of guidance. Raises ValueError if they do not fit."""
    times, beyond = divmod(n_asked, len(control))
    if beyond or not times:
        raise ValueError(f"{len(control)} controls for a batch of {n_asked}; give one each, or one a branch")
    return control.repeat(times, *[1] * (control.ndim - 1))


@cache
def control_encoder() -> type[Any]:
    """The class of networks that bring a dense control to the latents' frames and size."""
    from torch import nn

    class ControlEncoder(nn.Module):
        """A control video -> features of the latents' frames and size.

        control_max: the value that is 1 to the network, which sees none beyond it; None: values as they are
        """

        def __init__(self, n_channels: int, control_max: float | None, downscale: int, n_encoded: int) -> None:
            super().__init__()
            wide = n_channels * downscale**2
            self.control_max = control_max
            self.unshuffle = nn.PixelUnshuffle(downscale)
            self.first = nn.Sequential(nn.Conv2d(wide, wide // 2, 1), nn.GroupNorm(2, wide // 2), nn.ReLU())
            self.second = nn.Sequential(nn.Conv2d(wide // 2, n_encoded, 1), nn.GroupNorm(2, n_encoded), nn.ReLU())

        def forward(self, control: torch.Tensor) -> torch.Tensor:
            """(B, F, C, H, W), F = 4k + 1 -> (B, k + 1, n_encoded, H / downscale, W / downscale)."""
            if control.shape[1] % FRAMES_PER_LATENT != 1:
                raise ValueError(f"a control of {control.shape[1]} frames; give 4k + 1, as many as the video has")
            n_clips = len(control)
            if self.control_max is not None:
                control = (control / self.control_max).clamp(-1, 1)
            coded = self.first(self.unshuffle(control.to(self.first[0].weight.dtype).flatten(0, 1)))
            coded = self.second(halve_time(coded.unflatten(0, (n_clips, -1))).flatten(0, 1))
            return halve_time(coded.unflatten(0, (n_clips, -1)))

    return ControlEncoder


@cache
def control_net_base() -> type[Any]:
    """What both ControlNets share: their parts, and how a new one is made from a transformer."""
    import_torchvision()  # diffusers imports it if it is installed
    with MODELS.imports("diffusers"):
        import torch
        from diffusers import ConfigMixin, ModelMixin
    from torch import nn

    class ControlNet(ModelMixin, ConfigMixin):
        """Subclasses take their parts from a stock transformer of as few blocks, and run them.

        blocks_name:      of the blocks in the transformer, and here
        input_projection: the weight that meets the latents, and here the control too
        arguments:        of the transformer's forward that this forward needs
        """

        blocks_name: str
        input_projection: str
        arguments: tuple[str, ...]

        _supports_gradient_checkpointing = True

        def _add_parts(self, width: int, n_channels: int, control_max: float, downscale: int, n_encoded: int) -> None:
            self.encoder = control_encoder()(n_channels, control_max, downscale, n_encoded)
            self.projections = nn.ModuleList(nn.Linear(width, width) for _ in getattr(self, self.blocks_name))
            for projection in self.projections:
                nn.init.zeros_(projection.weight)
                nn.init.zeros_(projection.bias)
            self.gradient_checkpointing = False

        @classmethod
        def from_transformer(cls, transformer: Any, **settings: Any) -> Any:
            """A new one, whose blocks and embeddings are copies of the transformer's; in float32, to be trained.

            The kernels of the input projection that meet the control start at zero. The control's encoder is drawn
            from torch's global generator: seed it before.
            """
            config = {name: value for name, value in transformer.config.items() if not name.startswith("_")}
            net = cls(transformer=config, **settings)
            copied = net.state_dict()
            for name, value in transformer.state_dict().items():
                if name == cls.input_projection:
                    copied[name].zero_()
                    copied[name][:, : value.shape[1]] = value
                elif name in copied:
                    copied[name].copy_(value)
            return net

        def _run(self, block: Any, *inputs: Any) -> Any:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                return self._gradient_checkpointing_func(block, *inputs)
            return block(*inputs)

    return ControlNet


def check_control(control: torch.Tensor, coded: torch.Tensor, latents: torch.Tensor) -> None:
    """coded and latents: (B, T, C, h, w). Raises ValueError unless they have the same clips, frames and size."""
    if (*coded.shape[:2], *coded.shape[3:]) != (*latents.shape[:2], *latents.shape[3:]):
        raise ValueError(
            f"a control {tuple(control.shape)} encodes to {tuple(coded.shape)}, beside latents of "
            f"{tuple(latents.shape)}; give it the video's frames, height and width"
        )


def check_layers(n_layers: int, transformer: dict[str, Any]) -> None:
    """Raises ValueError for more layers than the transformer has, or none."""
    if not 1 <= n_layers <= transformer["num_layers"]:
        raise ValueError(f"{n_layers} layers to control of {transformer['num_layers']}")
