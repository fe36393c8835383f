"""The colours of what a body wears, measured where its points say that the garment is.

    garment_share(picture, body, <blue jeans>)  ->  0.71: of the pixels between hips and ankles, skin left out
    outfit_of(picture, body, description)       ->  Outfit(share=0.71, fits=True, "71% of the jeans are blue")
    headless_box(picture, people, description)  ->  (4,): clothes and arms of someone whose head is out of the picture

A shirt lies between shoulders and hips, trousers between hips and ankles; a skirt ends at the knees.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from tasks.backends.agreement.bodies import HIPS, SHOULDERS, Body
from tasks.backends.agreement.masks import bounding_box
from tasks.backends.colour.palette import SKIN, STRONG_MEMBERSHIP, Picture, Tint
from tasks.backends.colour.phrases import BodyRegion, Description, Garment
from tasks.backends.optical_flow.shapes import largest_piece

KNEES, ANKLES = (25, 26), (27, 28)
TRUNK_WIDTH, LEG_WIDTH, SHIN_WIDTH = (
    0.4,
    0.3,
    0.2,
)  # of the trunk's length: also a body seen from the side has a breadth
TRUNK_END, SHIN_END = 0.8, 0.8  # of the way from shoulders to hips and from knee to ankle: no belt, no shoes
MIN_GARMENT_SHARE = 0.55  # dark blue jeans are black in up to 0.46
MIN_EACH_SHARE = 0.06  # for each of several colours
SHORT = frozenset({"skirt", "shorts"})
MIN_PLACE_PX = 60  # fewer pixels tell nothing
# Cloth that people call by the first colour is also measured as the second: white in the shade, bluish green.
CALLED = {Tint("white"): Tint("silver", "light"), Tint("green"): Tint("teal")}

# Of a person without a head, in shares of the mask of people, unless stated.
MAX_PEOPLE_SHARE = 0.6  # of the picture: more is a wall that the network mistakes
MIN_CLOTHES_SHARE, SKIN_SHARES = 0.3, (0.08, 0.5)
MIN_CLOTHES_INSIDE = 0.7  # of the clothes' colours in the picture: elsewhere they are a wall's


class Outfit(NamedTuple):
    """How well a body's clothes have the colours of a description."""

    share: float  # 0..1: of the garment that fits least; 1 if the words name no colour
    fits: bool
    reason: str
    is_told: bool = True  # whether the words name a colour


def outfit_of(picture: Picture, body: Body, description: Description) -> Outfit:
    """The clothes against the words. A garment that is out of the picture proves nothing: it must be seen."""
    share, reasons, fits = 1.0, [], True
    for garment in description.large_garments:
        name = f"{' and '.join(map(str, garment.tints))} {garment.word}"
        seen = garment_share(picture, body, garment)
        if seen is None:
            return Outfit(0.0, False, f"the {name} is not in view")
        has = f"{seen:.0%} of where the {name} belongs has its colour (needs {MIN_GARMENT_SHARE:.0%})"
        fits &= seen >= MIN_GARMENT_SHARE
        for tint in garment.tints if len(garment.tints) > 1 else ():
            each = garment_share(picture, body, garment._replace(tints=(tint,))) or 0.0
            if each < MIN_EACH_SHARE:
                fits, has = False, f"{each:.0%} of the {garment.word} is {tint} (needs {MIN_EACH_SHARE:.0%})"
        share = min(share, seen)
        reasons.append(has)
    return Outfit(share, fits, "; ".join(reasons) or "no colour of clothes is named", is_told=bool(reasons))


def garment_share(picture: Picture, body: Body, garment: Garment) -> float | None:
    """0..1: how much of a garment's place has its colours; None if the place is out of the picture."""
    place = garment_place(body, garment.region, short=garment.word in SHORT)
    has = _has(picture, garment.tints)
    skin = (picture.within([SKIN]) >= STRONG_MEMBERSHIP) & ~has
    place &= ~skin
    n = int(np.count_nonzero(place))
    return float(np.count_nonzero(place & has)) / n if n >= MIN_PLACE_PX else None


def headless_box(picture: Picture, people: np.ndarray, description: Description) -> np.ndarray | None:
    """(4,) px: clothes and arms below the picture's upper edge that are a person's; None if there is no such person.

    people: (H, W) bool. The mask of people tells where someone is, the clothes' colours that it is the described one;
    what the hands hold has neither their colour nor skin's.
    """
    tints = tuple(tint for garment in description.large_garments for tint in garment.tints)
    if not tints or not people[0].any() or people.mean() > MAX_PEOPLE_SHARE:
        return None
    clothes = _has(picture, tints)
    skin = (picture.within([SKIN]) >= STRONG_MEMBERSHIP) & ~clothes
    worn, bare = _share(clothes, people), _share(skin, people)
    if worn < MIN_CLOTHES_SHARE or not SKIN_SHARES[0] <= bare <= SKIN_SHARES[1]:
        return None
    if _share(people, clothes) < MIN_CLOTHES_INSIDE:
        return None
    figure = cv2.morphologyEx(((clothes | skin) & people).astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    return bounding_box(largest_piece(figure > 0))


def _share(mask: np.ndarray, of: np.ndarray) -> float:
    """0..1: how much of a mask another one covers."""
    return float(np.count_nonzero(mask & of)) / max(int(np.count_nonzero(of)), 1)


def _has(picture: Picture, tints: tuple[Tint, ...]) -> np.ndarray:
    """(H, W) bool: pixels of the colours, as cloth."""
    return picture.has((*tints, *(CALLED[tint] for tint in tints if tint in CALLED)))


def garment_place(body: Body, region: BodyRegion, short: bool = False) -> np.ndarray:
    """(H, W) bool: the body's pixels that a garment covers."""
    place = np.zeros(body.mask.shape, np.uint8)
    if region in ("upper", "whole"):
        _fill_trunk(place, body)
    if region in ("lower", "whole"):
        _draw_legs(place, body, short=short or region == "whole")
    covered: np.ndarray = (place > 0) & body.mask
    return covered


def _fill_trunk(place: np.ndarray, body: Body) -> None:
    shoulders, hips = body.points[list(SHOULDERS)], body.points[list(HIPS)]
    waist = shoulders + (hips - shoulders) * TRUNK_END
    corners = np.clip(np.concatenate([shoulders, waist]), -(2**14), 2**14)
    cv2.fillConvexPoly(place, cv2.convexHull(np.round(corners).astype(np.int32)), 1)
    _draw(place, shoulders.mean(0), waist.mean(0), _trunk_px(body) * TRUNK_WIDTH)


def _draw_legs(place: np.ndarray, body: Body, *, short: bool) -> None:
    for hip, knee, ankle in zip(HIPS, KNEES, ANKLES, strict=True):
        _draw(place, body.points[hip], body.points[knee], _trunk_px(body) * LEG_WIDTH)
        if not short:
            shin = body.points[knee] + (body.points[ankle] - body.points[knee]) * SHIN_END
            _draw(place, body.points[knee], shin, _trunk_px(body) * SHIN_WIDTH)


def _trunk_px(body: Body) -> float:
    """Shoulders to hips."""
    return float(np.hypot(*(body.points[list(SHOULDERS)].mean(0) - body.points[list(HIPS)].mean(0))))


def _draw(place: np.ndarray, start: np.ndarray, end: np.ndarray, width_px: float) -> None:
    (x0, y0), (x1, y1) = (np.clip(np.round(point), -(2**14), 2**14).astype(int) for point in (start, end))
    cv2.line(place, (int(x0), int(y0)), (int(x1), int(y1)), 1, max(round(width_px), 1))
