"""Shared by the PyTorch backends: device, precision, checkpoints, and models loaded once per process.

    weights = Checkpoint.of("weights/sam2.1_hiera_large.pt")    # or "facebook/sam2.1-hiera-large@main"
    weights.identity                                            -> "sam2.1_hiera_large.pt sha256:2647878d5dfa..."
    model = load_once("sam2", weights, device, build)           # build() runs once a process and device

Importing this module imports no torch.
"""

from __future__ import annotations

import gc
import hashlib
import os
import sys
import threading
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import Field

from schemas.config import StageConfig
from schemas.local_copies import file_sha256
from schemas.outcome import RowFailed, ServiceDown
from tasks.backends.extras import MODELS
from tasks.engine.progress import device_at_work

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

Precision = Literal["float32", "bfloat16"]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class TorchConfig(StageConfig):
    """Where networks run. Enters no key: each backend's identity holds what answers depend on."""

    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: the GPU if there is one; cpu, cuda, cuda:1"
    )
    threads: int = Field(1, ge=1, description="CPU threads of a forward pass; it may change the last bits of results")
    look_ahead: int = Field(
        2,
        ge=0,
        description="Rows that are decoded or written while another is in the network: more keep a GPU busy, and each "
        "holds a clip in main memory; 0: one row after the other",
    )


# --- Checkpoints -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Checkpoint:
    """Weights: a file, a folder that `save_pretrained` wrote, or a repository of the model hub."""

    path: Path | None
    hub_id: str | None = None
    revision: str = "main"

    @classmethod
    def of(cls, name: str) -> Checkpoint:
        """From a path, or a hub id with an optional @revision: "facebook/sam2.1-hiera-large@2b90b9f".

        A name is a path if it exists, starts with ".", "/" or "~", or ends like a weights file.
        Raises ServiceDown for a path that does not exist.
        """
        path = Path(name).expanduser()
        if path.exists():
            return cls(path=path)
        hub_id, _, revision = name.partition("@")
        looks_local = name.startswith((".", "/", "~")) or path.suffix in (".pt", ".pth", ".safetensors", ".bin")
        if looks_local or hub_id.count("/") != 1:
            raise ServiceDown(
                f"no checkpoint at {name}: download it there, or give a repository of the model hub as OWNER/NAME"
            )
        return cls(path=None, hub_id=hub_id, revision=revision or "main")

    @property
    def identity(self) -> str:
        """The model as rows record it: content for a path, OWNER/NAME@REVISION for the hub."""
        if self.path is None:
            return f"{self.hub_id}@{self.revision}"
        return f"{self.path.name} sha256:{_digest(self.path)[:16]}"

    def folder(self, files: Iterable[str]) -> Path:
        """The folder that holds the checkpoint: the local one, or the hub's cache with these files in it.

        The cache comes first: a branch that moves on the hub must not change a run half way.
        Raises whatever huggingface_hub raises; if the hub does not answer, within a minute or two.
        """
        if self.path is not None:
            return self.path
        with MODELS.imports():
            from huggingface_hub.errors import LocalEntryNotFoundError
        try:
            return self._from_hub(files, cached=True)
        except LocalEntryNotFoundError:
            return self._from_hub(files, cached=False)

    def _from_hub(self, files: Iterable[str], *, cached: bool) -> Path:
        from huggingface_hub import hf_hub_download

        assert self.hub_id is not None
        # File by file: listing a repository has no timeout and would hang if the hub does not answer.
        folder, revision = Path(), self.revision
        for file in files:
            path = Path(hf_hub_download(self.hub_id, file, revision=revision, local_files_only=cached))
            folder = path.parents[file.count("/")]
            revision = folder.name  # the commit: a branch may move during the download
        return folder


def _digest(path: Path) -> str:
    """SHA-256 over a file, or over a folder's files and their names."""
    if path.is_file():
        return file_sha256(path)
    whole = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        whole.update(f"{file.relative_to(path)} {file_sha256(file)}\n".encode())
    return whole.hexdigest()


@contextmanager
def loading(checkpoint: Checkpoint) -> Iterator[None]:
    """For reading weights: every error becomes ServiceDown, as it concerns all rows."""
    try:
        yield
    except ServiceDown:
        raise
    except Exception as error:
        told = " ".join(str(error).split())[:300]
        remedy = _remedy(error, checkpoint)
        raise ServiceDown(f"cannot load {checkpoint.identity}: {type(error).__name__}: {told}; {remedy}") from error


def _remedy(error: Exception, checkpoint: Checkpoint) -> str:
    """What to do about an error in loading."""
    names = {kind.__name__ for kind in type(error).__mro__}  # without importing the libraries
    if names & {"OutOfMemoryError", "MemoryError"} or "can't allocate memory" in str(error):
        return "it does not fit into memory: end what else uses it, take a smaller model, or set torch.device to cpu"
    if "RevisionNotFoundError" in names:
        return "the hub has no such commit or branch of it: is what follows the @ right?"
    if "GatedRepoError" in names:
        return "accept its licence on the hub's page of it, and export HF_TOKEN"
    if checkpoint.path is None:
        return "is the hub reachable and the name right? If not, download it and give its path"
    return "are these the weights of this architecture, and is the download complete?"


