"""Things that an animal can stand beside or on, of one colour: a few shapes, chosen by noun.

    thing = ThingFigure.of("bench", colour=(30, 84, 206), width=84, max_height=72)
    thing.draw(canvas, "id2", (208, 168))        its foot's middle; thing.top is 41 px above

A thing is all tones of one colour, without gaps or parts on a thin neck: a colour detector would take such a part for
another thing. Unknown things are drawn as a box.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tasks.backends.drawn_videos.looks import head_noun
from tasks.media.drawing.canvas import Canvas, Colour, Point, disc, hull, shade

LINE, DARK, LIGHT = 0.64, 0.82, 1.14  # tones; dark lines inside would cut a thing into pieces


class Frame(NamedTuple):
    """Turns shares of a thing's width (from its middle, -0.5..0.5) and height (from its foot, 0..1) into px."""

    foot: Point
    width: float
    height: float

    def at(self, across: float, up: float) -> Point:
        return self.foot[0] + across * self.width, self.foot[1] - up * self.height

    def area(self, left: float, bottom: float, right: float, top: float) -> list[Point]:
        """The corners of a rectangle."""
        return [self.at(left, top), self.at(right, top), self.at(right, bottom), self.at(left, bottom)]

    def rim(self, up: float, half: float) -> np.ndarray:
        """(24, 2) the rim of a round thing at a height, seen slightly from above."""
        return disc(self.at(0, up), half * self.width, half * self.width * 0.16)


ThingPainter = Callable[[Canvas, Frame, Colour], None]


class ThingShape(NamedTuple):
    """How a thing is drawn."""

    paint: ThingPainter
    height: float  # over its width
    top: float = 0.97  # of its height: where an animal stands


def _crate(canvas: Canvas, frame: Frame, colour: Colour) -> None:
    lid = [frame.at(-0.5, 0.84), frame.at(-0.42, 1), frame.at(0.42, 1), frame.at(0.5, 0.84)]
    canvas.shape(colour, lid, frame.area(-0.5, 0, 0.5, 0.84))
    canvas.detail(shade(colour, LIGHT), lid)
    canvas.detail(shade(colour, DARK), *(frame.area(x - 0.05, 0.02, x + 0.05, 0.84) for x in (-0.44, 0.44)))
    for up in (0.28, 0.56, 0.84):
        canvas.stroke(shade(colour, LINE), [frame.at(-0.49, up), frame.at(0.49, up)], 1.2)


def _table(canvas: Canvas, frame: Frame, colour: Colour) -> None:
    top = [frame.at(-0.5, 0.8), frame.at(-0.46, 1), frame.at(0.46, 1), frame.at(0.5, 0.8)]
    canvas.shape(colour, frame.area(-0.46, 0, 0.46, 0.82), top)
    canvas.detail(shade(colour, LINE), frame.area(-0.37, 0, 0.37, 0.62))  # in the shade below it
    canvas.detail(
        shade(colour, DARK),
        frame.area(-0.46, 0.62, 0.46, 0.8),
        frame.area(-0.24, 0.1, -0.18, 0.62),
        frame.area(0.18, 0.1, 0.24, 0.62),
    )
    canvas.detail(shade(colour, LIGHT), top)


def _bench(canvas: Canvas, frame: Frame, colour: Colour) -> None:
    canvas.shape(colour, frame.area(-0.46, 0, 0.46, 0.7), frame.area(-0.5, 0.6, 0.5, 1))
    canvas.detail(shade(colour, LINE), frame.area(-0.3, 0, 0.3, 0.56))  # in the shade below it
    canvas.detail(shade(colour, DARK), frame.area(-0.3, 0.22, 0.3, 0.38))
    canvas.detail(shade(colour, LIGHT), frame.area(-0.49, 0.84, 0.49, 0.98))
    canvas.stroke(shade(colour, LINE), [frame.at(-0.49, 0.8), frame.at(0.49, 0.8)], 1.2)


def _chair(canvas: Canvas, frame: Frame, colour: Colour) -> None:
    """An armchair from the front; animals stand on its back."""
    legs = [frame.area(x - 0.05, 0, x + 0.05, 0.2) for x in (-0.36, 0.36)]
    back = hull(*((frame.at(x, up), frame.height * 0.1) for x in (-0.32, 0.32) for up in (0.3, 0.9)))
    arms = [frame.area(x - 0.08, 0.12, x + 0.08, 0.5) for x in (-0.42, 0.42)]
    rests = [disc(frame.at(x, 0.5), frame.width * 0.08) for x in (-0.42, 0.42)]
    canvas.shape(colour, *legs, back, *arms, *rests, frame.area(-0.4, 0.12, 0.4, 0.4))
    canvas.detail(shade(colour, LIGHT), hull(*((frame.at(x, 0.44), frame.height * 0.07) for x in (-0.26, 0.26))))
    canvas.detail(shade(colour, DARK), frame.area(-0.34, 0.14, 0.34, 0.34), *arms)
    canvas.detail(shade(colour, 0.9), *rests)


