"""Picture-book figures: people, pets and things."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tasks.media.drawing.canvas import (
    FLOOR,
    OUTLINE_SHADE,
    Canvas,
    Colour,
    Point,
    between,
    disc,
    hull,
    rectangle,
    shade,
)

# --- People -----------------------------------------------------------------------------------


def joint(a: Point, b: Point, length: float, bend: float) -> Point:
    """The elbow or knee between a and b, for two bones of `length`; bend +1 or -1 chooses the side.

    Bones stretch if b is out of reach.
    """
    dx, dy = b[0] - a[0], b[1] - a[1]
    distance = float(np.hypot(dx, dy)) or 1e-6
    offset = float(np.sqrt(max(length**2 - (distance / 2) ** 2, 0.0))) * bend
    return a[0] + dx / 2 - dy / distance * offset, a[1] + dy / 2 + dx / distance * offset


def step(travelled: float, stride: float, lead: float) -> Point:
    """A foot's (forward, up) px from its hip's ground point after walking `travelled` px.

    On the ground the foot stays where it is while the body passes over it; then it swings forward.
    lead 0 or 0.5 sets the two feet apart.
    """
    if stride <= 0:
        return 0.0, 0.0
    phase = (travelled / (4 * stride) + lead) % 1.0
    if phase < 0.5:
        return stride * (1 - 4 * phase), 0.0
    swing = (phase - 0.5) * 2
    return stride * (2 * swing - 1), stride * 0.55 * float(np.sin(np.pi * swing))


@dataclass(frozen=True)
class PersonPose:
    """Where a person stands and how the limbs are posed; hands and feet in px of the video."""

    x: float
    facing: int = 1  # 1 looks right, -1 left
    floor: float = FLOOR
    travelled: float = 0.0
    stride: float = 0.0  # px, half a step; 0 stands still
    lean: float = 0.0  # px that the shoulders are ahead of the hips
    crouch: float = 0.0  # px that the hips are lowered
    near_hand: Point | None = None  # None swings with the walk
    far_hand: Point | None = None
    near_foot: Point | None = None


@dataclass(frozen=True)
class Person:
    """A picture-book figure: big head, round limbs, one clear colour."""

    height: float
    child: bool
    top: Colour
    dress: bool
    skin: Colour
    hair: Colour
    long_hair: bool
    trousers: Colour

    @property
    def head(self) -> float:
        return self.height * (0.15 if self.child else 0.12)

    @property
    def arm(self) -> float:
        """Length of upper arm and forearm together."""
        return self.height * 0.40

    def shoulder(self, pose: PersonPose) -> Point:
        up = self.height - 2 * self.head - self.height * 0.05
        return pose.x + pose.facing * pose.lean, pose.floor - up + pose.crouch + self._bob(pose)

    def hip(self, pose: PersonPose) -> Point:
        return pose.x, pose.floor - self.height * 0.40 + pose.crouch + self._bob(pose)

    def _bob(self, pose: PersonPose) -> float:
        if pose.stride <= 0:
            return 0.0
        return self.height * 0.012 * (1 + float(np.cos(2 * np.pi * pose.travelled / (2 * pose.stride))))

    def draw(self, canvas: Canvas, name: str | None, pose: PersonPose) -> None:
        self.draw_behind(canvas, name, pose)
        self.draw_near_arm(canvas, name, pose)

    def draw_behind(self, canvas: Canvas, name: str | None, pose: PersonPose) -> None:
        """Draw all but the near arm, which may have to be drawn over a held thing."""
        canvas.shadow(pose.x, pose.floor, self.height * 0.2)
        canvas.draw_as(name)
        if self.long_hair:
            self._draw_long_hair(canvas, pose)
        self._draw_arm(canvas, pose, pose.far_hand, side=-1)
        self._draw_leg(canvas, pose, lead=0.5, foot=None, tone=0.82)
        self._draw_leg(canvas, pose, lead=0.0, foot=pose.near_foot, tone=1.0)
        self._draw_trunk(canvas, pose)
        self._draw_head(canvas, pose)

    def draw_near_arm(self, canvas: Canvas, name: str | None, pose: PersonPose) -> None:
        canvas.draw_as(name)
        self._draw_arm(canvas, pose, pose.near_hand, side=1)

    def _draw_trunk(self, canvas: Canvas, pose: PersonPose) -> None:
        size = self.height
        (sx, sy), (hx, hy) = self.shoulder(pose), self.hip(pose)
        neck = hull(((sx, sy + size * 0.02), size * 0.035), ((sx, sy - size * 0.05), size * 0.035))
        canvas.shape(shade(self.skin, 0.92), neck)
        upper, lower = size * 0.075, size * 0.062
        shoulders = (((sx - size * 0.025, sy + upper), upper), ((sx + size * 0.025, sy + upper), upper))
        if self.dress:
            hem, sway = hy + size * 0.15, pose.facing * size * 0.02
            skirt = (((hx - size * 0.115 - sway, hem), size * 0.025), ((hx + size * 0.115 - sway, hem), size * 0.025))
            waist = ((hx, hy - size * 0.05), lower)
            canvas.shape(self.top, hull(*shoulders, waist), hull(waist, *skirt))
            canvas.stroke(shade(self.top, 0.7), [(hx - lower, hy - size * 0.05), (hx + lower, hy - size * 0.05)], 1.2)
        else:
            canvas.shape(self.trousers, hull(((hx, hy - size * 0.01), lower * 1.08)))
            canvas.shape(self.top, hull(*shoulders, ((hx, hy - size * 0.03), lower)))
        light = (sx + pose.facing * size * 0.03, sy + upper)
        canvas.detail(
            shade(self.top, 1.13), hull((light, upper * 0.5), ((hx + pose.facing * 2, hy - size * 0.09), 2.0))
        )

    def _draw_head(self, canvas: Canvas, pose: PersonPose) -> None:
        radius, facing = self.head, pose.facing
        x, y = self._head_centre(pose)
        canvas.shape(self.skin, disc((x, y), radius * 0.94, radius))
        angle = np.linspace(np.pi * 0.9, np.pi * 1.86, 14)  # from the nape over the crown to the forehead
        crown = [(x + facing * 1.05 * radius * np.cos(a), y + 1.07 * radius * np.sin(a)) for a in angle]
        fringe = [(x + facing * dx * radius, y - up * radius) for dx, up in ((0.45, 0.5), (-0.15, 0.42), (-0.6, 0.0))]
        canvas.shape(self.hair, crown + fringe, line=0.7)
        for dx in (0.08, 0.60):
            canvas.detail(
                (250, 250, 250), disc((x + facing * dx * radius, y + radius * 0.08), radius * 0.17, radius * 0.2)
            )
            canvas.detail((30, 26, 30), disc((x + facing * (dx + 0.05) * radius, y + radius * 0.1), radius * 0.11))
        canvas.detail(shade(self.skin, 0.9), disc((x + facing * 0.62 * radius, y + radius * 0.42), radius * 0.13))
        smile = [(x + facing * dx * radius, y + dy * radius) for dx, dy in ((0.12, 0.52), (0.32, 0.62), (0.52, 0.54))]
        canvas.stroke(shade(self.skin, 0.5), smile, 0.9)

    def _head_centre(self, pose: PersonPose) -> Point:
        x, y = self.shoulder(pose)
        return x + pose.facing * self.height * 0.012, y - self.head - self.height * 0.025

    def _draw_long_hair(self, canvas: Canvas, pose: PersonPose) -> None:
        x, y = self._head_centre(pose)
        back, radius = -pose.facing, self.head
        tip = (x + back * radius * 0.75, y + radius * 1.45)
        canvas.shape(self.hair, hull(((x + back * radius * 0.2, y), radius * 0.95), (tip, radius * 0.32)))

    def _draw_arm(self, canvas: Canvas, pose: PersonPose, hand: Point | None, side: int) -> None:
        """side: 1 for the arm nearer to the viewer, -1 for the one behind the trunk."""
        size, (sx, sy) = self.height, self.shoulder(pose)
        shoulder = (sx + side * -pose.facing * size * 0.02, sy + size * 0.06)
        if hand is None:
            swing, _ = step(pose.travelled, pose.stride, 0.5 if side > 0 else 0.0)
            hand = (shoulder[0] + pose.facing * (swing * 0.7 + size * 0.02), shoulder[1] + self.arm * 0.97)
        elbow = joint(shoulder, hand, self.arm / 2, bend=pose.facing)
        tone = 1.0 if side > 0 else 0.8
        thick, thin = size * 0.042, size * 0.034
        wrist = between(elbow, hand, 0.9)
        canvas.shape(shade(self.skin, tone), hull((elbow, thin), (wrist, thin * 0.9)), disc(hand, size * 0.042))
        cuff = between(elbow, hand, 0.18)
        sleeve = hull((shoulder, thick * 1.15), (elbow, thick))
        canvas.shape(shade(self.top, tone * 0.94), sleeve, hull((elbow, thick), (cuff, thick * 0.95)))

    def _draw_leg(self, canvas: Canvas, pose: PersonPose, lead: float, foot: Point | None, tone: float) -> None:
        size, (hx, hy) = self.height, self.hip(pose)
        apart = size * (0.03 if lead else -0.03) * pose.facing
        if foot is None:
            forward, up = step(pose.travelled, pose.stride, lead)
            foot = (pose.x + apart + pose.facing * forward, pose.floor - size * 0.03 - up)
        hip = (hx + apart * 0.8, hy)
        knee = joint(hip, foot, size * 0.189, bend=-pose.facing)
        bare = self.dress
        colour = shade(self.skin if bare else self.trousers, tone)
        thick = size * (0.036 if bare else 0.048)
        canvas.shape(colour, hull((hip, thick * 1.15), (knee, thick)), hull((knee, thick), (foot, thick * 0.8)))
        toe = (foot[0] + pose.facing * size * 0.05, foot[1] + size * 0.008)
        canvas.shape(shade((86, 60, 52), tone), hull((foot, size * 0.03), (toe, size * 0.024)))


# --- Animals ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pet:
    """A dog or a cat in profile; `size` is its height at the shoulder, px."""

    species: str
    coat: Colour
    size: float
    collar: Colour

    def draw(
        self,
        canvas: Canvas,
        name: str | None,
        x: float,
        floor: float = FLOOR,
        *,
        facing: int = 1,
        travelled: float = 0.0,
        stride: float = 0.0,
        paw: Point | None = None,
    ) -> None:
        """x: of its middle; paw: place of the near front paw."""
        size = self.size
        hop = size * 0.07 * float(np.sin(2 * np.pi * travelled / (4 * stride))) if stride > 0 else 0.0

        def at(forward: float, up: float) -> Point:
            return x + facing * forward * size, floor - up * size - hop

        canvas.shadow(x, floor, size * 0.8)
        canvas.draw_as(name)
        self._draw_tail(canvas, at, wag=travelled / (size or 1))
        for forward, lead, near in ((0.50, 0.55, False), (-0.52, 0.15, False), (0.42, 0.0, True), (-0.60, 0.65, True)):
            ahead, up = step(travelled, stride, lead)
            foot = (x + facing * (forward * size + ahead), floor - up - size * 0.07)
            if paw is not None and near and forward > 0:
                foot = paw
            self._draw_leg(canvas, at(forward, 0.62), foot, facing, fore=forward > 0, near=near)
        canvas.shape(self.coat, hull((at(0.40, 0.74), size * 0.27), (at(-0.52, 0.72), size * 0.24)))
        canvas.detail(shade(self.coat, 1.2), hull((at(0.25, 0.88), size * 0.08), (at(-0.45, 0.84), size * 0.07)))
        self._draw_head(canvas, at)

    def _draw_leg(self, canvas: Canvas, hip: Point, foot: Point, facing: int, *, fore: bool, near: bool) -> None:
        colour, thick = shade(self.coat, 1.0 if near else 0.75), self.size * 0.10
        knee = joint(hip, foot, self.size * 0.31, bend=facing if fore else -facing)
        toe = (foot[0] + facing * self.size * 0.08, foot[1])
        canvas.shape(
            colour,
            hull((hip, thick * 1.3), (knee, thick)),
            hull((knee, thick), (foot, thick * 0.8)),
            hull((foot, thick * 0.75), (toe, thick * 0.7)),
        )

    def _draw_tail(self, canvas: Canvas, at: Callable[[float, float], Point], wag: float) -> None:
        sway = 0.14 * float(np.sin(3 * wag))
        if self.species == "cat":
            bones = [at(-0.70, 0.8), at(-1.0, 0.95 + sway), at(-1.05, 1.35), at(-0.9 + sway, 1.6)]
        else:
            bones = [at(-0.70, 0.8), at(-0.95, 1.0 + sway), at(-1.1 + sway, 1.3 + sway)]
        radius = self.size * 0.075
        canvas.shape(self.coat, *(hull((a, radius), (b, radius * 0.9)) for a, b in pairwise(bones)))

    def _draw_head(self, canvas: Canvas, at: Callable[[float, float], Point]) -> None:
        size, dog = self.size, self.species == "dog"
        centre = at(0.72, 1.14)
        canvas.shape(self.coat, hull((at(0.48, 0.86), size * 0.19), (at(0.66, 1.06), size * 0.17)))
        canvas.shape(self.collar, hull((at(0.50, 1.05), size * 0.05), (at(0.74, 0.86), size * 0.05)))
        if dog:
            canvas.shape(self.coat, hull((centre, size * 0.24), (at(1.06, 1.06), size * 0.12)))
            canvas.shape(shade(self.coat, 0.7), hull((at(0.60, 1.28), size * 0.08), (at(0.50, 1.0), size * 0.11)))
            canvas.detail((20, 18, 20), disc(at(1.15, 1.10), size * 0.06))
        else:
            ears = ([at(e - 0.09, 1.28), at(e + 0.02, 1.56), at(e + 0.13, 1.26)] for e in (0.62, 0.86))
            canvas.shape(self.coat, disc(centre, size * 0.27, size * 0.24), *ears)
            canvas.detail((236, 150, 150), disc(at(0.96, 1.08), size * 0.035))
            for up in (1.02, 1.10):
                canvas.stroke((245, 245, 245), [at(0.9, 1.06), at(1.12, up)], 0.5)
        canvas.detail((252, 252, 252), disc(at(0.82, 1.2), size * 0.075))
        canvas.detail((24, 22, 24), disc(at(0.84, 1.2), size * 0.045))


# --- Things -----------------------------------------------------------------------------------


def draw_ball(
    canvas: Canvas, name: str | None, centre: Point, colour: Colour, radius: float = 12, turn: float = 0.0
) -> None:
    """A ball turned by `turn` radians, with a lit side and a seam."""
    canvas.shadow(centre[0], FLOOR, radius * 0.9)
    canvas.draw_as(name)
    x, y = centre
    canvas.shape(shade(colour, 0.88), disc(centre, radius))
    canvas.detail(colour, disc((x - radius * 0.12, y - radius * 0.14), radius * 0.8))
    seam = [(turn + a, 0.86 - 0.5 * np.cos(a)) for a in np.linspace(-1.2, 1.2, 9)]
    canvas.stroke(shade(colour, 0.6), [(x + r * radius * np.cos(a), y + r * radius * np.sin(a)) for a, r in seam], 1.1)
    canvas.detail(shade(colour, 1.25), disc((x - radius * 0.36, y - radius * 0.42), radius * 0.17))


def draw_lidded_box(
    canvas: Canvas,
    name: str | None,
    bottom: Point,
    colour: Colour,
    width: float = 44,
    height: float = 38,
    shadow_y: float = FLOOR,
) -> None:
    """A box with a lid seen a little from above; `bottom` is the middle of its lower front edge."""
    x, y = bottom
    half, depth = width / 2, height * 0.2
    canvas.shadow(x, shadow_y, width * 0.58)
    canvas.draw_as(name)
    top, back = y - height, y - height - depth
    canvas.shape(
        shade(colour, 1.18), [(x - half, top), (x - half * 0.8, back), (x + half * 0.8, back), (x + half, top)]
    )
    canvas.shape(colour, rectangle(x - half, top, x + half, y))
    canvas.detail(shade(colour, 0.82), rectangle(x + half * 0.55, top + 1, x + half - 1, y - 1))
    canvas.stroke(shade(colour, 0.6), [(x - half * 0.8, y - height * 0.72), (x + half * 0.8, y - height * 0.72)], 1.2)
    canvas.detail(shade(colour, 0.6), hull(((x - 4, y - height * 0.4), 1.6), ((x + 4, y - height * 0.4), 1.6)))


def draw_cup(
    canvas: Canvas, name: str | None, centre: Point, colour: Colour, size: float = 20, turn: float = 0.0
) -> None:
    """A mug of `size` px height about its centre, turned by `turn` radians."""
    cos, sin = np.cos(turn) * size, np.sin(turn) * size

    def at(dx: float, dy: float) -> Point:
        return centre[0] + dx * cos - dy * sin, centre[1] + dx * sin + dy * cos

    canvas.draw_as(name)
    ring = [at(0.38 + 0.26 * np.cos(a), 0.02 + 0.26 * np.sin(a)) for a in np.linspace(-1.6, 1.6, 9)]
    canvas.stroke(shade(colour, OUTLINE_SHADE), ring, size * 0.2)
    canvas.stroke(shade(colour, 0.9), ring, size * 0.1)
    canvas.shape(colour, [at(-0.42, -0.5), at(0.42, -0.5), at(0.34, 0.5), at(-0.34, 0.5)])
    canvas.detail(shade(colour, 0.72), disc(at(0, -0.46), size * 0.38, size * 0.1, turn))
    canvas.detail(shade(colour, 1.2), [at(-0.28, -0.3), at(-0.18, -0.3), at(-0.16, 0.36), at(-0.24, 0.36)])


def draw_bag(canvas: Canvas, name: str | None, grip: Point, colour: Colour) -> None:
    """A shopping bag that hangs from the hand at `grip`."""
    x, y = grip
    canvas.draw_as(name)
    canvas.stroke(shade(colour, OUTLINE_SHADE), [(x - 9, y + 16), (x - 5, y + 1), (x + 5, y + 1), (x + 9, y + 16)], 2.4)
    canvas.shape(colour, [(x - 15, y + 15), (x + 15, y + 15), (x + 18, y + 37), (x - 18, y + 37)])
    canvas.detail(shade(colour, 1.18), [(x - 13, y + 17), (x + 13, y + 17), (x + 13.4, y + 22), (x - 13.4, y + 22)])


def draw_cart(canvas: Canvas, name: str | None, x: float, colour: Colour, handle: Point, floor: float = FLOOR) -> None:
    """A cart of 62 px on two turning wheels, with a bar to its `handle`."""
    canvas.shadow(x, floor, 38)
    canvas.draw_as(name)
    side = 1 if handle[0] > x else -1
    bar = [(x + side * 26, floor - 24), handle]
    canvas.stroke(shade(colour, OUTLINE_SHADE), bar, 5.0)
    canvas.stroke(shade(colour, 0.8), bar, 3.0)
    canvas.shape(colour, [(x - 33, floor - 42), (x + 33, floor - 42), (x + 27, floor - 14), (x - 27, floor - 14)])
    for up in (33, 24):
        canvas.stroke(shade(colour, 0.72), [(x - 30, floor - up), (x + 30, floor - up)], 1.4)
    for wheel in (x - 18, x + 18):
        canvas.shape((70, 66, 70), disc((wheel, floor - 10), 9))
        canvas.detail((196, 192, 196), disc((wheel, floor - 10), 5.5))
        turn = x / 9
        for angle in (turn, turn + np.pi / 2):
            spoke = (5 * np.cos(angle), 5 * np.sin(angle))
            canvas.stroke(
                (70, 66, 70),
                [(wheel - spoke[0], floor - 10 - spoke[1]), (wheel + spoke[0], floor - 10 + spoke[1])],
                1.0,
            )
