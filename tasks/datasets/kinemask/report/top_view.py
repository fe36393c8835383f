"""A clip seen from above, as SVG: where every object starts, goes and ends, who hits whom, what the camera sees.

top_view(clip, objects, collisions) -> <svg class="chart" ...> x to the right, y (away from the camera) up, in metres
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from markupsafe import Markup

from schemas.kinemask import CollisionRow, ObjectRow, SceneClipRow
from schemas.scene import Camera
from tasks.datasets.kinemask.report.drawing import MARK_RADIUS, Point, colour_of, is_free, number_mark
from tasks.media.cast_rays import rotation_matrix
from tasks.pages.charts import WIDTH, points_of, svg

HEIGHT = 262
LEFT, TOP, RIGHT, BOTTOM = 26, 6, 6, 20  # margins
MARGIN_M = 0.25  # floor shown around everything that happens
ARROW_S = 0.4  # the arrow of v_0 reaches as far as the object would go in this time
MOVES_M = 0.01  # what goes less far has no path to draw
RIM_POINTS = 24
GRID_STEPS_M = (0.5, 1.0, 2.0, 5.0, 10.0)
GRID_PITCH = 40  # least distance of lines in the drawing
LOWEST_RAY = 1e-3  # of depth 1: rays that meet the floor farther away than a thousand heights, or nowhere


@dataclass(frozen=True)
class Floorplan:
    """Which piece of the floor is drawn, and how large."""

    west_m: float
    north_m: float
    px_per_m: float

    width = WIDTH - LEFT - RIGHT
    height = HEIGHT - TOP - BOTTOM

    @classmethod
    def around(cls, points: np.ndarray) -> Floorplan:
        """points: (N, 2) m: what must be seen."""
        low, high = points.min(axis=0) - MARGIN_M, points.max(axis=0) + MARGIN_M
        px_per_m = float(min(cls.width / (high[0] - low[0]), cls.height / (high[1] - low[1])))
        middle = (low + high) / 2
        return cls(middle[0] - cls.width / px_per_m / 2, middle[1] + cls.height / px_per_m / 2, px_per_m)

    def place(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) m on the floor -> (..., 2) in the drawing, y down."""
        return (points - [self.west_m, self.north_m]) * [self.px_per_m, -self.px_per_m]

    @property
    def grid_m(self) -> float:
        """Distance of the grid's lines, so that their labels have room."""
        return next((step for step in GRID_STEPS_M if step * self.px_per_m >= GRID_PITCH), GRID_STEPS_M[-1])


def top_view(clip: SceneClipRow, objects: Sequence[ObjectRow], collisions: Sequence[CollisionRow]) -> Markup:
    paths = [np.array(row.position)[:, :2] for row in objects]
    outlines = [footprint(row, frame) for row in objects for frame in (0, -1)]
    tips = [arrow_tip(row) for row in objects if row.controlled]
    plan = Floorplan.around(np.concatenate([*paths, *outlines, *(tip[None] for tip in tips)]))
    return svg(
        WIDTH,
        HEIGHT,
        "the scene from above: paths of the objects",
        [
            Markup('<svg x="{}" y="{}" width="{}" height="{}">').format(LEFT, TOP, plan.width, plan.height),
            view_field(clip.scene.camera, plan),
            *grid_lines(plan),
            *(object_marks(row, plan) for row in objects),
            *(arrow(row, plan) for row in objects if row.controlled),
            *collision_marks(collisions, plan),
            Markup("</svg>"),
            *grid_labels(plan),
        ],
    )


# --- Objects ---------------------------------------------------------------------------------


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


def object_marks(row: ObjectRow, plan: Floorplan) -> Markup:
    """Start (open) and end (filled) with the path between them; one shape for what stays where it is."""
    path = np.array(row.position)[:, :2]
    end = Markup('<polygon class="end" points="{}"/>').format(points_of(plan.place(footprint(row, -1))))
    if np.linalg.norm(path - path[0], axis=1).max() < MOVES_M:
        parts = [end]
    else:
        line = points_of(plan.place(path))
        start = points_of(plan.place(footprint(row, 0)))
        parts = [
            Markup('<polygon class="start" points="{}"/>').format(start),
            end,
            Markup('<polyline class="edge" points="{}"/>').format(line),
            Markup('<polyline class="path" points="{}"/>').format(line),
            Markup('<circle class="now" r="4"/>'),  # where it is in the frame that the film shows
        ]
    return Markup('<g style="--c: {}"><title>{}</title>{}</g>').format(
        colour_of(row), f"{row.instance_id}: {row.noun}", Markup("").join(parts)
    )