def _stump(canvas: Canvas, frame: Frame, colour: Colour) -> None:
    bark = [(-0.5, 0.0), (-0.42, 0.14), (-0.39, 0.5), (-0.4, 0.9), (0.4, 0.9), (0.39, 0.5), (0.42, 0.14), (0.5, 0.0)]
    top = frame.rim(0.9, 0.4)
    canvas.shape(shade(colour, 0.9), [frame.at(*point) for point in bark], frame.rim(0.06, 0.4), top)
    for across in (-0.26, -0.08, 0.12, 0.28):
        canvas.stroke(shade(colour, LINE), [frame.at(across, 0.12), frame.at(across * 0.94, 0.74)], 1.4)
    canvas.detail(shade(colour, LIGHT), top)
    for half in (0.27, 0.13):
        canvas.stroke(shade(colour, DARK), [(x, y) for x, y in frame.rim(0.9, half)], 1.0)


def _log(canvas: Canvas, frame: Frame, colour: Colour) -> None:
    radius = frame.height / 2
    half = frame.width / 2 - radius * 0.7
    (x, y), (left, right) = frame.at(0, 0.5), (frame.foot[0] - half, frame.foot[0] + half)
    trunk = [(left, y - radius), (right, y - radius), (right, y + radius), (left, y + radius)]
    cut = disc((right, y), radius * 0.7, radius)
    canvas.shape(shade(colour, 0.9), trunk, disc((left, y), radius * 0.7, radius), cut)
    for up, start in ((0.2, -0.3), (0.46, -0.38), (0.74, -0.22)):
        canvas.stroke(shade(colour, LINE), [frame.at(start, up), (x + 0.6 * half, frame.at(0, up)[1])], 1.4)
    canvas.detail(shade(colour, LIGHT), cut)
    canvas.stroke(shade(colour, DARK), [(x, y) for x, y in disc((right, y), radius * 0.36, radius * 0.52)], 1.0)


def _rock(canvas: Canvas, frame: Frame, colour: Colour) -> None:
    rim = [(-0.5, 0.0), (-0.47, 0.36), (-0.36, 0.74), (-0.2, 0.98), (0.12, 1.0), (0.3, 0.9), (0.43, 0.52), (0.5, 0.0)]
    lit, shaded = [(-0.3, 0.72), (-0.17, 0.92), (0.1, 0.94), (0, 0.7)], [(0.1, 0), (0.24, 0.5), (0.4, 0.46), (0.47, 0)]
    canvas.shape(shade(colour, 0.94), [frame.at(*point) for point in rim])
    canvas.detail(shade(colour, LIGHT), [frame.at(*point) for point in lit])
    canvas.detail(shade(colour, DARK), [frame.at(*point) for point in shaded])
    canvas.stroke(shade(colour, LINE), [frame.at(-0.28, 0.1), frame.at(-0.2, 0.34), frame.at(-0.3, 0.52)], 1.2)


def _bucket(canvas: Canvas, frame: Frame, colour: Colour) -> None:
    """A bucket, pot or basket upside down, so that an animal can stand on it."""
    side = [frame.at(-0.5, 0.07), frame.at(-0.4, 0.92), frame.at(0.4, 0.92), frame.at(0.5, 0.07)]
    light = [frame.at(-0.36, 0.2), frame.at(-0.3, 0.8), frame.at(-0.2, 0.8), frame.at(-0.24, 0.2)]
    bottom = frame.rim(0.92, 0.4)
    canvas.shape(shade(colour, 0.94), side, frame.rim(0.08, 0.5), bottom)
    canvas.detail(shade(colour, LIGHT), light, bottom)
    for up in (0.2, 0.34):
        canvas.stroke(shade(colour, LINE), [frame.at(-0.46, up), frame.at(0, up - 0.05), frame.at(0.46, up)], 1.6)


def _barrel(canvas: Canvas, frame: Frame, colour: Colour) -> None:
    up = np.linspace(0.06, 0.92, 9)
    bulge = 0.4 + 0.1 * np.sin(np.pi * (up - 0.06) / 0.86)
    staves = [frame.at(-half, u) for half, u in zip(bulge, up, strict=True)]
    staves += [frame.at(half, u) for half, u in zip(bulge[::-1], up[::-1], strict=True)]
    lid = frame.rim(0.92, 0.4)
    canvas.shape(shade(colour, 0.94), staves, frame.rim(0.07, 0.4), lid)
    for level in (0.24, 0.7):
        canvas.stroke(
            shade(colour, LINE), [frame.at(-0.47, level), frame.at(0, level - 0.05), frame.at(0.47, level)], 2.4
        )
    canvas.detail(shade(colour, LIGHT), lid)


