"""TensorFlow Lite networks on the CPU, by LiteRT.

LiteRt(POSE_DETECTION)(x)  ->  {"Identity": (1, 2254, 12), "Identity_1": (1, 2254, 1)}
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.backends.packaged.copies import Copies
from tasks.backends.packaged.files import PackagedFile


class LiteRt:
    """A network with one input. Loads at the first call; may serve several threads."""

    def __init__(self, file: PackagedFile) -> None:
        self.file = file
        self._copies = Copies(self._load)

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """(1, H, W, C) float32 -> the outputs by name. Raises ServiceDown if the file is not to be had."""
        with self._copies.one() as interpreter:
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.ascontiguousarray(x, np.float32))
            interpreter.invoke()
            return {out["name"]: interpreter.get_tensor(out["index"]) for out in interpreter.get_output_details()}

    def _load(self) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        # One thread: rows already run in parallel, and a sum's order would depend on the number.
        interpreter = Interpreter(model_path=str(self.file.path()), num_threads=1)
        interpreter.allocate_tensors()
        return interpreter
