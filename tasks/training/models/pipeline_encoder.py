"""What the encoders of all model families share: a diffusers pipeline without its denoiser.

class CogVideoXEncoder(PipelineEncoder): ...    cogvideox/encoding.py: latents scaled as its denoiser is trained on them

Only the autoencoder, the text encoder and its tokenizer are fetched and loaded. Texts are embedded by the pipeline's
own method, so they are what the pipeline makes of them. The autoencoders take a video in chunks of frames and carry
over what the next one needs, as diffusers does by default: memory hardly grows with the length, and the latents are the
stock ones. Tiling (`tiling`) bounds it by the size too, and gives other latents. CogVideoX's tokenizer needs
sentencepiece.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from schemas.outcome import RowFailed, RowRejected
from tasks.backends.diffusers_models import Loaded, load_parts, pipeline_folder, quiet_diffusers
from tasks.backends.extras import MODELS
from tasks.backends.torch_runtime import (
    Checkpoint,
    TorchConfig,
    device_of,
    import_torchvision,
    inference,
    load_once,
    loading,
)
from tasks.training.encoders import EncodedText, EncoderConfig

if TYPE_CHECKING:
    import torch

FRAMES_PER_LATENT = 4  # in all families; the first frame has a latent of its own
LIBRARIES = ("diffusers", "ftfy", "transformers")
OUT_OF_MEMORY = "Take smaller or shorter samples, or set encoder.tiling."


class PipelineEncoder(ABC):
    """What the families share (`Encoder`)."""

    pipelines: ClassVar[Sequence[str]]  # diffusers' classes of the family
    max_tokens: ClassVar[int]  # those of the pipeline
    pixels_per_token: int  # height and width that a token of the denoiser covers

    def __init__(self, config: EncoderConfig, torch: TorchConfig) -> None:
        self._config, self._torch = config, torch
        self._checkpoint = Checkpoint.of(config.model)
        self.identity: Mapping[str, str] = {
            "backend": config.family,
            "model": self._checkpoint.identity,
            **MODELS.pinned(*LIBRARIES),
            "precision": config.precision,
            "vae_precision": config.vae_precision,
            "tiling": str(config.tiling).lower(),
        }

    def encode_video(self, frames: np.ndarray) -> torch.Tensor:
        self.require_size(frames)
        return self._encode(frames, self.scale)

    def encode_image(self, picture: np.ndarray) -> torch.Tensor:
        self.require_size(picture[None])
        return self._encode(picture[None], self.scale_image)

    def encode_text(self, prompt: str) -> EncodedText:
        loaded, device = self._loaded()
        text = self.cleaned(prompt)
        with loaded.lock:
            # One more than fits shows that it does not.
            tokens = loaded.pipeline.tokenizer(
                text, truncation=True, max_length=self.max_tokens + 1, return_offsets_mapping=True
            )
            if len(tokens.input_ids) > self.max_tokens:
                cut_at = tokens.offset_mapping[self.max_tokens - 1][0]
                detail = f"more than {self.max_tokens} tokens; all after {text[:cut_at][-40:]!r} would be cut off"
                raise RowRejected("prompt_too_long", detail)
            with inference(device, "float32"):
                embedding = loaded.pipeline.encode_prompt(
                    prompt, do_classifier_free_guidance=False, max_sequence_length=self.max_tokens
                )[0][0].cpu()
        places = original_places(prompt, text)
        offsets = (_without_space(text, start, end) for start, end in tokens.offset_mapping)
        return EncodedText(embedding, tuple(_in_original(places, start, end) for start, end in offsets))

    # --- What differs ---

    @abstractmethod
    def scale(self, latents: torch.Tensor, vae: Any) -> torch.Tensor:
        """(1, C, F, h, w), as the autoencoder makes them -> as the denoiser is trained on them, without the batch."""

    @abstractmethod
    def scale_image(self, latents: torch.Tensor, vae: Any) -> torch.Tensor:
        """The same for the picture that a video begins with."""

    def cleaned(self, prompt: str) -> str:
        """The text that the pipeline gives to its tokenizer."""
        return prompt

    # --- Shared ---

    def require_size(self, frames: np.ndarray) -> None:
        """Raises RowFailed for frames that the networks cannot take as they are."""
        n_frames, height, width = frames.shape[:3]
        if (n_frames - 1) % FRAMES_PER_LATENT or height % self.pixels_per_token or width % self.pixels_per_token:
            raise RowFailed(
                "size_not_encodable",
                f"{n_frames} frames of {width}x{height}: {self._config.family} takes {FRAMES_PER_LATENT}k + 1 frames, "
                f"height and width divisible by {self.pixels_per_token}",
                retryable=False,
            )

    def _encode(self, frames: np.ndarray, scale: Any) -> torch.Tensor:
        import torch

        loaded, device = self._loaded()
        vae = loaded.pipeline.vae
        # Divided before it is doubled, as diffusers does: the last bit depends on it.
        pixels = 2.0 * (torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 255.0) - 1.0
        with loaded.lock, inference(device, "float32", OUT_OF_MEMORY):
            made = vae.encode(pixels.to(device, vae.dtype)).latent_dist.mode()
            latents: torch.Tensor = scale(made, vae).cpu().contiguous()
        if not latents.isfinite().all():
            remedy = "set encoder.vae_precision to float32; if it is, the weights are broken"
            raise RowFailed("not_finite", f"latents are no numbers: {remedy}", retryable=False)
        return latents

    def _loaded(self) -> tuple[Loaded, torch.device]:
        device = device_of(self._torch)
        key = tuple(self.identity.items())
        return load_once("encoders", key, device, lambda: self._load(device)), device

    def _load(self, device: torch.device) -> Loaded:
        import_torchvision()  # transformers and diffusers import it if it is installed
        with MODELS.imports(*LIBRARIES):
            import torch
            from transformers import AutoTokenizer
        dtypes = {
            "default": getattr(torch, self._config.precision), "vae": getattr(torch, self._config.vae_precision)
        }  # fmt: skip
        with loading(self._checkpoint), quiet_diffusers():
            # The fast one, whatever the index names: only it tells which characters a token is.
            folder = pipeline_folder(self._checkpoint, ("vae", "text_encoder", "tokenizer")) / "tokenizer"
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, use_fast=True)
            if not tokenizer.is_fast:
                raise ValueError("the tokenizer has no fast form")
        pipeline = load_parts(self._checkpoint, dtypes, ("vae", "text_encoder"))
        pipeline.register_modules(tokenizer=tokenizer)
        with loading(self._checkpoint):
            if type(pipeline).__name__ not in self.pipelines:
                raise ValueError(f"it is a {type(pipeline).__name__}, no {self._config.family} (encoder.family)")
            factor = pipeline.vae_scale_factor_spatial
            if 2 * factor != self.pixels_per_token:  # a token is 2 x 2 latents
                raise ValueError(f"its latents are {factor} times smaller than pictures (encoder.family)")
        if self._config.tiling:
            pipeline.vae.enable_tiling()
        pipeline.to(device)
        return Loaded(pipeline)


# --- Tokens and characters -------------------------------------------------------------------


def original_places(original: str, cleaned: str) -> list[tuple[int, int]]:
    """Where each character of a cleaned text comes from in the original, start, end.

    original_places("a &amp;  b", "a & b") -> [(0, 1), (1, 2), (2, 7), (8, 9), (9, 10)]
    A character that stands for several has them all, and what was dropped behind it, but for white space.
    """
    if original == cleaned:
        return [(i, i + 1) for i in range(len(original))]
    places: list[tuple[int, int]] = []
    for kind, start, end, first, last in SequenceMatcher(None, original, cleaned, autojunk=False).get_opcodes():
        shown = original[start:end]
        if kind != "equal" and shown.strip():
            start, end = start + len(shown) - len(shown.lstrip()), start + len(shown.rstrip())
        if kind == "equal":
            places += [(i, i + 1) for i in range(start, end)]
        elif kind == "delete":
            if places and shown.strip():
                places[-1] = places[-1][0], end
        else:
            places += [(start, end)] * (last - first)
    return places


def _without_space(text: str, start: int, end: int) -> tuple[int, int]:
    """A token's characters without white space around them: "▁ball" is " ball" in the text."""
    shown = text[start:end]
    return start + len(shown) - len(shown.lstrip()), max(end - len(shown) + len(shown.rstrip()), start)


def _in_original(places: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    if start >= end:  # no character: </s>, or space alone
        at = places[start][0] if start < len(places) else 0
        return at, at
    return places[start][0], places[end - 1][1]
