"""How fast every object of a clip is over time, with its collisions, as SVG.

speed_chart(clip, objects, collisions) -> <svg class="chart" ...> frames across, m/s up
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from schemas.kinemask import CollisionRow, ObjectRow, SceneClipRow
from tasks.datasets.kinemask.report.drawing import MARK_RADIUS, Point, colour_of, is_free, number_mark
from tasks.pages.charts import WIDTH, frame_ticks, points_of, svg

HEIGHT = 262
LEFT, RIGHT, BOTTOM = 34, 8, 36  # margins
LANE = 2 * MARK_RADIUS + 2  # height of a row of collisions' numbers
SPEED_TICK_MPS = 0.5
MAX_FRAME_TICKS = 6
MOVES_MPS = 1e-3  # what is never faster has no line


def speed_chart(clip: SceneClipRow, objects: Sequence[ObjectRow], collisions: Sequence[CollisionRow]) -> Markup:
    speeds = [np.linalg.norm(np.array(row.velocity), axis=1) for row in objects]
    n_ticks = max(1, math.ceil(max(speed.max() for speed in speeds) / SPEED_TICK_MPS - 1e-6))
    px_per_frame = (WIDTH - LEFT - RIGHT) / max(clip.n_frames - 1, 1)
    hits = [LEFT + collision.time_s * clip.fps * px_per_frame for collision in collisions]
    marks = number_places(hits)
    top = 8 + max((y for _, y in marks), default=0) + (MARK_RADIUS if marks else 0)
    bottom = HEIGHT - BOTTOM
    px_per_mps = (bottom - top) / (n_ticks * SPEED_TICK_MPS)

    def line(row: ObjectRow, speed: np.ndarray) -> Markup:
        frames = np.arange(len(speed))
        points = points_of(np.stack([LEFT + frames * px_per_frame, bottom - speed * px_per_mps], axis=-1))
        kinds = f"{row.shape} {'controlled' if row.controlled else 'free'}"
        return Markup(
            '<g class="speed {}" style="--c: {}"><title>{}</title><polyline class="edge" points="{points}"/>'
            '<polyline class="path" points="{points}"/></g>'
        ).format(kinds, colour_of(row), f"{row.instance_id}: {row.noun}", points=points)

    return svg(
        WIDTH,
        HEIGHT,
        "speed of the objects over time",
        [
            *_speed_axis(n_ticks, bottom, px_per_mps),
            *_frame_axis(clip, bottom, px_per_frame),
            *(
                Markup('<path class="strike" d="M{:.1f} {:.1f}V{}"/>').format(x, y, bottom)
                for x, (_, y) in zip(hits, marks, strict=True)
            ),
            *(line(row, speed) for row, speed in zip(objects, speeds, strict=True) if speed.max() >= MOVES_MPS),
            *(number_mark(number, x, y) for number, (x, y) in enumerate(marks, start=1)),
            # Moved to the frame that the film shows, in steps of one frame.
            Markup('<path class="playhead" d="M{} {:.1f}V{}" data-step="{:.3f}"/>').format(
                LEFT, top, bottom, px_per_frame
            ),
        ],
    )


def number_places(xs: Sequence[float]) -> list[Point]:
    """Each number above its moment, in the first row in which it covers no other."""
    places: list[Point] = []
    for x in xs:
        rows = ((x, MARK_RADIUS + 1 + LANE * number) for number in range(len(xs)))
        places.append(next(place for place in rows if is_free(place, places)))
    return places


def _speed_axis(n_ticks: int, bottom: float, px_per_mps: float) -> list[Markup]:
    ticks = []
    for tick in range(n_ticks + 1):
        y = bottom - tick * SPEED_TICK_MPS * px_per_mps
        ticks.append(
            Markup('<path class="grid" d="M{} {:.1f}H{}"/><text x="{}" y="{:.1f}" class="axis">{:g}</text>').format(
                LEFT, y, WIDTH - RIGHT, LEFT - 14, y + 4, tick * SPEED_TICK_MPS
            )
        )
    return ticks


def _frame_axis(clip: SceneClipRow, bottom: float, px_per_frame: float) -> list[Markup]:
    ticks = [
        Markup('<text x="{:.1f}" y="{}" class="axis">{}</text>').format(LEFT + frame * px_per_frame, bottom + 15, frame)
        for frame in frame_ticks(clip.n_frames, MAX_FRAME_TICKS)
    ]
    words = Markup('<text x="{}" y="{}" class="axis">frame, {} a second</text>').format(
        (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, clip.fps
    )
    return [*ticks, words]
