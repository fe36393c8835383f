"""ONNX networks on the CPU, by OpenCV.

Onnx(lambda: build_graph(tensors, 260, 260))(x)  ->  [(1, 1408, 9, 9)]
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from tasks.backends.packaged.copies import Copies


class Onnx:
    """A network with one input. Loads at the first call; may serve several threads."""

    def __init__(self, load: Callable[[], bytes]) -> None:
        self._copies = Copies(lambda: cv2.dnn.readNetFromONNX(np.frombuffer(load(), np.uint8)))

    def __call__(self, x: np.ndarray) -> list[np.ndarray]:
        """(N, C, H, W) float32 -> the outputs in the network's order."""
        with self._copies.one() as network:
            network.setInput(np.ascontiguousarray(x, np.float32))
            return list(network.forward(network.getUnconnectedOutLayersNames()))
