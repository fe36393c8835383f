"""Cameras as a network sees them: the ray of every pixel, in Plücker coordinates.

    rays = plucker_embeddings(poses, intrinsics, width=832, height=480)      (T, 6, 480, 832)
    rays[:, :3]     moment o x d: where the ray lies, in the poses' unit of length
    rays[:, 3:]     direction d, of length 1

The camera of the first frame is the origin (GameCraft-2, line 211). The order of the six channels and rays through the
middle of pixels are those of CameraCtrl's public code, which the paper cites (line 167); the paper states neither, nor
to what scale it brings lengths. Here they stay as the poses have them.
"""

from __future__ import annotations

import numpy as np


def plucker_embeddings(poses: np.ndarray, intrinsics: np.ndarray, width: int, height: int) -> np.ndarray:
    """(T, 6, height, width) float32: moment and direction of every pixel's ray, in the first camera's axes.

    poses:      (T, 4, 4) camera-to-world, one a frame, OpenCV's axes: x right, y down, z forward
    intrinsics: (4,) or (T, 4): fx, fy, cx, cy in px of a picture of this width and height. They count from its edge:
                the middle of the first pixel is at 0.5, the middle of the picture at width / 2 (COLMAP's convention;
                add 0.5 to cx and cy that OpenCV calibrated)
    Raises ValueError for other shapes, for poses that are no rigid motions (a world-to-camera matrix is one, too, so
    it cannot be told), and for focal lengths that are not positive. 149 frames of 832x480 are 1.4 GB.
    """
    poses, intrinsics = np.asarray(poses, np.float64), np.asarray(intrinsics, np.float64)
    if poses.ndim != 3 or poses.shape[1:] != (4, 4) or not len(poses):
        raise ValueError(f"poses of shape {poses.shape}; give (T, 4, 4), one a frame")
    if intrinsics.shape not in ((4,), (len(poses), 4)):
        raise ValueError(f"intrinsics of shape {intrinsics.shape} for {len(poses)} frames; give (4,) or (T, 4)")
    if not (np.isfinite(intrinsics).all() and (intrinsics[..., :2] > 0).all()):
        raise ValueError("intrinsics need finite numbers and positive focal lengths: fx, fy, cx, cy in px")
    for frame, pose in enumerate(poses):
        if not _is_rigid(pose):
            raise ValueError(
                f"the pose of frame {frame} is no rigid motion: give a rotation, a position and the row 0 0 0 1"
            )
    relative = np.linalg.inv(poses[0]) @ poses
    fx, fy, cx, cy = np.broadcast_to(intrinsics, (len(poses), 4)).T
    columns, rows = np.arange(width) + 0.5, np.arange(height) + 0.5
    embeddings = np.empty((len(poses), 6, height, width), np.float32)
    for frame, pose in enumerate(relative):  # a frame at a time: in float64 all would take several times the result
        across = np.broadcast_to((columns - cx[frame]) / fx[frame], (height, width))
        down = np.broadcast_to((rows[:, None] - cy[frame]) / fy[frame], (height, width))
        direction = np.einsum("ij,jhw->ihw", pose[:3, :3], np.stack([across, down, np.ones_like(across)]))
        direction /= np.linalg.norm(direction, axis=0)
        embeddings[frame, :3] = np.cross(pose[:3, 3], direction, axisb=0, axisc=0)
        embeddings[frame, 3:] = direction
    return embeddings


def _is_rigid(pose: np.ndarray) -> bool:
    rotation = pose[:3, :3]
    turns = np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) and np.linalg.det(rotation) > 0
    return bool(np.isfinite(pose).all() and turns and np.allclose(pose[3], (0, 0, 0, 1)))
