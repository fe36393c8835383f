"""ONNX networks on the CPU, by OpenCV.

Onnx(lambda: build_graph(tensors, 260, 260))(x)  ->  [(1, 1408, 9, 9)]
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import cv2
import numpy as np


class Onnx:
    """A network with one input. Loads at the first call; each thread has a copy of its own."""

    def __init__(self, load: Callable[[], bytes]) -> None:
        self.load = load
        self._local = threading.local()

    def __call__(self, x: np.ndarray) -> list[np.ndarray]:
        """(N, C, H, W) float32 -> the outputs in the network's order."""
        if not hasattr(self._local, "net"):
            self._local.net = cv2.dnn.readNetFromONNX(np.frombuffer(self.load(), np.uint8))
            self._local.outputs = self._local.net.getUnconnectedOutLayersNames()
        self._local.net.setInput(np.ascontiguousarray(x, np.float32))
        return list(self._local.net.forward(self._local.outputs))
