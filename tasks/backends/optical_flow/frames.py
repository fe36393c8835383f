"""A clip's frames scaled down for propagation, its masks scaled back, and the flow from one frame to the next.

    ScaledClip(frames).view(3)          frame 3, 1280x720  ->  854x480, with its colours indexed
    ScaledClip(frames).full_size(rle)   a mask of 854x480  ->  1280x720
    Step(view_3, view_4).carry(mask_3)  ->  the mask of frame 3 where the flow puts it in frame 4

Views are made one by one: all together would take ten times the memory of the frames. All instances of a walk share a
step.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from schemas.mask_track import decode_mask, encode_mask
from tasks.backends.optical_flow.colour import bins_of, colour_histogram
from tasks.media.footage import Frames, size_of
from tasks.media.pictures import fit, max_side_of, shrunk

SHORT_SIDE_PX = 360
"""Frames with a longer short side are scaled to this; masks are returned at the clip's own size."""
MIN_FLOW_SIDE_PX = 64  # DIS refuses pictures below 12 px; its pyramid needs more
CHANGED = 18  # 8-bit levels: a larger change between two frames is news
NO_MAP = np.empty(0, np.float32)  # cv2.convertMaps' second map: unused, the first holds both coordinates
INSIDE = 254  # 8-bit: a pixel half inside is 127, and rounding makes no two masks more than half
MOVING_PX = 0.5  # px a frame: slower counts as standing still


class ScaledView:
    """One frame at the working scale, with the data that all instances share."""

    def __init__(self, rgb: np.ndarray) -> None:
        self.rgb = rgb  # (h, w, 3) uint8
        self.smooth = smoothed(rgb)  # the same, smoothed against pixel noise
        self.grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)  # (h, w) uint8
        self.colours = bins_of(rgb)  # (h, w) int32: each pixel's Lab histogram bin
        self.histogram = colour_histogram(self.colours)  # (N_COLOURS,) pixel counts


class ScaledClip:
    """A clip's frames, scaled one by one to the working size, and its masks scaled back."""

    def __init__(self, frames: Frames, size: tuple[int, int] | None = None) -> None:
        """size: (height, width) of the clip, in whose pixels boxes and masks are; None: the frames' own"""
        self._frames = frames
        self.n_frames, given = len(frames), size_of(frames)
        self.full_height, self.full_width = size or given
        height, width = given
        self._max_side_px = max_side_of(width, height, SHORT_SIDE_PX)
        self.width, self.height = fit(width, height, self._max_side_px)

    def view(self, t: int) -> ScaledView:
        return ScaledView(self.picture(t))

    def picture(self, t: int) -> np.ndarray:
        """Frame t, (h, w, 3) uint8."""
        return shrunk(np.ascontiguousarray(self._frames[t]), self._max_side_px)

    def scale_box(self, box: Iterable[float]) -> tuple[int, int, int, int]:
        """A box of the full-size frame at the working scale, clipped to it, at least one pixel wide and high."""
        x0, y0, x1, y1 = box
        sx, sy = self.width / self.full_width, self.height / self.full_height
        left = int(np.clip(np.floor(x0 * sx), 0, self.width - 1))
        top = int(np.clip(np.floor(y0 * sy), 0, self.height - 1))
        right = int(np.clip(np.ceil(x1 * sx), left + 1, self.width))
        bottom = int(np.clip(np.ceil(y1 * sy), top + 1, self.height))
        return left, top, right, bottom

    def full_size(self, counts: str) -> str:
        """A mask's run lengths at the working scale -> at the clip's own size."""
        if (self.height, self.width) == (self.full_height, self.full_width):
            return counts
        # Turned, as run lengths go down the columns: the encoder need not copy.
        columns = decode_mask(counts, self.height, self.width).T.astype(np.uint8) * INSIDE
        # Linear: pixels stay where they are, and disjoint masks stay disjoint, as their weights add up to at most one.
        grown = cv2.resize(columns, (self.full_height, self.full_width), interpolation=cv2.INTER_LINEAR)
        return encode_mask((grown > INSIDE // 2).T)


def smoothed(rgb: np.ndarray) -> np.ndarray:
    """A picture smoothed against pixel noise."""
    return cv2.blur(rgb, (3, 3))


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(h, w) uint8: the largest difference of a channel."""
    red, green, blue = cv2.split(cv2.absdiff(a, b))  # far faster than a maximum over the last axis
    return cv2.max(cv2.max(red, green), blue)


def dense_flow(of: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """Grey pictures (h, w) -> (h, w, 2) float32, px: where each pixel of `of` lies in `towards`, as (dx, dy)."""
    height, width = of.shape
    pad = (0, max(0, MIN_FLOW_SIDE_PX - height), 0, max(0, MIN_FLOW_SIDE_PX - width))
    of, towards = (cv2.copyMakeBorder(grey, *pad, cv2.BORDER_REPLICATE) for grey in (of, towards))
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(
        of, towards, np.zeros((*of.shape, 2), np.float32)
    )
    return flow[:height, :width]


class Step:
    """The data of a step that do not depend on the instance."""

    def __init__(self, previous: ScaledView, view: ScaledView) -> None:
        self.previous, self.view = previous, view
        flow = dense_flow(view.grey, previous.grey)
        height, width = view.grey.shape
        grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
        camera = np.median(flow[::8, ::8].reshape(-1, 2), axis=0)
        # cv2.remap's fixed-point maps, made once, not at each remap: where each pixel was in the previous view
        self.source = cv2.convertMaps(grid + flow, NO_MAP, cv2.CV_16SC2)
        followed = cv2.remap(previous.rgb, *self.source, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        shift = np.array([[1, 0, camera[0]], [0, 1, camera[1]]], np.float32)
        still = cv2.warpAffine(
            previous.rgb, shift, (width, height), flags=cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )
        self.motion = -flow  # (h, w, 2) float32: from there to here, px
        self.camera = -camera  # (2,) float32: the frame's own motion from there to here, px
        self.agrees = difference(view.rgb, followed) < CHANGED  # (h, w) bool: its source has the pixel's colour
        self.news = difference(view.rgb, still) > CHANGED  # (h, w) bool: changed, apart from the camera's motion

    def carry(self, mask: np.ndarray) -> np.ndarray:
        """A mask of the previous frame moved along the flow, (h, w) bool."""
        soft = cv2.remap(mask.astype(np.uint8) * 255, *self.source, cv2.INTER_LINEAR)
        return soft > 127

    def moving(self) -> np.ndarray:
        """(h, w) bool: pixels that move relative to the camera's motion, with a margin."""
        x, y = cv2.split(self.motion - self.camera)
        moving = cv2.magnitude(x, y) > MOVING_PX
        return cv2.dilate(moving.view(np.uint8), np.ones((17, 17), np.uint8)).view(bool)
