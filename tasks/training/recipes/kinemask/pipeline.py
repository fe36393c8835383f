"""Videos from a picture, a prompt and velocity masks: CogVideoX's image-to-video pipeline with a trained ControlNet.

    net = CogVideoXControlNet.from_pretrained(run / "control_net", torch_dtype=torch.bfloat16)
    pipeline = KineMaskPipeline.from_pretrained("THUDM/CogVideoX-5b-I2V", control_net=net, torch_dtype=torch.bfloat16)
    video = pipeline(image=picture, masks=masks, prompt="A blue mug slides ...").frames[0]

The masks are those that `triptych condition` writes. The class is built on first use: importing this module imports no
torch.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.backends.extras import MODELS
from tasks.backends.torch_runtime import import_torchvision
from tasks.training.models.cogvideox.control import controlled

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
    if name == "KineMaskPipeline":
        return _pipeline()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _pipeline() -> type[Any]:
    import_torchvision()  # diffusers imports it if it is installed
    with MODELS.imports("diffusers"):
        from diffusers import CogVideoXImageToVideoPipeline

    class KineMaskPipeline(CogVideoXImageToVideoPipeline):
        """CogVideoXImageToVideoPipeline, and a ControlNet beside its transformer."""

        __qualname__ = "KineMaskPipeline"
        _exclude_from_cpu_offload = ("control_net",)  # it runs in every step, between the transformer's

        def __init__(
            self, tokenizer: Any, text_encoder: Any, vae: Any, transformer: Any, scheduler: Any, control_net: Any
        ) -> None:
            super().__init__(tokenizer, text_encoder, vae, transformer, scheduler)
            self.register_modules(control_net=control_net)

        def __call__(
            self,
            image: Any,
            masks: np.ndarray,
            prompt: str | None = None,
            *,
            num_frames: int = 49,
            control_weight: float = 0.5,
            **settings: Any,
        ) -> Any:
            """As CogVideoXImageToVideoPipeline, with velocity masks.

            image:          the first frame
            masks:          (F, H, W, 3) m/s of the first F frames, in the video's size; usually F = 1
            prompt:         what happens (KineMask 3.3), or `prompt_embeds` among the settings
            num_frames:     49 in KineMask (4.1)
            control_weight: 0.5 in training (KineMask A.2)
            """
            control = mask_video(masks, num_frames).to(self._execution_device)
            with controlled(self.transformer, self.control_net, control, control_weight):
                return super().__call__(image=image, prompt=prompt, num_frames=num_frames, **settings)

    return KineMaskPipeline
