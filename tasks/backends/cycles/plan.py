"""Which parts of a clip are drawn, and how they are composed.

    plan_clip(scene, trajectories, config)
        parts   [RenderPart(frame 0, the whole picture, what never moves), RenderPart(frame 0, a box around id1), ...]
        frames  [[1, 2], [3, 2], ...]   frame 1: part 0 with the parts 3 and 2 laid over it

The camera and the light stand still: a frame differs from the picture of what rests only around a moving body and its
shadow. Boxes are merged if one costs less than two; a box whose content was drawn already is not drawn again. Labels
are exact: a body has no pixel outside its box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from schemas.scene import Body, Scene, Trajectory
from schemas.simulation import Rendering
from tasks.backends.cycles import CyclesConfig
from tasks.backends.raster import sun_direction, with_shadow
from tasks.media.cast_rays import Pose, Solid, Window, poses_at, window_of

PART_PX = 2000  # measured cost of starting a box, in pixels drawn in the same time


@dataclass(frozen=True)
class RenderPart:
    """A part of a frame, with some of the bodies."""

    frame: int
    box: Window
    bodies: tuple[int, ...]  # indices into scene.bodies

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in px."""
        return self.box.bottom - self.box.top, self.box.right - self.box.left


@dataclass(frozen=True)
class RenderPlan:
    """The parts of a clip; the first is a whole picture."""

    parts: list[RenderPart]
    frames: list[list[int]]  # for each frame, the parts to lay over the first, in this order
    feather_px: int

    @property
    def n_pixels(self) -> int:
        return sum(part.box.area for part in self.parts)


def plan_clip(scene: Scene, trajectories: Sequence[Trajectory], config: CyclesConfig) -> RenderPlan:
    """Plan as few pixels as possible, or every frame whole if the config says so."""
    camera = scene.camera
    whole = Window(0, 0, camera.width, camera.height)
    everything = tuple(range(len(scene.bodies)))
    poses = [poses_at(trajectories, frame) for frame in range(scene.n_frames)]
    if config.whole_frames:
        parts = [RenderPart(frame, whole, everything) for frame in range(scene.n_frames)]
        return RenderPlan(parts, [[frame] for frame in range(scene.n_frames)], feather_px=0)

    resting = tuple(k for k in everything if all(now[k] == poses[0][k] for now in poses))
    moving = [k for k in everything if k not in resting]
    places = _Places(scene, [(scene.bodies[k], poses[0][k]) for k in resting], config)
    parts = [RenderPart(0, whole, resting)]
    drawn: dict[tuple[Window, tuple[tuple[int, Pose], ...]], int] = {}
    frames: list[list[int]] = []
    for now in poses:
        reaches = {k: reach for k in moving if (reach := places.reach(scene.bodies[k], now[k])) is not None}
        over = []
        for box in merge(list(reaches.values())):
            content = box, tuple((k, now[k]) for k, reach in reaches.items() if box.overlaps(reach))
            if content not in drawn:
                drawn[content] = len(parts)
                parts.append(RenderPart(len(frames), box, everything))
            over.append(drawn[content])
        frames.append(over)
    return RenderPlan(parts, frames, config.feather_px)


def compose(plan: RenderPlan, pixels: np.ndarray) -> Rendering:
    """Compose the frames. pixels: (plan.n_pixels, 4) uint8: red, green, blue, label, part by part."""
    ends = np.cumsum([part.box.area for part in plan.parts])
    drawn = [
        drawn_px.reshape(*part.shape, 4) for part, drawn_px in zip(plan.parts, np.split(pixels, ends[:-1]), strict=True)
    ]
    pictures = np.repeat(drawn[0][None], len(plan.frames), axis=0)
    for picture, over in zip(pictures, plan.frames, strict=True):
        for number in over:
            lay_over(picture, drawn[number], plan.parts[number].box, plan.feather_px)
    return Rendering(np.ascontiguousarray(pictures[..., :3]), np.ascontiguousarray(pictures[..., 3]))


def lay_over(picture: np.ndarray, part: np.ndarray, box: Window, feather_px: int) -> None:
    """Lay a part (h, w, 4) uint8 over a picture (H, W, 4), in place: colours blend at its edges, labels do not."""
    below = picture[box.top : box.bottom, box.left : box.right]
    height, width = picture.shape[:2]
    share = np.outer(_ramp(box.top, box.bottom, height, feather_px), _ramp(box.left, box.right, width, feather_px))
    colour = below[..., :3] + share[..., None] * (part[..., :3].astype(np.float32) - below[..., :3])
    below[..., :3] = (colour + 0.5).astype(np.uint8)
    below[..., 3] = part[..., 3]


def _ramp(first: int, last: int, size: int, feather_px: int) -> np.ndarray:
    """(last - first,) float32: from near 0 at both ends to 1 in the middle; 1 at the picture's own edges."""
    place = np.arange(first, last, dtype=np.float32) + 0.5
    share = np.ones(last - first, np.float32)
    if feather_px and first > 0:
        share = np.minimum(share, (place - first) / feather_px)
    if feather_px and last < size:
        share = np.minimum(share, (last - place) / feather_px)
    return share


# --- Boxes -----------------------------------------------------------------------------------


class _Places:
    """Where a scene's bodies appear in the picture, and which pixels they change."""

    def __init__(self, scene: Scene, resting: Sequence[tuple[Body, Pose]], config: CyclesConfig) -> None:
        self._camera, self._sun = scene.camera, sun_direction(scene.light)
        self._surroundings, self._feather_px = config.surroundings, config.feather_px
        outlines = [window_of(self._camera, Solid.of(body, pose).corners) for body, pose in resting]
        self._outlines = [outline for outline in outlines if outline is not None]

    def reach(self, body: Body, pose: Pose) -> Window | None:
        """The window to redraw for a moving body, with a margin for blending; None if outside the picture.

        It includes every resting body that the moving one hides or shades: an edge across an even surface would show.
        """
        corners = Solid.of(body, pose).corners
        seen = with_shadow(corners, self._sun)
        touched = window_of(self._camera, seen)
        reach = window_of(self._camera, np.concatenate([seen, _around(corners, self._surroundings * body.size[2])]))
        if reach is None:
            return None
        if touched is not None:
            reach = reduce(Window.union, [outline for outline in self._outlines if outline.overlaps(touched)], reach)
        left, top, right, bottom = reach
        margin_px, camera = self._feather_px, self._camera
        return Window(
            max(0, left - margin_px),
            max(0, top - margin_px),
            min(camera.width, right + margin_px),
            min(camera.height, bottom + margin_px),
        )


def _around(corners: np.ndarray, margin_m: float) -> np.ndarray:
    """(8, 3) corners of a box -> (8, 3) points on the floor, margin_m outside the box."""
    outwards = (corners - corners.mean(axis=0))[:, :2]
    around = corners[:, :2] + margin_m * np.sign(outwards)
    return np.pad(around, ((0, 0), (0, 1)))


def merge(boxes: Sequence[Window]) -> list[Window]:
    """Merge boxes as long as that costs less; the result covers the same places."""
    merged = list(boxes)
    while pairs := [(_gain(a, b), i, j) for i, a in enumerate(merged) for j, b in enumerate(merged[:i])]:
        gain, i, j = max(pairs)
        if gain <= 0:
            break
        both = merged[i].union(merged[j])
        merged = [box for k, box in enumerate(merged) if k not in (i, j)] + [both]
    return merged


def _gain(a: Window, b: Window) -> int:
    return a.area + b.area + PART_PX - a.union(b).area
