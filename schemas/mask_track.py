"""A mask track: one instance's binary mask in every frame of its clip, as COCO run lengths.

    encode_mask(np.array([[0, 1], [0, 1]], bool))  ->  "22"     two background pixels, two of the object
    decode_mask("22", height=2, width=2)           ->  the same bits

Run lengths go down the columns, as COCO's do, so pycocotools reads the column as it stands:
`{"size": [height, width], "counts": counts}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pycocotools import mask as coco

from schemas.candidate import Box
from schemas.record import Record, column


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
        # One by one: given over 255 masks at once, pycocotools 2.0.11 overflows beside numpy 2.
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
    """(H, W) bool -> COCO compressed run lengths. Raises ValueError if it is not a boolean picture."""
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ValueError(f"a mask is (H, W) bool, got {mask.shape} {mask.dtype}")
    return coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode("ascii")


def decode_mask(counts: str, height: int, width: int) -> np.ndarray:
    """COCO compressed run lengths -> (H, W) bool."""
    return coco.decode(_rle(counts, height, width)).astype(bool)


def decode_masks(counts: Sequence[str], height: int, width: int) -> np.ndarray:
    """N run lengths -> (N, H, W) bool."""
    if not counts:
        return np.zeros((0, height, width), bool)
    stacked = coco.decode([_rle(c, height, width) for c in counts])
    return np.moveaxis(stacked, 2, 0).astype(bool)


def mask_iou(a: Sequence[str], b: Sequence[str], height: int, width: int) -> np.ndarray:
    """(N,) float: frame by frame IoU of two tracks; 1 where both are empty (they agree)."""
    scores = np.empty(len(a))
    for i, (ca, cb) in enumerate(zip(a, b, strict=True)):
        ra, rb = _rle(ca, height, width), _rle(cb, height, width)
        union = int(coco.area(coco.merge([ra, rb])))
        scores[i] = int(coco.area(coco.merge([ra, rb], intersect=True))) / union if union else 1.0
    return scores


def _rle(counts: str, height: int, width: int) -> dict:
    return {"size": [height, width], "counts": counts.encode("ascii")}
