"""The base model of a training: which one exactly, and its parts.

base_identity("Wan-AI/Wan2.1-T2V-1.3B-Diffusers")      "Wan-AI/Wan2.1-T2V-1.3B-Diffusers@0fad780a534b..."
base = load_base("weights/cogvideox", "bfloat16")
base.transformer, base.scheduler                       on the CPU; base.vae is None
load_base("weights/cogvideox", "bfloat16", None)       the whole pipeline, to make videos
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tasks.backends.diffusers_models import INDEX, load_parts
from tasks.backends.extras import MODELS
from tasks.backends.torch_runtime import Checkpoint, Precision, import_torchvision, loading

LIBRARIES = ("diffusers", "transformers")


def base_identity(model: str) -> str:
    """A folder with its digest, or OWNER/NAME@commit: a branch is asked for the commit that it names now.

    What is trained is loaded by this name for a repository. Raises ServiceDown.
    """
    checkpoint = Checkpoint.of(model)
    if checkpoint.path is not None:
        return checkpoint.identity
    with loading(checkpoint):
        return f"{checkpoint.hub_id}@{checkpoint.folder([INDEX]).name}"


def load_base(
    model: str,
    precision: Precision,
    parts: Collection[str] | None = ("transformer", "scheduler"),
    vae_precision: Precision = "float32",
) -> Any:
    """Its diffusers pipeline with these parts, None for all; the others are None.

    model: a folder, or OWNER/NAME[@REVISION] of the model hub
    Raises ServiceDown, with what to do, if they cannot be loaded or a weight is missing.
    """
    import_torchvision()  # transformers and diffusers import it if it is installed
    with MODELS.imports(*LIBRARIES):
        import torch
    dtypes = {"default": getattr(torch, precision), "vae": getattr(torch, vae_precision)}
    pipeline = load_parts(Checkpoint.of(model), dtypes, parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
