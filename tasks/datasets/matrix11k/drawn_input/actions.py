"""Actions: what happens in a shot, drawn at time t from 0 to 1.

cast = Cast({"boy": "a boy in a red shirt", "box": "a green box"}, rng)
pushing_box(canvas, 0.5, cast, who="boy", box="box")        labelled "boy" and "box" on the canvas
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tasks.media.drawing.backdrops import draw_cloud, draw_table, draw_tree, draw_wall
from tasks.media.drawing.canvas import (
    COLOURS,
    FLOOR,
    LOOKS,
    TROUSERS,
    Canvas,
    Colour,
    Point,
    along,
    between,
    ease,
    flight,
)
from tasks.media.drawing.figures import (
    Person,
    PersonPose,
    Pet,
    draw_bag,
    draw_ball,
    draw_cart,
    draw_cup,
    draw_lidded_box,
)

PASSER = "passer"  # who passes in front of others
HEIGHTS = {"boy": 92.0, "girl": 90.0, "man": 122.0, "woman": 116.0}  # px


class Cast:
    """Who and what acts in a scene, by name."""

    def __init__(self, phrases: dict[str, str], rng: np.random.Generator) -> None:
        """phrases: {name: how it looks}; rng chooses the people's skin, hair and trousers."""
        self._phrases = phrases
        self._people = {name: _person(said, rng) for name, said in phrases.items() if said.split()[1] in HEIGHTS}

    def person(self, name: str) -> Person:
        return self._people[name]

    def pet(self, name: str, size: float, collar: str) -> Pet:
        return Pet(name, self.colour(name), size, COLOURS[collar])

    def colour(self, name: str) -> Colour:
        """Of 'a green box' or 'a black dog'."""
        return COLOURS[self._phrases[name].split()[1]]


def _person(phrase: str, rng: np.random.Generator) -> Person:
    """'a woman in a purple dress': a boy, girl, man or woman in a shirt or a dress of one of COLOURS."""
    _, kind, _, _, colour, garment = phrase.split()
    skin, hair = LOOKS[rng.integers(len(LOOKS))]
    return Person(
        height=HEIGHTS[kind],
        child=kind in ("boy", "girl"),
        top=COLOURS[colour],
        dress=garment == "dress",
        skin=skin,
        hair=hair,
        long_hair=kind in ("girl", "woman"),
        trousers=TROUSERS[rng.integers(len(TROUSERS))],
    )


Action = Callable[[Canvas, float, Cast], None]


def _holding(pose: PersonPose, near: Point | None, far: Point | None = None) -> PersonPose:
    return replace(pose, near_hand=near, far_hand=far)


def pushing_box(canvas: Canvas, t: float, cast: Cast, who: str, box: str, beside: str | None = None) -> None:
    """who pushes the box to the right; `beside` is the colour of another box that only stands there."""
    person, colour = cast.person(who), cast.colour(box)
    travelled = 96 * ease(t, -0.25, 1.1)
    x = 52 + travelled
    left = x + person.height * 0.42
    if beside:
        draw_lidded_box(canvas, None, (288, FLOOR - 8), COLOURS[beside], shadow_y=FLOOR - 8)
    draw_lidded_box(canvas, box, (left + 24, FLOOR), colour, width=48, height=42)
    pose = PersonPose(x, travelled=travelled, stride=11, lean=person.height * 0.13)
    hands = (left + 1, FLOOR - 33), (left + 3, FLOOR - 38)
    person.draw(canvas, who, _holding(pose, *hands))


def carrying_box(canvas: Canvas, t: float, cast: Cast, who: str, box: str) -> None:
    """who walks to the left with the box in both arms."""
    person, colour = cast.person(who), cast.colour(box)
    travelled = 130 * t
    pose = PersonPose(236 - travelled, facing=-1, travelled=travelled, stride=person.height * 0.12, lean=-3)
    sx, sy = person.shoulder(pose)
    bottom = (sx - person.height * 0.27, sy + person.height * 0.31)
    pose = _holding(pose, (bottom[0] + 7, bottom[1] - 2), (bottom[0] - 12, bottom[1] + 1))
    person.draw_behind(canvas, who, pose)
    draw_lidded_box(canvas, box, bottom, colour, width=36, height=28)
    person.draw_near_arm(canvas, who, pose)


