"""Things: which of ImageNet's 1,000 classes a crop shows, and what is where in a picture.

    classifier()(crops)                 (N, 1000) float32: probabilities
    CLASSES[851]                        "television"

Source: EfficientNet-Lite2 (Tan and Le, 2019, without squeeze and excitation) on ImageNet-1k. The weights come as
PyTorch's file and are run as an ONNX graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from tasks.backends.packaged.efficientnet_lite import build_graph
from tasks.backends.packaged.files import EFFICIENTNET_LITE2
from tasks.backends.packaged.onnx import Onnx
from tasks.backends.packaged.pytorch_file import read_tensors

CLASSES = tuple((Path(__file__).parent / "imagenet_classes.txt").read_text(encoding="utf-8").split("\n")[:-1])
CLASSIFIER_PX = 260
STRIDE_PX = 32  # of the classifier's features


class Classifier:
    """ImageNet's classes; about 80 ms a crop."""

    def __init__(self) -> None:
        self.identity = EFFICIENTNET_LITE2.identity
        self._tensors = cache(lambda: read_tensors(EFFICIENTNET_LITE2.path()))
        self._networks: dict[tuple[int, int], Onnx] = {}

    def __call__(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """N crops (h, w, 3) uint8 RGB, of any size, which are stretched to a square -> (N, 1000) float32, 0..1."""
        features = [self._features(crop, CLASSIFIER_PX, CLASSIFIER_PX).mean(axis=(1, 2)) for crop in crops]
        return _softmax(self._scores(np.reshape(features, (len(crops), -1))))

    def places(self, rgb: np.ndarray, long_side_px: int) -> np.ndarray:
        """rgb (H, W, 3) uint8 -> (h, w, 1000) float32, 0..1: what is at each place of a grid over the picture.

        A place sees its surroundings, too: the grid is coarse, a place for every 32 px of a picture of that size.
        """
        scale = long_side_px / max(rgb.shape[:2])
        height, width = (max(round(side * scale / STRIDE_PX), 1) * STRIDE_PX for side in rgb.shape[:2])
        features = self._features(rgb, height, width)
        return _softmax(self._scores(features.transpose(1, 2, 0)))

    def _features(self, rgb: np.ndarray, height: int, width: int) -> np.ndarray:
        """(n_features, h, w) of a picture that is stretched to a size."""
        shrinks = min(rgb.shape[0] / height, rgb.shape[1] / width) > 1
        fitted = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        x = (fitted.astype(np.float32) - 127) / 128
        network = self._networks.setdefault((height, width), Onnx(lambda: build_graph(self._tensors(), height, width)))
        return network(x.transpose(2, 0, 1)[None])[0][0]

    def _scores(self, features: np.ndarray) -> np.ndarray:
        tensors = self._tensors()
        return features @ tensors["_fc.weight"].T + tensors["_fc.bias"]


@cache
def classifier() -> Classifier:
    """The one of this process: detector and verifier, of every stage and shard, share what it has loaded."""
    return Classifier()


def _softmax(scores: np.ndarray) -> np.ndarray:
    """(..., n) -> (..., n) float32 that sum to 1."""
    grown = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (grown / grown.sum(axis=-1, keepdims=True)).astype(np.float32)
