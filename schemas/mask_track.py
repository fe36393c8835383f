"""A mask track: one instance's binary mask in every frame of its clip, as COCO run lengths.

    encode_mask(np.array([[0, 1], [0, 1]], bool))  ->  "22"     two background pixels, two of the object
    decode_mask("22", height=2, width=2)           ->  the same bits

Run lengths go down the columns, as in COCO, so pycocotools reads the stored column directly:
`{"size": [height, width], "counts": counts}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pycocotools import mask as coco

from schemas.candidate import Box
from schemas.provenance import MadeBy
from schemas.record import Record, StageResult, column


class MaskTrack(Record):
    """One instance's masks, boxes and presence over all frames of a clip (MATRIX 3.2)."""

    schema_version: ClassVar[int] = 1

    instance_id: str = column("Whose track")
    height: int = column("Mask height", unit="px", ge=1)
    width: int = column("Mask width", unit="px", ge=1)
    anchor_frame: int = column("Frame the track was propagated from, both ways", ge=0)
    counts: list[str] = column("One a frame: COCO compressed run lengths")
    box_xyxy: list[Box | None] = column(
        "One a frame: tight box, right and bottom exclusive; null where absent", unit="px"
    )
    area: list[int] = column("One a frame: pixels of the mask", unit="px")
    present: list[bool] = column("One a frame: does the mask hold a pixel")

    @classmethod
    def of(cls, instance_id: str, counts: Sequence[str], *, height: int, width: int, anchor_frame: int) -> MaskTrack:
        """A track from its frames' run lengths; boxes, areas and presence are derived."""
        rles = [_rle(c, height, width) for c in counts]
        # One by one: with NumPy 2, pycocotools 2.0.11 overflows on more than 255 masks at once.
        areas = [int(coco.area(rle)) for rle in rles]
        boxes: list[Box | None] = []
        for rle, area in zip(rles, areas, strict=True):
            x, y, w, h = (float(v) for v in coco.toBbox(rle))
            boxes.append((x, y, x + w, y + h) if area else None)
        return cls(
            instance_id=instance_id,
            height=height,
            width=width,
            anchor_frame=anchor_frame,
            counts=list(counts),
            box_xyxy=boxes,
            area=areas,
            present=[a > 0 for a in areas],
        )

    def masks(self, frames: slice = slice(None)) -> np.ndarray:
        """(N, H, W) bool: the masks of the asked frames."""
        return decode_masks(self.counts[frames], self.height, self.width)


def encode_mask(mask: np.ndarray) -> str:
    """(H, W) bool -> COCO compressed run lengths. Raises ValueError unless mask is (H, W) bool."""
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ValueError(f"a mask is (H, W) bool, got {mask.shape} {mask.dtype}")
    return coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode("ascii")


def decode_mask(counts: str, height: int, width: int) -> np.ndarray:
    """COCO compressed run lengths -> (H, W) bool. Raises ValueError if they do not fit the size."""
    return decode_masks([counts], height, width)[0]


def decode_masks(counts: Sequence[str], height: int, width: int) -> np.ndarray:
    """N run lengths -> (N, H, W) bool, columns contiguous in memory, in the order of the runs.

    Raises ValueError if one does not fit the size.
    """
    # Not pycocotools' decode: it works pixel by pixel and takes five times as long.
    columns = np.empty((len(counts), width * height), bool)
    for mask, text in zip(columns, counts, strict=True):
        runs = run_lengths(text)
        if ((runs < 0) | (runs > mask.size)).any() or runs.sum() != mask.size:
            raise ValueError(f"run lengths {text[:40]!r} do not fit a {width}x{height} mask")
        mask[:] = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return columns.reshape(len(counts), width, height).swapaxes(1, 2)


def run_lengths(counts: str) -> np.ndarray:
    """COCO compressed run lengths -> (R,) int64 pixels: background, object, background, ...

    A number is written in groups of five bits, the lowest first, one character (48 + group) each. Bit 5 says that
    more groups follow; bit 4 of the last group is the sign. From the fourth number on, the
    difference from the number two before is written. Raises ValueError if the text does not end with a number.
    """
    groups = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48
    last = np.flatnonzero(groups < 32)
    if not last.size or last[-1] != groups.size - 1:
        raise ValueError(f"{counts[-40:]!r} does not end COCO run lengths")
    first = np.concatenate([[0], last[:-1] + 1])
    n_groups = last - first + 1
    place = np.arange(groups.size) - np.repeat(first, n_groups)
    runs = np.add.reduceat((groups & 31) << (5 * place), first)
    runs -= np.where(groups[last] & 16, 1 << (5 * n_groups), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def mask_iou(a: Sequence[str], b: Sequence[str], height: int, width: int) -> np.ndarray:
    """(N,) float: IoU of two tracks, frame by frame; 1 where both are empty."""
    scores = np.empty(len(a))
    for i, (ca, cb) in enumerate(zip(a, b, strict=True)):
        ra, rb = _rle(ca, height, width), _rle(cb, height, width)
        union = int(coco.area(coco.merge([ra, rb])))
        scores[i] = int(coco.area(coco.merge([ra, rb], intersect=True))) / union if union else 1.0
    return scores


def _rle(counts: str, height: int, width: int) -> dict:
    return {"size": [height, width], "counts": counts.encode("ascii")}


class Tracks(StageResult):
    """A clip's mask tracks."""

    stage_name: ClassVar[str] = "propagate_masks"

    tracks: list[MaskTrack] = column("One an anchor")
    made_by: list[MadeBy] = column("The propagator")
