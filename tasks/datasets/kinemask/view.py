"""What is shown of a clip of kinemask: its objects' paths and speeds, who hits whom, RGB beside the velocity mask.

    scene_views(Snapshot.open("data"), ["clip-81b2..."], Path("pictures"))
    ->  [SceneView(text=[("The red cube", "#cc0f0d"), ...], objects={"id1": ObjectView(...)}, collisions=[...], ...)]

Pictures lie below the folder: clips/clip-81b2....mp4 with the velocity mask on the right, and its first frame, which
is what a model is given at inference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

import cv2
import numpy as np

from schemas.kinemask import CollisionRow, DrawRow, ObjectRow, SceneClipRow
from schemas.mask_track import decode_mask
from schemas.scene import Camera, Shape, Vector
from schemas.storage import AnyPath
from tasks.engine.snapshots import Snapshot
from tasks.media.cast_rays import rotation_matrix
from tasks.media.velocity_masks import V_MAX_MPS, velocity_masks, velocity_picture
from tasks.pages.colours import Colour, css, of_unit
from tasks.pages.film import Painter, draw_outline, film_of
from tasks.pages.marks import ARTICLES, find_phrase, mark_spans
from tasks.pages.views import ClipView, Point, View, make_views

MOVES_MPS = 1e-3  # an object that is never faster is at rest
GAP_PX = 4  # between RGB and velocity mask
OUTLINE: Colour = (120, 120, 120)  # of objects that are in no velocity mask
RIM_POINTS = 24
LOWEST_RAY = 1e-3  # of depth 1: rays that meet the floor farther away than a thousand heights, or nowhere

Motion = Literal["controlled", "set in motion", "at rest"]


class ObjectView(View):
    """An object of a clip; on the floor, x is to the right and y away from the camera."""

    instance_id: str
    noun: str
    shape: Shape
    colour: str  # CSS
    motion: Motion
    velocity_mps: Vector  # in the first frame
    speeds_mps: list[float]  # one a frame
    path_m: list[Point]  # one a frame: its centre, from above
    outline_start_m: list[Point]  # from above, in the first frame
    outline_end_m: list[Point]  # in the last frame
    way_m: float  # length of its path
    size_m: Vector
    mass_kg: float
    friction: float

    @property
    def controlled(self) -> bool:
        return self.motion == "controlled"

    @property
    def top_speed_mps(self) -> float:
        return max(self.speeds_mps)


class EarlierDraws(NamedTuple):
    """Draws of the same seed that did not fit its set."""

    reason: str
    n: int
    detail: str  # of the first one


class SceneView(ClipView):
    """An accepted clip."""

    row: SceneClipRow
    objects: dict[str, ObjectView]  # by instance id
    collisions: list[CollisionRow]  # in order of time
    draws: list[EarlierDraws]  # in the order in which the reasons first come
    camera_m: Point  # where it stands, from above
    field_m: list[Point]  # the floor that the picture shows, from above


def scene_views(snapshot: Snapshot, clip_ids: Sequence[str], folder: AnyPath) -> list[SceneView]:
    """Accepted clips in the given order; writes their pictures below `folder`."""
    clips = snapshot.rows_by_clip(SceneClipRow, clip_ids)
    objects = snapshot.rows_by_clip(ObjectRow, clip_ids)
    collisions = snapshot.rows_by_clip(CollisionRow, clip_ids)
    draws = snapshot.rows_by_clip(DrawRow, clip_ids)

    def draw(clip: SceneClipRow) -> SceneView:
        rows = objects[clip.clip_id], collisions[clip.clip_id], draws[clip.clip_id]
        paint = beside_velocity_mask(rows[0])
        film, trouble = film_of(snapshot, clip.clip_id, clip.n_frames, Fraction(clip.fps), paint, folder)
        return scene_view(clip, *rows).model_copy(update={"film": film, "trouble": trouble})

    return make_views(draw, [clips[clip_id][0] for clip_id in clip_ids])


def scene_view(
    clip: SceneClipRow, objects: Sequence[ObjectRow], collisions: Sequence[CollisionRow], draws: Sequence[DrawRow] = ()
) -> SceneView:
    """Without its film."""
    friction_of = {body.instance_id: body.friction for body in clip.scene.bodies}
    views = {row.instance_id: object_view(row, friction_of[row.instance_id]) for row in objects}
    detail_of = {draw.reason: draw.detail for draw in reversed(draws)}
    return SceneView(
        clip_id=clip.clip_id,
        text=mark_spans(
            clip.caption,
            [
                (*span, view.colour)
                for view in views.values()
                for span in find_phrase(clip.caption, view.noun, rf"(?:{ARTICLES})?")
            ],
        ),
        fps=clip.fps,
        film=None,
        trouble=None,
        row=clip,
        objects=views,
        collisions=sorted(collisions, key=lambda row: row.time_s),
        draws=[EarlierDraws(reason, n, detail_of[reason]) for reason, n in Counter(d.reason for d in draws).items()],
        camera_m=(clip.scene.camera.position[0], clip.scene.camera.position[1]),
        field_m=seen_floor(clip.scene.camera),
    )


def object_view(row: ObjectRow, friction: float) -> ObjectView:
    speeds = np.linalg.norm(np.array(row.velocity), axis=1)
    position = np.array(row.position)
    is_moved = speeds.max() >= MOVES_MPS
    return ObjectView(
        instance_id=row.instance_id,
        noun=row.noun,
        shape=row.shape,
        colour=css(of_unit(row.rgb)),
        motion="controlled" if row.controlled else "set in motion" if is_moved else "at rest",
        velocity_mps=row.velocity[0],
        speeds_mps=speeds.tolist(),
        path_m=position[:, :2].tolist(),
        outline_start_m=footprint(row, 0).tolist(),
        outline_end_m=footprint(row, -1).tolist(),
        way_m=float(np.linalg.norm(np.diff(position, axis=0), axis=1).sum()),
        size_m=row.size,
        mass_kg=row.mass_kg,
        friction=friction,
    )


# --- From above ------------------------------------------------------------------------------


def footprint(row: ObjectRow, frame: int) -> np.ndarray:
    """(N, 2) m: the outline of the object from above, wherever it has tipped to."""
    half = np.array(row.size) / 2
    if row.shape == "cube":
        corners = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    else:
        turns = 2 * np.pi * np.arange(RIM_POINTS) / RIM_POINTS
        corners = np.concatenate(
            [np.stack([np.cos(turns), np.sin(turns), np.full(RIM_POINTS, z)], -1) for z in (-1, 1)]
        )
    world = (corners * half) @ rotation_matrix(row.rotation[frame]).T + row.position[frame]
    hull: np.ndarray = cv2.convexHull(world[:, :2].astype(np.float32))[:, 0]
    return hull.astype(float)


def seen_floor(camera: Camera) -> list[Point]:
    """m: where the corners of the picture meet the floor."""
    width, height = camera.width, camera.height
    rays = camera.rays(np.array([(0, 0), (width, 0), (width, height), (0, height)], float))
    eye = camera.position
    corners = eye[:2] + rays[:, :2] * (eye[2] / np.maximum(-rays[:, 2], LOWEST_RAY))[:, None]
    return [(x, y) for x, y in corners.tolist()]


# --- RGB beside the velocity mask ------------------------------------------------------------


def beside_velocity_mask(objects: Sequence[ObjectRow]) -> Painter:
    """Paints a frame on the left and its velocity mask, as large, on the right."""
    picture_of = outlined_masks(objects)

    def paint(frame: np.ndarray, index: int) -> np.ndarray:
        height, width = frame.shape[:2]
        mask = cv2.resize(picture_of(index), (width, height), interpolation=cv2.INTER_AREA)
        return np.hstack([frame, np.zeros((height, GAP_PX, 3), np.uint8), mask])

    return paint


def outlined_masks(objects: Sequence[ObjectRow]) -> Callable[[int], np.ndarray]:
    """A frame's number -> its velocity mask, (H, W, 3) uint8 RGB, with outlines of the objects that are not in it."""
    tracks, trajectories = [row.track for row in objects], [row.trajectory for row in objects]
    controlled = [row.controlled for row in objects]

    def picture_of(index: int) -> np.ndarray:
        (mask,) = velocity_masks(tracks, trajectories, controlled, frames=slice(index, index + 1))
        picture = velocity_picture(mask, V_MAX_MPS)
        for row in objects:
            if row.area[index] and not row.controlled:
                draw_outline(picture, decode_mask(row.counts[index], row.height, row.width), OUTLINE)
        return picture

    return picture_of
