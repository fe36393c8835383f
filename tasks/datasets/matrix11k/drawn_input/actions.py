"""Actions: what happens in a shot, at time t from 0 to 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tasks.media.drawing.backdrops import draw_cloud, draw_table, draw_tree, draw_wall
from tasks.media.drawing.canvas import COLOURS, FLOOR, LOOKS, TROUSERS, Canvas, Point, along, between, ease, flight
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

Action = Callable[[Canvas, float], None]


def make_person(kind: str, colour: str, rng: np.random.Generator, *, dress: bool = False) -> Person:
    """A boy, girl, man or woman in a top, or a dress, of a caption's colour."""
    skin, hair = LOOKS[rng.integers(len(LOOKS))]
    heights = {"boy": 92.0, "girl": 90.0, "man": 122.0, "woman": 116.0}
    return Person(
        height=heights[kind],
        child=kind in ("boy", "girl"),
        top=COLOURS[colour],
        dress=dress,
        skin=skin,
        hair=hair,
        long_hair=kind in ("girl", "woman"),
        trousers=TROUSERS[rng.integers(len(TROUSERS))],
    )


def pushing_box(who: tuple[str, Person], box: tuple[str, str], beside: str | None = None) -> Action:
    """who pushes the box to the right; `beside` is the colour of another box that only stands there."""
    (name, person), (box_name, colour) = who, box

    def action(canvas: Canvas, t: float) -> None:
        travelled = 96 * ease(t, -0.25, 1.1)
        x = 52 + travelled
        left = x + person.height * 0.42
        if beside:
            draw_lidded_box(canvas, None, (288, FLOOR - 8), COLOURS[beside], shadow_y=FLOOR - 8)
        draw_lidded_box(canvas, box_name, (left + 24, FLOOR), COLOURS[colour], width=48, height=42)
        pose = PersonPose(x, travelled=travelled, stride=11, lean=person.height * 0.13)
        hands = (left + 1, FLOOR - 33), (left + 3, FLOOR - 38)
        person.draw(canvas, name, _holding(pose, *hands))

    return action


def _holding(pose: PersonPose, near: Point | None, far: Point | None = None) -> PersonPose:
    return replace(pose, near_hand=near, far_hand=far)


def carrying_box(who: tuple[str, Person], box: tuple[str, str]) -> Action:
    """who walks to the left with the box in both arms."""
    (name, person), (box_name, colour) = who, box

    def action(canvas: Canvas, t: float) -> None:
        travelled = 130 * t
        pose = PersonPose(236 - travelled, facing=-1, travelled=travelled, stride=person.height * 0.12, lean=-3)
        sx, sy = person.shoulder(pose)
        bottom = (sx - person.height * 0.27, sy + person.height * 0.31)
        pose = _holding(pose, (bottom[0] + 7, bottom[1] - 2), (bottom[0] - 12, bottom[1] + 1))
        person.draw_behind(canvas, name, pose)
        draw_lidded_box(canvas, box_name, bottom, COLOURS[colour], width=36, height=28)
        person.draw_near_arm(canvas, name, pose)

    return action


def lifting_box(who: tuple[str, Person], box: tuple[str, str] | None) -> Action:
    """who crouches, takes the box from the floor and lifts it to the chest; without a box only crouches."""
    name, person = who

    def action(canvas: Canvas, t: float) -> None:
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
        person.draw_behind(canvas, name, pose)
        if box:
            draw_lidded_box(canvas, box[0], bottom, COLOURS[box[1]], width=40, height=32)
        person.draw_near_arm(canvas, name, pose)

    return action


