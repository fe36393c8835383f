"""Small valid records for tests; keyword arguments change what a test is about."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from schemas.clip import Clip
from schemas.instance import Instance
from schemas.mask_track import MaskTrack, encode_mask
from schemas.record import Rational
from schemas.source import Source

HEIGHT, WIDTH = 60, 80


def make_source(caption: str | None = "A boy kicks a ball.", **changes: Any) -> Source:
    values = {"line": 1, "video": "v.mp4", "video_sha256": "ab" * 32, "n_bytes": 10, "caption": caption} | changes
    return Source(source_id=Source.id_of(values["video_sha256"], caption, None, None), **values)


def make_clip(source: Source | None = None, index: int = 0, n_frames: int = 24, **changes: Any) -> Clip:
    source = source or make_source()
    start, end = Fraction(index * n_frames, 24), Fraction((index + 1) * n_frames, 24)
    values: dict[str, Any] = {
        "clip_id": Clip.id_of(source.source_id, start, end),
        "source_id": source.source_id,
        "video": source.video,
        "video_sha256": source.video_sha256,
        "shot_index": index,
        "n_shots": index + 1,
        "start": Rational.of(start),
        "end": Rational.of(end),
        "start_s": float(start),
        "end_s": float(end),
        "clock_offset_s": 0.0,
        "n_clock_jumps": 0,
        "stream_index": 0,
        "orientation": 1,
        "n_frames": n_frames,
        "fps": Rational.of(24),
        "width": WIDTH,
        "height": HEIGHT,
        "sample_aspect": Rational.of(1),
        "stretched": False,
        "transfer": "bt709",
        "field_order": "progressive",
        "caption": source.caption,
        "caption_shared": False,
    }
    return Clip(**values | changes)


def make_instance(instance_id: str, class_name: str = "ball", **changes: Any) -> Instance:
    values = {
        "noun": f"a red {class_name}",
        "appearance": f"The {class_name} is red.",
        "spatial": "Not stated.",
        "living": class_name in ("boy", "man", "dog"),
    }
    return Instance(instance_id=instance_id, class_name=class_name, **values | changes)


def box_mask(box: tuple[int, int, int, int] | None) -> np.ndarray:
    """(HEIGHT, WIDTH) bool with the box (left, top, right, bottom) filled; None: empty."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    if box is not None:
        mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def make_track(instance_id: str, boxes: list[tuple[int, int, int, int] | None], anchor_frame: int = 0) -> MaskTrack:
    counts = [encode_mask(box_mask(box)) for box in boxes]
    return MaskTrack.of(instance_id, counts, height=HEIGHT, width=WIDTH, anchor_frame=anchor_frame)
