"""What a run with networks in this process will download, keep in memory and take: told before it starts.

    for line in forecast([Use("reads captions", Checkpoint.of(LLM), 2)], device): log.info(line)

    reads captions: Qwen/Qwen3-4B-Instruct-2507@cdbee75f: 8.06 GB to download (told by the hub), memory about 8.84 GB
    to download: 8.06 GB in all, about 11 min at 100 Mbit/s, to /home/me/.cache/huggingface/hub
    memory of cuda: at most about 8.84 GB, computed; it has 12.9 GB
    a clip of 10 s with two instances takes about ...

Memory is computed: parameters times bytes, and what the network works with. Times are estimates.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tasks.backends.extras import MODELS
from tasks.backends.local_models import DINO, LLM, SAM2, VLM
from tasks.backends.local_models.files import cached_folder, hub_sizes
from tasks.backends.torch_runtime import Checkpoint
from tasks.engine.progress import duration


class Published(NamedTuple):
    """What is known of a model without asking the hub."""

    n_parameters: int  # of a network built from its settings
    n_bytes: int  # to download


PUBLISHED = {
    LLM: Published(4_022_468_096, 8_060_900_000),
    VLM: Published(2_127_532_032, 4_266_600_000),
    DINO: Published(172_249_090, 690_300_000),
    SAM2: Published(38_962_498, 155_900_000),
}

LINE_MBIT_S = 100
# Beside the weights: the keys and values of 3,000 tokens and the layers' work (language models); one frame at 800 px
# (GroundingDINO: 1.4 GB measured on a CPU), more of them with dino.batch_frames; a clip of 300 frames of 720p (SAM2).
WORK_BYTES = {"language_model": 0.8e9, "detector": 1.5e9, "tracker": 2.0e9}

# A clip of 10 s with 300 frames and two instances: 400 tokens of the LLM, 8 questions to the VLM (half of them about
# tracks), 8 frames searched, 316 frames tracked (16 of them again, as a check). On a CPU: single layers and single
# frames of networks of full size, measured with random weights on one thread of a server's CPU, multiplied. On a GPU:
# parameters and memory bandwidth; nobody has measured it.
CPU_S = {"language_model": 230.0, "detector": 140.0, "tracker": 1600.0}
GPU_S = {"language_model": 20.0, "detector": 5.0, "tracker": 15.0}


class Use(NamedTuple):
    """A network and what it is for."""

    purpose: str
    checkpoint: Checkpoint
    kind: str  # language_model, detector or tracker
    bytes_a_parameter: int
    files: tuple[str, ...] = ()  # empty: whatever a language model needs of its repository


class Found(NamedTuple):
    """Where a network's files are, and how large."""

    where: str
    n_missing: int  # bytes to download
    n_weights: int | None  # bytes in memory; None if not known


def forecast(uses: Sequence[Use], device: str, threads: int, n_bytes: int) -> Iterator[str]:
    """The lines. n_bytes: the memory of the device"""
    found = {use.checkpoint: find(use) for use in uses}
    for use in uses:
        place = found[use.checkpoint]
        yield f"{use.purpose}: {_short(use.checkpoint)}: {place.where}{_memory(use, place)}"
    missing = sum(place.n_missing for place in found.values())
    if missing:
        seconds = missing * 8 / (LINE_MBIT_S * 1e6)
        yield f"to download: {_gb(missing)} in all, about {duration(seconds)} at {LINE_MBIT_S} Mbit/s{_room(missing)}"
    yield _peak(uses, found, device, n_bytes)
    yield _times(uses, device, threads)


