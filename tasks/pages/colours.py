"""Colours as CSS writes them.

css((63, 167, 255)) -> "#3fa7ff"      of_unit((0.8, 0.06, 0.05)) -> (204, 15, 13)
"""

from __future__ import annotations

Colour = tuple[int, int, int]  # RGB, 0..255


def css(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def of_unit(rgb: tuple[float, float, float]) -> Colour:
    """sRGB in 0..1; what lies outside is cut off."""
    red, green, blue = (round(255 * min(max(channel, 0.0), 1.0)) for channel in rgb)
    return red, green, blue
