"""a picture's object masks + a user's arrows -> the velocity masks that a trained model is given (KineMask 3.3).

a mug's mask, an arrow to the right, 1.2 m/s -> (1.2, 0, 0) m/s in the mug's pixels of frame 0, else zero
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import cv2
import numpy as np

from schemas.provenance import MadeBy
from schemas.record import Record, column
from schemas.scene import DIGITS, Camera, Vector
from tasks.media.velocity_masks import velocity_picture

logger = logging.getLogger(__name__)

Point = tuple[float, float]

N_FRAMES = 49  # generated at inference (KineMask, 4.1)
SPEEDS_MPS = (0.5, 1.5)  # initial speeds of the training data (KineMask, A.2)
ARROW_RGB = (255, 255, 255)


class UnusableInput(ValueError):
    """What a user gave cannot be conditioned on; the message says what is wrong with it."""


class PushedObject(Record):
    """An object of a picture that a user sets in motion."""

    name: str = column("What it is: 'blue mug'")
    arrow_start_px: Point = column("Where its arrow starts: x, y", unit="px")
    arrow_end_px: Point = column("Where its arrow ends: x, y", unit="px")
    velocity: Vector = column("Velocity in the first frame, world axes", unit="m/s")
    area: int = column("Pixels of its mask", unit="px", ge=1)


class Conditioning(Record):
    """What a model is given beside the picture, and where it comes from; the masks lie in a file of their own."""

    image_sha256: str = column("SHA-256 of the picture's file", unit="hex")
    width: int = column("Width of the picture", unit="px", ge=1)
    height: int = column("Height of the picture", unit="px", ge=1)
    n_frames: int = column("Frames of the velocity mask", ge=1)
    v_max_mps: float = column("The speed that is 1 in the normalised mask", unit="m/s", gt=0)
    scene: str = column("What surrounds the objects: 'on a wooden table'")
    objects: list[PushedObject] = column("The objects that are set in motion")
    prompt: str = column("The text that the model is given")
    example_clip_ids: list[str] = column("The clips that the prompt's maker saw as examples")
    made_by: list[MadeBy] = column("The prompt's maker")


def arrow_velocity(start_xy_px: Point, end_xy_px: Point, speed_mps: float, camera: Camera | None = None) -> Vector:
    """An arrow in a picture (x to the right, y down) -> a velocity on the floor, world axes, m/s, z = 0.

    Only the arrow's direction counts. Without a camera it is read as the dataset's default view has it: to the right
    is +x and up is +y, away from the camera. With one, both ends are taken for points of the floor z = 0.

    Raises UnusableInput for an arrow of no length, a speed that is not positive or an end above the horizon. A speed
    out of SPEEDS_MPS is logged: the model has seen none such.
    """
    if not (math.isfinite(speed_mps) and speed_mps > 0):
        raise UnusableInput(f"a speed of {speed_mps} m/s; give a positive one, {SPEEDS_MPS[0]} to {SPEEDS_MPS[1]}")
    if not SPEEDS_MPS[0] <= speed_mps <= SPEEDS_MPS[1]:
        logger.warning("%g m/s is out of the training data's %g to %g", speed_mps, *SPEEDS_MPS)
    if camera is None:
        along = end_xy_px[0] - start_xy_px[0], start_xy_px[1] - end_xy_px[1]
    else:
        start, end = (floor_point(point, camera) for point in (start_xy_px, end_xy_px))
        along = end[0] - start[0], end[1] - start[1]
    length = math.hypot(*along)
    if not (math.isfinite(length) and length > 0):
        raise UnusableInput(f"the arrow from {start_xy_px} to {end_xy_px} has no direction; draw it longer")
    x, y = (round(speed_mps * step / length, DIGITS) + 0.0 for step in along)  # + 0.0: no minus before a zero
    return x, y, 0.0


def floor_point(xy_px: Point, camera: Camera) -> Point:
    """The point of the floor z = 0 that is seen at a point of the picture: world x, y in m.

    Raises UnusableInput if no floor is seen there.
    """
    x, y, z = camera.position
    dx, dy, dz = camera.rays(np.asarray(xy_px, float))
    depth = -z / dz if dz else -1.0
    if depth <= 0:
        raise UnusableInput(f"no floor is seen at {xy_px}: it lies above the horizon; draw the arrow on the floor")
    return float(x + depth * dx), float(y + depth * dy)


def first_frame_masks(masks: np.ndarray, velocities: Sequence[Vector], n_frames: int = N_FRAMES) -> np.ndarray:
    """(n_frames, H, W, 3) float32, m/s: each object's velocity in its pixels of frame 0, zero elsewhere and after.

    masks:      (K, H, W) bool, one an object, disjoint
    velocities: K of them, m/s, world axes
    Raises UnusableInput for masks that overlap, ValueError for another number or type.
    """
    if masks.ndim != 3 or masks.dtype != np.bool_ or len(masks) != len(velocities):
        raise ValueError(f"{len(velocities)} velocities for masks of {masks.shape} {masks.dtype}; (K, H, W) bool it is")
    if (masks.sum(axis=0) > 1).any():
        raise UnusableInput("the masks overlap: a pixel belongs to one object, the one that is seen there")
    painted = np.zeros((n_frames, *masks.shape[1:], 3), np.float32)
    for mask, velocity in zip(masks, velocities, strict=True):
        painted[0][mask] = velocity
    return painted


def read_picture(data: bytes, name: str) -> np.ndarray:
    """A picture's file -> (H, W, 3) uint8 RGB, upright. Raises UnusableInput if it is none."""
    return _decode(data, name, cv2.IMREAD_COLOR_RGB)


