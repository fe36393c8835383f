"""The common part of both GroundingDINO libraries: everything but loading and the forward pass.

(480, 720) px  ->  (800, 1200) as in training, with ImageNet's mean and deviation  ->  boxes and token scores
to_pixels([[0.5, 0.5, 0.2, 0.4]], width=100, height=50)  ->  [[40, 15, 60, 35]]
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from schemas.grounding import Proposal
from schemas.instance import Instance
from schemas.outcome import RowFailed
from tasks.backends.grounding_dino import DinoConfig
from tasks.backends.grounding_dino.prompts import Caption, captions_of, phrase_of, token_columns
from tasks.backends.people import non_maximum_suppression
from tasks.backends.torch_runtime import TorchConfig, device_of, inference, load_once, normalise
from tasks.engine.progress import advance

if TYPE_CHECKING:
    import torch


# Per frame and class. Far above any J: it bounds the output of an untrained network or a threshold of 0.
MAX_BOXES = 100
MIN_SIDE_PX = 1.0  # a smaller box holds no pixel to verify


def to_pixels(boxes_cxcywh: np.ndarray, width: int, height: int) -> np.ndarray:
    """(N, 4) centre x, centre y, width, height in shares of the frame -> (N, 4) left, top, right, bottom in px,
    clipped to the frame."""
    boxes = np.asarray(boxes_cxcywh, np.float64)
    half = boxes[:, 2:] / 2
    corners = np.hstack([boxes[:, :2] - half, boxes[:, :2] + half])
    return np.clip(corners, 0, 1) * (width, height, width, height)


def proposals_of(frame: int, boxes: np.ndarray, scores: np.ndarray, min_score: float, max_iou: float) -> list[Proposal]:
    """One class's proposals on one frame, best first.

    boxes: (N, 4) px, left, top, right, bottom; scores: (N,) 0..1
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    good = (scores >= min_score) & (sides >= MIN_SIDE_PX).all(axis=1)
    boxes, scores = boxes[good], scores[good]
    return [
        Proposal(frame=frame, box_xyxy=tuple(boxes[i].tolist()), score=float(scores[i]))
        for i in non_maximum_suppression(boxes, scores, max_iou, MAX_BOXES)
    ]


def scaled_size(height: int, width: int, short_side: int, long_side: int) -> tuple[int, int]:
    """(height, width) with the shorter side scaled to `short_side`, or less if the longer would exceed `long_side`.

    (480, 720), 800, 1333 -> (800, 1200)
    """
    short, long = min(height, width), max(height, width)
    if long / short * short_side > long_side:
        short_side = max(round(long_side * short / long), 1)
    scaled_long = int(short_side * long / short)
    return (short_side, scaled_long) if height <= width else (scaled_long, short_side)


def feature_cells(height: int, width: int) -> int:
    """Number of cells of the network's four feature maps (strides 8 to 64) for an input of this size."""
    return sum(ceil(height / stride) * ceil(width / stride) for stride in (8, 16, 32, 64))


def network_input(frames: np.ndarray, size: tuple[int, int], device: torch.device) -> torch.Tensor:
    """(B, H, W, 3) uint8 RGB -> (B, 3, *size) float32 on the device.

    Antialiased bilinear, like Pillow's for the published weights, but without its rounding to whole grey levels.
    """
    import torch

    pixels = torch.from_numpy(frames.copy()).to(device).permute(0, 3, 1, 2).float() / 255
    return normalise(
        torch.nn.functional.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)
    )


@dataclass(frozen=True)
class Network:
    """A loaded GroundingDINO with its tokenizer.

    forward: (B, 3, H, W) float32 and a caption -> logits (B, Q, 256) of each box and token,
             boxes (B, Q, 4) centre x, centre y, width, height in shares of the frame
    """

    forward: Callable[[torch.Tensor, str], tuple[torch.Tensor, torch.Tensor]]
    tokenizer: Any
    n_queries: int
    lock: threading.Lock = field(default_factory=threading.Lock)  # networks and tokenizers are not thread-safe


