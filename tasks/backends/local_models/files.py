"""The files of a language model on the hub: which of a repository are needed, and which are in the cache.

    local_folder(Checkpoint.of("Qwen/Qwen3-4B-Instruct-2507"))   -> .../snapshots/cdbee75f..., downloaded if need be
    hub_sizes(checkpoint)     -> {"config.json": 727, "model-00001-of-00003.safetensors": 3957900840, ...}

The weights come last, so that a folder with all of them has the rest.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from schemas.outcome import ServiceDown
from tasks.backends.extras import MODELS
from tasks.backends.torch_runtime import Checkpoint

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
HUB_TIMEOUT_S = 10
SUFFIXES = (".json", ".jinja", ".txt", ".model")  # settings, templates, vocabularies


def local_folder(checkpoint: Checkpoint) -> Path:
    """The local folder, or the hub's cache with the whole model in it.

    The cache comes first: a hub that does not answer stops nobody who has the files.
    Raises ServiceDown if the hub does not answer, and whatever else huggingface_hub raises.
    """
    if checkpoint.path is not None:
        return checkpoint.path
    if cached := cached_folder(checkpoint):
        return cached
    try:
        sizes = hub_sizes(checkpoint)
    except OSError as error:  # requests' errors are OSErrors
        if getattr(error, "response", None) is not None:
            raise  # it answers, and refuses
        raise ServiceDown(
            f"cannot load {checkpoint.identity}: the model hub does not answer ({type(error).__name__}), and it is not "
            "whole in the cache; run again when the hub can be reached, or download it and give its path"
        ) from error
    config = checkpoint.folder([CONFIG])
    # A branch may move during the download: the rest is that of the same commit.
    return replace(checkpoint, revision=config.name).folder(in_order(sizes))


def cached_folder(checkpoint: Checkpoint) -> Path | None:
    """The hub's cache with the whole model in it; None if something is missing."""
    with MODELS.imports():
        from huggingface_hub import try_to_load_from_cache
    assert checkpoint.hub_id is not None
    config = try_to_load_from_cache(checkpoint.hub_id, CONFIG, revision=checkpoint.revision)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    index = folder / INDEX
    shards = set(json.loads(index.read_text())["weight_map"].values()) if index.exists() else {WEIGHTS}
    return folder if all((folder / shard).exists() for shard in shards) else None


def hub_sizes(checkpoint: Checkpoint, files: Collection[str] = ()) -> dict[str, int]:
    """{file: bytes} of these files of a repository; if none is named, of what a language model needs.

    Raises whatever huggingface_hub raises.
    """
    with MODELS.imports():
        from huggingface_hub import HfApi
    assert checkpoint.hub_id is not None
    told = HfApi().model_info(
        checkpoint.hub_id, revision=checkpoint.revision, timeout=HUB_TIMEOUT_S, files_metadata=True
    )
    sizes = {file.rfilename: file.size or 0 for file in told.siblings or []}
    return {file: size for file, size in sizes.items() if (file in files if files else is_needed(file))}


def is_needed(file: str) -> bool:
    """Is it a settings, template or vocabulary file, or safetensors weights, at the top of the repository?"""
    is_weights = file == WEIGHTS or (file.startswith("model-") and file.endswith(".safetensors"))
    return "/" not in file and (is_weights or file.endswith(SUFFIXES))


def in_order(files: Iterable[str]) -> list[str]:
    """Weights last; the index before them would say that something is missing: it comes with the small files."""
    return sorted(files, key=lambda file: (file.endswith(".safetensors"), file))
