"""What the accepted clips are like, as inline SVG.

rose([4, 0, 2, ...]) -> <svg class="chart" ...> sectors of a disc, counter-clockwise from x
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl
from markupsafe import Markup

from schemas.kinemask import SPEED_STEP_MPS, KinemaskStatistics
from schemas.storage import AnyPath
from schemas.tables import Named
from tasks.pages.charts import WIDTH, columns, svg, word_bars
from tasks.pages.colours import css, of_unit
from tasks.pages.rows import scan

MAX_WORDS = 15
ROSE_RADIUS = 88
FRAMES_PER_NAME = 12


@dataclass(frozen=True)
class Charts:
    """What the accepted clips are like."""

    clips: Sequence[Named]
    directions: Markup
    speeds: Markup
    collisions_per_frame: Markup
    collisions_per_clip: Markup
    objects_per_clip: Markup
    colours: Markup
    shapes: Sequence[Named]
    floors: Sequence[Named]


def charts(statistics: KinemaskStatistics, colours: Mapping[str, str]) -> Charts:
    """colours: by name, as CSS."""
    speeds = [f"{SPEED_STEP_MPS * step:.1f}" for step in range(len(statistics.speeds))]
    return Charts(
        clips=statistics.clips,
        directions=rose(statistics.directions),
        speeds=columns(statistics.speeds, "from … m/s", speeds, every=2),
        collisions_per_frame=columns(statistics.collisions_per_frame, "frame", every=FRAMES_PER_NAME),
        collisions_per_clip=columns(statistics.collisions_per_clip, "collisions in a clip"),
        objects_per_clip=columns(statistics.objects_per_clip, "objects in a clip"),
        colours=word_bars(statistics.colours[:MAX_WORDS], colours),
        shapes=statistics.shapes,
        floors=statistics.floors[:MAX_WORDS],
    )


def typical_colours(snapshot: AnyPath) -> dict[str, str]:
    """The middle of all colours that go by a name, as CSS."""
    named = scan(snapshot, "objects").select(
        "colour", *(pl.col("rgb").arr.get(i).alias(c) for i, c in enumerate("rgb"))
    )
    middles = named.group_by("colour").median().sort("colour").collect()
    return {name: css(of_unit((r, g, b))) for name, r, g, b in middles.iter_rows()}


def rose(counts: Sequence[int]) -> Markup:
    """How many go into each of N equal sectors, from x counter-clockwise -> sectors whose areas are the counts."""
    most = max(counts, default=0) or 1
    middle = (WIDTH / 2, ROSE_RADIUS + 20)
    turn = 2 * math.pi / max(len(counts), 1)

    def at(radius: float, angle: float) -> str:
        return f"{middle[0] + radius * math.cos(angle):.1f} {middle[1] - radius * math.sin(angle):.1f}"

    def sector(number: int, n: int) -> Markup:
        radius = ROSE_RADIUS * math.sqrt(n / most)
        start, end = number * turn, (number + 1) * turn
        return Markup(
            "<g><title>{:.0f} to {:.0f} degrees: {}</title>"
            '<path class="bar" d="M{} L{} A{r:.1f} {r:.1f} 0 0 0 {} Z"/></g>'
        ).format(math.degrees(start), math.degrees(end), n, at(0, 0), at(radius, start), at(radius, end), r=radius)

    rings = [
        Markup('<circle class="ring" cx="{}" cy="{}" r="{:.1f}"/>').format(*middle, ROSE_RADIUS * math.sqrt(share))
        for share in (0.5, 1)
    ]
    words = [
        Markup('<text x="{:.1f}" y="{:.1f}" class="axis" style="text-anchor: {}">{}</text>').format(
            middle[0] + dx, middle[1] + dy, anchor, word
        )
        for dx, dy, anchor, word in (
            (ROSE_RADIUS + 8, 4, "start", "x, right"),
            (-ROSE_RADIUS - 8, 4, "end", "left"),
            (0, -ROSE_RADIUS - 8, "middle", "y, away"),
            (0, ROSE_RADIUS + 16, "middle", "nearer"),
        )
    ]
    return svg(
        WIDTH, 2 * ROSE_RADIUS + 42, "directions", [*rings, *(sector(k, n) for k, n in enumerate(counts) if n), *words]
    )
