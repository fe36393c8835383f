"""A clip's video with its velocity mask beside it, frame by frame.

draw_film(clip, objects, video, folder) ->
    clips/clip-81b2....mp4    RGB left, velocity mask right, each at most 480 px
    clips/clip-81b2....jpg    its first frame: what a model is given at inference
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from schemas.kinemask import ObjectRow, SceneClipRow
from schemas.mask_track import decode_mask
from schemas.outcome import RowFailed
from schemas.storage import AnyPath, write_atomic
from tasks.media.velocity_masks import V_MAX_MPS, velocity_masks_of, velocity_picture
from tasks.media.video import encode_video, iter_frames
from tasks.pages.colours import Colour
from tasks.pages.pictures import write_jpeg

MAX_SIDE_PX = 480  # longer side of either half
GAP_PX = 4
MASK_FRAMES = 8  # velocity masks that are held at a time: 4 MB a frame at 720x480
CRF = 20
OUTLINE: Colour = (120, 120, 120)  # of objects that are in no velocity mask


@dataclass(frozen=True)
class Film:
    """Where a clip's pictures lie, relative to the report."""

    video: str
    poster: str
    width: int  # px, both halves
    height: int


def draw_film(clip: SceneClipRow, objects: Sequence[ObjectRow], video: bytes, folder: AnyPath) -> Film:
    """Write the clip's film and poster. Raises RowFailed if the video cannot be decoded or has other frames."""
    rgb = decode(video, clip)
    frames = [side_by_side(left, right) for left, right in zip(rgb, mask_pictures(clip, objects), strict=True)]
    film = Film(f"clips/{clip.clip_id}.mp4", f"clips/{clip.clip_id}.jpg", frames[0].shape[1], frames[0].shape[0])
    write_atomic(folder / film.video, encode_video(frames, clip.fps, CRF))
    write_jpeg(folder / film.poster, frames[0])
    return film


def decode(video: bytes, clip: SceneClipRow) -> list[np.ndarray]:
    """The clip's frames, (H, W, 3) uint8 RGB, at most MAX_SIDE_PX."""
    frames = [frame for _, frame in iter_frames(video, max_side=MAX_SIDE_PX)]
    if len(frames) != clip.n_frames:
        raise RowFailed("frame_count", f"{len(frames)} frames instead of {clip.n_frames}", retryable=False)
    return frames


def mask_pictures(clip: SceneClipRow, objects: Sequence[ObjectRow]) -> Iterator[np.ndarray]:
    """The velocity mask of each frame, (H, W, 3) uint8 RGB in full size, the other objects outlined."""
    for first in range(0, clip.n_frames, MASK_FRAMES):
        masks = velocity_masks_of(objects, frames=slice(first, first + MASK_FRAMES))
        for frame, picture in enumerate(velocity_picture(masks, V_MAX_MPS), start=first):
            yield outlined(picture, [o for o in objects if not o.controlled], frame)


def outlined(picture: np.ndarray, objects: Sequence[ObjectRow], frame: int) -> np.ndarray:
    """The picture (H, W, 3) with the edges of what is seen of some objects in a frame."""
    for row in objects:
        if row.area[frame]:
            mask = decode_mask(row.counts[frame], row.height, row.width).astype(np.uint8)
            edges, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(picture, edges, -1, OUTLINE, 1, cv2.LINE_AA)
    return picture


def side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two pictures with a gap between them; the right one is scaled to the size of the left one."""
    height, width = left.shape[:2]
    right = cv2.resize(right, (width, height), interpolation=cv2.INTER_AREA)
    return np.hstack([left, np.zeros((height, GAP_PX, 3), np.uint8), right])