def lifting_box(canvas: Canvas, t: float, cast: Cast, who: str, box: str | None) -> None:
    """who crouches, takes the box from the floor and lifts it to the chest; without a box only crouches."""
    person = cast.person(who)
    down = ease(t, 0.02, 0.3) - ease(t, 0.42, 0.8)
    lifted = ease(t, 0.42, 0.85)
    size = person.height
    pose = PersonPose(140, crouch=size * 0.17 * down, lean=size * (0.04 + 0.13 * down))
    bottom = between((140 + size * 0.33, FLOOR), (140 + size * 0.28, FLOOR - size * 0.44), lifted)
    rest = (148.0, FLOOR - size * 0.38)
    grip = ease(t, 0.05, 0.32)
    near = between(rest, (bottom[0] - 13, bottom[1] - 6 - 8 * (1 - lifted)), grip)
    far = between(rest, (bottom[0] + 10, bottom[1] - 12), grip)
    pose = _holding(pose, near, far if box else None)
    person.draw_behind(canvas, who, pose)
    if box:
        draw_lidded_box(canvas, box, bottom, cast.colour(box), width=40, height=32)
    person.draw_near_arm(canvas, who, pose)


def throwing_ball(canvas: Canvas, t: float, cast: Cast, who: str, ball: str, to: str) -> None:
    """who throws the ball in a parabola to the catcher on the right."""
    person, colour, catcher = cast.person(who), cast.colour(ball), cast.person(to)
    standing, waiting = PersonPose(62, lean=2), PersonPose(256, facing=-1, lean=-2)
    release, caught = 0.36, 0.74
    sx, sy = person.shoulder(standing)
    reach = person.arm
    back, front = (sx - reach * 0.55, sy - reach * 0.30), (sx + reach * 0.75, sy - reach * 0.55)
    hand = along(
        t, (0, (sx + reach * 0.5, sy + reach * 0.55)), (0.2, back), (release, front), (0.6, (sx + 8, sy + reach * 0.9))
    )
    cx, cy = catcher.shoulder(waiting)
    goal = (cx - catcher.arm * 0.75, cy - 2)
    held = along(t, (caught, goal), (1.0, (cx - catcher.arm * 0.55, cy + catcher.arm * 0.4)))
    catching = along(t, (0.4, (cx - 8, cy + catcher.arm * 0.85)), (0.68, goal), (caught, goal))
    grip = held if t > caught else catching
    person.draw_behind(canvas, who, standing)
    catcher.draw_behind(canvas, to, _holding(waiting, None, (grip[0] + 1, grip[1] - 8)))
    if t < release:
        centre = (hand[0] + 3, hand[1] - 10)
    elif t < caught:
        start, end = (front[0] + 3, front[1] - 10), (goal[0] - 9, goal[1])
        centre = flight(start, end, (t - release) / (caught - release), rise=44)
    else:
        centre = (grip[0] - 9, grip[1])
    draw_ball(canvas, ball, centre, colour, turn=7 * t)
    person.draw_near_arm(canvas, who, _holding(standing, hand))
    catcher.draw_near_arm(canvas, to, _holding(waiting, (grip[0] + 1, grip[1] + 6)))


def kicking_ball(
    canvas: Canvas, t: float, cast: Cast, who: str, ball: str, wall: tuple[float, float] | None = None
) -> None:
    """who runs up and kicks the ball, which hops and rolls away, behind a wall from x to x if there is one."""
    person, colour = cast.person(who), cast.colour(ball)
    contact = 0.46
    travelled = 76 * min(t / 0.4, 1.0)
    x = 40 + travelled
    spot = (40 + 76 + person.height * 0.36, FLOOR - 12)
    rolled = ease((t - contact) / 2 + 0.5) * 2 - 1 if t > contact else 0.0
    hop = abs(np.sin(np.pi * 2.5 * rolled)) * 26 * (1 - min(rolled, 1.0))
    ball_x = spot[0] + 160 * rolled
    running = t < 0.4
    foot = None
    if not running:
        planted = x + person.height * 0.02
        foot = along(
            t,
            (0.4, (planted - 24, FLOOR - 16)),
            (contact, (spot[0] - 14, FLOOR - 10)),
            (0.56, (spot[0] - 6, FLOOR - 24)),
            (0.78, (planted, FLOOR - person.height * 0.03)),
        )
    pose = PersonPose(x, travelled=travelled, stride=14 if running else 0, lean=5 if running else -2, near_foot=foot)
    draw_ball(canvas, ball, (ball_x, spot[1] - hop), colour, turn=(ball_x - spot[0]) / 12)
    person.draw(canvas, who, pose)
    if wall:
        draw_wall(canvas, *wall, FLOOR - 62, FLOOR + 9)


