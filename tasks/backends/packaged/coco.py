"""Boxes of COCO's 80 classes by NanoDet, whose weights come inside a package of npm: an option.

detect = CocoDetector()
detect(rgb)  ->  [Detection(class_name="dog", score=0.57, box_xyxy=(262.0, 189.1, 356.4, 266.0)), ...]

Source: NanoDet (RangiLyu, 2020), trained on COCO 2017, 416 x 416 px; about 120 ms a picture.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from schemas.candidate import Box
from tasks.backends.packaged.files import NANODET_TOPOLOGY, NANODET_WEIGHTS
from tasks.backends.packaged.onnx import Onnx
from tasks.backends.packaged.tfjs import convert
from tasks.backends.people import non_maximum_suppression

SIZE_PX, STRIDES_PX = 416, (8, 16, 32)
BGR_MEAN, BGR_STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)  # NanoDet's training
N_BINS = 11  # of the distribution over a side's distance, in strides
MIN_SCORE, SAME_BOX_IOU, MAX_OF_CLASS = 0.3, 0.5, 20

CLASSES = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light"),
    *("fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow"),
    *("elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee"),
    *("skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard"),
    *("tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
    *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch"),
    *("potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone"),
    *("microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear"),
    *("hair drier", "toothbrush"),
)


class Detection(NamedTuple):
    """A thing of a class that the network knows."""

    class_name: str
    score: float  # 0..1
    box_xyxy: Box  # px of the picture


class CocoDetector:
    """Loads at the first call. One object may serve several threads."""

    def __init__(self) -> None:
        self.identity = NANODET_WEIGHTS.identity
        self._network = Onnx(lambda: convert(NANODET_TOPOLOGY.path().read_bytes(), NANODET_WEIGHTS.path().read_bytes()))

    def __call__(self, rgb: np.ndarray) -> list[Detection]:
        """rgb (H, W, 3) uint8 -> things, best first; at most MAX_OF_CLASS of a class."""
        height, width = rgb.shape[:2]
        scale = SIZE_PX / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        canvas = np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8)
        canvas[: size[1], : size[0]] = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        x = (canvas[..., ::-1].astype(np.float32) - BGR_MEAN) / BGR_STD
        outputs = sorted(self._network(x.transpose(2, 0, 1)[None]), key=lambda out: -out.shape[1])
        scores = np.concatenate([out[0] for out in outputs if out.shape[2] == len(CLASSES)])
        sides = [out[0] for out in outputs if out.shape[2] != len(CLASSES)]
        boxes = np.concatenate([_boxes(raw, stride) for raw, stride in zip(sides, STRIDES_PX, strict=True)])
        boxes = np.clip(boxes * ((width / size[0], height / size[1]) * 2), 0, (width, height) * 2)
        found = []
        for label in np.flatnonzero(scores.max(axis=0) > MIN_SCORE):
            sure = np.flatnonzero(scores[:, label] > MIN_SCORE)
            best = non_maximum_suppression(boxes[sure], scores[sure, label], SAME_BOX_IOU, MAX_OF_CLASS)
            found += [
                Detection(CLASSES[label], float(scores[i, label]), tuple(float(v) for v in boxes[i]))  # type: ignore[arg-type]
                for i in sure[best]
            ]
        return sorted(found, key=lambda d: (-d.score, d.box_xyxy))


def _boxes(raw: np.ndarray, stride_px: int) -> np.ndarray:
    """(N, 4 * N_BINS) distributions over the distances of a cell's centre to the four sides -> (N, 4) boxes, px."""
    shares = raw.reshape(-1, 4, N_BINS)
    shares = np.exp(shares - shares.max(axis=2, keepdims=True))
    distances = (shares / shares.sum(axis=2, keepdims=True)) @ np.arange(N_BINS) * stride_px
    y, x = np.divmod(np.arange(len(raw)), SIZE_PX // stride_px)
    centres = (np.stack([x, y], axis=1) + 0.5) * stride_px
    return np.hstack([centres - distances[:, :2], centres + distances[:, 2:]])
