"""Videos from a picture, a prompt and velocity masks: a stock image-to-video pipeline with a trained ControlNet.

    net = CogVideoXControlNet.from_pretrained(run / "control_net", torch_dtype=torch.bfloat16)
    pipeline = KineMaskPipeline.from_pretrained("THUDM/CogVideoX-5b-I2V", control_net=net, torch_dtype=torch.bfloat16)
    masks = np.load("velocity_mask.npz")["velocity_mps"]         of `triptych condition`
    video = pipeline(image=picture, masks=masks, prompt="A blue mug slides ...", height=480, width=720).frames[0]

    net = WanControlNet.from_pretrained(...)
    pipeline = KineMaskWanPipeline.from_pretrained("Wan-AI/Wan2.2-TI2V-5B-Diffusers", control_net=net, ...)

The classes are built on first use: importing this module imports no torch.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tasks.backends.extras import MODELS
from tasks.backends.torch_runtime import import_torchvision
from tasks.training.models.control import controlled

if TYPE_CHECKING:
    import torch


def mask_video(masks: np.ndarray, n_frames: int) -> torch.Tensor:
    """(F, H, W, 3) m/s of the first F frames -> (1, n_frames, 3, H, W) float32, the later ones blank.

    One frame is what the second stage was trained for: the initial velocity, nothing else (KineMask 3.2).
    Raises ValueError for more masks than frames, or none.
    """
    import torch

    if masks.ndim != 4 or masks.shape[-1] != 3 or not 1 <= len(masks) <= n_frames:
        raise ValueError(f"masks {masks.shape}; give (F, H, W, 3), one to {n_frames} frames")
    video = torch.zeros(1, n_frames, 3, *masks.shape[1:3])
    video[0, : len(masks)] = torch.from_numpy(masks).movedim(-1, 1)
    return video


def __getattr__(name: str) -> Any:
    if name in ("KineMaskPipeline", "KineMaskWanPipeline"):
        return _pipelines()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _pipelines() -> dict[str, type[Any]]:
    import_torchvision()  # diffusers imports it if it is installed
    with MODELS.imports("diffusers"):
        from diffusers import CogVideoXImageToVideoPipeline, WanImageToVideoPipeline

    class WithMasks:
        """What both pipelines add to their stock one.

        image:          the first frame
        masks:          (F, H, W, 3) m/s of the first F frames, in the video's size; usually F = 1
        prompt:         what happens (KineMask 3.3), or `prompt_embeds` among the settings
        num_frames:     49 in KineMask (4.1)
        control_weight: 0.5 in training (KineMask A.2)
        settings:       the stock pipeline's own
        """

        _exclude_from_cpu_offload: ClassVar = ["control_net"]  # it runs in every step, just before the transformer

        def __call__(
            self: Any,
            image: Any,
            masks: np.ndarray,
            prompt: str | None = None,
            *,
            num_frames: int = 49,
            control_weight: float = 0.5,
            **settings: Any,
        ) -> Any:
            control = mask_video(masks, num_frames).to(self._execution_device)
            with controlled(self.transformer, self.control_net, control, control_weight):
                stock: Any = super()
                return stock.__call__(image=image, prompt=prompt, num_frames=num_frames, **settings)

    class KineMaskPipeline(WithMasks, CogVideoXImageToVideoPipeline):
        """CogVideoX's image-to-video pipeline with a CogVideoXControlNet beside its transformer."""

        def __init__(
            self, tokenizer: Any, text_encoder: Any, vae: Any, transformer: Any, scheduler: Any, control_net: Any
        ) -> None:
            super().__init__(tokenizer, text_encoder, vae, transformer, scheduler)
            self.register_modules(control_net=control_net)

    class KineMaskWanPipeline(WithMasks, WanImageToVideoPipeline):
        """Wan2.2-TI2V-5B's image-to-video pipeline with a WanControlNet beside its transformer."""

        def __init__(  # the stock one's parameters by name: diffusers compares them with what is registered
            self,
            tokenizer: Any,
            text_encoder: Any,
            vae: Any,
            scheduler: Any,
            control_net: Any,
            image_processor: Any = None,
            image_encoder: Any = None,
            transformer: Any = None,
            transformer_2: Any = None,
            boundary_ratio: float | None = None,
            expand_timesteps: bool = False,
        ) -> None:
            super().__init__(
                tokenizer,
                text_encoder,
                vae,
                scheduler,
                image_processor,
                image_encoder,
                transformer,
                transformer_2,
                boundary_ratio,
                expand_timesteps,
            )
            self.register_modules(control_net=control_net)

    return {"KineMaskPipeline": KineMaskPipeline, "KineMaskWanPipeline": KineMaskWanPipeline}