def chasing_ball(canvas: Canvas, t: float, cast: Cast, who: str, ball: str, *, size: float, collar: str) -> None:
    """The animal runs after the rolling ball."""
    animal, colour = cast.pet(who, size, collar), cast.colour(ball)
    ball_x = 106 + 196 * t
    runner_x = 28 + 172 * t
    draw_ball(canvas, ball, (ball_x, FLOOR - 11), colour, radius=11, turn=ball_x / 11)
    animal.draw(canvas, who, runner_x, travelled=172 * t, stride=animal.size * 0.36)


def rolling_ball(canvas: Canvas, t: float, cast: Cast, who: str, ball: str, *, size: float, collar: str) -> None:
    """The animal pushes the ball along with its paw."""
    animal, colour = cast.pet(who, size, collar), cast.colour(ball)
    travelled = 150 * t
    x = 62 + travelled
    ball_x = x + animal.size * 1.15
    draw_ball(canvas, ball, (ball_x, FLOOR - 12), colour, turn=ball_x / 12)
    paw = (ball_x - 13, FLOOR - 14 - 2 * float(np.sin(20 * t)))
    animal.draw(canvas, who, x, travelled=travelled, stride=animal.size * 0.3, paw=paw)


def hugging(canvas: Canvas, t: float, cast: Cast, who: str, whom: str) -> None:
    """Both walk up to each other and embrace."""
    person, other = cast.person(who), cast.person(whom)
    near = min(t / 0.55, 1.0)
    close = ease(t, 0.4, 0.75)
    apart = 58 * (1 - near)
    stride = 11.0 if near < 1 else 0.0
    left = PersonPose(142 - apart, travelled=58 * near, stride=stride, lean=7 * close, crouch=6 * close)
    right = PersonPose(176 + apart, facing=-1, travelled=58 * near, stride=stride, lean=-3 * close)
    (lx, ly), (rx, ry) = person.shoulder(left), other.shoulder(right)
    own_rest, other_rest = (lx + 4, ly + person.arm * 0.85), (rx - 4, ry + other.arm * 0.85)
    left = _holding(left, between(own_rest, (rx + 7, ry + 20), close), between(own_rest, (rx + 4, ry + 8), close))
    right = _holding(
        right, between(other_rest, (lx - 2, ly + 38), close), between(other_rest, (lx + 2, ly + 30), close)
    )
    other.draw_behind(canvas, whom, right)
    person.draw_behind(canvas, who, left)
    other.draw_near_arm(canvas, whom, right)
    person.draw_near_arm(canvas, who, left)


def handing_cup(canvas: Canvas, t: float, cast: Cast, who: str, cup: str, to: str) -> None:
    """who reaches the cup over; the other takes it."""
    person, colour, taker = cast.person(who), cast.colour(cup), cast.person(to)
    left, right = (PersonPose(112, lean=4 * ease(t, 0.1, 0.4)), PersonPose(206, facing=-1, lean=-4 * ease(t, 0.1, 0.4)))
    (lx, ly), (rx, ry) = person.shoulder(left), taker.shoulder(right)
    meeting = (160.0, ly + 22)
    at_chest, at_own_chest = (lx + 18, ly + 30), (rx - 18, ry + 30)
    cup_at = along(t, (0.08, at_chest), (0.42, meeting), (0.58, meeting), (0.92, at_own_chest))
    giving = cup_at if t < 0.56 else along(t, (0.56, meeting), (0.85, (lx + 4, ly + person.arm * 0.9)))
    taking = cup_at if t > 0.48 else along(t, (0.15, (rx - 4, ry + taker.arm * 0.9)), (0.48, meeting))
    person.draw_behind(canvas, who, left)
    taker.draw_behind(canvas, to, right)
    draw_cup(canvas, cup, cup_at, colour, size=24)
    person.draw_near_arm(canvas, who, _holding(left, (giving[0] - 9, giving[1] + 6)))
    taker.draw_near_arm(canvas, to, _holding(right, (taking[0] + 11, taking[1] + 8)))