def check_weights(checkpoint: Checkpoint, *, missing: Collection[str], unexpected: Collection[str]) -> None:
    """Raises ServiceDown if weights of the network are missing or weights of the file are left over."""
    if missing or unexpected:
        raise ServiceDown(
            f"{checkpoint.identity} does not fit the architecture: {_some(missing)} missing, {_some(unexpected)} left "
            "over; are these the weights of this architecture?"
        )


def _some(names: Collection[str]) -> str:
    return f"{len(names)} ({', '.join(sorted(names)[:3])}, ...)" if names else "none"


# --- Models ----------------------------------------------------------------------------------

_loaded: dict[tuple[str, Hashable, str], Any] = {}
_load_lock = threading.Lock()


def load_once(kind: str, identity: Hashable, device: torch.device, build: Callable[[], T]) -> T:
    """The only model of this kind, identity and device in the process; the first call builds it.

    So a worker that runs many shards in one process (flows/engine/resident_worker.py) loads it once.
    """
    key = (kind, identity, str(device))
    with _load_lock:
        if key not in _loaded:
            _loaded[key] = build()
        return _loaded[key]


def release_others(kind: str, identity: Hashable, device: torch.device) -> None:
    """Take models of this kind with another identity out of the memory of this device. Nobody may be using them."""
    with _load_lock:
        others = [key for key in _loaded if key[0] == kind and key[1] != identity and key[2] == str(device)]
        for key in others:
            del _loaded[key]
    if others:
        gc.collect()  # networks refer to themselves
        if device.type == "cuda":
            import torch

            torch.cuda.empty_cache()


def loaded() -> list[str]:
    """The loaded models of this process, such as "sam2 on cuda"."""
    with _load_lock:
        return sorted(f"{kind} on {device}" for kind, _, device in _loaded)


def device_of(config: TorchConfig) -> torch.device:
    """The device to run on. Raises ServiceDown if the configured one is missing.

    Call it in every thread that computes: torch.set_num_threads affects only the calling thread and threads that have
    not used torch yet.
    """
    with MODELS.imports():
        import torch
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ServiceDown(
            f"no {name} here ({torch.cuda.device_count()} GPUs found): send this stage to a GPU worker "
            "(dispatch.routes), or set torch.device to auto or cpu"
        )
    if device.type == "cpu" and torch.get_num_threads() != config.threads:
        torch.set_num_threads(config.threads)
    return device


def memory_of(device: torch.device) -> int:
    """How many bytes it has, used or not."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


_on_the_gpu = threading.Lock()
SMALLER_INPUT = "Take shorter or smaller clips, a smaller batch or the offload options."


@contextmanager
def inference(device: torch.device, precision: Precision, out_of_memory: str = SMALLER_INPUT) -> Iterator[None]:
    """For forward passes: sets the precision, disables gradients, measures the time, and translates GPU errors.

    One at a time on a GPU: two would need twice its memory. Do in here only what needs the network: rows that are
    decoded, encoded or written meanwhile keep the device busy. out_of_memory: what to do if memory runs out.
    Raises RowFailed if memory runs out (other rows may fit), ServiceDown after any other GPU error: the process cannot
    use the GPU any more.
    """
    import torch

    try:
        with (
            _on_the_gpu if device.type == "cuda" else nullcontext(),
            device_at_work(),
            torch.inference_mode(),
            torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"),
        ):
            yield
            if device.type == "cuda":
                torch.cuda.synchronize(device)  # what still runs is this row's: its time, and its error
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise RowFailed(
            "gpu_out_of_memory",
            f"{str(error).splitlines()[0]} {out_of_memory}",
            retryable=True,
        ) from error
    except torch.AcceleratorError as error:
        raise ServiceDown(f"{device}: {str(error).splitlines()[0]}; restart this worker and retry the shard") from error


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """(..., 3, H, W) float in 0..1 -> normalised by ImageNet's mean and deviation, as in these networks' training."""
    mean, std = (pixels.new_tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (pixels - mean) / std


# --- Imports ---------------------------------------------------------------------------------


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """For loading: silence its warnings; missing and unused weights are checked there."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


_kept: list[Any] = []


@cache
def import_torchvision() -> None:
    """Import torchvision even if it was built for another torch. Call it before importing a library that imports it.

    In that case its compiled operators are missing, and its import fails when it describes nms to torch. Declaring the
    operators first lets the import succeed; this project never calls them.
    """
    with MODELS.imports():
        import torch
    try:
        with MODELS.imports():
            import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    else:
        return
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]  # half imported: it can then be imported again
    operators = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept.append(operators)  # the declarations live as long as this object
    import torchvision  # noqa: F401
