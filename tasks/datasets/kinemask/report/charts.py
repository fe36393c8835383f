"""The page's own charts: directions as a rose, speeds, the speed of a clip's objects over time.

rose([4, 0, 2, ...]) -> <svg class="chart" ...> sectors of a disc, counter-clockwise from x
speed_chart(view)    -> <svg class="chart" ...> frames across, m/s up
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import polars as pl
from markupsafe import Markup

from schemas.kinemask import SPEED_STEP_MPS
from tasks.datasets.kinemask.view import MOVES_MPS, ObjectView, SceneView
from tasks.engine.snapshots import Snapshot
from tasks.pages.charts import WIDTH, Plot, columns, frame_ticks, svg, tag
from tasks.pages.colours import css, of_unit
from tasks.pages.views import Point

HEIGHT = 262  # of a clip's drawings
MARK_RADIUS = 7.5  # of a collision's number
LANE = 2 * MARK_RADIUS + 2  # height of a row of collisions' numbers
SPEED_TICK_MPS = 0.5
MAX_FRAME_TICKS = 6
ROSE_RADIUS = 88


# --- Statistics ------------------------------------------------------------------------------


def typical_colours(snapshot: Snapshot) -> dict[str, str]:
    """The middle of all colours that go by a name, as CSS."""
    channels = (pl.col("rgb").arr.get(place).alias(channel) for place, channel in enumerate("rgb"))
    named = snapshot.scan("objects").select("colour", *channels)
    middles = named.group_by("colour").median().sort("colour").collect()
    return {name: css(of_unit((r, g, b))) for name, r, g, b in middles.iter_rows()}


def speed_columns(counts: Sequence[int]) -> Markup:
    """Objects by speed: 0 to SPEED_STEP_MPS, and so on."""
    return columns(counts, "from … m/s", [f"{SPEED_STEP_MPS * step:.1f}" for step in range(len(counts))], every=2)


def rose(counts: Sequence[int]) -> Markup:
    """How many go into each of N equal sectors, from x counter-clockwise -> sectors whose areas are the counts."""
    most = max(counts, default=0) or 1
    x, y = WIDTH / 2, ROSE_RADIUS + 20
    turn = 2 * math.pi / max(len(counts), 1)

    def at(radius: float, angle: float) -> str:
        return f"{x + radius * math.cos(angle):.1f} {y - radius * math.sin(angle):.1f}"

    def sector(number: int, n: int) -> Markup:
        radius = ROSE_RADIUS * math.sqrt(n / most)
        start, end = number * turn, (number + 1) * turn
        arc = f"A{radius:.1f} {radius:.1f} 0 0 0 {at(radius, end)}"
        return tag(
            "g",
            tag("title", f"{math.degrees(start):.0f} to {math.degrees(end):.0f} degrees: {n}"),
            tag("path", class_="bar", d=f"M{at(0, 0)} L{at(radius, start)} {arc} Z"),
        )

    words = (
        (ROSE_RADIUS + 8, 4, "start", "x, right"),
        (-ROSE_RADIUS - 8, 4, "end", "left"),
        (0, -ROSE_RADIUS - 8, "middle", "y, away"),
        (0, ROSE_RADIUS + 16, "middle", "nearer"),
    )
    return svg(
        WIDTH,
        2 * ROSE_RADIUS + 42,
        "directions",
        *(tag("circle", class_="ring", cx=x, cy=y, r=ROSE_RADIUS * math.sqrt(share)) for share in (0.5, 1)),
        *(sector(number, n) for number, n in enumerate(counts) if n),
        *(
            tag("text", word, class_="axis", x=x + dx, y=y + dy, style=f"text-anchor: {anchor}")
            for dx, dy, anchor, word in words
        ),
    )


# --- A clip ----------------------------------------------------------------------------------


def speed_chart(view: SceneView) -> Markup:
    """How fast every object is over time, with the collisions above."""
    fastest = max(thing.top_speed_mps for thing in view.objects.values())
    n_ticks = max(1, math.ceil(fastest / SPEED_TICK_MPS - 1e-6))
    n_frames, hits = view.row.n_frames, [hit.time_s * view.fps for hit in view.collisions]
    plot = Plot(WIDTH, HEIGHT, (0, max(n_frames - 1, 1)), (0, n_ticks * SPEED_TICK_MPS), bottom=36)
    marks = number_places([plot.x_of(frame) for frame in hits])
    plot = replace(plot, top=8 + max((y + MARK_RADIUS for _, y in marks), default=0))

    def line(thing: ObjectView) -> Markup:
        values = list(enumerate(thing.speeds_mps))
        return tag(
            "g",
            tag("title", f"{thing.instance_id}: {thing.noun}"),
            plot.line(values, "edge"),
            plot.line(values, "path"),
            class_=f"speed {thing.shape} {'controlled' if thing.controlled else 'free'}",
            style=f"--c: {thing.colour}",
        )

    return plot.svg(
        "speed of the objects over time",
        plot.grid({tick * SPEED_TICK_MPS: f"{tick * SPEED_TICK_MPS:g}" for tick in range(n_ticks + 1)}),
        plot.ticks(frame_ticks(n_frames, MAX_FRAME_TICKS)),
        plot.title(f"frame, {view.fps:g} a second"),
        *(tag("path", class_="strike", d=f"M{x:.1f} {y:.1f}V{plot.floor:g}") for x, y in marks),
        *(line(thing) for thing in view.objects.values() if thing.top_speed_mps >= MOVES_MPS),
        *(number_mark(number, place) for number, place in enumerate(marks, start=1)),
        plot.playhead(),
    )


def number_places(xs: Sequence[float]) -> list[Point]:
    """Each number above its moment, in the first row in which it covers no other."""
    places: list[Point] = []
    for x in xs:
        rows = ((x, MARK_RADIUS + 1 + LANE * number) for number in range(len(xs)))
        places.append(next(place for place in rows if is_free(place, places)))
    return places


def number_mark(number: int, place: Point) -> Markup:
    """A collision's number; it is the same in all drawings of the clip."""
    x, y = place
    return tag("g", tag("circle", cx=x, cy=y, r=MARK_RADIUS), tag("text", number, x=x, y=y + 3.5), class_="hit")


def is_free(place: Point, taken: Sequence[Point]) -> bool:
    """Does a number at this place cover none of those at the others?"""
    return all(math.dist(place, other) >= 2 * MARK_RADIUS for other in taken)
