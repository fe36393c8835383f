"""A base model: the parts of a stock pipeline, loaded one by one, whole and from safetensors only.

    base = BaseModel.of("THUDM/CogVideoX-5b-I2V")
    transformer = base.transformer(device, "bfloat16")                  frozen, in eval mode
    pipeline = base.pipeline(KineMaskPipeline, device, "bfloat16", transformer=transformer, control_net=net)
    pipeline(prompt_embeds=..., negative_prompt_embeds=base.empty_text(device, "bfloat16", 226), ...)

Pipelines have no text encoder: prompts of samples are encoded already. Only `transformer` may draw from torch's global
generator.
"""

from __future__ import annotations

import gc
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.backends.diffusers_videos.weights import pipeline_folder, quiet
from tasks.backends.extras import MODELS
from tasks.backends.torch_runtime import (
    Checkpoint,
    Precision,
    check_weights,
    import_torchvision,
    loading,
)

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class BaseModel:
    """A checkpoint of a diffusers pipeline. Every method raises ServiceDown if it cannot be loaded."""

    checkpoint: Checkpoint

    @classmethod
    def of(cls, name: str) -> BaseModel:
        """From a folder, or OWNER/NAME[@REVISION] of the model hub."""
        return cls(Checkpoint.of(name))

    @property
    def identity(self) -> str:
        return self.checkpoint.identity

    def transformer(self, device: torch.device, precision: Precision) -> Any:
        """The denoiser, frozen. Blocks run again in backward passes: their activations would not fit into memory."""
        return self._part("transformer", device, precision).requires_grad_(False).eval()

    def scheduler(self) -> Any:
        import_torchvision()
        from diffusers import DiffusionPipeline

        with loading(self.checkpoint), quiet():
            return DiffusionPipeline.from_pretrained(self._folder, **dict.fromkeys(self._networks, None)).scheduler

    def pipeline(self, kind: Any, device: torch.device, precision: Precision, **parts: Any) -> Any:
        """A pipeline of this class with these parts, its own VAE and no text encoder.

        Its scheduler is a new one: a training's must not be moved by it.
        """
        import torch

        with loading(self.checkpoint), quiet(), torch.random.fork_rng(devices=[]):
            made = kind.from_pretrained(
                self._folder,
                text_encoder=None,
                torch_dtype=getattr(torch, precision),
                local_files_only=True,
                use_safetensors=True,
                **parts,
            )
        made.vae.to(device)
        made.set_progress_bar_config(disable=True)
        return made

    def empty_text(self, device: torch.device, precision: Precision, n_tokens: int) -> torch.Tensor:
        """(1, n_tokens, D) on the CPU: what guidance leads away from. Its text encoder is loaded and dropped again."""
        import_torchvision()
        import torch
        from diffusers import DiffusionPipeline

        networks = [name for name in self._networks if name != "text_encoder"]
        with loading(self.checkpoint), quiet(), torch.random.fork_rng(devices=[]):
            made = DiffusionPipeline.from_pretrained(
                self._folder,
                torch_dtype=getattr(torch, precision),
                local_files_only=True,
                use_safetensors=True,
                **dict.fromkeys(networks, None),
            ).to(device)
        with torch.no_grad():
            embedding, _ = made.encode_prompt(
                "", do_classifier_free_guidance=False, max_sequence_length=n_tokens, device=device
            )
        embedding = embedding.cpu()
        del made
        gc.collect()
        return embedding

    # --- Files -------------------------------------------------------------------------------

    @cached_property
    def _folder(self) -> Path:
        return pipeline_folder(self.checkpoint)

    @cached_property
    def _networks(self) -> list[str]:
        """The parts of the pipeline that have weights."""
        return sorted(path.parent.name for path in self._folder.glob("*/config.json"))

    def _part(self, name: str, device: torch.device, precision: Precision) -> Any:
        import_torchvision()  # diffusers imports it if it is installed
        with MODELS.imports("diffusers"):
            import diffusers
            import torch
        with loading(self.checkpoint), quiet():
            config = json.loads((self._folder / name / "config.json").read_text())
            network, told = getattr(diffusers, config["_class_name"]).from_pretrained(
                self._folder,
                subfolder=name,
                torch_dtype=getattr(torch, precision),
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
            check_weights(self.checkpoint, missing=told["missing_keys"], unexpected=told["unexpected_keys"])
        if hasattr(network, "enable_gradient_checkpointing"):
            network.enable_gradient_checkpointing()
        return network.to(device)
