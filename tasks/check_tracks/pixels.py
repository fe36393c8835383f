"""What the pictures say of a mask: does its outline lie on edges, does it move by itself, is it the same thing still.

    outline_support(picture, ball)      0.97   nearly all of the outline lies on edges of the picture
    outline_support(picture, hedge)     0.41   the leaves inside and outside are the same
    moves_alone(now, later, ball)       True   the ball's pixels went elsewhere than those around it
    likeness(colours(...), colours(...))  0.98   as many pixels of each colour as on the anchor's frame

Pictures are (h, w, 3) uint8 RGB of WORKING_SHORT_SIDE_PX, masks (h, w) bool of the same size.
"""

from __future__ import annotations

import cv2
import numpy as np

from tasks.backends.optical_flow.frames import dense_flow

WORKING_SHORT_SIDE_PX = 240
MIN_AREA_PX = 24  # a smaller mask has too few pixels to be judged
MIN_OUTLINED_AREA_PX = 150  # a smaller one is blurred: its outline is as wide as it
SHADES = 8  # bins of lightness
TINTS = 16  # bins of each of Lab's colour axes
EVEN_BRIGHTNESS = 96.0  # to which every picture is scaled: dark enough that white clothes are not cut off
ON_OUTLINE_PX = 1.5  # a pixel's middle lies at most this far from the outline
BESIDE_OUTLINE_PX = 3.0  # from there on the outline's own edge is no longer seen
MIN_STEP = 2.5  # levels a pixel: a weaker change is noise, or a gentle shade
PARALLELS_QUANTILE = 0.75
MIN_MOTION_PX = 1.0
MAX_RESIDUAL = 0.7  # of the residual under the surroundings' motion

# --- The outline -----------------------------------------------------------------------------


def outline_support(picture: np.ndarray, mask: np.ndarray) -> float | None:
    """0..1: the share of the outline on which the picture changes more than it does beside the outline.

    The change is that across the outline. It counts if it exceeds three quarters of the changes along parallels of the
    outline, a little further in and out: chance alone gives 0.25, texture that goes on beyond the mask not much
    more. None if the mask is too small, or has no outline inside the picture.
    """
    if mask.sum() < MIN_OUTLINED_AREA_PX:
        return None
    lab = cv2.cvtColor(cv2.GaussianBlur(picture, (3, 3), 0), cv2.COLOR_RGB2LAB).astype(np.float32)
    window = _around(mask, far := 3 + _reach(mask))
    inside, lab = mask[window], lab[window]
    depth = signed_depth(inside)
    change = _change_across(lab, depth)
    # At the picture's edge, and at that of the window, the outline is a cut and no edge.
    free = np.zeros_like(mask)
    free[2:-2, 2:-2] = True
    free = free[window]
    on = (np.abs(depth) <= ON_OUTLINE_PX) & free
    beside = (np.abs(depth) > BESIDE_OUTLINE_PX) & (np.abs(depth) <= far) & free
    if min(on.sum(), beside.sum()) < MIN_AREA_PX:
        return None
    needed = max(float(np.quantile(change[beside], PARALLELS_QUANTILE)), MIN_STEP)
    return float((change[on] > needed).mean())


def signed_depth(mask: np.ndarray) -> np.ndarray:
    """(h, w) bool -> (h, w) float32, px: how far a pixel's middle lies inside the outline; outside it is below 0."""
    within = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    without = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
    return np.where(mask, within - 0.5, 0.5 - without).astype(np.float32)


def _change_across(lab: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(h, w): levels a pixel by which Lab colours change in the direction of the outline's normal."""
    dx, dy = (cv2.Sobel(depth, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    length = np.hypot(dx, dy) + 1e-6
    lab_dx, lab_dy = (cv2.Sobel(lab, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    across = (lab_dx * dx[..., None] + lab_dy * dy[..., None]) / length[..., None]
    return np.sqrt((across**2).sum(axis=-1))


def _reach(mask: np.ndarray) -> int:
    """px: how far from the outline its surroundings reach, by the mask's size."""
    return int(np.clip(0.15 * np.sqrt(mask.sum()), 5, 12))


def _around(mask: np.ndarray, margin_px: int) -> tuple[slice, slice]:
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return (
        slice(max(y - margin_px, 0), y + height + margin_px),
        slice(max(x - margin_px, 0), x + width + margin_px),
    )


# --- Motion ----------------------------------------------------------------------------------


def moves_alone(now: np.ndarray, later: np.ndarray, mask: np.ndarray) -> bool:
    """Do the mask's pixels move otherwise than those around it, and is that what they look like a moment later?

    In flat areas any motion fits, so a difference of flows alone proves nothing: the pixels, moved as their
    surroundings move, must fit clearly worse than moved by themselves.
    """
    if mask.sum() < MIN_AREA_PX:
        return False
    before, after = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (now, later))
    flow, depth = dense_flow(before, after), signed_depth(mask)
    near = (depth < -BESIDE_OUTLINE_PX) & (depth > -2 * _reach(mask))
    if not near.any():
        return False
    own, around = (np.median(flow[region], axis=0) for region in (mask, near))
    if np.hypot(*(own - around)) < MIN_MOTION_PX:
        return False
    return _residual(before, after, mask, own) < MAX_RESIDUAL * _residual(before, after, mask, around)


def _residual(before: np.ndarray, after: np.ndarray, mask: np.ndarray, shift: np.ndarray) -> float:
    """Mean difference in levels between the mask's pixels and where they would be after the shift (dx, dy) in px."""
    y, x = np.nonzero(mask)
    there = cv2.remap(
        after,
        (x + shift[0]).astype(np.float32)[None],
        (y + shift[1]).astype(np.float32)[None],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )[0]
    return float(np.abs(there.astype(np.float32) - before[y, x]).mean())


# --- Colours ---------------------------------------------------------------------------------


def colours(picture: np.ndarray, mask: np.ndarray, brightness: float) -> np.ndarray:
    """(SHADES * TINTS * TINTS,) float: the share of the mask's pixels in each bin of Lab, blurred by one bin.

    brightness: the picture's, which is evened out: a lamp that is switched on changes little
    """
    even = np.clip(picture[mask] * (EVEN_BRIGHTNESS / max(brightness, 1.0)), 0, 255).astype(np.uint8)
    lab = cv2.cvtColor(even[None], cv2.COLOR_RGB2LAB)[0].astype(int)
    place = (lab[:, 0] * SHADES // 256 * TINTS + lab[:, 1] * TINTS // 256) * TINTS + lab[:, 2] * TINTS // 256
    cube = np.bincount(place, minlength=SHADES * TINTS * TINTS).astype(np.float64).reshape(SHADES, TINTS, TINTS)
    for axis in range(3):
        bins = np.arange(cube.shape[axis])
        below, above = (np.take(cube, near.clip(0, bins[-1]), axis) for near in (bins - 1, bins + 1))
        cube = 0.25 * below + 0.5 * cube + 0.25 * above
    return cube.ravel() / max(len(lab), 1)


def mean_brightness(picture: np.ndarray) -> float:
    """0..255: the mean of a picture's grey levels."""
    return float(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).mean())


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    """0..1: Bhattacharyya's coefficient of two sets of colours; 1 if they are the same, 0 if none is in both."""
    return float(np.sqrt(a * b).sum())
