"""The scenes: each a caption, the things that it describes, and its shots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from schemas.outcome import Status
from tasks.datasets.matrix11k.drawn_input.actions import (
    HEIGHTS,
    PASSER,
    Action,
    carrying_bag,
    carrying_box,
    chasing_ball,
    handing_cup,
    hugging,
    kicking_ball,
    lifting_box,
    looking_at_tree,
    moving_cart,
    nothing,
    pushing_box,
    pushing_cup_off_table,
    rolling_ball,
    throwing_ball,
    tree_in_front,
    walking_across,
)
from tasks.media.drawing.canvas import HEIGHT, WIDTH, Point

Triplet = tuple[str, str, str]  # subject, verb, object

LIVING = (*HEIGHTS, "dog", "cat")


@dataclass(frozen=True)
class Shot:
    """One shot: a backdrop, what happens before it, the triplet that this shows, and another that it may show."""

    backdrop: str
    action: Action
    triplet: Triplet | None = None
    optional: Triplet | None = None
    zoom: float = 1.0
    centre: Point = (WIDTH / 2, HEIGHT / 2)
    expect: tuple[Status, str | None] = ("accepted", None)


@dataclass(frozen=True)
class Scene:
    """A captioned video."""

    caption: str
    nouns: dict[str, str]  # {name: phrase of the caption} of the things that it describes and shows
    shots: list[Shot]
    others: dict[str, str] = field(default_factory=dict)  # {name: phrase} of people who are shown, not described


def _does(backdrop: str, act: Callable[..., None], who: str, verb: str, what: str, **more: Any) -> Shot:
    """A shot in which who acts upon what; more: the action's own arguments."""
    return Shot(backdrop, lambda canvas, t, cast: act(canvas, t, cast, who, what, **more), (who, verb, what))


def _gives(backdrop: str, act: Callable[..., None], who: str, verb: str, what: str, to: str) -> Shot:
    return replace(_does(backdrop, act, who, verb, what, to=to), optional=(who, verb, to))


