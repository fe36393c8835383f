"""One colour an instance, the same in pictures, captions and timelines.

colour_of("id2") -> (63, 167, 255)
"""

from __future__ import annotations

from tasks.pages.colours import Colour

# Apart from each other on any footage, and for most colour-blind eyes.
PALETTE: tuple[Colour, ...] = ((255, 107, 74), (63, 167, 255), (255, 200, 60), (60, 205, 145), (200, 140, 255))


def colour_of(instance_id: str) -> Colour:
    """id1, id2, ... -> the palette's colours in turn."""
    return PALETTE[(int(instance_id.removeprefix("id")) - 1) % len(PALETTE)]