def throwing_ball(who: tuple[str, Person], ball: tuple[str, str], to: tuple[str, Person]) -> Action:
    """who throws the ball in a parabola to the catcher on the right."""
    (name, person), (ball_name, colour), (catcher_name, catcher) = who, ball, to
    standing, waiting = PersonPose(62, lean=2), PersonPose(256, facing=-1, lean=-2)
    release, caught = 0.36, 0.74

    def action(canvas: Canvas, t: float) -> None:
        sx, sy = person.shoulder(standing)
        reach = person.arm
        back, front = (sx - reach * 0.55, sy - reach * 0.30), (sx + reach * 0.75, sy - reach * 0.55)
        hand = along(
            t,
            (0, (sx + reach * 0.5, sy + reach * 0.55)),
            (0.2, back),
            (release, front),
            (0.6, (sx + 8, sy + reach * 0.9)),
        )
        cx, cy = catcher.shoulder(waiting)
        goal = (cx - catcher.arm * 0.75, cy - 2)
        held = along(t, (caught, goal), (1.0, (cx - catcher.arm * 0.55, cy + catcher.arm * 0.4)))
        catching = along(t, (0.4, (cx - 8, cy + catcher.arm * 0.85)), (0.68, goal), (caught, goal))
        grip = held if t > caught else catching
        person.draw_behind(canvas, name, standing)
        catcher.draw_behind(canvas, catcher_name, _holding(waiting, None, (grip[0] + 1, grip[1] - 8)))
        if t < release:
            centre = (hand[0] + 3, hand[1] - 10)
        elif t < caught:
            start, end = (front[0] + 3, front[1] - 10), (goal[0] - 9, goal[1])
            centre = flight(start, end, (t - release) / (caught - release), rise=44)
        else:
            centre = (grip[0] - 9, grip[1])
        draw_ball(canvas, ball_name, centre, COLOURS[colour], turn=7 * t)
        person.draw_near_arm(canvas, name, _holding(standing, hand))
        catcher.draw_near_arm(canvas, catcher_name, _holding(waiting, (grip[0] + 1, grip[1] + 6)))

    return action


def kicking_ball(who: tuple[str, Person], ball: tuple[str, str], wall: tuple[float, float] | None = None) -> Action:
    """who runs up and kicks the ball, which hops and rolls away, behind a wall from x to x if there is one."""
    (name, person), (ball_name, colour) = who, ball
    contact = 0.46

    def action(canvas: Canvas, t: float) -> None:
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
        pose = PersonPose(
            x, travelled=travelled, stride=14 if running else 0, lean=5 if running else -2, near_foot=foot
        )
        draw_ball(canvas, ball_name, (ball_x, spot[1] - hop), COLOURS[colour], turn=(ball_x - spot[0]) / 12)
        person.draw(canvas, name, pose)
        if wall:
            draw_wall(canvas, *wall, FLOOR - 62, FLOOR + 9)

    return action


def chasing_ball(who: tuple[str, Pet], ball: tuple[str, str]) -> Action:
    """The animal runs after the rolling ball."""
    (name, animal), (ball_name, colour) = who, ball

    def action(canvas: Canvas, t: float) -> None:
        ball_x = 106 + 196 * t
        runner_x = 28 + 172 * t
        draw_ball(canvas, ball_name, (ball_x, FLOOR - 11), COLOURS[colour], radius=11, turn=ball_x / 11)
        animal.draw(canvas, name, runner_x, travelled=172 * t, stride=animal.size * 0.36)

    return action


def rolling_ball(who: tuple[str, Pet], ball: tuple[str, str]) -> Action:
    """The animal pushes the ball along with its paw."""
    (name, animal), (ball_name, colour) = who, ball

    def action(canvas: Canvas, t: float) -> None:
        travelled = 150 * t
        x = 62 + travelled
        ball_x = x + animal.size * 1.15
        draw_ball(canvas, ball_name, (ball_x, FLOOR - 12), COLOURS[colour], turn=ball_x / 12)
        paw = (ball_x - 13, FLOOR - 14 - 2 * float(np.sin(20 * t)))
        animal.draw(canvas, name, x, travelled=travelled, stride=animal.size * 0.3, paw=paw)

    return action


def hugging(who: tuple[str, Person], whom: tuple[str, Person]) -> Action:
    """Both walk up to each other and embrace."""
    (name, person), (other_name, other) = who, whom

    def action(canvas: Canvas, t: float) -> None:
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
        other.draw_behind(canvas, other_name, right)
        person.draw_behind(canvas, name, left)
        other.draw_near_arm(canvas, other_name, right)
        person.draw_near_arm(canvas, name, left)

    return action


def handing_cup(who: tuple[str, Person], cup: tuple[str, str], to: tuple[str, Person]) -> Action:
    """who reaches the cup over; the other takes it."""
    (name, person), (cup_name, colour), (taker_name, taker) = who, cup, to

    def action(canvas: Canvas, t: float) -> None:
        left, right = (
            PersonPose(112, lean=4 * ease(t, 0.1, 0.4)),
            PersonPose(206, facing=-1, lean=-4 * ease(t, 0.1, 0.4)),
        )
        (lx, ly), (rx, ry) = person.shoulder(left), taker.shoulder(right)
        meeting = (160.0, ly + 22)
        at_chest, at_own_chest = (lx + 18, ly + 30), (rx - 18, ry + 30)
        cup_at = along(t, (0.08, at_chest), (0.42, meeting), (0.58, meeting), (0.92, at_own_chest))
        giving = cup_at if t < 0.56 else along(t, (0.56, meeting), (0.85, (lx + 4, ly + person.arm * 0.9)))
        taking = cup_at if t > 0.48 else along(t, (0.15, (rx - 4, ry + taker.arm * 0.9)), (0.48, meeting))
        person.draw_behind(canvas, name, left)
        taker.draw_behind(canvas, taker_name, right)
        draw_cup(canvas, cup_name, cup_at, COLOURS[colour], size=24)
        person.draw_near_arm(canvas, name, _holding(left, (giving[0] - 9, giving[1] + 6)))
        taker.draw_near_arm(canvas, taker_name, _holding(right, (taking[0] + 11, taking[1] + 8)))

    return action


