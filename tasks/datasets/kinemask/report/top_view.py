"""A clip seen from above, as SVG: where every object starts, goes and ends, who hits whom, what the camera sees.

top_view(view) -> <svg class="chart" ...> x to the right, y (away from the camera) up, in metres
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from markupsafe import Markup

from schemas.kinemask import CollisionRow
from tasks.datasets.kinemask.report.charts import HEIGHT, MARK_RADIUS, is_free, number_mark
from tasks.datasets.kinemask.view import ObjectView, SceneView
from tasks.pages.charts import WIDTH, Plot, points_of, tag
from tasks.pages.views import Point

LEFT, TOP, RIGHT, BOTTOM = 26, 6, 6, 20  # margins
MARGIN_M = 0.25  # floor shown around everything that happens
ARROW_S = 0.4  # the arrow of v_0 reaches as far as the object would go in this time
MOVES_M = 0.01  # what goes less far has no path to draw
GRID_STEPS_M = (0.5, 1.0, 2.0, 5.0, 10.0)
GRID_PITCH = 40  # least distance of lines in the drawing


def top_view(view: SceneView) -> Markup:
    objects = view.objects.values()
    outlines = [outline for thing in objects for outline in (thing.outline_start_m, thing.outline_end_m)]
    tips = [arrow_tip(thing)[None] for thing in objects if thing.controlled]
    plan = floorplan(np.concatenate([*(thing.path_m for thing in objects), *outlines, *tips]))
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    xs, ys = grid_values(plan.x, plan.px_per_x), grid_values(plan.y, plan.px_per_y)
    return plan.svg(
        "the scene from above: paths of the objects",
        tag(  # cuts off what reaches beyond the piece of the floor
            "svg",
            *seen_field(view, plan),
            *(plan.upright(x, "grid") for x in xs),
            *(tag("path", class_="grid", d=f"M{LEFT} {plan.y_of(y):.1f}H{WIDTH - RIGHT}") for y in ys),
            *(object_marks(thing, plan) for thing in objects),
            *(arrow(thing, plan) for thing in objects if thing.controlled),
            *collision_marks(view.collisions, plan),
            x=LEFT,
            y=TOP,
            width=width,
            height=height,
            viewBox=f"{LEFT} {TOP} {width} {height}",
        ),
        plan.ticks({x: metres(x) for x in xs}),
        *(tag("text", metres(y), class_="axis", x=LEFT - 12, y=plan.y_of(y) + 4) for y in ys),
    )


def floorplan(points: np.ndarray) -> Plot:
    """points: (N, 2) m: what must be seen -> as large a piece of the floor as the drawing holds around them."""
    low, high = points.min(axis=0) - MARGIN_M, points.max(axis=0) + MARGIN_M
    size = np.array([WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM])
    half_m = size / (size / (high - low)).min() / 2
    (west, south), (east, north) = (((low + high) / 2 + sign * half_m).tolist() for sign in (-1, 1))
    return Plot(WIDTH, HEIGHT, (west, east), (south, north), LEFT, TOP, RIGHT, BOTTOM)


def grid_values(span_m: tuple[float, float], px_per_m: float) -> list[float]:
    """m: where lines go, so that their labels have room; none at the very edge."""
    step = next((step for step in GRID_STEPS_M if step * px_per_m >= GRID_PITCH), GRID_STEPS_M[-1])
    values: list[float] = (np.arange(math.ceil(span_m[0] / step), span_m[1] / step) * step + 0.0).tolist()  # no -0
    return values


def metres(value: float) -> str:
    """-0.5 -> "−0.5", with a minus as long as a plus."""
    return f"{value:g}".replace("-", "−")


def seen_field(view: SceneView, plan: Plot) -> list[Markup]:
    """The floor that the picture shows, and where the camera stands: at the edge if it is outside."""
    camera_x, camera_y = plan.place(view.camera_m)
    x = float(np.clip(camera_x, LEFT + 7, WIDTH - RIGHT - 7))
    y = float(np.clip(camera_y, TOP + 7, plan.floor - 5))
    return [
        tag("polygon", class_="field", points=points_of(plan.place(view.field_m))),
        tag("g", tag("title", "camera"), tag("path", class_="camera", d=f"M{x:.1f} {y - 5:.1f}l7 10h-14z")),
    ]


def object_marks(thing: ObjectView, plan: Plot) -> Markup:
    """Start (open) and end (filled) with the path between them; one shape for what stays where it is."""
    path = np.array(thing.path_m)
    start, end = (
        tag("polygon", class_=name, points=points_of(plan.place(outline)))
        for name, outline in (("start", thing.outline_start_m), ("end", thing.outline_end_m))
    )
    parts = [tag("title", f"{thing.instance_id}: {thing.noun}"), end]
    if np.linalg.norm(path - path[0], axis=1).max() >= MOVES_M:
        # The last one is where the object is in the frame that the film shows.
        parts[1:] = start, end, plan.line(path, "edge"), plan.line(path, "path"), tag("circle", class_="now", r=4)
    return tag("g", *parts, style=f"--c: {thing.colour}")


def arrow_tip(thing: ObjectView) -> np.ndarray:
    """(2,) m"""
    tip: np.ndarray = np.array(thing.path_m[0]) + ARROW_S * np.array(thing.velocity_mps[:2])
    return tip


def arrow(thing: ObjectView, plan: Plot) -> Markup:
    """v_0, from the object's centre."""
    tail, tip = plan.place(thing.path_m[0]), plan.place(arrow_tip(thing))
    along = (tip - tail) / max(float(np.linalg.norm(tip - tail)), 1e-9)
    across = np.array([-along[1], along[0]])
    neck = tip - 8 * along
    head = [tip, neck + 4.5 * across, neck - 4.5 * across]
    return tag(
        "g", tag("polyline", points=points_of([tail, neck])), tag("polygon", points=points_of(head)), class_="arrow"
    )


def collision_marks(collisions: Sequence[CollisionRow], plan: Plot) -> list[Markup]:
    """Their numbers where they happen, or beside it where another number lies."""
    marks: list[Markup] = []
    taken: list[Point] = []
    for number, collision in enumerate(collisions, start=1):
        x, y = plan.place(collision.point[:2]).tolist()
        place = next((p for p in _places_around(x, y) if is_free(p, taken)), (x, y))
        taken.append(place)
        if place != (x, y):
            marks.append(tag("polyline", class_="lead", points=points_of([(x, y), place])))
        marks.append(number_mark(number, place))
    return marks


def _places_around(x: float, y: float) -> Iterator[Point]:
    """The place itself, then rings around it."""
    yield x, y
    for radius in (2.4 * MARK_RADIUS, 4.8 * MARK_RADIUS):
        for eighth in range(8):
            turn = math.pi * eighth / 4
            yield x + radius * math.cos(turn), y - radius * math.sin(turn)