def read_mask(data: bytes, name: str, height: int, width: int) -> np.ndarray:
    """A mask's file, bright on black -> (height, width) bool: what is brighter than half its brightest pixel.

    So masks of 0 and 1 do as well as masks of 0 and 255. Raises UnusableInput for an empty mask, another size than the
    picture's, or no picture at all.
    """
    grey = _decode(data, name, cv2.IMREAD_GRAYSCALE)
    if grey.shape != (height, width):
        raise UnusableInput(
            f"{name} is {grey.shape[1]}x{grey.shape[0]}, the picture {width}x{height}; a mask has the picture's size"
        )
    mask: np.ndarray = grey > grey.max() / 2
    if not mask.any():
        raise UnusableInput(f"{name} is empty: all of it is black; the object is bright in its mask")
    return mask


def _decode(data: bytes, name: str, flags: int) -> np.ndarray:
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # an empty file; a header that claims too many pixels
        picture = None
    if picture is None:
        raise UnusableInput(f"{name} cannot be read as a picture; PNG and JPEG can")
    return picture


def overview(picture: np.ndarray, masks: np.ndarray, objects: Sequence[PushedObject], v_max_mps: float) -> np.ndarray:
    """(H, 2 W, 3) uint8 RGB, to look at: the picture with colours and arrows, and the first frame's velocity mask.

    picture: (H, W, 3) uint8 RGB; masks: (T, H, W, 3) float32, m/s
    """
    colours = velocity_picture(masks[0], v_max_mps)
    inside = masks[0].any(axis=-1)
    drawn = picture.copy()
    drawn[inside] = (drawn[inside] // 2) + (colours[inside] // 2)
    thickness = max(2, round(max(picture.shape[:2]) / 250))
    for pushed in objects:
        start, end = ([round(value) for value in point] for point in (pushed.arrow_start_px, pushed.arrow_end_px))
        # A dark rim, so that it is seen on bright pictures too.
        cv2.arrowedLine(drawn, start, end, (0, 0, 0), thickness + 2, cv2.LINE_AA)
        cv2.arrowedLine(drawn, start, end, ARROW_RGB, thickness, cv2.LINE_AA)
    return np.concatenate([drawn, colours], axis=1)