def _hydrant(canvas: Canvas, frame: Frame, colour: Colour) -> None:
    outlets = [disc(frame.at(x, 0.56), frame.width * 0.1, frame.height * 0.1) for x in (-0.38, 0.38)]
    base, collar = frame.area(-0.42, 0, 0.42, 0.1), frame.area(-0.4, 0.76, 0.4, 0.86)
    cap = hull(*((frame.at(x, 0.92), frame.height * 0.06) for x in (-0.2, 0.2)))
    canvas.shape(colour, base, *outlets, frame.area(-0.32, 0, 0.32, 0.8), collar, cap)
    canvas.detail(shade(colour, DARK), base, *outlets, disc(frame.at(0, 0.54), frame.width * 0.17))
    canvas.detail(shade(colour, LINE), disc(frame.at(0, 0.54), frame.width * 0.08))
    canvas.detail(shade(colour, LIGHT), collar, frame.area(-0.22, 0.2, -0.12, 0.7))


def _post(canvas: Canvas, frame: Frame, colour: Colour) -> None:
    """A lamp, a mailbox, a sign: wide on top, narrow below."""
    head = [frame.at(-0.5, 0.3), frame.at(-0.34, 0.98), frame.at(0.34, 0.98), frame.at(0.5, 0.3)]
    foot = hull(*((frame.at(x, 0.05), frame.height * 0.05) for x in (-0.26, 0.26)), (frame.at(0, 0.26), 2.0))
    canvas.shape(colour, frame.area(-0.14, 0, 0.14, 0.4), foot, head)
    canvas.detail(shade(colour, DARK), foot)
    light = [frame.at(-0.4, 0.36), frame.at(-0.26, 0.92), frame.at(-0.08, 0.92), frame.at(-0.1, 0.36)]
    canvas.detail(shade(colour, LIGHT), light)


def _mound(canvas: Canvas, frame: Frame, colour: Colour) -> None:
    """Bushes, hay, cushions: round and soft."""
    lobes = [(-0.28, 0.36, 0.22), (0.28, 0.36, 0.22), (-0.14, 0.66, 0.22), (0.16, 0.66, 0.22), (0, 0.36, 0.26)]
    blobs = [disc(frame.at(x, up), r * frame.width, frame.height * 0.34) for x, up, r in lobes]
    canvas.shape(shade(colour, 0.92), *blobs, frame.area(-0.42, 0, 0.42, 0.3))
    canvas.detail(shade(colour, LIGHT), disc(frame.at(-0.14, 0.76), frame.width * 0.1, frame.height * 0.12))


def _ball(canvas: Canvas, frame: Frame, colour: Colour) -> None:
    radius = frame.height / 2
    canvas.shape(shade(colour, 0.92), disc(frame.at(0, 0.5), radius))
    canvas.detail(colour, disc(frame.at(-0.05, 0.55), radius * 0.8))
    canvas.stroke(shade(colour, LINE), [frame.at(-0.4, 0.62), frame.at(0, 0.42), frame.at(0.4, 0.62)], 1.6)


def _slab(canvas: Canvas, frame: Frame, colour: Colour) -> None:
    """Low and flat: a bed, a rug, a book."""
    top = [frame.at(-0.5, 0.62), frame.at(-0.43, 1), frame.at(0.43, 1), frame.at(0.5, 0.62)]
    canvas.shape(shade(colour, 0.88), frame.area(-0.5, 0, 0.5, 0.62), top)
    canvas.detail(colour, top)
    canvas.stroke(shade(colour, LINE), [frame.at(-0.48, 0.32), frame.at(0.48, 0.32)], 1.4)


def _shelves(canvas: Canvas, frame: Frame, colour: Colour) -> None:
    """A dresser, a bookshelf, a ladder: boards, one above the other."""
    canvas.shape(colour, frame.area(-0.5, 0, 0.5, 1))
    for up in (0.06, 0.37, 0.68):
        canvas.detail(shade(colour, DARK), frame.area(-0.42, up, 0.42, up + 0.24))
        canvas.detail(shade(colour, LINE), disc(frame.at(0, up + 0.12), frame.width * 0.05))
    canvas.detail(shade(colour, LIGHT), frame.area(-0.49, 0.95, 0.49, 0.99))


def _tent(canvas: Canvas, frame: Frame, colour: Colour) -> None:
    """Sloping sides: a tent, a cone, a heap of sand."""
    sides = [frame.at(-0.5, 0), frame.at(-0.2, 1), frame.at(0.2, 1), frame.at(0.5, 0)]
    canvas.shape(colour, sides)
    light = [frame.at(-0.4, 0.1), frame.at(-0.17, 0.92), frame.at(0, 0.92), frame.at(-0.16, 0.1)]
    canvas.detail(shade(colour, LIGHT), light)
    canvas.detail(shade(colour, LINE), [frame.at(-0.04, 0), frame.at(0.1, 0.7), frame.at(0.24, 0)])


