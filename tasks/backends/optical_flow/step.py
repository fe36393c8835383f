"""From one frame to the next: the dense flow and the changed pixels.

    Step.between(view_3, view_4).carry(mask_3)  ->  the mask of frame 3 where the flow puts it in frame 4

All instances of a walk share a step.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tasks.backends.optical_flow.frames import View, difference

MIN_FLOW_SIDE_PX = 64  # DIS refuses pictures below 12 px; its pyramid needs more
CHANGED = 18  # 8-bit levels: a larger change between two frames is news
NO_MAP = np.empty(0, np.float32)  # cv2.convertMaps' second map: unused, the first holds both coordinates
MOVING_PX = 0.5  # px a frame: slower counts as standing still


def dense_flow(of: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """Grey pictures (h, w) -> (h, w, 2) float32, px: where each pixel of `of` lies in `towards`, as (dx, dy)."""
    height, width = of.shape
    pad = (0, max(0, MIN_FLOW_SIDE_PX - height), 0, max(0, MIN_FLOW_SIDE_PX - width))
    of, towards = (cv2.copyMakeBorder(grey, *pad, cv2.BORDER_REPLICATE) for grey in (of, towards))
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(
        of, towards, np.zeros((*of.shape, 2), np.float32)
    )
    return flow[:height, :width]


@dataclass
class Step:
    """The data of a step that do not depend on the instance."""

    previous: View
    view: View
    source: tuple[np.ndarray, np.ndarray]  # cv2.remap's fixed-point maps: where each pixel was in the previous view
    motion: np.ndarray  # (h, w, 2) float32: from there to here, px
    agrees: np.ndarray  # (h, w) bool: the pixel's source in the previous frame has its colour
    camera: np.ndarray  # (2,) float32: the frame's own motion from there to here, px
    news: np.ndarray  # (h, w) bool: changed, apart from the camera's motion

    @classmethod
    def between(cls, previous: View, view: View) -> Step:
        flow = dense_flow(view.grey, previous.grey)
        height, width = view.grey.shape
        grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
        camera = np.median(flow[::8, ::8].reshape(-1, 2), axis=0)
        source = cv2.convertMaps(grid + flow, NO_MAP, cv2.CV_16SC2)  # once, not at each remap
        followed = cv2.remap(previous.rgb, *source, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        shift = np.array([[1, 0, camera[0]], [0, 1, camera[1]]], np.float32)
        still = cv2.warpAffine(
            previous.rgb, shift, (width, height), flags=cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )
        return cls(
            previous,
            view,
            source,
            -flow,
            camera=-camera,
            agrees=difference(view.rgb, followed) < CHANGED,
            news=difference(view.rgb, still) > CHANGED,
        )

    def carry(self, mask: np.ndarray) -> np.ndarray:
        """A mask of the previous frame moved along the flow, (h, w) bool."""
        soft = cv2.remap(mask.astype(np.uint8) * 255, *self.source, cv2.INTER_LINEAR)
        return soft > 127

    def moving(self) -> np.ndarray:
        """(h, w) bool: pixels that move relative to the camera's motion, with a margin."""
        x, y = cv2.split(self.motion - self.camera)
        moving = cv2.magnitude(x, y) > MOVING_PX
        return cv2.dilate(moving.view(np.uint8), np.ones((17, 17), np.uint8)).view(bool)