def moving_cart(
    canvas: Canvas, t: float, cast: Cast, who: str, cart: str, *, pull: bool, front: Action | None = None
) -> None:
    """who pushes, or pulls, the cart to the right; `front` draws what passes between it and the viewer."""
    person, colour = cast.person(who), cast.colour(cart)
    side = -1 if pull else 1  # where the cart is, seen from the person
    travelled = 132 * t
    x = (112 if pull else 42) + travelled
    handle = (x + side * person.height * 0.24, FLOOR - person.height * 0.44)
    draw_cart(canvas, cart, x + side * (person.height * 0.24 + 46), colour, handle)
    pose = PersonPose(x, travelled=travelled, stride=13, lean=person.height * 0.07)
    person.draw(canvas, who, _holding(pose, handle, None if pull else (handle[0] + 2, handle[1] - 2)))
    if front:
        front(canvas, t, cast)


def walking_across(canvas: Canvas, t: float, cast: Cast) -> None:
    """The passer, whom the caption does not name, walks past in front, to the left."""
    travelled = 250 * t
    pose = PersonPose(290 - travelled, facing=-1, floor=FLOOR + 20, travelled=travelled, stride=17)
    cast.person(PASSER).draw(canvas, PASSER, pose)


def tree_in_front(canvas: Canvas, t: float, cast: Cast) -> None:
    draw_tree(canvas, 150, FLOOR + 14)


def carrying_bag(canvas: Canvas, t: float, cast: Cast, who: str, bag: str) -> None:
    """who walks to the right with a bag hanging from the hand."""
    person, colour = cast.person(who), cast.colour(bag)
    travelled = 140 * t
    pose = PersonPose(84 + travelled, travelled=travelled, stride=13)
    sx, sy = person.shoulder(pose)
    grip = (sx + 15 + 2 * np.sin(9 * t), sy + person.arm * 0.74)
    person.draw_behind(canvas, who, pose)
    draw_bag(canvas, bag, grip, colour)
    person.draw_near_arm(canvas, who, _holding(pose, grip))


def pushing_cup_off_table(
    canvas: Canvas, t: float, cast: Cast, who: str, cup: str, *, size: float, collar: str
) -> None:
    """The animal on the table pushes the cup over the edge; it falls, turning, and lies on the floor."""
    animal, colour = cast.pet(who, size, collar), cast.colour(cup)
    top, edge, size = 128.0, 214.0, 24.0
    tips, lands = 0.55, 0.78
    reach = ease(t, 0.02, 0.2)
    cup_x = 178 + (edge - 178) * ease(t, 0.2, tips)
    fall = float(np.clip((t - tips) / (lands - tips), 0, 1))
    rolled = ease(t, lands, 1.0)
    centre = (cup_x + 26 * fall + 16 * rolled, top - size / 2 + (FLOOR - top + 3) * fall**2)
    draw_table(canvas, 40, edge, top)
    pushing = t < tips + 0.05
    paw = between((cup_x - 34, top - 3), (cup_x - 11, top - 12), reach) if pushing else None
    x = cup_x - 46 if pushing else edge - 46
    draw_cup(canvas, cup, centre, colour, size=size, turn=np.pi / 2 * fall)
    animal.draw(canvas, who, x, top, travelled=x, stride=5 if pushing and reach == 1 else 0, paw=paw)


def nothing(canvas: Canvas, t: float, cast: Cast) -> None:
    """An empty landscape under a passing cloud."""
    canvas.draw_as(None)
    draw_cloud(canvas, 60 + 90 * t, 60, 22, (246, 246, 248))


def looking_at_tree(canvas: Canvas, t: float, cast: Cast, who: str) -> None:
    """who stands and looks; nothing is touched, nothing moves."""
    person = cast.person(who)
    draw_tree(canvas, 236, FLOOR + 2)
    person.draw(canvas, who, PersonPose(100, lean=2 * float(np.sin(3 * t))))
