"""Things: the mask of what stands out in a picture, and which of ImageNet's 1,000 classes a crop shows.

    Saliency()(rgb)                     (H, W) float32: how much each pixel stands out
    classifier = Classifier()
    classifier(crops)                   (N, 1000) float32: probabilities
    CLASSES[851]                        "television"

Sources: U2-Net (Qin et al., 2020), its small variant; EfficientNet-Lite2 (Tan and Le, 2019, without squeeze and
excitation) on ImageNet-1k. The weights come as PyTorch's file and are run as an ONNX graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from tasks.backends.packaged.efficientnet_lite import build_graph
from tasks.backends.packaged.files import EFFICIENTNET_LITE2, U2NETP
from tasks.backends.packaged.onnx import Onnx
from tasks.backends.packaged.pytorch_file import read_tensors
from tasks.backends.torch_runtime import IMAGENET_MEAN, IMAGENET_STD

CLASSES = tuple((Path(__file__).parent / "imagenet_classes.txt").read_text(encoding="utf-8").split("\n")[:-1])
SALIENCY_PX, CLASSIFIER_PX = 320, 260


class Saliency:
    """What stands out; about half a second a picture."""

    def __init__(self) -> None:
        self.identity = U2NETP.identity
        self._network = Onnx(lambda: U2NETP.path().read_bytes())

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        """rgb (H, W, 3) uint8 -> (H, W) float32, 0..1; the most salient pixel has 1."""
        small = cv2.resize(rgb, (SALIENCY_PX, SALIENCY_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
        x = (small / max(float(small.max()), 1e-6) - IMAGENET_MEAN) / IMAGENET_STD
        seen = self._network(x.transpose(2, 0, 1)[None])[0][0, 0]
        low, high = float(seen.min()), float(seen.max())
        seen = (seen - low) / max(high - low, 1e-6)
        return cv2.resize(seen, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR)


class Classifier:
    """ImageNet's classes; about 80 ms a crop."""

    def __init__(self) -> None:
        self.identity = EFFICIENTNET_LITE2.identity
        self._network = Onnx(lambda: build_graph(read_tensors(EFFICIENTNET_LITE2.path()), CLASSIFIER_PX))

    def __call__(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """N crops (h, w, 3) uint8 RGB, of any size, which are stretched to a square -> (N, 1000) float32, 0..1."""
        probabilities = np.empty((len(crops), len(CLASSES)), np.float32)
        for i, crop in enumerate(crops):
            size = (CLASSIFIER_PX, CLASSIFIER_PX)
            shrinks = min(crop.shape[:2]) > CLASSIFIER_PX
            square = cv2.resize(crop, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
            x = (square.astype(np.float32) - 127) / 128
            (probabilities[i],) = self._network(x.transpose(2, 0, 1)[None])[0]
        return probabilities
