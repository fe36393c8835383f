"""Animals in profile, of one colour: four-legged animals, birds and creepers.

    animal = AnimalFigure.of("fox", coat=(246, 122, 14), size=34)
    animal.draw(canvas, "id1", AnimalPose(x=120, y=196, facing=1, travelled=30.0))

Everything except the eye is a tone of the coat, so a colour detector finds the whole animal. Unknown animals are drawn
as a dog.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from tasks.backends.drawn_videos.looks import head_noun
from tasks.media.drawing.canvas import Canvas, Colour, Point, Polygon, disc, hull, shade
from tasks.media.drawing.figures import joint, step

EYE: Colour = (30, 26, 28)
FAR_TONE, LIGHT_TONE = 0.78, 1.16
STRIDE = 0.22  # of the size: half a step


class AnimalPose(NamedTuple):
    """Where an animal is: x of its middle, y of what it stands on, px."""

    x: float
    y: float
    facing: int = 1  # 1 looks right, -1 left
    travelled: float = 0.0  # px walked so far: moves the legs
    airborne: float = 0.0  # 0 stands, 1 is in the middle of a leap


@dataclass(frozen=True)
class FourLegged:
    """Proportions, relative to the height at the shoulder."""

    trunk: float = 0.5  # half of its length
    girth: float = 0.25  # radius of the chest
    leg: float = 0.1  # thickness
    neck: Point = (0.74, 1.12)  # the head's middle: forward, up
    head: float = 0.23
    snout: float = 0.3
    ears: Literal["pointed", "round", "floppy", "long"] = "pointed"
    tail: Literal["plain", "bushy", "plume", "curled", "stub"] = "plain"
    height: float = 1.0  # of the usual size


@dataclass(frozen=True)
class Bird:
    """Proportions, relative to the height of the back."""

    leg: float = 0.38  # length
    neck: Point = (0.56, 1.16)
    beak: float = 0.26
    height: float = 1.0


@dataclass(frozen=True)
class Creeper:
    """Low, on short legs. Proportions, relative to the height of the back."""

    trunk: float = 0.92  # half of its length
    neck: Point = (1.2, 0.52)
    shell: bool = True
    tail: float = 0.34  # length
    height: float = 0.8


Build = FourLegged | Bird | Creeper

_DOG = FourLegged(ears="floppy")
_CAT = FourLegged(girth=0.23, snout=0.1, head=0.25, tail="curled", height=0.95)
_FOX = FourLegged(girth=0.22, snout=0.36, tail="bushy", height=0.92)
_BEAR = FourLegged(trunk=0.55, girth=0.34, leg=0.15, head=0.27, snout=0.24, ears="round", tail="stub")
_MONKEY = FourLegged(trunk=0.42, snout=0.08, head=0.27, ears="round", tail="curled")
_RABBIT = FourLegged(
    trunk=0.36, girth=0.32, leg=0.12, neck=(0.6, 1.02), head=0.25, snout=0.1, ears="long", tail="stub", height=0.82
)
_SQUIRREL = FourLegged(
    trunk=0.4, girth=0.27, neck=(0.66, 1.04), head=0.23, snout=0.14, ears="round", tail="plume", height=0.8
)
_MOUSE = FourLegged(trunk=0.42, girth=0.34, neck=(0.72, 0.82), head=0.25, snout=0.26, ears="round", height=0.72)
_PIG = FourLegged(trunk=0.55, girth=0.36, leg=0.13, neck=(0.84, 0.9), head=0.27, snout=0.2, tail="stub", height=0.86)
_SHEEP = FourLegged(trunk=0.5, girth=0.38, head=0.22, snout=0.2, ears="floppy", tail="stub")
_GOAT = FourLegged(trunk=0.5, girth=0.28, neck=(0.78, 1.26), head=0.2, snout=0.28, tail="stub")
_HORSE = FourLegged(trunk=0.56, girth=0.26, leg=0.09, neck=(0.92, 1.42), head=0.17, snout=0.36, tail="bushy")
_BIRD, _DUCK = Bird(), Bird(leg=0.18, neck=(0.62, 1.3), beak=0.32, height=0.92)
_WADER = Bird(leg=0.6, neck=(0.6, 1.55), beak=0.4, height=0.95)
_TURTLE = Creeper()
_LIZARD = Creeper(trunk=1.2, neck=(1.5, 0.7), shell=False, tail=1.3, height=0.62)
_FROG = Creeper(trunk=0.8, neck=(0.8, 0.92), shell=False, tail=0.0, height=0.9)


def _same(build: Build, nouns: str) -> dict[str, Build]:
    return dict.fromkeys(nouns.split(), build)


BUILDS: dict[str, Build] = {
    **_same(_DOG, "dog puppy"),
    **_same(_CAT, "cat kitten lynx leopard tiger lion panther cougar cheetah"),
    **_same(_FOX, "fox wolf coyote jackal raccoon skunk badger"),
    **_same(_BEAR, "bear panda koala cub beaver wombat capybara"),
    **_same(_MONKEY, "monkey ape chimpanzee lemur gorilla baboon"),
    **_same(_RABBIT, "rabbit bunny hare kangaroo wallaby"),
    **_same(_SQUIRREL, "squirrel chipmunk marmot"),
    **_same(_MOUSE, "mouse rat hamster gerbil vole hedgehog otter ferret weasel mole"),
    **_same(_PIG, "pig piglet boar hippo rhino"),
    **_same(_SHEEP, "sheep lamb cow calf bull bison elephant"),
    **_same(_GOAT, "goat kid deer fawn antelope gazelle llama alpaca"),
    **_same(_HORSE, "horse pony foal donkey mule zebra giraffe camel"),
    **_same(_BIRD, "bird sparrow robin crow raven pigeon dove parrot owl hawk eagle finch jay magpie gull seagull"),
    **_same(_DUCK, "duck duckling goose swan penguin chicken hen rooster chick turkey peacock"),
    **_same(_WADER, "heron crane stork flamingo ostrich egret"),
    **_same(_TURTLE, "turtle tortoise snail crab beetle ladybug armadillo"),
    **_same(_LIZARD, "lizard gecko iguana salamander newt crocodile alligator snake"),
    **_same(_FROG, "frog toad"),
}


@dataclass(frozen=True)
class AnimalFigure:
    """An animal to be drawn; `size` is the height of its back, px."""

    build: Build
    coat: Colour
    size: float

    @classmethod
    def of(cls, noun: str, coat: Colour, size: float) -> AnimalFigure:
        """noun: its head noun chooses the build. size: px, for an animal of usual height."""
        build = BUILDS.get(head_noun(noun), _DOG)
        return cls(build, coat, size * build.height)

    def scaled(self, factor: float) -> AnimalFigure:
        return replace(self, size=self.size * factor)

    def draw(self, canvas: Canvas, name: str | None, pose: AnimalPose) -> None:
        canvas.draw_as(name)
        pencil = _Pencil(canvas, self.coat, self.size, pose)
        match self.build:
            case FourLegged():
                _draw_four_legged(pencil, self.build)
            case Bird():
                _draw_bird(pencil, self.build)
            case Creeper():
                _draw_creeper(pencil, self.build)

    def reach(self) -> tuple[float, float]:
        """px from its middle to its tail and to its nose, when standing."""
        side = int(4 * self.size) + 8
        canvas = Canvas(("it",), 2 * side, 2 * side, 1)
        canvas.begin(np.zeros((2 * side, 2 * side, 3), np.uint8))
        self.draw(canvas, "it", AnimalPose(side, 1.5 * side))
        columns = np.flatnonzero(canvas.mask("it").any(axis=0))
        return float(side - columns[0]), float(columns[-1] + 1 - side)


class _Pencil(NamedTuple):
    """Draws an animal in its pose, in tones of its coat."""

    canvas: Canvas
    coat: Colour
    size: float
    pose: AnimalPose

    def at(self, forward: float, up: float) -> Point:
        """Sizes from its middle on the ground -> px; its back bobs as it walks."""
        bob = 0.03 * float(np.sin(self.pose.travelled / (STRIDE * self.size)))
        return (
            self.pose.x + self.pose.facing * forward * self.size,
            self.pose.y - (up + bob * min(up, 1.0)) * self.size,
        )

    def shape(self, tone: float, *polygons: Polygon) -> None:
        self.canvas.shape(shade(self.coat, tone), *polygons)

    def detail(self, tone: float, *polygons: Polygon) -> None:
        self.canvas.detail(shade(self.coat, tone), *polygons)


# --- Four legs ---------------------------------------------------------------------------------


def _draw_four_legged(pencil: _Pencil, build: FourLegged) -> None:
    at, size = pencil.at, pencil.size
    _draw_tail(pencil, build)
    chest, hips = at(build.trunk - 0.08, 0.98 - build.girth), at(-build.trunk, 0.96 - build.girth)
    for fore, near, lead in ((True, False, 0.5), (False, False, 0.0), (True, True, 0.0), (False, True, 0.5)):
        hip = at((build.trunk - 0.06 if fore else -build.trunk) + (0.04 if near else -0.04), 0.66)
        _draw_leg(pencil, 1.0 if near else FAR_TONE, size * build.leg, hip, fore=fore, lead=lead)
    pencil.shape(1.0, hull((chest, size * build.girth), (hips, size * build.girth * 0.94)))
    back = hull((at(build.trunk * 0.6, 0.86), size * 0.06), (at(-build.trunk * 0.8, 0.84), size * 0.05))
    pencil.detail(LIGHT_TONE, back)
    _draw_head(pencil, build)


def _draw_leg(pencil: _Pencil, tone: float, thick: float, hip: Point, *, fore: bool, lead: float) -> None:
    """thick: px"""
    size, pose = pencil.size, pencil.pose
    ahead, up = step(pose.travelled, size * STRIDE, lead)
    stretched = (0.24 if fore else -0.3) * pose.airborne * size  # as in a leap
    reach = ahead * (1 - pose.airborne) + stretched
    foot = (hip[0] + pose.facing * reach, pose.y - up * (1 - pose.airborne) - thick * 0.8)
    knee = joint(hip, foot, size * 0.32, bend=pose.facing if fore else -pose.facing)
    toe = (foot[0] + pose.facing * thick * 0.7, foot[1] + thick * 0.1)
    pencil.shape(
        tone,
        hull((hip, thick * 1.4), (knee, thick * 0.95)),
        hull((knee, thick * 0.95), (foot, thick * 0.75)),
        hull((foot, thick * 0.75), (toe, thick * 0.65)),
    )


_TAILS: dict[str, list[tuple[float, float, float]]] = {  # its bones' ends: back, up, radius
    "plain": [(0.14, 0.86, 0.07), (0.4, 1.04, 0.06), (0.52, 1.22, 0.05)],
    "curled": [(0.14, 0.84, 0.065), (0.42, 0.9, 0.06), (0.52, 1.16, 0.06), (0.42, 1.36, 0.055)],
    "bushy": [(0.12, 0.82, 0.07), (0.38, 0.74, 0.15), (0.64, 0.6, 0.12), (0.8, 0.52, 0.04)],
    "plume": [(0.1, 0.7, 0.09), (0.36, 0.72, 0.16), (0.46, 1.06, 0.2), (0.34, 1.4, 0.15)],
    "stub": [(0.1, 0.86, 0.1), (0.26, 0.88, 0.1)],
}


def _draw_tail(pencil: _Pencil, build: FourLegged) -> None:
    bones = [(pencil.at(-build.trunk - back, up), radius * pencil.size) for back, up, radius in _TAILS[build.tail]]
    pencil.shape(0.94, *(hull(a, b) for a, b in pairwise(bones)))


def _draw_head(pencil: _Pencil, build: FourLegged) -> None:
    at, size, (forward, up), radius = pencil.at, pencil.size, build.neck, build.head
    centre, nose = at(forward, up), at(forward + radius * 0.6 + build.snout, up - radius * 0.42)
    throat = (at(build.trunk - 0.1, 0.84), size * build.girth * 0.72)
    _draw_ear(pencil, build, FAR_TONE, -0.4)
    pencil.shape(1.0, hull(throat, (at(forward - radius * 0.3, up - radius * 0.2), size * radius * 0.66)))
    pencil.shape(1.0, hull((centre, size * radius), (nose, size * radius * 0.38)))
    _draw_ear(pencil, build, 0.86, 0.15)
    eye = disc(at(forward + 0.34 * radius, up + 0.2 * radius), size * 0.05)
    pencil.canvas.detail(EYE, disc(nose, size * radius * 0.2), eye)


def _draw_ear(pencil: _Pencil, build: FourLegged, tone: float, shift: float) -> None:
    """shift: how far forward the ear is, in radii of the head; it differs for the far and the near ear."""
    at, radius_px, radius = pencil.at, pencil.size * build.head, build.head
    forward, up = build.neck[0] - (0.2 - shift) * radius, build.neck[1]
    match build.ears:
        case "pointed":
            base, tip = up + 0.7 * radius, up + 1.9 * radius
            ear = [at(forward - 0.45 * radius, base), at(forward - 0.1 * radius, tip), at(forward + 0.4 * radius, base)]
            pencil.shape(tone, ear)
        case "round":
            pencil.shape(tone, disc(at(forward - 0.3 * radius, up + 0.85 * radius), radius_px * 0.46))
        case "floppy":
            top, low = at(forward - 0.2 * radius, up + 0.7 * radius), at(forward - 0.5 * radius, up - 0.4 * radius)
            pencil.shape(tone, hull((top, radius_px * 0.3), (low, radius_px * 0.4)))
        case "long":
            low, high = at(forward - 0.2 * radius, up + 0.8 * radius), at(forward - 0.7 * radius, up + 2.7 * radius)
            pencil.shape(tone, hull((low, radius_px * 0.3), (high, radius_px * 0.26)))


# --- Birds -------------------------------------------------------------------------------------


def _draw_bird(pencil: _Pencil, build: Bird) -> None:
    at, size = pencil.at, pencil.size
    middle = (1 + build.leg) / 2
    girth = (1 - build.leg) / 2
    for tone, lead in ((0.66, 0.5), (0.8, 0.0)):
        _draw_bird_leg(pencil, build.leg, tone, lead)
    pencil.shape(
        0.84, [at(-0.5, middle + 0.1), at(-1.1, middle + 0.22), at(-1.08, middle - 0.02), at(-0.4, middle - 0.14)]
    )
    forward, up = build.neck
    neck = hull((at(0.3, middle), size * girth * 0.8), (at(forward, up), size * 0.19))
    beak = [at(forward + 0.1, up + 0.1), at(forward + 0.16 + build.beak, up - 0.04), at(forward + 0.1, up - 0.12)]
    pencil.shape(0.72, beak)
    pencil.shape(1.0, hull((at(0.24, middle), size * girth), (at(-0.42, middle + 0.02), size * girth * 0.7)), neck)
    pencil.shape(1.0, disc(at(forward, up), size * 0.22))
    lifted = 0.75 * pencil.pose.airborne
    pencil.shape(0.86, hull((at(0.16, middle + 0.1), size * 0.17), (at(-0.5, middle + 0.05 + lifted), size * 0.08)))
    pencil.canvas.detail(EYE, disc(at(forward + 0.08, up + 0.05), size * 0.05))


def _draw_bird_leg(pencil: _Pencil, length: float, tone: float, lead: float) -> None:
    size, pose = pencil.size, pencil.pose
    ahead, up = step(pose.travelled, size * STRIDE * 0.7, lead)
    tucked = 0.5 * pose.airborne
    hip = pencil.at(0.0, length + 0.1)
    thick = size * 0.055
    foot = (hip[0] + pose.facing * ahead * (1 - tucked), pose.y - (up + tucked * length * size) - thick)
    toe = (foot[0] + pose.facing * size * 0.18, foot[1] + thick * 0.2)
    pencil.shape(tone, hull((hip, thick * 1.2), (foot, thick)), hull((foot, thick), (toe, thick * 0.8)))


# --- Creepers ----------------------------------------------------------------------------------


def _draw_creeper(pencil: _Pencil, build: Creeper) -> None:
    at, size, pose, half = pencil.at, pencil.size, pencil.pose, build.trunk
    for forward, near, lead in ((0.6, False, 0.5), (-0.6, False, 0.0), (0.52, True, 0.0), (-0.68, True, 0.5)):
        ahead, up = step(pose.travelled, size * STRIDE * 0.6, lead)
        hip, thick = at(forward * half, 0.34), size * 0.14
        foot = (hip[0] + pose.facing * (ahead * (1 - pose.airborne) + size * 0.05), pose.y - up - thick)
        pencil.shape(0.92 if near else FAR_TONE, hull((hip, thick * 1.2), (foot, thick)))
    tail = [at(-half * 0.8, 0.5), at(-half - build.tail, 0.24), at(-half * 0.7, 0.22)]
    head, radius = at(*build.neck), size * 0.23
    dome = [at(half * np.cos(a), 0.26 + 0.74 * np.sin(a)) for a in np.linspace(0, np.pi, 22)]
    neck = hull((at(half * 0.7, 0.42), size * 0.17), (head, radius * 0.8))
    pencil.shape(0.92, tail, neck, disc(head, radius), dome)
    if build.shell:
        pencil.shape(0.84, dome)
        for forward, up in ((0.0, 0.66), (0.48, 0.5), (-0.48, 0.5)):
            pencil.detail(LIGHT_TONE, disc(at(forward * half, up), size * 0.2 * half, size * 0.15))
    else:
        pencil.detail(LIGHT_TONE, hull((at(half * 0.3, 0.8), size * 0.07), (at(-half * 0.5, 0.7), size * 0.06)))
    pencil.canvas.detail(EYE, disc(at(build.neck[0] + 0.08, build.neck[1] + 0.07), size * 0.055))
