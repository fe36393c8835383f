"""Load a text-to-video pipeline, with LoRA weights and the schedule that is asked for.

load_pipeline(DiffusersConfig(), Checkpoint.of("weights/wan"), None, device)  ->  a diffusers.WanPipeline
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from schemas.outcome import ServiceDown
from tasks.backends.diffusers_models import load_parts, networks, quiet_diffusers
from tasks.backends.diffusers_videos import DiffusersConfig
from tasks.backends.extras import MODELS
from tasks.backends.torch_runtime import Checkpoint, import_torchvision, loading

if TYPE_CHECKING:
    import torch

LORA_FILE = "pytorch_lora_weights.safetensors"
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
    dtypes = {"default": getattr(torch, config.precision), "vae": getattr(torch, config.vae_precision)}
    pipeline = load_parts(checkpoint, dtypes)
    _check_call(pipeline, checkpoint)
    if lora is not None:
        with loading(lora), quiet_diffusers():
            _add_lora(pipeline, lora)
    if config.flow_shift is not None:
        _set_flow_shift(pipeline, config.flow_shift)
    pipeline.set_progress_bar_config(disable=True)
    if config.offload and device.type == "cuda":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.to(device)
    return pipeline


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
    n_loaded = sum("lora_" in name for _, network in networks(pipeline) for name, _ in network.named_parameters())
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