def moving_cart(who: tuple[str, Person], cart: tuple[str, str], *, pull: bool, front: Action | None = None) -> Action:
    """who pushes, or pulls, the cart to the right; `front` draws what passes between it and the viewer."""
    (name, person), (cart_name, colour) = who, cart
    side = -1 if pull else 1  # where the cart is, seen from the person

    def action(canvas: Canvas, t: float) -> None:
        travelled = 132 * t
        x = (112 if pull else 42) + travelled
        handle = (x + side * person.height * 0.24, FLOOR - person.height * 0.44)
        draw_cart(canvas, cart_name, x + side * (person.height * 0.24 + 46), COLOURS[colour], handle)
        pose = PersonPose(x, travelled=travelled, stride=13, lean=person.height * 0.07)
        person.draw(canvas, name, _holding(pose, handle, None if pull else (handle[0] + 2, handle[1] - 2)))
        if front:
            front(canvas, t)

    return action


def walking_across(person: Person) -> Action:
    """Someone the caption does not name walks past in front, to the left."""

    def action(canvas: Canvas, t: float) -> None:
        travelled = 250 * t
        person.draw(
            canvas, None, PersonPose(290 - travelled, facing=-1, floor=FLOOR + 20, travelled=travelled, stride=17)
        )

    return action


def carrying_bag(who: tuple[str, Person], bag: tuple[str, str]) -> Action:
    """who walks to the right with a bag hanging from the hand."""
    (name, person), (bag_name, colour) = who, bag

    def action(canvas: Canvas, t: float) -> None:
        travelled = 140 * t
        pose = PersonPose(84 + travelled, travelled=travelled, stride=13)
        sx, sy = person.shoulder(pose)
        grip = (sx + 15 + 2 * np.sin(9 * t), sy + person.arm * 0.74)
        person.draw_behind(canvas, name, pose)
        draw_bag(canvas, bag_name, grip, COLOURS[colour])
        person.draw_near_arm(canvas, name, _holding(pose, grip))

    return action


def pushing_cup_off_table(who: tuple[str, Pet], cup: tuple[str, str]) -> Action:
    """The animal on the table pushes the cup over the edge; it falls, turning, and lies on the floor."""
    (name, animal), (cup_name, colour) = who, cup
    top, edge, size = 128.0, 214.0, 24.0
    tips, lands = 0.55, 0.78

    def action(canvas: Canvas, t: float) -> None:
        reach = ease(t, 0.02, 0.2)
        cup_x = 178 + (edge - 178) * ease(t, 0.2, tips)
        fall = float(np.clip((t - tips) / (lands - tips), 0, 1))
        rolled = ease(t, lands, 1.0)
        centre = (cup_x + 26 * fall + 16 * rolled, top - size / 2 + (FLOOR - top + 3) * fall**2)
        draw_table(canvas, 40, edge, top)
        pushing = t < tips + 0.05
        paw = between((cup_x - 34, top - 3), (cup_x - 11, top - 12), reach) if pushing else None
        x = cup_x - 46 if pushing else edge - 46
        draw_cup(canvas, cup_name, centre, COLOURS[colour], size=size, turn=np.pi / 2 * fall)
        animal.draw(canvas, name, x, top, travelled=x, stride=5 if pushing and reach == 1 else 0, paw=paw)

    return action


def nothing(canvas: Canvas, t: float) -> None:
    """An empty landscape under a passing cloud."""
    canvas.draw_as(None)
    draw_cloud(canvas, 60 + 90 * t, 60, 22, (246, 246, 248))


def looking_at_tree(who: tuple[str, Person]) -> Action:
    """who stands and looks; nothing is touched, nothing moves."""

    name, person = who

    def action(canvas: Canvas, t: float) -> None:
        draw_tree(canvas, 236, FLOOR + 2)
        person.draw(canvas, name, PersonPose(100, lean=2 * float(np.sin(3 * t))))

    return action
