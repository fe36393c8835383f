"""Noun phrases: which colours belong to which garment, or to the thing itself."""

from __future__ import annotations

import pytest

from tasks.backends.colour.palette import Tint
from tasks.backends.colour.phrases import Garment, describe
from tests.support.drawn_room import instance


@pytest.mark.parametrize(
    ("noun", "class_name", "living", "body", "garments"),
    [
        ("a white ball", "ball", False, (Tint("white"),), ()),
        ("a dark green box", "box", False, (Tint("green", "dark"),), ()),
        ("a blue mug on a white table", "mug", False, (Tint("blue"),), ()),
        ("a red plastic cup with a white lid", "cup", False, (Tint("red"),), ()),
        ("a blue bag", "bag", False, (Tint("blue"),), ()),
        ("a brown and white dog", "dog", True, (Tint("brown"), Tint("white")), ()),
        (
            "a man in a dark blue shirt and dark trousers",
            "man",
            True,
            (),
            (
                Garment("shirt", "upper", (Tint("blue", "dark"),)),
                Garment("trousers", "lower", (Tint("", "dark"),)),
            ),
        ),
        (
            "a woman in a cream T-shirt and jeans",
            "woman",
            True,
            (),
            (Garment("tshirt", "upper", (Tint("cream"),)), Garment("jeans", "lower", (Tint("blue"),))),
        ),
        ("a woman in white", "woman", True, (), (Garment("clothes", "whole", (Tint("white"),)),)),
        ("a man holding a red cup", "man", True, (), ()),
        ("a box", "box", False, (), ()),
    ],
)
def test_description_gives_each_colour_to_its_noun(
    noun: str, class_name: str, living: bool, body: tuple[Tint, ...], garments: tuple[Garment, ...]
) -> None:
    found = describe(instance(noun, class_name, living=living))
    assert found.body == body
    assert found.large_garments == garments


def test_the_appearance_speaks_where_the_noun_is_silent() -> None:
    assert describe(instance("the ball", "ball", appearance="The ball is red.")).body == (Tint("red"),)
    assert describe(instance("a white ball", "ball", appearance="It rolls on red sand.")).body == (Tint("white"),)
