"""Frames -> GroundingDINO's input as in training: shorter side 800 px, ImageNet's mean and deviation."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from tasks.backends.torch_runtime import normalise

if TYPE_CHECKING:
    import torch


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
