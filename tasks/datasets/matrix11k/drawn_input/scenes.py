"""The scenes: each a caption, the things that it describes, and its shots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from schemas.outcome import Status
from tasks.datasets.matrix11k.drawn_input.actions import (
    Action,
    carrying_bag,
    carrying_box,
    chasing_ball,
    handing_cup,
    hugging,
    kicking_ball,
    lifting_box,
    looking_at_tree,
    make_person,
    moving_cart,
    nothing,
    pushing_box,
    pushing_cup_off_table,
    rolling_ball,
    throwing_ball,
    walking_across,
)
from tasks.media.drawing.backdrops import draw_tree
from tasks.media.drawing.canvas import COLOURS, FLOOR, HEIGHT, WIDTH, Canvas, Point
from tasks.media.drawing.figures import Pet


@dataclass(frozen=True)
class Shot:
    """One shot: a backdrop, what happens before it, and the triplets (subject, verb, object) that this shows."""

    backdrop: str
    action: Action
    triplets: tuple[tuple[str, str, str], ...] = ()
    optional: tuple[tuple[str, str, str], ...] = ()
    zoom: float = 1.0
    centre: Point = (WIDTH / 2, HEIGHT / 2)
    expect: tuple[Status, str | None] = ("accepted", None)


@dataclass(frozen=True)
class Scene:
    """A captioned video: {name: phrase of the caption} of the things it describes and shows, and its shots."""

    caption: str
    nouns: dict[str, str]
    shots: tuple[Shot, ...]


LIVING = ("boy", "girl", "man", "woman", "dog", "cat")
Rng = np.random.Generator


def _push(rng: Rng) -> Scene:
    action = pushing_box(("boy", make_person("boy", "red", rng)), ("box", "green"))
    return Scene(
        "A boy in a red shirt pushes a green box across the floor.",
        {"boy": "a boy in a red shirt", "box": "a green box"},
        (Shot("room", action, (("boy", "push", "box"),)),),
    )


def _throw(rng: Rng) -> Scene:
    man, woman = make_person("man", "blue", rng), make_person("woman", "purple", rng, dress=True)
    return Scene(
        "A man in a blue shirt throws an orange ball to a woman in a purple dress.",
        {"man": "a man in a blue shirt", "ball": "an orange ball", "woman": "a woman in a purple dress"},
        (
            Shot(
                "park",
                throwing_ball(("man", man), ("ball", "orange"), ("woman", woman)),
                (("man", "throw", "ball"),),
                optional=(("man", "throw", "woman"),),
            ),
        ),
    )


def _three_shots(rng: Rng) -> Scene:
    kick = kicking_ball(("boy", make_person("boy", "red", rng)), ("ball", "yellow"))
    carry = carrying_box(("woman", make_person("woman", "blue", rng, dress=True)), ("box", "green"))
    return Scene(
        "A boy in a red shirt kicks a yellow ball. A woman in a blue dress carries a green box.",
        {
            "boy": "a boy in a red shirt",
            "ball": "a yellow ball",
            "woman": "a woman in a blue dress",
            "box": "a green box",
        },
        (
            Shot("beach", kick, (("boy", "kick", "ball"),)),
            Shot("dusk", nothing, expect=("rejected", "ground_instances")),
            Shot("room", carry, (("woman", "carry", "box"),)),
        ),
    )


def _chase(rng: Rng) -> Scene:
    dog = Pet("dog", COLOURS["black"], 40, COLOURS["yellow"])
    # Much movement and no contact: the default thresholds of both drop it, as MATRIX 3.1 asks.
    shot = Shot(
        "beach",
        chasing_ball(("dog", dog), ("ball", "red")),
        optional=(("dog", "chase", "ball"),),
        expect=("rejected", "extract_triplets"),
    )
    return Scene("A black dog chases a red ball.", {"dog": "a black dog", "ball": "a red ball"}, (shot,))


def _carry(rng: Rng) -> Scene:
    woman = make_person("woman", "yellow", rng, dress=True)
    return Scene(
        "A woman in a yellow dress carries a blue box.",
        {"woman": "a woman in a yellow dress", "box": "a blue box"},
        (Shot("hall", carrying_box(("woman", woman), ("box", "blue")), (("woman", "carry", "box"),)),),
    )


def _hide(rng: Rng) -> Scene:
    action = kicking_ball(("girl", make_person("girl", "purple", rng)), ("ball", "orange"), wall=(188, 238))
    return Scene(
        "A girl in a purple shirt kicks an orange ball behind a wall.",
        {"girl": "a girl in a purple shirt", "ball": "an orange ball"},
        (Shot("park", action, (("girl", "kick", "ball"),)),),
    )


def _kick(rng: Rng) -> Scene:
    girl = make_person("girl", "pink", rng)
    return Scene(
        "A girl in a pink shirt kicks a blue ball.",
        {"girl": "a girl in a pink shirt", "ball": "a blue ball"},
        (Shot("park", kicking_ball(("girl", girl), ("ball", "blue")), (("girl", "kick", "ball"),)),),
    )


def _push_beside(rng: Rng) -> Scene:
    boy = make_person("boy", "orange", rng)
    return Scene(
        "A boy in an orange shirt pushes a purple box. A green box stands near the wall.",
        {"boy": "a boy in an orange shirt", "box": "a purple box"},
        (Shot("room", pushing_box(("boy", boy), ("box", "purple"), beside="green"), (("boy", "push", "box"),)),),
    )


def _hug(rng: Rng) -> Scene:
    woman, girl = make_person("woman", "red", rng, dress=True), make_person("girl", "blue", rng, dress=True)
    return Scene(
        "A woman in a red dress hugs a girl in a blue dress.",
        {"woman": "a woman in a red dress", "girl": "a girl in a blue dress"},
        (Shot("street", hugging(("woman", woman), ("girl", girl)), (("woman", "hug", "girl"),)),),
    )


def _hand(rng: Rng) -> Scene:
    man, woman = make_person("man", "green", rng), make_person("woman", "blue", rng, dress=True)
    return Scene(
        "A man in a green shirt hands a red cup to a woman in a blue dress.",
        {"man": "a man in a green shirt", "cup": "a red cup", "woman": "a woman in a blue dress"},
        (
            Shot(
                "room",
                handing_cup(("man", man), ("cup", "red"), ("woman", woman)),
                (("man", "hand", "cup"),),
                optional=(("man", "hand", "woman"),),
            ),
        ),
    )


def _two_shots(rng: Rng) -> Scene:
    push = moving_cart(("man", make_person("man", "blue", rng)), ("cart", "yellow"), pull=False)
    return Scene(
        "A man in a blue shirt pushes a yellow cart.",
        {"man": "a man in a blue shirt", "cart": "a yellow cart"},
        (
            Shot("street", push, (("man", "push", "cart"),)),
            Shot("park", push, (("man", "push", "cart"),), zoom=1.2, centre=(166, 144)),
        ),
    )


def _lift(rng: Rng) -> Scene:
    woman = make_person("woman", "green", rng)
    return Scene(
        "A woman in a green shirt lifts an orange box.",
        {"woman": "a woman in a green shirt", "box": "an orange box"},
        (Shot("hall", lifting_box(("woman", woman), ("box", "orange")), (("woman", "lift", "box"),)),),
    )


def _pull_crossed(rng: Rng) -> Scene:
    man, passer = make_person("man", "red", rng), make_person("woman", "purple", rng, dress=True)
    action = moving_cart(("man", man), ("cart", "green"), pull=True, front=walking_across(passer))
    return Scene(
        "A man in a red shirt pulls a green cart.",
        {"man": "a man in a red shirt", "cart": "a green cart"},
        (Shot("street", action, (("man", "pull", "cart"),)),),
    )


def _push_off(rng: Rng) -> Scene:
    cat = Pet("cat", COLOURS["black"], 32, COLOURS["red"])
    return Scene(
        "A black cat pushes a yellow cup off a table.",
        {"cat": "a black cat", "cup": "a yellow cup"},
        (Shot("room", pushing_cup_off_table(("cat", cat), ("cup", "yellow")), (("cat", "push", "cup"),)),),
    )


def _two_boys(rng: Rng) -> Scene:
    thrower, catcher = make_person("boy", "red", rng), make_person("boy", "green", rng)
    return Scene(
        "A boy in a red shirt throws a blue ball to a boy in a green shirt.",
        {"boy 1": "a boy in a red shirt", "ball": "a blue ball", "boy 2": "a boy in a green shirt"},
        (
            Shot(
                "hall",
                throwing_ball(("boy 1", thrower), ("ball", "blue"), ("boy 2", catcher)),
                (("boy 1", "throw", "ball"),),
                optional=(("boy 1", "throw", "boy 2"),),
            ),
        ),
    )


def _pass_tree(rng: Rng) -> Scene:
    def tree(canvas: Canvas, t: float) -> None:
        draw_tree(canvas, 150, FLOOR + 14)

    action = moving_cart(("girl", make_person("girl", "purple", rng)), ("cart", "orange"), pull=False, front=tree)
    return Scene(
        "A girl in a purple shirt pushes an orange cart.",
        {"girl": "a girl in a purple shirt", "cart": "an orange cart"},
        (Shot("beach", action, (("girl", "push", "cart"),)),),
    )


def _two_stories(rng: Rng) -> Scene:
    cat = Pet("cat", COLOURS["orange"], 38, COLOURS["green"])
    carry = carrying_bag(("woman", make_person("woman", "red", rng, dress=True)), ("bag", "blue"))
    return Scene(
        "An orange cat pushes a purple ball. A woman in a red dress carries a blue bag.",
        {"cat": "an orange cat", "ball": "a purple ball", "woman": "a woman in a red dress", "bag": "a blue bag"},
        (
            Shot("hall", rolling_ball(("cat", cat), ("ball", "purple")), (("cat", "push", "ball"),)),
            Shot("dusk", carry, (("woman", "carry", "bag"),)),
        ),
    )


# In an order in which the first few already show every kind of row.
SCENES: dict[str, Callable[[Rng], Scene]] = {
    "push-0": _push,
    "throw-0": _throw,
    "shots-0": _three_shots,
    "chase-0": _chase,
    "carry-0": _carry,
    "hide-0": _hide,
    "push-1": _push_beside,
    "kick-0": _kick,
    "hand-0": _hand,
    "shots-1": _two_shots,
    "hug-0": _hug,
    "lift-0": _lift,
    "pull-0": _pull_crossed,
    "push-2": _push_off,
    "throw-1": _two_boys,
    "push-3": _pass_tree,
    "shots-2": _two_stories,
}


def _landscape(rng: Rng) -> Scene:
    shot = Shot("park", nothing, expect=("rejected", "extract_triplets"))
    return Scene("A quiet green valley under a pale sky.", {}, (shot,))


def _no_cup(rng: Rng) -> Scene:
    woman = make_person("woman", "red", rng, dress=True)
    shot = Shot("hall", lifting_box(("woman", woman), None), expect=("rejected", "ground_instances"))
    return Scene("A woman in a red dress lifts a blue cup.", {"woman": "a woman in a red dress"}, (shot,))


def _look(rng: Rng) -> Scene:
    man = make_person("man", "blue", rng)
    shot = Shot("beach", looking_at_tree(("man", man)), expect=("rejected", "extract_triplets"))
    return Scene("A man in a blue shirt looks at a tree.", {"man": "a man in a blue shirt"}, (shot,))


# Videos that can be read and must yet be dropped: nothing happens, the cup is not there, nothing moves.
DROPPED: dict[str, Callable[[Rng], Scene]] = {"landscape": _landscape, "no-cup": _no_cup, "look": _look}