def find(use: Use) -> Found:
    """Look for a network's files on this machine, then ask the hub, then the table."""
    checkpoint, known = use.checkpoint, PUBLISHED.get(use.checkpoint.identity)
    weights = known.n_parameters * use.bytes_a_parameter if known else None
    if checkpoint.path is not None:
        return Found("a local path", 0, weights or _weights_in(checkpoint.path))
    # Offline, no answer or refused (requests' errors are OSErrors), or no name at all: loading says what to do.
    try:
        if folder := _cached(use):
            return Found("in the cache, nothing to download", 0, weights or _weights_in(folder))
        sizes = hub_sizes(checkpoint, use.files)
    except (OSError, ValueError) as error:
        if known is None:
            return Found(f"to download, of unknown size: the hub does not tell it ({type(error).__name__})", 0, None)
        size, source = known.n_bytes, "as declared; the hub does not tell"
    else:
        # What a download that was cut off has left is not fetched again.
        size, source = sum(sizes[file] for file in sizes if not _in_cache(checkpoint, file)), "told by the hub"
        weights = weights or sum(size for file, size in sizes.items() if file.endswith(".safetensors"))
    return Found(f"{_gb(size)} to download ({source})", size, weights)


def _cached(use: Use) -> Path | None:
    if not use.files:
        return cached_folder(use.checkpoint)
    paths = [_in_cache(use.checkpoint, file) for file in use.files]
    return paths[0].parent if paths[0] and all(paths) else None


def _in_cache(checkpoint: Checkpoint, file: str) -> Path | None:
    with MODELS.imports():
        from huggingface_hub import try_to_load_from_cache
    assert checkpoint.hub_id is not None
    path = try_to_load_from_cache(checkpoint.hub_id, file, revision=checkpoint.revision)
    return Path(path) if isinstance(path, str) else None


def _weights_in(path: Path) -> int:
    files = [path] if path.is_file() else list(path.glob("*.safetensors"))
    return sum(file.stat().st_size for file in files)


def _memory(use: Use, place: Found) -> str:
    if place.n_weights is None:
        return ""
    return f", memory about {_gb(place.n_weights + WORK_BYTES[use.kind])}"


def _peak(uses: Sequence[Use], found: dict[Checkpoint, Found], device: str, n_bytes: int) -> str:
    """Small networks stay in memory; of the language models there is one, and one network works."""
    sizes = {use.purpose: found[use.checkpoint].n_weights or 0 for use in uses}
    language = max((sizes[u.purpose] for u in uses if u.kind == "language_model"), default=0)
    others = sum(sizes[u.purpose] for u in uses if u.kind != "language_model")
    work = max(WORK_BYTES[use.kind] for use in uses)
    peak = language + others + work
    known = "" if all(found[use.checkpoint].n_weights for use in uses) else " and what is of unknown size"
    told = f"memory of {device}: at most about {_gb(peak)}{known}, computed; it has {_gb(n_bytes)}"
    return told if peak < n_bytes else f"{told}: name smaller models in --local.llm and --local.vlm, or another device"


def _times(uses: Sequence[Use], device: str, threads: int) -> str:
    seconds = sum((GPU_S if device.startswith("cuda") else CPU_S)[use.kind] for use in uses)
    told = f"a clip of 10 s with two instances takes about {duration(seconds)} on {device}"
    if device.startswith("cuda"):
        return f"{told} (estimated from the networks' sizes, not measured)"
    return (
        f"{told}, and more on older CPUs (estimated from single layers on {_threads(1)}; this run uses "
        f"{_threads(threads)}: --torch.threads). Without a GPU, this takes patience: try --limit 1 first"
    )


def _threads(n: int) -> str:
    return "1 thread" if n == 1 else f"{n} threads"


def _room(n_bytes: int) -> str:
    """What to do if the disk is too small for it."""
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = next(path for path in (Path(HF_HUB_CACHE), *Path(HF_HUB_CACHE).parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if free > n_bytes:
        return f", to {HF_HUB_CACHE}"
    return f"; but {folder} has only {_gb(free)} free: make room, or set HF_HOME to a folder on a larger disk"


def _short(checkpoint: Checkpoint) -> str:
    """OWNER/NAME@ the commit's first eight digits."""
    name, at, revision = checkpoint.identity.partition("@")
    return f"{name}{at}{revision[:8]}"


def _gb(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.3g} GB"
