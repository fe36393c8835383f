"""Load a text-to-video pipeline: complete, from safetensors only, or not at all.

load_pipeline(DiffusersConfig(), Checkpoint.of("weights/wan"), None, device)  ->  a diffusers.WanPipeline
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from schemas.outcome import ServiceDown
from tasks.backends.diffusers_videos import DiffusersConfig
from tasks.backends.extras import MODELS
from tasks.backends.torch_runtime import Checkpoint, check_weights, import_torchvision, loading, quiet_transformers

if TYPE_CHECKING:
    import torch

INDEX = "model_index.json"
LORA_FILE = "pytorch_lora_weights.safetensors"
HUB_TIMEOUT_S = 10
# The arguments that generate() passes to the pipeline.
ARGUMENTS = {
    *("prompt", "negative_prompt", "num_frames", "height", "width"),
    *("num_inference_steps", "guidance_scale", "generator", "output_type"),
}


def libraries(lora: Checkpoint | None) -> tuple[str, ...]:
    """The packages whose versions change pixels; ftfy cleans the prompt before it is tokenised."""
    return ("diffusers", "ftfy", "transformers", *(["peft"] if lora else []))


def load_pipeline(
    config: DiffusersConfig, checkpoint: Checkpoint, lora: Checkpoint | None, device: torch.device
) -> Any:
    """A diffusers text-to-video pipeline. Raises ServiceDown, with what to do, if it cannot be loaded."""
    import_torchvision()  # transformers and diffusers import it if it is installed
    with MODELS.imports(*libraries(lora)):
        import torch
        from diffusers import DiffusionPipeline
    dtypes = {"default": getattr(torch, config.precision), "vae": getattr(torch, config.vae_precision)}
    with loading(checkpoint), quiet():
        folder = pipeline_folder(checkpoint)
        # Safetensors only: other formats are pickles, which execute code.
        pipeline = DiffusionPipeline.from_pretrained(
            folder, torch_dtype=dtypes, local_files_only=True, use_safetensors=True
        )
        _check_call(pipeline, checkpoint)
        _check_whole(pipeline, folder, checkpoint)
    if lora is not None:
        with loading(lora), quiet():
            _add_lora(pipeline, lora)
    if config.flow_shift is not None:
        _set_flow_shift(pipeline, config.flow_shift)
    pipeline.set_progress_bar_config(disable=True)
    if config.offload and device.type == "cuda":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.to(device)
    return pipeline


# --- Files -----------------------------------------------------------------------------------


def pipeline_folder(checkpoint: Checkpoint) -> Path:
    """The local folder, or the hub's cache with the whole pipeline in it.

    Raises whatever huggingface_hub raises; if the hub does not answer, within a minute or two.
    """
    if checkpoint.path is not None:
        return checkpoint.path
    index = checkpoint.folder([INDEX])
    at_commit = replace(checkpoint, revision=index.name)  # a branch may move during the download
    parts = json.loads((index / INDEX).read_text(encoding="utf-8"))
    return at_commit.folder([INDEX, *(file for file in _hub_files(at_commit) if _is_wanted(file, parts))])


def _hub_files(checkpoint: Checkpoint) -> list[str]:
    """The names of a repository's files; none if the hub does not answer: loading reports what the cache lacks."""
    from huggingface_hub import HfApi

    assert checkpoint.hub_id is not None
    try:
        told = HfApi().model_info(checkpoint.hub_id, revision=checkpoint.revision, timeout=HUB_TIMEOUT_S)
    except OSError:  # offline, no answer or refused: requests' errors are OSErrors
        return []
    return [file.rfilename for file in told.siblings or []]


def _is_wanted(file: str, parts: dict[str, Any]) -> bool:
    """Is it a settings, vocabulary or weights file of one of the pipeline's parts?

    Other variants (model.fp16.safetensors) and formats in the repository are not.
    """
    path = PurePosixPath(file)
    if len(path.parts) != 2 or path.parts[0] not in parts:
        return False
    if path.suffix == ".safetensors":
        return len(path.suffixes) == 1
    return path.suffix in (".json", ".txt", ".model")


# --- Checks ----------------------------------------------------------------------------------


def _check_call(pipeline: Any, checkpoint: Checkpoint) -> None:
    parameters = inspect.signature(type(pipeline).__call__).parameters
    lacking = ARGUMENTS - set(parameters)
    needed = {name for name, p in parameters.items() if p.default is p.empty} - ARGUMENTS - {"self"}
    if lacking or needed:
        raise ServiceDown(
            f"{checkpoint.identity} is a {type(pipeline).__name__}, which needs more than a prompt or makes no "
            "video; set diffusers.model to a text-to-video pipeline"
        )


def _check_whole(pipeline: Any, folder: Path, checkpoint: Checkpoint) -> None:
    """Raises ServiceDown unless every weight was stored: diffusers would silently make up the others."""
    for name, network in _networks(pipeline):
        stored = _stored_weights(folder / name)
        places: dict[int, list[str]] = {}  # a shared weight is stored under only one of its names
        for place, weight in network.named_parameters(remove_duplicate=False):
            places.setdefault(id(weight), []).append(place)
        missing = [f"{name}.{names[0]}" for names in places.values() if stored.isdisjoint(names)]
        check_weights(checkpoint, missing=missing, unexpected=())


def _networks(pipeline: Any) -> Iterator[tuple[str, torch.nn.Module]]:
    import torch

    for name, part in pipeline.components.items():
        if isinstance(part, torch.nn.Module):
            yield name, part


def _stored_weights(folder: Path) -> set[str]:
    from safetensors import safe_open

    names: set[str] = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as weights:
            names.update(weights.keys())
    return names


# --- LoRA and scheduler ----------------------------------------------------------------------


def _add_lora(pipeline: Any, lora: Checkpoint) -> None:
    """Load LoRA weights without merging them: in bfloat16 the sum would lose most of the small change."""
    if not hasattr(pipeline, "load_lora_weights"):
        raise ServiceDown(f"a {type(pipeline).__name__} takes no LoRA weights; set diffusers.lora to null")
    is_file = lora.path is not None and lora.path.is_file()
    file = lora.folder([]) if is_file else lora.folder([LORA_FILE]) / LORA_FILE
    where = {"weight_name": file.name, "local_files_only": True, "use_safetensors": True}
    n_stored = len(pipeline.lora_state_dict(str(file.parent), **where))
    pipeline.load_lora_weights(str(file.parent), **where)
    n_loaded = sum("lora_" in name for _, network in _networks(pipeline) for name, _ in network.named_parameters())
    if n_loaded != n_stored:
        raise ServiceDown(
            f"{lora.identity}: only {n_loaded} of its {n_stored} weights fit this {type(pipeline).__name__}; "
            "were they trained on this model, and are they named as in diffusers or Wan?"
        )


def _set_flow_shift(pipeline: Any, flow_shift: float) -> None:
    scheduler = pipeline.scheduler
    for name in ("flow_shift", "shift"):
        if name in scheduler.config:
            pipeline.scheduler = type(scheduler).from_config(scheduler.config, **{name: flow_shift})
            return
    raise ServiceDown(f"the model's {type(scheduler).__name__} has no shift; set diffusers.flow_shift to null")


@contextmanager
def quiet() -> Iterator[None]:
    """For loading: silence its warnings. Missing or unused weights are checked there, errors are raised."""
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with quiet_transformers():
            yield
    finally:
        logging.enable_progress_bar()
        logging.set_verbosity(before)
