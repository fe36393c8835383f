"""Models as diffusers stores them: loaded complete, from safetensors only, or not at all.

load_parts(Checkpoint.of("weights/wan"), {"default": torch.float32})              a whole WanPipeline
load_parts(Checkpoint.of("OWNER/NAME"), {...}, parts={"vae"}).vae                 its vae; nothing else is fetched
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from tasks.backends.torch_runtime import Checkpoint, check_weights, loading, quiet_transformers

if TYPE_CHECKING:
    import torch

INDEX = "model_index.json"
HUB_TIMEOUT_S = 10


@dataclass(frozen=True)
class Loaded:
    """A pipeline, ready on its device."""

    pipeline: Any
    lock: threading.Lock = field(default_factory=threading.Lock)  # its networks and scheduler keep the state of one row


def load_parts(checkpoint: Checkpoint, dtypes: Mapping[str, torch.dtype], parts: Collection[str] | None = None) -> Any:
    """A diffusers pipeline of the class that its index names.

    dtypes: of its networks by name, and "default"
    parts:  which are loaded, None for all; the others are None, as are parts that the pipeline does not have
    Raises ServiceDown, with what to do, if they cannot be loaded or a weight is missing.
    """
    from diffusers import DiffusionPipeline

    with loading(checkpoint), quiet_diffusers():
        folder = pipeline_folder(checkpoint, parts)
        absent = {} if parts is None else dict.fromkeys(set(_parts(folder)) - set(parts))
        # Safetensors only: other formats are pickles, which execute code.
        pipeline = DiffusionPipeline.from_pretrained(
            folder, torch_dtype=dict(dtypes), local_files_only=True, use_safetensors=True, **absent
        )
        _check_whole(pipeline, folder, checkpoint)
    return pipeline


# --- Files -----------------------------------------------------------------------------------


def pipeline_folder(checkpoint: Checkpoint, parts: Collection[str] | None = None) -> Path:
    """The local folder, or the hub's cache with the pipeline's parts in it, None for all.

    Raises whatever huggingface_hub raises; if the hub does not answer, within a minute or two.
    """
    if checkpoint.path is not None:
        return checkpoint.path
    index = checkpoint.folder([INDEX])
    at_commit = replace(checkpoint, revision=index.name)  # a branch may move during the download
    wanted = set(_parts(index)) if parts is None else parts
    return at_commit.folder([INDEX, *(file for file in _hub_files(at_commit) if _is_wanted(file, wanted))])


def _parts(folder: Path) -> list[str]:
    """The names of a pipeline's networks and other parts; its settings are no parts."""
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    return [name for name, value in index.items() if isinstance(value, list)]


def _hub_files(checkpoint: Checkpoint) -> list[str]:
    """The names of a repository's files; none if the hub does not answer: loading reports what the cache lacks."""
    from huggingface_hub import HfApi

    assert checkpoint.hub_id is not None
    try:
        told = HfApi().model_info(checkpoint.hub_id, revision=checkpoint.revision, timeout=HUB_TIMEOUT_S)
    except OSError:  # offline, no answer or refused: requests' errors are OSErrors
        return []
    return [file.rfilename for file in told.siblings or []]


def _is_wanted(file: str, parts: Collection[str]) -> bool:
    """Is it a settings, vocabulary or weights file of one of the parts?

    Other variants (model.fp16.safetensors) and formats in the repository are not.
    """
    path = PurePosixPath(file)
    if len(path.parts) != 2 or path.parts[0] not in parts:
        return False
    if path.suffix == ".safetensors":
        return len(path.suffixes) == 1
    return path.suffix in (".json", ".txt", ".model")


# --- Checks ----------------------------------------------------------------------------------


def networks(pipeline: Any) -> Iterator[tuple[str, torch.nn.Module]]:
    """The pipeline's networks with their names."""
    import torch

    for name, part in pipeline.components.items():
        if isinstance(part, torch.nn.Module):
            yield name, part


def _check_whole(pipeline: Any, folder: Path, checkpoint: Checkpoint) -> None:
    """Raises ServiceDown unless every weight was stored: diffusers would silently make up the others."""
    for name, network in networks(pipeline):
        stored = _stored_weights(folder / name)
        places: dict[int, list[str]] = {}  # a shared weight is stored under only one of its names
        for place, weight in network.named_parameters(remove_duplicate=False):
            places.setdefault(id(weight), []).append(place)
        missing = [f"{name}.{names[0]}" for names in places.values() if stored.isdisjoint(names)]
        check_weights(checkpoint, missing=missing, unexpected=())


def _stored_weights(folder: Path) -> set[str]:
    from safetensors import safe_open

    names: set[str] = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as weights:
            names.update(weights.keys())
    return names


@contextmanager
def quiet_diffusers() -> Iterator[None]:
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
