"""Decoded frames into upright arrays of one size.

painter = Painter(probe(path), max_side=512)
painter.rgb(frame.picture)          # (H, W, 3) uint8 RGB, as players show it
"""

from __future__ import annotations

from typing import Literal

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from schemas.outcome import RowFailed
from tasks.media.container import UnreadableVideo
from tasks.media.decoding import VideoInfo

MAX_CLIP_BYTES = 6 * 2**30  # decoded: 41 s of 1080p at 25 frames/s; a worker holds one for each row at work


def too_large(frames: str, n_bytes: int) -> RowFailed:
    return RowFailed(
        "clip_too_large",
        f"{frames} are {n_bytes / 2**30:.1f} GiB decoded, the limit is {MAX_CLIP_BYTES / 2**30:.1f}; cut shorter clips "
        "(max_clip_s) or read smaller frames (max_side)",
        retryable=False,
    )


class Scaler:
    """Turns decoded pictures into (height, width, 3) uint8 arrays of one size."""

    def __init__(self, width: int, height: int, *, pixels: Literal["rgb24", "bgr24"], interpolation: str) -> None:
        self.width, self.height = width, height
        self._pixels, self._interpolation = pixels, interpolation
        self._reformatter = VideoReformatter()  # kept: it holds the tables of its last scaling

    def array(self, picture: av.VideoFrame) -> np.ndarray:
        """(height, width, 3) uint8, not rotated. Raises UnreadableVideo for a pixel format that cannot be converted."""
        try:
            return self._reformatter.reformat(
                picture, self.width, self.height, self._pixels, interpolation=self._interpolation, threads=1
            ).to_ndarray()
        except (av.FFmpegError, ValueError) as error:
            raise UnreadableVideo(f"a frame of format {picture.format.name} cannot be converted: {error}") from error


class Painter:
    """Upright RGB frames of a video, all of one size."""

    def __init__(self, info: VideoInfo, max_side: int | None, size: tuple[int, int] | None = None) -> None:
        """size: (width, height) in px as displayed, if it is not the video's own: that of stretched clips"""
        self.width, self.height = fit(*(size or (info.width, info.height)), max_side)
        self._orientation = info.orientation
        coded = (self.height, self.width) if info.orientation.transposed else (self.width, self.height)
        smaller = self.width < info.width or self.height < info.height
        self._scaler = Scaler(*coded, pixels="rgb24", interpolation="AREA" if smaller else "BICUBIC")

    @property
    def most(self) -> int:
        """How many frames do not exceed MAX_CLIP_BYTES."""
        return MAX_CLIP_BYTES // (self.height * self.width * 3)

    def require_room(self, n_frames: int) -> None:
        """Raises RowFailed for more frames than `most`."""
        if n_frames > self.most:
            raise RowFailed(
                "clip_too_large",
                f"a video of {self.width}x{self.height} has more than {self.most} frames, which are "
                f"{MAX_CLIP_BYTES / 2**30:.1f} GiB decoded",
                retryable=False,
            )

    def rgb(self, picture: av.VideoFrame) -> np.ndarray:
        """(H, W, 3) uint8."""
        return np.ascontiguousarray(self._orientation.upright(self._scaler.array(picture)))


def shrunk(rgb: np.ndarray, max_side: int | None) -> np.ndarray:
    """(H, W, 3) uint8 -> with the longer side at most max_side px; never larger than given.

    From the picture at its full size, so that it is the same whatever decoded it; pixels stay where they are.
    """
    height, width = rgb.shape[:2]
    size = fit(width, height, max_side)
    return rgb if size == (width, height) else cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)


def max_side_of(width: int, height: int, short_side: int) -> int:
    """The `max_side` in px that makes a picture's shorter side at most short_side."""
    return round(max(width, height) * min(1.0, short_side / min(width, height)))


def fit(width: int, height: int, max_side: int | None) -> tuple[int, int]:
    """(width, height) in px with the longer side at most max_side, in proportion; never larger than given."""
    longer = max(width, height)
    if max_side is None or longer <= max_side:
        return width, height
    return max(1, round(width * max_side / longer)), max(1, round(height * max_side / longer))