# In an order in which the first few already show every kind of row.
SCENES: dict[str, Scene] = {
    "push-0": Scene(
        "A boy in a red shirt pushes a green box across the floor.",
        {"boy": "a boy in a red shirt", "box": "a green box"},
        [_does("room", pushing_box, "boy", "push", "box")],
    ),
    "throw-0": Scene(
        "A man in a blue shirt throws an orange ball to a woman in a purple dress.",
        {"man": "a man in a blue shirt", "ball": "an orange ball", "woman": "a woman in a purple dress"},
        [_gives("park", throwing_ball, "man", "throw", "ball", "woman")],
    ),
    "shots-0": Scene(
        "A boy in a red shirt kicks a yellow ball. A woman in a blue dress carries a green box.",
        {
            "boy": "a boy in a red shirt",
            "ball": "a yellow ball",
            "woman": "a woman in a blue dress",
            "box": "a green box",
        },
        [
            _does("beach", kicking_ball, "boy", "kick", "ball"),
            Shot("dusk", nothing, expect=("rejected", "ground_instances")),
            _does("room", carrying_box, "woman", "carry", "box"),
        ],
    ),
    "chase-0": Scene(
        "A black dog chases a red ball.",
        {"dog": "a black dog", "ball": "a red ball"},
        # Much movement and no contact: the default thresholds of both drop it, as MATRIX 3.1 asks.
        [
            Shot(
                "beach",
                partial(chasing_ball, who="dog", ball="ball", size=40, collar="yellow"),
                optional=("dog", "chase", "ball"),
                expect=("rejected", "extract_triplets"),
            )
        ],
    ),
    "carry-0": Scene(
        "A woman in a yellow dress carries a blue box.",
        {"woman": "a woman in a yellow dress", "box": "a blue box"},
        [_does("hall", carrying_box, "woman", "carry", "box")],
    ),
    "hide-0": Scene(
        "A girl in a purple shirt kicks an orange ball behind a wall.",
        {"girl": "a girl in a purple shirt", "ball": "an orange ball"},
        [_does("park", kicking_ball, "girl", "kick", "ball", wall=(188, 238))],
    ),
    "push-1": Scene(
        "A boy in an orange shirt pushes a purple box. A green box stands near the wall.",
        {"boy": "a boy in an orange shirt", "box": "a purple box"},
        [_does("room", pushing_box, "boy", "push", "box", beside="green")],
    ),
    "kick-0": Scene(
        "A girl in a pink shirt kicks a blue ball.",
        {"girl": "a girl in a pink shirt", "ball": "a blue ball"},
        [_does("park", kicking_ball, "girl", "kick", "ball")],
    ),
    "hand-0": Scene(
        "A man in a green shirt hands a red cup to a woman in a blue dress.",
        {"man": "a man in a green shirt", "cup": "a red cup", "woman": "a woman in a blue dress"},
        [_gives("room", handing_cup, "man", "hand", "cup", "woman")],
    ),
    "shots-1": Scene(
        "A man in a blue shirt pushes a yellow cart.",
        {"man": "a man in a blue shirt", "cart": "a yellow cart"},
        [
            _does("street", moving_cart, "man", "push", "cart", pull=False),
            replace(_does("park", moving_cart, "man", "push", "cart", pull=False), zoom=1.2, centre=(166, 144)),
        ],
    ),
    "hug-0": Scene(
        "A woman in a red dress hugs a girl in a blue dress.",
        {"woman": "a woman in a red dress", "girl": "a girl in a blue dress"},
        [_does("street", hugging, "woman", "hug", "girl")],
    ),
    "lift-0": Scene(
        "A woman in a green shirt lifts an orange box.",
        {"woman": "a woman in a green shirt", "box": "an orange box"},
        [_does("hall", lifting_box, "woman", "lift", "box")],
    ),
    "pull-0": Scene(
        "A man in a red shirt pulls a green cart.",
        {"man": "a man in a red shirt", "cart": "a green cart"},
        [_does("street", moving_cart, "man", "pull", "cart", pull=True, front=walking_across)],
        others={PASSER: "a woman in a purple dress"},
    ),
    "push-2": Scene(
        "A black cat pushes a yellow cup off a table.",
        {"cat": "a black cat", "cup": "a yellow cup"},
        [_does("room", pushing_cup_off_table, "cat", "push", "cup", size=32, collar="red")],
    ),
    "throw-1": Scene(
        "A boy in a red shirt throws a blue ball to a boy in a green shirt.",
        {"boy 1": "a boy in a red shirt", "ball": "a blue ball", "boy 2": "a boy in a green shirt"},
        [_gives("hall", throwing_ball, "boy 1", "throw", "ball", "boy 2")],
    ),
    "push-3": Scene(
        "A girl in a purple shirt pushes an orange cart.",
        {"girl": "a girl in a purple shirt", "cart": "an orange cart"},
        [_does("beach", moving_cart, "girl", "push", "cart", pull=False, front=tree_in_front)],
    ),
    "shots-2": Scene(
        "An orange cat pushes a purple ball. A woman in a red dress carries a blue bag.",
        {"cat": "an orange cat", "ball": "a purple ball", "woman": "a woman in a red dress", "bag": "a blue bag"},
        [
            _does("hall", rolling_ball, "cat", "push", "ball", size=38, collar="green"),
            _does("dusk", carrying_bag, "woman", "carry", "bag"),
        ],
    ),
}

# Videos that can be read and must yet be dropped: nothing happens, the cup is not there, nothing moves.
DROPPED: dict[str, Scene] = {
    "landscape": Scene(
        "A quiet green valley under a pale sky.",
        {},
        [Shot("park", nothing, expect=("rejected", "extract_triplets"))],
    ),
    "no-cup": Scene(
        "A woman in a red dress lifts a blue cup.",
        {"woman": "a woman in a red dress"},
        [Shot("hall", partial(lifting_box, who="woman", box=None), expect=("rejected", "ground_instances"))],
    ),
    "look": Scene(
        "A man in a blue shirt looks at a tree.",
        {"man": "a man in a blue shirt"},
        [Shot("beach", partial(looking_at_tree, who="man"), expect=("rejected", "extract_triplets"))],
    ),
}