def _bicycle(canvas: Canvas, frame: Frame, colour: Colour) -> None:
    radius, tube = frame.width * 0.22, frame.width * 0.03
    hubs = [(frame.at(x, 0)[0], frame.foot[1] - radius) for x in (-0.28, 0.28)]
    joints = [hubs[0], frame.at(0, 0.3), frame.at(0.2, 0.8), frame.at(-0.14, 0.8)]
    tubes = [hull((joints[a], tube), (joints[b], tube)) for a, b in ((0, 1), (1, 2), (2, 3), (3, 0), (1, 3))]
    tubes.append(hull((hubs[1], tube), (frame.at(0.18, 0.95), tube)))
    grips = [hull(*((frame.at(x, 0.95), tube * 1.4) for x in pair)) for pair in ((-0.3, 0.0), (0.1, 0.34))]
    wheels = [disc(hub, radius) for hub in hubs]
    canvas.shape(colour, *wheels, [joints[0], joints[3], joints[2], hubs[1]], *tubes, *grips)
    canvas.detail(shade(colour, LINE), joints)
    canvas.detail(shade(colour, DARK), *(disc(hub, radius * 0.74) for hub in hubs))
    canvas.detail(shade(colour, LIGHT), *tubes)


def _same(shape: ThingShape, nouns: str) -> dict[str, ThingShape]:
    return dict.fromkeys(nouns.split(), shape)


_BOX = ThingShape(_crate, 0.68, 0.93)
SHAPE_OF_NOUN: dict[str, ThingShape] = {
    **_same(_BOX, "box crate bale toolbox suitcase backpack dice chest trunk"),
    **_same(ThingShape(_table, 0.56), "table desk stool workbench piano anvil wheelbarrow cart wagon"),
    **_same(ThingShape(_bench, 0.5), "bench pew ledge pallet step bridge fence railing"),
    **_same(ThingShape(_chair, 0.72, 0.98), "chair armchair sofa couch seat throne"),
    **_same(ThingShape(_stump, 0.6, 0.93), "stump tree pedestal drum fountain"),
    **_same(ThingShape(_stump, 1.0, 0.95), "post pillar column statue bollard"),
    **_same(ThingShape(_log, 0.4), "log pipe canoe boat kayak"),
    **_same(ThingShape(_rock, 0.6), "rock stone boulder hill"),
    **_same(ThingShape(_bucket, 0.76, 0.95), "bucket pail basket pot flowerpot planter vase bowl can cup"),
    **_same(ThingShape(_barrel, 0.9, 0.95), "barrel keg tank urn jar well"),
    **_same(ThingShape(_hydrant, 1.1), "hydrant pump"),
    **_same(ThingShape(_post, 1.1), "lamp lantern lamppost mailbox birdbath sign signpost mushroom umbrella"),
    **_same(ThingShape(_mound, 0.56, 0.94), "bush hedge shrub haystack cushion pillow pouf ottoman beanbag sack pile"),
    **_same(
        ThingShape(_ball, 1.0),
        "ball football basketball volleyball balloon globe orange marble pumpkin melon watermelon",
    ),
    **_same(ThingShape(_slab, 0.34, 0.9), "bed mattress rug mat book blanket raft tray plank surfboard skateboard"),
    **_same(ThingShape(_shelves, 1.0), "dresser bookshelf shelf cupboard cabinet ladder"),
    **_same(ThingShape(_tent, 0.66), "tent sandcastle cone pyramid slide"),
    **_same(ThingShape(_bicycle, 0.68, 0.98), "bicycle bike motorcycle scooter tricycle"),
}


@dataclass(frozen=True)
class ThingFigure:
    """A thing to be drawn."""

    shape: ThingShape
    colour: Colour
    width: float  # px

    @classmethod
    def of(cls, noun: str, colour: Colour, width: float, max_height: float) -> ThingFigure:
        """noun: its head noun chooses the shape. Shapes higher than max_height are drawn smaller."""
        shape = SHAPE_OF_NOUN.get(head_noun(noun), _BOX)
        return cls(shape, colour, min(width, max_height / shape.height))

    def scaled(self, factor: float) -> ThingFigure:
        return replace(self, width=self.width * factor)

    @property
    def height(self) -> float:
        return self.width * self.shape.height

    @property
    def top(self) -> float:
        """px above its foot where an animal stands on it."""
        return self.height * self.shape.top

    def draw(self, canvas: Canvas, name: str | None, foot: Point) -> None:
        canvas.draw_as(name)
        self.shape.paint(canvas, Frame(foot, self.width, self.height), self.colour)
