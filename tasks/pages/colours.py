"""Colours: as CSS writes them, and one an instance, the same in pictures, captions and timelines.

css((63, 167, 255)) -> "#3fa7ff"     of_unit((0.8, 0.06, 0.05)) -> (204, 15, 13)     colour_of("id2") -> (63, 167, 255)
"""

from __future__ import annotations

Colour = tuple[int, int, int]  # RGB, 0..255

# Apart from each other on any footage, and for most colour-blind eyes.
PALETTE: tuple[Colour, ...] = ((255, 107, 74), (63, 167, 255), (255, 200, 60), (60, 205, 145), (200, 140, 255))


def css(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def of_unit(rgb: tuple[float, float, float]) -> Colour:
    """sRGB in 0..1; what lies outside is cut off."""
    red, green, blue = (round(255 * min(max(channel, 0.0), 1.0)) for channel in rgb)
    return red, green, blue


def colour_of(instance_id: str) -> Colour:
    """id1, id2, ... -> the palette's colours in turn."""
    return PALETTE[(int(instance_id.removeprefix("id")) - 1) % len(PALETTE)]
