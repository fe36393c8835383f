"""The ID map: a picture of one frame in which each instance's mask has the instance's colour (MATRIX 5, C.1).

id_map([boy, ball])         (2, H, W) bool -> (H, W, 3) uint8 RGB: the boy's pixels red, the ball's green, others black

The paper calls it a palette picture and names no colours: these are ours, as far apart as RGB allows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Of the first, second, ... instance, whatever ids were dropped before.
ID_COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))


def id_map(masks: Sequence[np.ndarray]) -> np.ndarray:
    """(H, W) bool each, in the order of the ids -> (H, W, 3) uint8 RGB.

    Where masks overlap, the smaller one is seen: a cup before the man who holds it.
    Raises ValueError for more masks than colours.
    """
    if len(masks) > len(ID_COLOURS):
        raise ValueError(f"{len(masks)} instances, the ID map has {len(ID_COLOURS)} colours")
    picture = np.zeros((*masks[0].shape, 3), np.uint8)
    for number in sorted(range(len(masks)), key=lambda n: (-int(masks[n].sum()), n)):
        picture[masks[number]] = ID_COLOURS[number]
    return picture