class GroundingDino(ABC):
    """Proposes boxes for class names alone (`Detector`)."""

    def __init__(self, dino: DinoConfig, torch: TorchConfig, weights: dict[str, str]) -> None:
        """weights: the identity of what is loaded, backend and model first."""
        self.look_ahead = torch.look_ahead
        self.concurrency = 1 + torch.look_ahead  # one in the network; of others, the boxes found become proposals
        self.identity = {
            **weights,
            "precision": dino.precision,
            "box_threshold": str(dino.box_threshold),
            "nms_iou": str(dino.nms_iou),
            "frame_px": f"{dino.short_side_px}-{dino.long_side_px}",
        }
        self._dino, self._torch, self._weights = dino, torch, weights

    @abstractmethod
    def _load(self, device: torch.device) -> Network:
        """Raises ServiceDown if the weights cannot be loaded."""

    def propose(self, frames: np.ndarray, instances: list[Instance]) -> dict[str, list[Proposal]]:
        """frames (T, H, W, 3) uint8 RGB -> {instance_id: proposals over all frames}, best first within a frame.

        Instances of one class get the same boxes. All classes go into one pass.
        Raises RowFailed("bad_class_name"), RowFailed("frame_too_narrow"), RowFailed("not_finite"), and whatever
        loading and the GPU raise.
        """
        if not instances:
            return {}
        device = device_of(self._torch)
        network = load_once("grounding_dino", tuple(self._weights.items()), device, lambda: self._load(device))
        class_names = [instance.class_name for instance in instances]
        with network.lock:
            captions = captions_of(class_names, network.tokenizer)
            with inference(device, self._dino.precision):
                detected = list(self._detect(network, device, frames, captions))
        found: dict[str, list[Proposal]] = {phrase: [] for caption in captions for phrase in caption.spans}
        height, width = frames.shape[1:3]
        for frame, caption, boxes, scores in detected:
            boxes_px = to_pixels(boxes, width, height)
            for phrase, of_class in zip(caption.spans, scores.T, strict=True):
                found[phrase] += proposals_of(frame, boxes_px, of_class, self._dino.box_threshold, self._dino.nms_iou)
        return {instance.instance_id: list(found[phrase_of(instance.class_name)]) for instance in instances}

    def _detect(
        self, network: Network, device: torch.device, frames: np.ndarray, captions: list[Caption]
    ) -> Iterator[tuple[int, Caption, np.ndarray, np.ndarray]]:
        """For each frame and caption: boxes (Q, 4) cx cy w h in shares of the frame, scores (Q, classes)."""
        size = self._input_size(frames, network.n_queries)
        for first in range(0, len(frames), self._dino.batch_frames):
            pixels = network_input(frames[first : first + self._dino.batch_frames], size, device)
            for caption in captions:
                logits, boxes = network.forward(pixels, caption.text)
                scores = class_scores(logits, caption, network.tokenizer)
                for i, of_frame in enumerate(boxes.float().cpu().numpy()):
                    if not (np.isfinite(of_frame).all() and np.isfinite(scores[i]).all()):
                        remedy = "set dino.precision to float32; if it is, the weights are broken"
                        raise RowFailed("not_finite", f"boxes or scores are no numbers: {remedy}", retryable=True)
                    yield first + i, caption, of_frame, scores[i]
            advance(first + len(pixels), len(frames), "frames searched")

    def _input_size(self, frames: np.ndarray, n_queries: int) -> tuple[int, int]:
        height, width = frames.shape[1:3]
        size = scaled_size(height, width, self._dino.short_side_px, self._dino.long_side_px)
        if feature_cells(*size) < n_queries:
            # The network picks its queries from these cells and fails if there are fewer.
            raise RowFailed(
                "frame_too_narrow",
                f"{width}x{height} px, {size[1]}x{size[0]} as GroundingDINO sees it: fewer places than its boxes",
                retryable=False,
            )
        return size


def class_scores(logits: torch.Tensor, caption: Caption, tokenizer: Any) -> np.ndarray:
    """(B, Q, tokens) -> (B, Q, classes) float32 in 0..1: the best of each class's tokens.

    Computed from the logits: the libraries' own phrases merge classes whose tokens score alike.
    """
    import torch

    offsets = tokenizer(caption.text, return_offsets_mapping=True)["offset_mapping"]
    columns = [token_columns(offsets, span) for span in caption.spans.values()]
    best = torch.stack([logits[..., c].amax(dim=-1) for c in columns], dim=-1)
    return best.float().sigmoid().cpu().numpy()
