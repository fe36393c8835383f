"""What a colour word looks like: hue (HSV), chroma and lightness (CIE Lab), as people name colours.

    Picture(rgb).membership([Tint("blue", "dark")])  ->  (H, W) uint8: 255 on a dark blue shirt, 0 on the lawn

Colours have soft borders and overlap: a pale brown is also tan.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

FULL_MEMBERSHIP = 255
# Out of FULL_MEMBERSHIP, as in hysteresis thresholding: with the shaded sides; the pure middle only.
WEAK_MEMBERSHIP, STRONG_MEMBERSHIP = 90, 180
HUE_SOFTNESS_DEG, CHROMA_SOFTNESS, LIGHTNESS_SOFTNESS = 7.0, 6.0, 8.0


class Tint(NamedTuple):
    """A colour with its modifier: ("blue", "dark"), ("", "dark"), ("red", "")."""

    colour: str
    modifier: str = ""

    def __str__(self) -> str:
        return f"{self.modifier} {self.colour}".strip()


class ColourRange(NamedTuple):
    """Where a pixel fully has a colour; membership falls to 0 over the softness around it."""

    hue: tuple[float, float] | None = None  # degrees of HSV, from -> to clockwise
    chroma: tuple[float, float] = (0.0, 200.0)  # of CIE Lab
    lightness: tuple[float, float] = (0.0, 100.0)  # of CIE Lab


# Measured on the colours of filmed clothes, cups and balls rather than on pure primaries: a filmed dark blue
# shirt has chroma 10 to 16, a filmed white ball in the shade lightness 80 and chroma 7.
PALETTE: dict[str, tuple[ColourRange, ...]] = {
    "red": (ColourRange((342, 15), (30, 200), (14, 68)),),
    "orange": (ColourRange((17, 41), (38, 200), (32, 85)),),
    "yellow": (ColourRange((43, 68), (34, 200), (52, 100)),),
    "green": (ColourRange((75, 168), (14, 200), (10, 95)),),
    "teal": (ColourRange((165, 198), (12, 200), (20, 95)),),
    "blue": (ColourRange((198, 250), (13, 200), (6, 54)), ColourRange((198, 250), (26, 200), (50, 80))),  # no grey sky
    "purple": (ColourRange((254, 306), (16, 200), (8, 85)),),
    "pink": (ColourRange((300, 344), (18, 200), (42, 95)), ColourRange((338, 12), (12, 55), (65, 95))),
    "brown": (ColourRange((8, 42), (10, 42), (14, 52)),),
    "tan": (ColourRange((18, 52), (12, 42), (48, 82)),),
    "cream": (ColourRange((20, 70), (3, 30), (68, 100)), ColourRange(None, (0, 6), (74, 100))),
    "black": (ColourRange(None, (0, 16), (0, 21)),),
    "grey": (ColourRange(None, (0, 8), (26, 76)),),
    "silver": (ColourRange(None, (0, 9), (40, 92)),),
    "white": (ColourRange(None, (0, 10), (74, 100)),),
    "": (ColourRange(None, (0, 40), (0, 100)),),  # "dark" alone: any weak colour; the modifier sets the lightness
}
SKIN = ColourRange((6, 36), (12, 48), (25, 88))  # all complexions: their hue and chroma hardly differ

COLOUR_WORDS: dict[str, Tint] = {
    **{colour: Tint(colour) for colour in PALETTE if colour},
    **dict.fromkeys(["gray", "graphite"], Tint("grey")),
    **dict.fromkeys(["violet", "lavender", "lilac"], Tint("purple")),
    **dict.fromkeys(["cyan", "turquoise"], Tint("teal")),
    **dict.fromkeys(["beige", "khaki"], Tint("tan")),
    **dict.fromkeys(["scarlet", "crimson"], Tint("red")),
    **dict.fromkeys(["gold", "golden"], Tint("yellow")),
    "magenta": Tint("pink"),
    "maroon": Tint("red", "dark"),
    "navy": Tint("blue", "dark"),
    "denim": Tint("blue"),
    "ivory": Tint("cream"),
    "olive": Tint("green", "dark"),
}
MODIFIERS = {"dark": "dark", "deep": "dark", "light": "light", "pale": "light"}
MAX_DARK_LIGHTNESS, MAX_COLOURLESS_DARK_LIGHTNESS, MIN_LIGHT_LIGHTNESS = 38.0, 26.0, 58.0
MODIFIED_CHROMA_SHARE = 0.6  # dark and pale colours have less chroma


class Picture:
    """A picture, (H, W, 3) uint8 RGB, prepared for measuring colours."""

    def __init__(self, rgb: np.ndarray) -> None:
        self.height, self.width = rgb.shape[:2]
        lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab)
        self._hue = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV_FULL)[..., 0]
        self._lightness = np.ascontiguousarray(lab[..., 0])
        a, b = (lab[..., i].astype(np.float32) - 128 for i in (1, 2))
        self._chroma = cv2.magnitude(a, b).astype(np.uint8)
        self._memberships: dict[tuple[Tint, ...], np.ndarray] = {}

    def membership(self, tints: Sequence[Tint]) -> np.ndarray:
        """(H, W) uint8: how much each pixel has one of the colours, 0 to FULL_MEMBERSHIP. Read-only: it is cached."""
        key = tuple(tints)
        if key not in self._memberships:
            self._memberships[key] = self.within([colour for tint in key for colour in _ranges(tint)])
        return self._memberships[key]

    def has(self, tints: Sequence[Tint]) -> np.ndarray:
        """(H, W) bool: pixels of one of the colours, shaded sides included."""
        return self.membership(tints) >= WEAK_MEMBERSHIP

    def within(self, ranges: Iterable[ColourRange]) -> np.ndarray:
        """(H, W) uint8: how much each pixel lies in one of the ranges, 0 to FULL_MEMBERSHIP."""
        result = np.zeros((self.height, self.width), np.uint8)
        for colour in ranges:
            member = cv2.min(
                cv2.LUT(self._lightness, _ramp(np.arange(256) / 2.55, *colour.lightness, LIGHTNESS_SOFTNESS)),
                cv2.LUT(self._chroma, _ramp(np.arange(256), *colour.chroma, CHROMA_SOFTNESS)),
            )
            if colour.hue is not None:
                member = cv2.min(member, cv2.LUT(self._hue, _hue_ramp(*colour.hue)))
            result = np.maximum(result, member)
        return result


def shrink(rgb: np.ndarray, long_side_px: int) -> np.ndarray:
    """(H, W, 3) uint8 with its long side at most `long_side_px`: enough for colours, and faster."""
    height, width = rgb.shape[:2]
    scale = long_side_px / max(height, width)
    if scale >= 1:
        return rgb
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)


def _ranges(tint: Tint) -> list[ColourRange]:
    """A tint's ranges, with its modifier applied."""
    ranges = []
    for hue, (chroma_low, chroma_high), (low, high) in PALETTE[tint.colour]:
        if tint.modifier == "dark":
            low, high = 0.0, MAX_DARK_LIGHTNESS if tint.colour else MAX_COLOURLESS_DARK_LIGHTNESS
        elif tint.modifier == "light":
            low, high = max(low, MIN_LIGHT_LIGHTNESS), 100.0
        weakest = chroma_low * (MODIFIED_CHROMA_SHARE if tint.modifier else 1)
        ranges.append(ColourRange(hue, (weakest, chroma_high), (low, high)))
    return ranges


def _ramp(values: np.ndarray, low: float, high: float, softness: float) -> np.ndarray:
    """(256,) uint8: FULL_MEMBERSHIP where a value lies in [low, high], 0 from `softness` outside of it."""
    outside = np.maximum(np.maximum(low - values, values - high), 0)
    return np.round(FULL_MEMBERSHIP * np.clip(1 - outside / softness, 0, 1)).astype(np.uint8)


def _hue_ramp(start_deg: float, end_deg: float) -> np.ndarray:
    """(256,) uint8 over the hues of RGB2HSV_FULL, 360/256 degrees each."""
    half = ((end_deg - start_deg) % 360) / 2
    offset = (np.arange(256) * (360 / 256) - start_deg - half + 180) % 360 - 180
    return _ramp(np.abs(offset), 0, half, HUE_SOFTNESS_DEG)
