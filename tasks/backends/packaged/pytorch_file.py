"""A state dict in PyTorch's file format of before 1.6, read without PyTorch and without running what is pickled.

read_tensors(path)  ->  {"_conv_stem.weight": (32, 3, 3, 3) float32, ...}

The file: pickles of a magic number, the protocol, the system, the dict and the storages' keys; then for each storage
its length and its bytes. Each tensor in the dict is a view of a storage.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _View(NamedTuple):
    storage: tuple[Any, ...]  # "storage", its type, its key, device, length, None
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in numbers, not bytes; kernels that come from TensorFlow are transposed views

    def of(self, numbers: np.ndarray) -> np.ndarray:
        steps = [n * numbers.itemsize for n in self.strides]
        seen = np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, steps, writeable=False)
        return np.ascontiguousarray(seen).reshape(self.shape)


class _Reader(pickle.Unpickler):
    """Knows the three names that a state dict needs."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: _View(storage, offset, shape, strides)
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a state dict")

    def persistent_load(self, pid: tuple[Any, ...]) -> tuple[Any, ...]:
        return pid


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The state dict of a file. Raises ValueError if it is none in this format."""
    with path.open("rb") as file:
        magic, _, _, views, keys = (_Reader(file).load() for _ in range(5))
        if magic != MAGIC:
            raise ValueError(f"{path} is no file of PyTorch before 1.6")
        dtypes = {view.storage[2]: view.storage[1] for view in views.values()}
        storages = {key: _read_storage(file, dtypes[key]) for key in keys}
    return {name: view.of(storages[view.storage[2]]) for name, view in views.items()}


def _read_storage(file: BinaryIO, dtype: np.dtype[Any]) -> np.ndarray:
    n = int.from_bytes(file.read(8), "little")
    return np.frombuffer(file.read(n * dtype.itemsize), dtype)
