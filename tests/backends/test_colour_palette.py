"""Colour words on plain colours: each has its own name and no distant one."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.backends.colour.palette import Picture, Tint


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((214, 34, 38), "red"),
        ((246, 122, 14), "orange"),
        ((250, 212, 24), "yellow"),
        ((28, 146, 62), "green"),
        ((30, 84, 206), "blue"),
        ((128, 48, 172), "purple"),
        ((240, 70, 150), "pink"),
        ((110, 70, 40), "brown"),
        ((20, 20, 22), "black"),
        ((120, 122, 120), "grey"),
        ((246, 246, 244), "white"),
        ((236, 226, 200), "cream"),
    ],
)
def test_a_plain_colour_has_its_own_name_and_no_distant_one(rgb: tuple[int, int, int], name: str) -> None:
    picture = Picture(np.full((2, 2, 3), rgb, np.uint8))
    assert picture.membership([Tint(name)])[0, 0] == 255
    neighbours = {"grey": {"silver"}, "white": {"silver", "cream"}, "cream": {"white"}, "brown": {"orange", "tan"}}
    others = {"red", "orange", "yellow", "green", "blue", "purple", "black", "white", "brown"} - {name}
    for other in sorted(others - neighbours.get(name, set())):
        assert picture.membership([Tint(other)])[0, 0] < 128, other


def test_dark_and_light_divide_a_colour() -> None:
    picture = Picture(np.array([[(20, 30, 80), (150, 190, 250)]], np.uint8))
    assert list(picture.has([Tint("blue", "dark")])[0]) == [True, False]
    assert list(picture.has([Tint("blue", "light")])[0]) == [False, True]
