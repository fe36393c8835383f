"""What the drawings of a clip share: its objects' colours and the numbers of its collisions.

number_mark(2, 40.0, 12.0) -> <g class="hit"><circle .../><text ...>2</text></g>
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from schemas.kinemask import ObjectRow
from tasks.pages.colours import css, of_unit

Point = tuple[float, float]  # in a drawing, y down

MARK_RADIUS = 7.5  # of a collision's number, in the drawing's units


def colour_of(row: ObjectRow) -> str:
    """The object's own colour, as CSS."""
    return css(of_unit(row.rgb))


def number_mark(number: int, x: float, y: float) -> Markup:
    return Markup(
        '<g class="hit"><circle cx="{x:.1f}" cy="{y:.1f}" r="{r}"/><text x="{x:.1f}" y="{ty:.1f}">{n}</text></g>'
    ).format(x=x, y=y, r=MARK_RADIUS, ty=y + 3.5, n=number)


def is_free(place: Point, taken: Sequence[Point]) -> bool:
    """Does a number at this place cover none of those at the others?"""
    return all(math.dist(place, other) >= 2 * MARK_RADIUS for other in taken)