def arrow_tip(row: ObjectRow) -> np.ndarray:
    """(2,) m"""
    tip: np.ndarray = np.array(row.position[0][:2]) + ARROW_S * np.array(row.velocity[0][:2])
    return tip


def arrow(row: ObjectRow, plan: Floorplan) -> Markup:
    """v_0, from the object's centre."""
    tail, tip = plan.place(np.array(row.position[0][:2])), plan.place(arrow_tip(row))
    along = (tip - tail) / max(float(np.linalg.norm(tip - tail)), 1e-9)
    across = np.array([-along[1], along[0]])
    neck = tip - 8 * along
    head = np.stack([tip, neck + 4.5 * across, neck - 4.5 * across])
    return Markup('<g class="arrow"><polyline points="{}"/><polygon points="{}"/></g>').format(
        points_of(np.stack([tail, neck])), points_of(head)
    )


def collision_marks(collisions: Sequence[CollisionRow], plan: Floorplan) -> list[Markup]:
    """Their numbers where they happen, or beside it where another number lies."""
    marks: list[Markup] = []
    taken: list[Point] = []
    for number, collision in enumerate(collisions, start=1):
        x, y = plan.place(np.array(collision.point[:2])).tolist()
        place = next((p for p in _places_around(x, y) if is_free(p, taken)), (x, y))
        taken.append(place)
        if place != (x, y):
            marks.append(Markup('<polyline class="lead" points="{}"/>').format(points_of(np.array([(x, y), place]))))
        marks.append(number_mark(number, *place))
    return marks


def _places_around(x: float, y: float) -> Iterator[Point]:
    """The place itself, then rings around it."""
    yield x, y
    for radius in (2.4 * MARK_RADIUS, 4.8 * MARK_RADIUS):
        for eighth in range(8):
            turn = math.pi * eighth / 4
            yield x + radius * math.cos(turn), y - radius * math.sin(turn)


# --- The floor -------------------------------------------------------------------------------


def view_field(camera: Camera, plan: Floorplan) -> Markup:
    """The floor that the picture shows, and where the camera stands: at the edge if it is outside."""
    width, height = camera.width, camera.height
    rays = camera.rays(np.array([(0, 0), (width, 0), (width, height), (0, height)], float))
    eye = camera.position
    floor = eye[:2] + rays[:, :2] * (eye[2] / np.maximum(-rays[:, 2], LOWEST_RAY))[:, None]
    x, y = np.clip(plan.place(eye[:2]), 7, [plan.width - 7, plan.height - 5])
    return Markup(
        '<polygon class="field" points="{}"/>'
        '<g><title>camera</title><path class="camera" d="M{:.1f} {:.1f}l7 10h-14z"/></g>'
    ).format(points_of(plan.place(floor)), x, y - 5)


def grid_lines(plan: Floorplan) -> list[Markup]:
    xs, ys = _grid(plan)
    return [Markup('<path class="grid" d="M{:.1f} 0V{}"/>').format(x, plan.height) for _, x in xs] + [
        Markup('<path class="grid" d="M0 {:.1f}H{}"/>').format(y, plan.width) for _, y in ys
    ]


def grid_labels(plan: Floorplan) -> list[Markup]:
    xs, ys = _grid(plan)
    across = [
        Markup('<text x="{:.1f}" y="{}" class="axis">{}</text>').format(LEFT + x, HEIGHT - 6, metres(m)) for m, x in xs
    ]
    up = [
        Markup('<text x="{}" y="{:.1f}" class="axis">{}</text>').format(LEFT - 12, TOP + y + 4, metres(m))
        for m, y in ys
    ]
    return across + up


def metres(value: float) -> str:
    """-0.5 -> "−0.5", with a minus as long as a plus."""
    return f"{value:g}".replace("-", "−")


def _grid(plan: Floorplan) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Lines of constant x and of constant y: (m, place in the drawing); none at the very edge."""
    step = plan.grid_m
    east_m, south_m = plan.west_m + plan.width / plan.px_per_m, plan.north_m - plan.height / plan.px_per_m
    xs = np.arange(np.ceil(plan.west_m / step), east_m / step) * step + 0.0  # + 0.0: no -0
    ys = np.arange(np.ceil(south_m / step), plan.north_m / step) * step + 0.0
    return (
        [(m, float(plan.place(np.array([m, 0.0]))[0])) for m in xs],
        [(m, float(plan.place(np.array([0.0, m]))[1])) for m in ys],
    )
