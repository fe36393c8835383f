"""mask tracks + trajectories -> velocity masks: how fast each controlled object moves, in its pixels (KineMask 3.2).

    a red cube at (0.9, -0.4, 0.0) m/s -> (0.9, -0.4, 0.0) in each of its visible pixels, (0, 0, 0) elsewhere

The channels red, green and blue are the velocity of the body's centre along the world's x (right), y (away from the
camera) and z (up), signed, in m/s: no camera is involved. Only objects that move in the first frame are painted; an
object that a collision sets in motion stays blank, so that a model must predict its motion. No mask is stored as a
picture: it is rebuilt exactly from mask tracks and trajectories.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from schemas.kinemask import ObjectRow
from schemas.mask_track import MaskTrack
from schemas.scene import Trajectory

Encoding = Literal["v_t", "v_0"]

V_MAX_MPS = 1.5  # the fastest initial speed of the data (KineMask, A.2)


def velocity_masks(
    tracks: Sequence[MaskTrack],
    trajectories: Sequence[Trajectory],
    controlled: Sequence[bool],
    *,
    encoding: Encoding = "v_t",
    frames: slice = slice(None),
) -> np.ndarray:
    """The velocity masks of a clip: (T, H, W, 3) float32, m/s, zero where no controlled object is visible.

    tracks:       the objects' visible pixels, (H, W) in every frame; without overlaps
    trajectories: the same objects in the same order, as many frames
    controlled:   does it move in the first frame? One an object
    encoding:     v_t: a frame shows the velocity at its own time. v_0: every frame shows that of the clip's first
                  frame, even outside `frames`; the ablation of A.3, which the paper finds worse
    frames:       the frames to paint; all by default

    Raises ValueError if the objects, their numbers of frames or their sizes differ, or if two controlled objects
    share a pixel.
    """
    _check_agreement(tracks, trajectories, controlled)
    n_frames, height, width = len(tracks[0].counts), tracks[0].height, tracks[0].width
    asked = range(n_frames)[frames]
    painted = np.zeros((len(asked), height, width, 3), np.float32)
    taken = np.zeros((len(asked), height, width), bool)
    for track, trajectory, moves in zip(tracks, trajectories, controlled, strict=True):
        if not moves:
            continue
        masks = track.masks(frames)
        for row, frame in enumerate(asked):
            box = track.box_xyxy[frame]
            if box is None:
                continue
            # Only inside its box: indexing whole pictures with masks takes ten times as long.
            left, top, right, bottom = (int(edge) for edge in box)
            region = row, slice(top, bottom), slice(left, right)
            mask = masks[region]
            if (taken[region] & mask).any():
                raise ValueError(f"{track.instance_id}: shares pixels with another in frame {frame}; pass visible ones")
            taken[region] |= mask
            painted[region][mask] = trajectory.velocity[frame if encoding == "v_t" else 0]
    return painted


def velocity_masks_of(
    objects: Sequence[ObjectRow], *, encoding: Encoding = "v_t", frames: slice = slice(None)
) -> np.ndarray:
    """`velocity_masks` from a clip's rows of the snapshot's `objects` table, in any order.

    Raises ValueError also for rows of several clips.
    """
    clip_ids = {row.clip_id for row in objects}
    if len(clip_ids) > 1:
        raise ValueError(f"objects of {len(clip_ids)} clips, {sorted(clip_ids)[:2]}; pass the rows of one clip")
    return velocity_masks(
        [row.track for row in objects],
        [row.trajectory for row in objects],
        [row.controlled for row in objects],
        encoding=encoding,
        frames=frames,
    )


def normalised(masks: np.ndarray, v_max_mps: float = V_MAX_MPS) -> np.ndarray:
    """Velocities in m/s -> float32 in [-1, 1] for a network: v / v_max_mps, clipped.

    Raises ValueError unless v_max_mps is positive.
    """
    if not v_max_mps > 0:
        raise ValueError(f"v_max_mps is {v_max_mps}; give a positive speed, which becomes 1")
    scaled: np.ndarray = (masks / np.float32(v_max_mps)).astype(np.float32, copy=False)
    return np.clip(scaled, -1, 1, out=scaled)


def velocity_picture(masks: np.ndarray, v_max_mps: float = V_MAX_MPS) -> np.ndarray:
    """Velocities in m/s (..., 3) -> uint8 RGB of the same shape, to look at.

    127.5 + 127.5 v / v_max_mps in each channel, clipped; black where the velocity is exactly zero. An object is a flat
    silhouette on black. Medium grey is slow; a channel above grey is motion along its axis, below grey against it. To
    the right is light red, to the left teal, away light green, nearer purple. Do not read data from it: 8 bits a
    channel are too coarse.
    """
    levels = np.rint(127.5 + 127.5 * normalised(masks, v_max_mps)).astype(np.uint8)
    levels[~masks.any(axis=-1)] = 0
    return levels


def velocity_legend(size_px: int = 128, v_max_mps: float = V_MAX_MPS) -> np.ndarray:
    """The colours of `velocity_picture` for motion on the floor: (size_px, size_px, 3) uint8 RGB, a disc on black.

    The middle is rest, the rim v_max_mps; right is along x, up is along y, away from the camera.
    """
    across = (2 * np.arange(size_px) + 1) / size_px - 1
    x, y = np.meshgrid(across, -across)
    velocity = v_max_mps * np.stack([x, y, np.zeros_like(x)], axis=-1)
    velocity[np.hypot(x, y) > 1] = 0
    return velocity_picture(velocity, v_max_mps)


def _check_agreement(
    tracks: Sequence[MaskTrack], trajectories: Sequence[Trajectory], controlled: Sequence[bool]
) -> None:
    if not tracks:
        raise ValueError("no object, so the masks have no size; pass at least one track")
    ids, moving_ids = ([one.instance_id for one in many] for many in (tracks, trajectories))
    if ids != moving_ids or len(controlled) != len(ids):
        raise ValueError(f"tracks of {ids}, trajectories of {moving_ids}, {len(controlled)} flags; give one each")
    if len(set(ids)) < len(ids):
        raise ValueError(f"an object comes twice: {ids}")
    sizes = {(len(track.counts), track.height, track.width) for track in tracks}
    lengths = {len(trajectory.velocity) for trajectory in trajectories}
    if len(sizes) > 1 or lengths != {len(tracks[0].counts)}:
        raise ValueError(
            f"tracks of (frames, height, width) {sorted(sizes)}, trajectories of {sorted(lengths)} frames; "
            "are they of one clip?"
        )
