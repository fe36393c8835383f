"""Videos from a picture, its ID map and a prompt, by a trained MATRIX.

    pipeline = MatrixPipeline.from_pretrained("THUDM/CogVideoX-5b-I2V", torch_dtype=torch.bfloat16)
    pipeline.load_trained(run / "weights")
    colours = id_map([boy, ball])                                 tasks/media/id_map.py: (480, 720) bool each
    video = pipeline(image=picture, id_map=colours, prompt="A boy kicks a red ball.").frames[0]

Everything but the ID map is the stock image-to-video pipeline's. The paper publishes no guidance scale: the default is
the stock pipeline's, and the ID map is seen with and without the prompt, as the first frame is. CAG and CMG (D) need no
training and are no part of this. The class is built on first use: importing this module imports no torch.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.backends.extras import MODELS
from tasks.backends.torch_runtime import import_torchvision

if TYPE_CHECKING:
    import torch


def __getattr__(name: str) -> Any:
    if name == "MatrixPipeline":
        return _pipeline()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _pipeline() -> type[Any]:
    import_torchvision()  # diffusers imports it if it is installed
    with MODELS.imports("diffusers"):
        import torch
        from diffusers import CogVideoXImageToVideoPipeline

    class MatrixPipeline(CogVideoXImageToVideoPipeline):
        """CogVideoX's image-to-video pipeline whose transformer also takes the ID map's latents (MATRIX 5, C.1)."""

        _id_map: np.ndarray | None = None

        def load_trained(self, folder: Path) -> None:
            """Add a run's trained weights: the wider input projection and the LoRA. Raises ServiceDown."""
            from tasks.training.recipes.matrix.model import add_trained

            add_trained(self.transformer, folder)

        def __call__(self, image: Any, id_map: np.ndarray, prompt: str | None = None, **settings: Any) -> Any:
            """
            image:    the first frame
            id_map:   (H, W, 3) uint8 RGB of the first frame, in the video's size: `tasks.media.id_map.id_map`
            prompt:   names subject, verb and object; or `prompt_embeds` among the settings
            settings: the stock pipeline's own

            Raises ValueError if no trained weights are loaded, or for an ID map of another size.
            """
            taken, channels = self.transformer.config.in_channels, self.transformer.config.out_channels
            if taken != 3 * channels:
                raise ValueError(
                    f"the transformer takes {taken} channels, not noise, first frame and ID map of {channels} each: "
                    "load a run's weights with load_trained"
                )
            self._id_map = id_map
            try:
                return super().__call__(image=image, prompt=prompt, **settings)
            finally:
                self._id_map = None

        def prepare_latents(
            self, image: torch.Tensor, batch_size: int, num_channels_latents: int, *rest: Any
        ) -> tuple[torch.Tensor, torch.Tensor]:
            """The stock pipeline's noise and first frame; behind the first frame's channels come those of the ID map.

            num_channels_latents: half of the transformer's, which is wrong for three inputs
            """
            noise, first = super().prepare_latents(image, batch_size, self.transformer.config.out_channels, *rest)
            return noise, torch.cat([first, self._id_latents(image, first)], dim=2)

        def _id_latents(self, image: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
            """As first: (B, F, C, h, w), encoded as samples are: the mode, scaled as a first frame; then zeros."""
            assert self._id_map is not None, "__call__ gives it"
            if self._id_map.shape != (*image.shape[-2:], 3) or self._id_map.dtype != np.uint8:
                height, width = image.shape[-2:]
                raise ValueError(
                    f"an ID map of {self._id_map.shape} {self._id_map.dtype}; it is ({height}, {width}, 3) uint8, as "
                    "the video: resizing would mix its colours"
                )
            pixels = torch.from_numpy(self._id_map).to(image).movedim(-1, 0)[None, :, None] / 127.5 - 1
            latents = self.vae.encode(pixels.to(self.vae.dtype)).latent_dist.mode().to(first).transpose(1, 2)
            factor = self.vae_scaling_factor_image
            scaled = latents * (1 / factor if self.vae.config.invert_scale_latents else factor)
            whole = torch.zeros_like(first)
            whole[:, :1] = scaled
            return whole

    return MatrixPipeline
