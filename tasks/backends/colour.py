"""Grounding without weights: colour words become boxes, and measured colours, sizes and shapes a verdict.

    ColourDetector().propose(frames, [<"a red ball">])  ->  {"id2": [Proposal(frame=3, box_xyxy=..., score=0.8), ...]}
    AttributeVerifier().verify(frame, box, <"a red ball">, caption)
        ->  Answer(match=True, confidence=0.9, rationale="red: 87% of the middle (needs 35%), ...")

A thing is a connected patch of its colour that stands out from what surrounds it. A person is a figure whose
garments have their colours in the right places: found by the people detector, or grown from the garments
over the foreground. Both see the caption's words only through `describe`, and say so when it finds none
that they can check. Colours are named in Lab (lightness, chroma) and HSV (hue), as people name them.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import cv2
import numpy as np

from schemas.candidate import Box
from schemas.instance import Instance
from tasks.backends.people import PeopleDetector, PersonBox, iou_with
from tasks.ground_instances import Answer, Proposal

WORKING_LONG_SIDE_PX = 640
MAX_PROPOSALS = 8  # a frame and instance; the stage keeps its own J of them

# --- Words: what a description says that can be measured ---------------------------------------

Region = Literal["upper", "lower", "whole", "small"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PERSON_WORDS = _words(
    "person people man men woman women boy girl child children kid toddler baby player lady gentleman guy teenager "
    "adult worker athlete dancer runner skater cyclist rider chef cook barista waiter waitress teacher student farmer "
    "juggler musician performer pedestrian goalkeeper father mother"
)
ROUND_WORDS = _words("ball football basketball volleyball baseball softball balloon orange marble globe")

GARMENTS: dict[Region, frozenset[str]] = {
    "upper": _words(
        "shirt tshirt tee top sweater jumper jacket coat hoodie blouse jersey vest cardigan pullover sweatshirt polo "
        "tank blazer parka"
    ),
    "lower": _words("trousers pants jeans skirt shorts leggings slacks joggers tights chinos"),
    "whole": _words("dress suit uniform robe overalls jumpsuit tracksuit costume gown clothes outfit"),
    "small": _words(
        "hat cap helmet beanie hair beard shoes shoe boots sneakers socks scarf gloves glove bag backpack collar belt "
        "glasses watch tie apron eyes"
    ),
}
GARMENT_REGIONS: dict[str, Region] = {word: region for region, words in GARMENTS.items() for word in words}
IMPLIED_COLOUR = {"jeans": "blue"}
LINKS = _words("in wearing wears is are has")  # what follows describes the instance itself
DEPARTURES = _words(  # what follows describes something else
    "on at near beside behind under of from to into onto by over above below holding next against through"
)


class Tint(NamedTuple):
    """A colour word with its modifier: ("blue", "dark"), ("", "dark"), ("red", "")."""

    colour: str
    modifier: str = ""

    def __str__(self) -> str:
        return f"{self.modifier} {self.colour}".strip()


class Garment(NamedTuple):
    """("shirt", "upper", (dark blue,))"""

    word: str
    region: Region
    tints: tuple[Tint, ...]


@dataclass(frozen=True)
class Description:
    """What a noun phrase says that can be measured."""

    body: tuple[Tint, ...] = ()  # colours of the thing itself
    garments: tuple[Garment, ...] = ()
    person: bool = False
    living: bool = False
    round: bool = False

    @property
    def large_garments(self) -> tuple[Garment, ...]:
        """Those that a box of the whole figure can be judged by."""
        return tuple(g for g in self.garments if g.region != "small")

    @property
    def tints(self) -> tuple[Tint, ...]:
        return tuple(dict.fromkeys([*self.body, *(tint for g in self.large_garments for tint in g.tints)]))


def describe(instance: Instance) -> Description:
    """The noun's measurable words, or the appearance's where the noun has none."""
    head = _singular(instance.class_name.lower().split()[-1])
    person = instance.living and head in PERSON_WORDS
    found = Description()
    for text in (instance.noun, instance.appearance):
        found = _read_phrase(text, head, person)
        if found.tints:
            break
    return replace(found, person=person, living=instance.living, round=head in ROUND_WORDS)


def _read_phrase(text: str, head: str, person: bool) -> Description:
    body: list[Tint] = []
    garments: list[Garment] = []
    for sentence in re.split(r"[.;!?]", text.lower()):
        reader = _PhraseReader(head, person)
        for word in re.findall(r"[a-z]+", re.sub(r"t[- ]?shirt", "tshirt", sentence)):
            reader.read(word)
        reader.end()
        body += reader.body
        garments += reader.garments
    return Description(body=tuple(dict.fromkeys(body)), garments=tuple(dict.fromkeys(garments)))


class _PhraseReader:
    """Gives each colour word to the noun that it stands before, or is said of."""

    def __init__(self, head: str, person: bool) -> None:
        self.head, self.person = head, person
        self.body: list[Tint] = []
        self.garments: list[Garment] = []
        self._pending: list[Tint] = []
        self._modifier = ""
        self._elsewhere = False
        self._last_was_colour = False

    def read(self, word: str) -> None:
        is_colour = word in COLOUR_WORDS
        if word in MODIFIERS:
            self._modifier = MODIFIERS[word]
        elif is_colour:
            colour, modifier = COLOUR_WORDS[word]
            self._pending.append(Tint(colour, self._modifier or modifier))
            self._modifier = ""
        elif _singular(word) == self.head:
            self.body += self._take()
        elif word in GARMENT_REGIONS and not self._elsewhere:
            self._close_garment(word)
        elif word in LINKS or word in DEPARTURES or word == "with":
            self._close_predicate()
            # A person "with" something wears it; a thing "with" something has another part.
            self._elsewhere = word in DEPARTURES or (word == "with" and not self.person)
        self._last_was_colour = is_colour or (self._last_was_colour and word == "and")

    def end(self) -> None:
        self._close_predicate()
        if self._pending and not self.body and not self.garments and not self.person:
            self.body += self._take()  # a synonym of the class: "a blue mug" for a cup

    def _take(self) -> list[Tint]:
        if self._modifier == "dark":  # "dark trousers": the modifier is the colour
            self._pending.append(Tint("", "dark"))
        tints, self._pending, self._modifier = self._pending, [], ""
        return [] if self._elsewhere else tints

    def _close_garment(self, word: str) -> None:
        tints = self._take()
        if not tints and word in IMPLIED_COLOUR:
            tints = [Tint(IMPLIED_COLOUR[word])]
        if tints:
            self.garments.append(Garment(word, GARMENT_REGIONS[word], tuple(tints)))

    def _close_predicate(self) -> None:
        """Colours that end a phrase are said of the instance: "the ball is red", "a woman in white"."""
        if self._last_was_colour:
            tints = self._take()
            if tints and self.person:
                self.garments.append(Garment("clothes", "whole", tuple(tints)))
            elif tints:
                self.body += tints


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


# --- Colours: what a colour word looks like ----------------------------------------------------

FULL = 255
HUE_SOFTNESS_DEG, CHROMA_SOFTNESS, LIGHTNESS_SOFTNESS = 7.0, 6.0, 8.0


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
    "": (ColourRange(None, (0, 40), (0, 100)),),  # "dark" alone: any weak colour, the modifier decides
}
COLOUR_WORDS: dict[str, tuple[str, str]] = {
    **{name: (name, "") for name in PALETTE if name},
    **dict.fromkeys(["gray", "graphite"], ("grey", "")),
    **dict.fromkeys(["violet", "lavender", "lilac"], ("purple", "")),
    **dict.fromkeys(["cyan", "turquoise"], ("teal", "")),
    **dict.fromkeys(["beige", "khaki"], ("tan", "")),
    **dict.fromkeys(["scarlet", "crimson"], ("red", "")),
    "magenta": ("pink", ""),
    "maroon": ("red", "dark"),
    "navy": ("blue", "dark"),
    "denim": ("blue", ""),
    "gold": ("yellow", ""),
    "golden": ("yellow", ""),
    "ivory": ("cream", ""),
    "olive": ("green", "dark"),
}
MODIFIERS = {"dark": "dark", "deep": "dark", "light": "light", "pale": "light"}
DARK_LIGHTNESS, DARKNESS_LIGHTNESS, LIGHT_LIGHTNESS = 38.0, 26.0, 58.0
MODIFIED_CHROMA_SHARE = 0.6  # dark and pale colours are weaker colours


class Picture:
    """(H, W, 3) uint8 RGB, ready for questions about its colours."""

    def __init__(self, rgb: np.ndarray) -> None:
        self.height, self.width = rgb.shape[:2]
        lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab)
        self._hue = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV_FULL)[..., 0]
        self._lightness = np.ascontiguousarray(lab[..., 0])
        a, b = (lab[..., i].astype(np.float32) - 128 for i in (1, 2))
        self._chroma = cv2.magnitude(a, b).astype(np.uint8)
        self._memberships: dict[tuple[Tint, ...], np.ndarray] = {}

    def membership(self, tints: Sequence[Tint]) -> np.ndarray:
        """(H, W) uint8: how much each pixel has one of the colours, 0 to FULL. Not to be written to."""
        key = tuple(tints)
        if key not in self._memberships:
            ranges = [colour_range for tint in key for colour_range in _ranges(tint)]
            self._memberships[key] = self.within(ranges)
        return self._memberships[key]

    def has(self, tints: Sequence[Tint]) -> np.ndarray:
        """(H, W) bool: pixels of one of the colours, shaded sides included."""
        return self.membership(tints) >= MEMBERSHIP_LEVELS[0]

    def within(self, ranges: Iterable[ColourRange]) -> np.ndarray:
        """(H, W) uint8: how much each pixel lies in one of the ranges, 0 to FULL."""
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


def _ranges(tint: Tint) -> list[ColourRange]:
    """A tint's ranges, with its modifier applied."""
    ranges = []
    for hue, (chroma_low, chroma_high), (low, high) in PALETTE[tint.colour]:
        if tint.modifier == "dark":
            low, high = 0.0, DARK_LIGHTNESS if tint.colour else DARKNESS_LIGHTNESS
        elif tint.modifier == "light":
            low, high = max(low, LIGHT_LIGHTNESS), 100.0
        weakest = chroma_low * (MODIFIED_CHROMA_SHARE if tint.modifier else 1)
        ranges.append(ColourRange(hue, (weakest, chroma_high), (low, high)))
    return ranges


def _ramp(values: np.ndarray, low: float, high: float, softness: float) -> np.ndarray:
    """FULL in [low, high], 0 from `softness` outside of it."""
    outside = np.maximum(np.maximum(low - values, values - high), 0)
    return np.round(FULL * np.clip(1 - outside / softness, 0, 1)).astype(np.uint8)


def _hue_ramp(start_deg: float, end_deg: float) -> np.ndarray:
    """(256,) uint8 over the hues of RGB2HSV_FULL, of which one is 360/256 degrees."""
    half = ((end_deg - start_deg) % 360) / 2
    offset = (np.arange(256) * (360 / 256) - start_deg - half + 180) % 360 - 180
    return _ramp(np.abs(offset), 0, half, HUE_SOFTNESS_DEG)


# --- Foreground: what is not the scenery -------------------------------------------------------

MIN_FRAMES_FOR_MEDIAN = 4
MOVED_RGB = 26  # largest channel's change; compression and noise stay below
SHADOW_RATIO, SHADOW_TINT = (0.7, 1.0), 0.08  # a shadow darkens all channels alike, and not much
SHADOW_SCALE = 100.0  # ratios as 8-bit numbers
STEADY_CAMERA_SHARE = 0.4  # more than this moving at once is the camera
PLAIN_BORDER_BINS = 48  # colours, of 4096, that cover a plain picture's border
BORDER_COVER = 0.95
APART_LAB = 15.0
MAX_HOLE_SHARE = 0.02  # of the picture


class Scenery:
    """The background of T frames (T, H, W, 3): their median over time, and their border's few colours."""

    def __init__(self, frames: np.ndarray) -> None:
        self._median = _steady_median(frames)
        self._plain = _plain_colours(frames)

    def moving(self, rgb: np.ndarray) -> np.ndarray | None:
        """(H, W) bool: differs from the median, shadows aside; None if the camera moves or frames are few."""
        return None if self._median is None else _differs(rgb, self._median)

    def standing_out(self, rgb: np.ndarray) -> np.ndarray | None:
        """(H, W) bool: no colour of the plain background, or enclosed by such; None if the background is not plain."""
        if self._plain is None:
            return None
        r, g, b = (rgb[..., i].astype(np.int32) >> 3 for i in range(3))
        return _without_holes(self._plain[(r << 10) | (g << 5) | b])


def _steady_median(frames: np.ndarray) -> np.ndarray | None:
    if len(frames) < MIN_FRAMES_FOR_MEDIAN:
        return None
    median = np.sort(frames, axis=0)[len(frames) // 2]
    shares = [_differs(frame, median).mean() for frame in frames]
    return median if max(shares) < STEADY_CAMERA_SHARE else None


def _differs(rgb: np.ndarray, median: np.ndarray) -> np.ndarray:
    """(H, W) bool: another colour, not merely a shadow of the same."""
    moved = _over_channels(cv2.max, cv2.absdiff(rgb, median)) > MOVED_RGB
    ratio = cv2.divide(rgb, median, scale=SHADOW_SCALE)  # a shadow keeps the channels' ratios alike, and near 1
    darkest, brightest = _over_channels(cv2.min, ratio), _over_channels(cv2.max, ratio)
    low, high = (SHADOW_SCALE * limit for limit in SHADOW_RATIO)
    shadow = (darkest > low) & (brightest <= high) & (cv2.subtract(brightest, darkest) < SHADOW_SCALE * SHADOW_TINT)
    return moved & ~shadow


def _over_channels(reduce: Callable[[np.ndarray, np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> (H, W); numpy's own reduction over a last axis of three is ten times slower."""
    r, g, b = cv2.split(image)
    return reduce(reduce(r, g), b)


def _plain_colours(frames: np.ndarray) -> np.ndarray | None:
    """(32768,) bool over RGB of 5 bits: is it far from all of the border's colours? None: not plain."""
    band = max(2, round(0.02 * min(frames.shape[1:3])))
    strips = (frames[:, :band], frames[:, -band:], frames[:, :, :band], frames[:, :, -band:])
    border = np.concatenate([strip.reshape(-1, 3) for strip in strips]).astype(np.int32) >> 4
    counts = np.bincount((border[:, 0] << 8) | (border[:, 1] << 4) | border[:, 2], minlength=4096)
    order = np.argsort(-counts, kind="stable")
    n_bins = int(np.searchsorted(np.cumsum(counts[order]), BORDER_COVER * len(border))) + 1
    if n_bins > PLAIN_BORDER_BINS:
        return None
    # A thing that leaves the picture is a small part of all frames' borders: too rare for the scenery.
    common = order[:n_bins][counts[order[:n_bins]] > 0.004 * len(border)]
    background = _lab(np.stack([common >> 8, (common >> 4) & 15, common & 15], 1) * 16 + 8)
    cells = np.arange(32768)
    every = _lab(np.stack([cells >> 10, (cells >> 5) & 31, cells & 31], 1) * 8 + 4)
    nearest = np.full(len(every), np.inf, np.float32)
    for colour in background:
        nearest = np.minimum(nearest, np.linalg.norm(every - colour, axis=1))
    return nearest > APART_LAB


def _without_holes(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool with small holes filled: a face as pale as the wall, inside its outline."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, _disc(3))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(1 - closed, connectivity=4)
    is_hole = stats[:, cv2.CC_STAT_AREA] < MAX_HOLE_SHARE * mask.size
    is_hole[0] = True  # label 0: the mask itself
    return is_hole[labels]


def _lab(rgb: np.ndarray) -> np.ndarray:
    """(N, 3) 0..255 -> (N, 3) CIE Lab."""
    return cv2.cvtColor((rgb[None] / 255).astype(np.float32), cv2.COLOR_RGB2Lab)[0]


# --- Patches: connected components of a colour -------------------------------------------------

MEMBERSHIP_LEVELS = (90, 180)  # of FULL: with the shaded sides, and the pure middle
OPENINGS = (0.0, 0.012, 0.035)  # of the long side: cuts bridges between things that touch
MIN_PATCH_SHARE = 1.5e-4  # of the picture
MAX_PATCHES = 10  # largest ones looked at a level and opening
SAME_BOX_IOU = 0.8


@dataclass(frozen=True)
class Patch:
    """A connected patch of a colour. `mask` covers `box` only."""

    box: tuple[int, int, int, int]  # x0, y0, x1, y1
    mask: np.ndarray  # (h, w) uint8, 0 or 1
    purity: float  # mean membership, 0..1
    solidity: float  # area over its convex hull's, 0..1
    roundness: float  # area over its enclosing circle's, 0..1
    ring_share: float  # share of the surround that has the colour too, 0..1

    @property
    def area(self) -> int:
        return int(np.count_nonzero(self.mask))

    @property
    def array(self) -> np.ndarray:
        return np.array(self.box, np.float64)


def find_patches(membership: np.ndarray) -> list[Patch]:
    """(H, W) uint8 membership -> patches over all levels and scales, without repeated boxes."""
    long_side = max(membership.shape)
    has = membership >= MEMBERSHIP_LEVELS[0]
    patches: dict[tuple[int, int, int, int], Patch] = {}
    for level in MEMBERSHIP_LEVELS:
        coloured = (membership >= level).astype(np.uint8)
        mask = cv2.morphologyEx(coloured, cv2.MORPH_CLOSE, _disc(3))  # seams, compression
        for opening in OPENINGS:
            diameter = round(opening * long_side) | 1
            opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, _disc(diameter)) if diameter > 1 else mask
            for box, inside in _components(opened):
                if box not in patches:
                    patches[box] = measure_patch(box, inside, membership, has)
    return list(patches.values())


def _components(mask: np.ndarray) -> list[tuple[tuple[int, int, int, int], np.ndarray]]:
    """The largest connected components: (box, (h, w) uint8 mask of the box)."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    areas = stats[1:, cv2.CC_STAT_AREA]
    large = [int(i) for i in np.argsort(-areas, kind="stable")[:MAX_PATCHES] if areas[i] >= _min_area(mask.shape)]
    components = []
    for label in (i + 1 for i in large):
        x, y, w, h = (int(v) for v in stats[label, :4])
        components.append(((x, y, x + w, y + h), (labels[y : y + h, x : x + w] == label).astype(np.uint8)))
    return components


def _min_area(shape: tuple[int, ...]) -> float:
    return max(12.0, MIN_PATCH_SHARE * shape[0] * shape[1])


def measure_patch(box: tuple[int, int, int, int], mask: np.ndarray, membership: np.ndarray, has: np.ndarray) -> Patch:
    """mask (h, w) uint8 of the box; membership (H, W) uint8 and has (H, W) bool of the picture."""
    x0, y0, x1, y1 = box
    purity = cv2.mean(membership[y0:y1, x0:x1], mask)[0] / FULL
    contours = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    contour = max(contours, key=lambda c: float(cv2.contourArea(c)))
    filled = np.zeros_like(mask)
    cv2.drawContours(filled, [contour], -1, 1, cv2.FILLED)
    area = int(np.count_nonzero(filled))
    hull = np.zeros_like(mask)
    cv2.fillConvexPoly(hull, cv2.convexHull(contour), 1)
    radius = cv2.minEnclosingCircle(contour)[1] + 0.5  # contours run through pixel centres
    return Patch(
        box=box,
        mask=mask,
        purity=purity,
        solidity=area / max(int(np.count_nonzero(hull)), 1),
        roundness=min(area / (math.pi * radius**2), 1.0),
        ring_share=ring_share(has, box),
    )


def ring_share(has: np.ndarray, box: Sequence[float] | np.ndarray, width_share: float = 0.25) -> float:
    """Share of the frame of pixels around a box that has the colour; 0 if the picture ends at the box."""
    outer, inner = (
        has[y0:y1, x0:x1] for x0, y0, x1, y1 in (_expand(box, share, share, has.shape) for share in (width_share, 0.04))
    )
    n_coloured = int(np.count_nonzero(outer)) - int(np.count_nonzero(inner))
    return n_coloured / max(outer.size - inner.size, 1)


def _expand(
    box: Sequence[float] | np.ndarray, dx: float, dy: float, shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """A box grown by shares of its sides (at least 2 px), kept inside an (H, W) picture."""
    x0, y0, x1, y1 = box
    gx, gy = max(dx * (x1 - x0), 2), max(dy * (y1 - y0), 2)
    return (
        max(int(x0 - gx), 0),
        max(int(y0 - gy), 0),
        min(int(np.ceil(x1 + gx)), shape[1]),
        min(int(np.ceil(y1 + gy)), shape[0]),
    )


def _disc(diameter: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter))


def patch_score(
    patch: Patch, shape: tuple[int, int], moving: np.ndarray | None, *, is_round: bool, limbed: bool
) -> float:
    """0..1: is it a thing of that colour, and not a wall, a speck or a part of something larger?"""
    height, width = shape
    x0, y0, x1, y1 = patch.box
    share = patch.area / (height * width)
    large_enough = np.clip(np.log10(share / 1e-4) / 1.8, 0.15, 1)
    small_enough = np.clip((0.5 - (x1 - x0) * (y1 - y0) / (height * width)) / 0.3, 0.02, 1)
    n_edges = (x0 == 0) + (y0 == 0) + (x1 == width) + (y1 == height)
    apart = np.clip(1 - 1.2 * patch.ring_share, 0.05, 1)
    solidity = patch.solidity ** (0.25 if limbed else 1.0)
    at_edges = (1, 0.8, 0.4, 0.1, 0.1)[n_edges]
    score = patch.purity * solidity * large_enough * small_enough * apart * at_edges
    if moving is not None:
        score *= 0.75 + 0.25 * cv2.mean(moving[y0:y1, x0:x1].astype(np.uint8), patch.mask)[0]
    if is_round:
        score *= np.clip((patch.roundness - 0.45) / 0.35, 0.05, 1)
    return float(np.clip(score, 0, 1))


def distinct(scored: list[tuple[float, Patch]], limit: int) -> list[tuple[float, Patch]]:
    """The best of each group of nearly equal boxes."""
    kept: list[tuple[float, Patch]] = []
    for score, patch in sorted(scored, key=lambda item: (-item[0], item[1].box)):
        boxes = np.array([p.box for _, p in kept], np.float64).reshape(-1, 4)
        if len(kept) < limit and not (iou_with(patch.array, boxes) > SAME_BOX_IOU).any():
            kept.append((score, patch))
    return kept


# --- Figures: what a patch or a garment is part of ---------------------------------------------

# Shares of a standing box in which a garment is looked for, and how much of that its colour should fill.
GARMENT_ROWS: dict[Region, tuple[float, float]] = {"upper": (0.12, 0.62), "lower": (0.45, 0.95), "whole": (0.15, 0.9)}
GARMENT_COLUMNS = (0.15, 0.85)
WHOLE = (0.0, 0.0, 1.0, 1.0)
GARMENT_FULL_SHARE = 0.4
# How far a figure reaches beyond a garment, in the garment's heights: up, down and to either side (arms).
# A child's head is as high as its shirt and a half.
GARMENT_REACH: dict[Region, tuple[float, float, float]] = {
    "upper": (1.6, 2.2, 0.9),
    "lower": (2.6, 1.0, 0.9),
    "whole": (1.1, 1.1, 0.5),
}
NECK_SHARE = 0.6  # of the garments' height: a neck, and half a face, as pale as the wall
MIN_FIGURE_HEIGHT, MIN_FIGURE_HEIGHT_OF_PAIR = (
    1.4,
    1.1,
)  # of its garments' height: a head, and legs unless they are worn
DETECTED_TRUST_IN_PLAIN = 0.85  # a figure cut out of a plain background is tighter than a detector's window
# The same for a figure nobody can see the outline of: an adult's head and legs.
GARMENT_PROPORTIONS: dict[Region, tuple[float, float, float]] = {
    "upper": (0.55, 1.4, 0.2),
    "lower": (1.1, 0.15, 0.15),
    "whole": (0.35, 0.35, 0.15),
}
MIN_PERSON_SCORE = 0.25  # of a detected person, to take pixels from others
MAX_ON_PERSON = 0.7  # of an animal's box: more is a patch of the person's clothes
PART_REACH, ANIMAL_REACH = 0.4, 1.0  # of the patch's sides: wheels and handles; heads, legs and tails
PART_MAX_GROWTH, ANIMAL_MAX_GROWTH = 2.1, 4.0  # of the patch's box area; more is another thing that touches it


@dataclass(frozen=True)
class View:
    """A frame with all that is known of it before anything is looked for."""

    picture: Picture
    moving: np.ndarray | None  # (H, W) bool
    foregrounds: tuple[np.ndarray, ...]  # (H, W) bool each, the most trusted first
    plain: bool  # the first foreground has whole figures, still ones too
    people: tuple[PersonBox, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return self.picture.height, self.picture.width


class Seed(NamedTuple):
    """Garments that may be one figure's: their common box, their pixels, and how far the figure may reach."""

    score: float
    box: np.ndarray  # (4,) float
    patches: tuple[Patch, ...]
    garments: tuple[Garment, ...]


def garment_seeds(patches_of: dict[Garment, list[tuple[float, Patch]]]) -> list[Seed]:
    """Each garment's patches alone, and each upper with each lower one that hangs below it."""
    singles = [
        Seed(score * (0.6 if len(patches_of) > 1 else 1.0), patch.array, (patch,), (garment,))
        for garment, scored in patches_of.items()
        for score, patch in scored
    ]
    uppers, lowers = ([s for s in singles if s.garments[0].region == region] for region in ("upper", "lower"))
    pairs = [
        Seed(
            (up.score + low.score) / 1.2,
            np.concatenate([np.minimum(up.box[:2], low.box[:2]), np.maximum(up.box[2:], low.box[2:])]),
            up.patches + low.patches,
            up.garments + low.garments,
        )
        for up in uppers
        for low in lowers
        if _hangs_below(up.box, low.box)
    ]
    return sorted(pairs + singles, key=lambda s: (-s.score, tuple(s.box)))


def _hangs_below(upper: np.ndarray, lower: np.ndarray) -> bool:
    overlap = min(upper[2], lower[2]) - max(upper[0], lower[0])
    narrow = min(upper[2] - upper[0], lower[2] - lower[0])
    height = upper[3] - upper[1]
    similar = 0.3 < (lower[3] - lower[1]) / height < 3
    return bool(similar and overlap > 0.5 * narrow and -0.4 * height < lower[1] - upper[3] < 0.4 * height)


def reach_window(seed: Seed, reach: dict[Region, tuple[float, float, float]], shape: tuple[int, int]) -> np.ndarray:
    """(4,) the largest box that the figure which wears the seed's garments can have, inside the picture."""
    boxes = [seed.box]
    only = len(seed.patches) == 1
    for patch, garment in zip(seed.patches, seed.garments, strict=True):
        up, down, aside = reach[garment.region]
        x0, y0, x1, y1 = patch.array
        side = aside * max(y1 - y0, x1 - x0)
        if not only:  # its partner covers the other half of the figure
            up, down = (up, 0.0) if garment.region == "upper" else (0.0, down)
        boxes.append(np.array([x0 - side, y0 - up * (y1 - y0), x1 + side, y1 + down * (y1 - y0)]))
    stack = np.array(boxes)
    return _clip(np.concatenate([stack[:, :2].min(axis=0), stack[:, 2:].max(axis=0)]), shape)


def _clip(box: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.clip(box, 0, (shape[1], shape[0], shape[1], shape[0]))


def grow(
    patches: Sequence[Patch], window: np.ndarray, foreground: np.ndarray, blocked: np.ndarray, gap: int = 3
) -> np.ndarray:
    """(4,) the box of the patches with the foreground that is connected to them inside the window.

    foreground, blocked: (H, W) bool; blocked pixels are other instances'. gap: px that may be missing in
    between from top to bottom, such as a neck as pale as the wall.
    """
    x0, y0, x1, y1 = (int(v) for v in (*np.floor(window[:2]), *np.ceil(window[2:])))
    seed = np.zeros(foreground.shape, np.uint8)
    for patch in patches:
        px0, py0, px1, py1 = patch.box
        seed[py0:py1, px0:px1] |= patch.mask
    crop = (slice(y0, y1), slice(x0, x1))
    free = (foreground & ~blocked)[crop].astype(np.uint8)
    opened = np.maximum(cv2.morphologyEx(free, cv2.MORPH_OPEN, _disc(3)), seed[crop])
    region = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, np.ones((gap | 1, 3), np.uint8))
    labels = cv2.connectedComponents(region, connectivity=4)[1]
    touched = np.bincount(labels[seed[crop] > 0], minlength=labels.max() + 1)
    touched[0] = 0  # label 0: the background
    belongs = (touched > 0) & (touched >= 0.1 * touched.sum())
    left, top, width, height = cv2.boundingRect(belongs[labels].astype(np.uint8))
    return np.array([left + x0, top + y0, left + width + x0, top + height + y0], np.float64)


def _runs_out(box: np.ndarray, window: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(4,) bool: at which of its sides does a grown box reach the window's edge, and not the picture's?"""
    at_window = np.abs(box - window) <= 1
    at_picture = np.abs(box - (0, 0, shape[1], shape[0])) <= 1
    return at_window & ~at_picture


def grown_part(patch: Patch, view: View, blocked: np.ndarray, living: bool) -> np.ndarray:
    """(4,) a thing's box with its parts of other colours (wheels, lids, an animal's head), or its patch's box."""
    reach, most = (ANIMAL_REACH, ANIMAL_MAX_GROWTH) if living and view.plain else (PART_REACH, PART_MAX_GROWTH)
    x0, y0, x1, y1 = patch.box
    far = reach * (x1 - x0 + y1 - y0) / 2
    around = _clip(np.array([x0 - far, y0 - far, x1 + far, y1 + far]), view.shape)
    # Where a hand holds it, the foreground runs on to the sides: then only what hangs below is its own.
    below = np.array([x0, y0, x1, around[3]], np.float64)
    for foreground in view.foregrounds:
        attempts = [(around, [0, 1, 2, 3])] + ([(below, [3])] if view.plain else [])  # elsewhere it would be a shadow
        for window, sides in attempts:
            box = grow([patch], window, foreground, blocked)
            if _area(box) < most * _area(patch.array) and not _runs_out(box, window, view.shape)[sides].any():
                return box
    return patch.array


def _area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def share_on_people(box: np.ndarray, people: Sequence[PersonBox]) -> float:
    """0..1: the share of a box that lies on one detected person, who is clearly larger than it."""
    shares = [0.0]
    for found in people:
        person = np.array(found.box_xyxy)
        low, high = np.maximum(box[:2], person[:2]), np.minimum(box[2:], person[2:])
        if found.score >= MIN_PERSON_SCORE and _area(box) < 0.6 * _area(person):
            shares.append(float(np.prod(np.clip(high - low, 0, None))) / max(_area(box), 1.0))
    return max(shares)


class GarmentShare(NamedTuple):
    """How much of the place where a garment belongs has its colour, and how much of the place's surround."""

    garment: Garment
    share: float
    ring: float


def garment_shares(picture: Picture, box: np.ndarray, garments: Sequence[Garment]) -> list[GarmentShare]:
    """box (4,) of a standing figure, in pixels of the picture."""
    shares = []
    left, right = GARMENT_COLUMNS
    for garment in garments:
        has = picture.has(garment.tints)
        low, high = GARMENT_ROWS[garment.region]
        # Trousers that go on below the box, or a shirt above it: the box is only a part of the figure.
        beyond = _part_share(
            has, box, (left, 1.0, right, 1.2) if garment.region == "lower" else (left, -0.2, right, 0.0)
        )
        before, behind = _part_share(has, box, (-0.5, low, 0.0, high)), _part_share(has, box, (1.0, low, 1.5, high))
        ring = max((before + behind) / 2, beyond)
        shares.append(GarmentShare(garment, _part_share(has, box, (left, low, right, high)), ring))
    return shares


def _part_share(mask: np.ndarray, box: np.ndarray, part: tuple[float, float, float, float]) -> float:
    """Share of a part of the box that the mask fills; part: x0, y0, x1, y1 in shares of the box, or beyond it."""
    size = np.tile(box[2:] - box[:2], 2)
    x0, y0, x1, y1 = np.round(_clip(np.tile(box[:2], 2) + size * part, mask.shape)).astype(int)
    inside = mask[y0:y1, x0:x1]
    return float(inside.mean()) if inside.size else 0.0


def figure_match(picture: Picture, box: np.ndarray, garments: Sequence[Garment]) -> float:
    """0..1: do the garments' colours lie where they belong, and not all around?"""
    values = [
        min(s.share / GARMENT_FULL_SHARE, 1.0) * float(np.clip(1.2 - s.ring / (s.share + 1e-6), 0, 1))
        for s in garment_shares(picture, box, garments)
    ]
    return float(np.mean(values)) if values else 0.0


def figure_prior(box: np.ndarray, shape: tuple[int, int]) -> float:
    """0..1: has the box a person's proportions and size? One that the picture's edge cuts may be wider."""
    height, width = shape
    ratio = float(box[3] - box[1]) / float(box[2] - box[0])
    is_cut = bool((np.abs(box - (0, 0, width, height)) < 2).any())
    slimmest, widest = 4.5, 0.6 if is_cut else 1.3
    off = max(ratio / slimmest - 1, 1 - ratio / widest, 0.0)
    proportion = np.clip(1 - 1.5 * off, 0.1, 1)
    size = np.clip(_area(box) / (height * width) / 0.01, 0.2, 1)
    return float(proportion * size)


# --- The detector ------------------------------------------------------------------------------

Scored = list[tuple[float, np.ndarray]]  # score 0..1 and (4,) box in working pixels


class ColourDetector:
    """Proposes boxes by colour words, foreground and the people detector (`Detector`)."""

    def __init__(self) -> None:
        self.identity = {"backend": "colour", "model": "hsv-components-1", "opencv": cv2.__version__}
        self.concurrency = os.cpu_count() or 1
        self._people = PeopleDetector()

    def propose(self, frames: np.ndarray, instances: list[Instance]) -> dict[str, list[Proposal]]:
        """frames (T, H, W, 3) uint8 RGB -> {instance_id: proposals over all frames}, best first within a frame."""
        descriptions = {instance.instance_id: describe(instance) for instance in instances}
        working = np.stack([_working_copy(frame) for frame in frames])
        scale = np.array([frames.shape[2] / working.shape[2], frames.shape[1] / working.shape[1]] * 2)
        scenery = Scenery(working)
        proposals: dict[str, list[Proposal]] = {instance_id: [] for instance_id in descriptions}
        for index, rgb in enumerate(working):
            view = self._view(rgb, scenery, any(d.living for d in descriptions.values()))
            for instance_id, scored in _candidates(view, descriptions).items():
                for score, box in scored:
                    proposal = Proposal(frame=index, box_xyxy=_as_box(box * scale), score=score)
                    proposals[instance_id].append(proposal)
        return proposals

    def _view(self, rgb: np.ndarray, scenery: Scenery, with_people: bool) -> View:
        moving, standing_out = scenery.moving(rgb), scenery.standing_out(rgb)
        both = moving & standing_out if moving is not None and standing_out is not None else None
        foregrounds = tuple(mask for mask in (standing_out, both, moving) if mask is not None)
        people = tuple(self._people.detect(rgb)) if with_people else ()
        return View(Picture(rgb), moving, foregrounds, standing_out is not None, people)


def _working_copy(rgb: np.ndarray) -> np.ndarray:
    """The picture with its long side at most WORKING_LONG_SIDE_PX."""
    height, width = rgb.shape[:2]
    scale = WORKING_LONG_SIDE_PX / max(height, width)
    if scale >= 1:
        return rgb
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)


def _candidates(view: View, descriptions: dict[str, Description]) -> dict[str, Scored]:
    """{instance_id: scored boxes in working pixels} in one frame."""
    bodies = {key: _scored_patches(view, d.body, d) for key, d in descriptions.items()}
    garments = {
        key: {g: _scored_patches(view, g.tints, d) for g in d.large_garments} for key, d in descriptions.items()
    }
    claims = {
        key: _claim(view, [*bodies[key], *(item for scored in garments[key].values() for item in scored)])
        for key in descriptions
    }
    found: dict[str, Scored] = {key: [] for key in descriptions}
    people = view.people
    # People first: what lies on a figure found for one of them is no animal.
    for key, description in sorted(descriptions.items(), key=lambda item: not item[1].person):
        others = [claim for other, claim in claims.items() if other != key]
        blocked = np.any(others, axis=0) & ~claims[key] if others else np.zeros(view.shape, bool)
        if description.large_garments or (description.person and not description.body):
            found[key] = _suppress(_figure_candidates(view, description, garments[key], blocked))
        else:
            scored = [(score, grown_part(patch, view, blocked, description.living)) for score, patch in bodies[key]]
            if description.living and not description.person:
                scored = [(score, box) for score, box in scored if share_on_people(box, people) <= MAX_ON_PERSON]
            found[key] = _suppress(scored)
        if description.person:
            people += tuple(PersonBox(_as_box(box), score) for score, box in found[key][:1])
    return found


def _as_box(box: np.ndarray) -> Box:
    x0, y0, x1, y1 = (float(v) for v in box)
    return x0, y0, x1, y1


def _scored_patches(view: View, tints: Sequence[Tint], description: Description) -> list[tuple[float, Patch]]:
    """Patches of the colours, best first; of whatever stands out where no colour is given (and nobody wears any)."""
    if tints:
        membership, trust = view.picture.membership(tints), 1.0
    elif view.foregrounds and not description.garments and not description.person:
        membership, trust = view.foregrounds[-1].astype(np.uint8) * FULL, 0.3
    else:
        return []
    scored = [
        (
            trust * patch_score(patch, view.shape, view.moving, is_round=description.round, limbed=description.living),
            patch,
        )
        for patch in find_patches(membership)
    ]
    return distinct(scored, MAX_PROPOSALS)


CLAIM_SCORE = 0.35
CLAIM_MAX_SHARE = 0.1  # of the picture


def _claim(view: View, scored: list[tuple[float, Patch]]) -> np.ndarray:
    """(H, W) bool: pixels that are so likely this instance's that no other may grow over them."""
    claim = np.zeros(view.shape, np.uint8)
    for score, patch in scored:
        x0, y0, x1, y1 = patch.box
        if score >= CLAIM_SCORE and patch.area <= CLAIM_MAX_SHARE * claim.size:
            claim[y0:y1, x0:x1] |= patch.mask
    return cv2.dilate(cv2.morphologyEx(claim, cv2.MORPH_CLOSE, _disc(7)), _disc(5)).astype(bool)


def _figure_candidates(
    view: View, description: Description, patches_of: dict[Garment, list[tuple[float, Patch]]], blocked: np.ndarray
) -> Scored:
    """Boxes of whole figures: detected people, and garments grown over the foreground or by proportions."""
    garments = description.large_garments
    scored: Scored = []
    for person in view.people if description.person else ():
        box = _with_garments(np.array(person.box_xyxy), patches_of)
        trust = DETECTED_TRUST_IN_PLAIN if view.plain else 1.0
        scored.append((trust * _figure_score(view, box, garments, 0.2), box))
    if not garments and view.plain:  # nothing but their outlines tells these people from the scenery
        outlines = find_patches(view.foregrounds[0].astype(np.uint8) * FULL)
        scored += [(_figure_score(view, patch.array, garments, 0.3), patch.array) for patch in outlines]
    for seed in garment_seeds(patches_of)[:MAX_PROPOSALS]:
        grown = _grown_figure(seed, view, blocked)
        box = reach_window(seed, GARMENT_PROPORTIONS, view.shape) if grown is None else grown
        evidence = (0.15 if grown is None else 0.35) * min(2 * seed.score, 1.0)
        if not view.plain:
            box = _with_person(box, view.people)
        scored.append((_figure_score(view, box, garments, evidence), box))
    return scored


def _figure_score(view: View, box: np.ndarray, garments: Sequence[Garment], evidence: float) -> float:
    """0..1 from the evidence of where the box came from (0..0.4), people detected there, and the garments."""
    agreeing = [p.score for p in view.people if iou_with(box, np.array([p.box_xyxy]))[0] > 0.5]
    evidence = max(evidence, 0.2 + 0.2 * max(agreeing)) if agreeing else evidence
    match = figure_match(view.picture, box, garments) if garments else 0.5
    return (evidence + 0.6 * match) * figure_prior(box, view.shape)


def _grown_figure(seed: Seed, view: View, blocked: np.ndarray) -> np.ndarray | None:
    window = reach_window(seed, GARMENT_REACH, view.shape)
    gap = round(NECK_SHARE * float(seed.box[3] - seed.box[1]))
    for foreground in view.foregrounds:
        box = grow(seed.patches, window, foreground, blocked, gap)
        if _runs_out(box, window, view.shape).sum() <= 1 and _has_more_than_garments(box, seed, view.shape):
            return box
    return None


def _has_more_than_garments(box: np.ndarray, seed: Seed, shape: tuple[int, int]) -> bool:
    cut = seed.box[1] <= 1 or seed.box[3] >= shape[0] - 1  # head or legs lie outside of the picture
    least = MIN_FIGURE_HEIGHT_OF_PAIR if len(seed.patches) > 1 else MIN_FIGURE_HEIGHT
    taller = (box[3] - box[1]) >= least * (seed.box[3] - seed.box[1])
    return bool(taller or (cut and _area(box) > 1.3 * _area(seed.box)))


def _with_garments(box: np.ndarray, patches_of: dict[Garment, list[tuple[float, Patch]]]) -> np.ndarray:
    """A detected person's box, widened to the garments that lie mostly inside it: windows are set loosely."""
    for scored in patches_of.values():
        for _, patch in scored:
            inside = np.concatenate([np.maximum(box[:2], patch.array[:2]), np.minimum(box[2:], patch.array[2:])])
            if (inside[:2] < inside[2:]).all() and _area(inside) > 0.7 * _area(patch.array):
                box = np.concatenate([np.minimum(box[:2], patch.array[:2]), np.maximum(box[2:], patch.array[2:])])
                break
    return box


def _with_person(box: np.ndarray, people: Sequence[PersonBox]) -> np.ndarray:
    """A grown box, widened to the person detected there: what moved may be only a part of the figure."""
    for person in people:
        if iou_with(box, np.array([person.box_xyxy]))[0] > 0.5:
            return np.concatenate([np.minimum(box[:2], person.box_xyxy[:2]), np.maximum(box[2:], person.box_xyxy[2:])])
    return box


def _suppress(scored: Scored) -> Scored:
    """Best first, without boxes that a better one nearly equals."""
    kept: Scored = []
    for score, box in sorted(scored, key=lambda item: (-item[0], tuple(item[1]))):
        boxes = np.array([b for _, b in kept], np.float64).reshape(-1, 4)
        if len(kept) < MAX_PROPOSALS and not (iou_with(box, boxes) > SAME_BOX_IOU).any():
            kept.append((float(np.clip(score, 0, 1)), box))
    return kept


# --- The verifier ------------------------------------------------------------------------------

SURROUND_SHARE = 0.6  # of the box's sides, looked at around it
CROP_LONG_SIDE_PX = 320
MIN_BODY_SHARE = 0.35  # of the box's middle
MIN_EACH_SHARE = 0.06  # of the box, for each of several colours
MIN_GARMENT_SHARE = 0.18  # of where the garment belongs
MAX_SURROUND_RATIO = 0.6  # the colour in the surround over the colour in the box: more is a wall
MIN_ROUNDNESS = 0.7  # a square has 0.64
MAX_PICTURE_SHARE = 0.5
MIN_LIVING_SHARE = 0.003
MIN_SIDE_PX = 4.0
MIN_PERSON_IOU = 0.35
ANIMAL_RATIOS = (0.25, 1.8)  # height over width
SKIN = ColourRange((6, 36), (12, 48), (25, 88))  # of all complexions: hue and chroma hardly differ
MIN_SKIN_SHARE = 0.03  # of the box
MIRRORS = frozenset({"silver"})  # shows its surroundings' colours: a patch of it proves nothing
MAX_RECTANGLE_SHARE = 0.9  # a figure leaves corners of its box free
CONFIDENCE_UNCHECKED = 0.3  # of a no that only says that nothing could be measured


class Check(NamedTuple):
    """A measured value that must reach a limit, or stay below it."""

    text: str
    passed: bool
    margin: float  # 0 at the limit, 1 as far on its side as can be


class AttributeVerifier:
    """Accepts a box whose measured colours, shape and size are the described ones (`Verifier`)."""

    def __init__(self) -> None:
        self.identity = {"backend": "rules", "model": "attribute-check-1", "opencv": cv2.__version__}
        self.concurrency = os.cpu_count() or 1
        self._people = PeopleDetector()

    def verify(self, frame: np.ndarray, box_xyxy: Box, instance: Instance, caption: str) -> Answer:
        """frame (H, W, 3) uint8 RGB. A yes needs evidence: what cannot be checked is a no, and says so."""
        description = describe(instance)
        size = _size_check(frame, box_xyxy, description.living)
        if not size.passed:
            return _answer([size])
        checkable = [tint for tint in description.tints if tint.colour not in MIRRORS]
        if not checkable and not description.person:
            reason = f"'{instance.noun}' names no colour that can be measured: nothing here can be checked"
            return Answer(match=False, confidence=CONFIDENCE_UNCHECKED, rationale=reason)
        crop, box = _crop_around(frame, box_xyxy)
        picture = Picture(crop)
        checks = [size]
        if description.body:
            checks += _body_checks(picture, box, description.body)
        checks += _garment_checks(picture, box, description.large_garments)
        if description.round and description.body:
            checks.append(_roundness_check(picture, box, description.body))
        if description.person:
            checks += self._person_checks(crop, picture, box, description)
        elif description.living:
            checks.append(_animal_check(box))
            checks.append(_apart_from_people_check(self._people.detect(frame), np.array(box_xyxy)))
        return _answer(checks)

    def _person_checks(
        self, crop: np.ndarray, picture: Picture, box: np.ndarray, description: Description
    ) -> list[Check]:
        detected = _person_check(self._people.detect(crop), box)
        if not description.tints:
            return [detected, _skin_check(picture, box)]  # the detector alone takes boxes for people
        figure = _figure_check(picture, box, description.tints)
        return [figure, detected if detected.passed else _skin_check(picture, box)]


def _crop_around(frame: np.ndarray, box_xyxy: Box) -> tuple[np.ndarray, np.ndarray]:
    """The box with its surround, scaled to at most CROP_LONG_SIDE_PX, and the (4,) box in it."""
    x0, y0, x1, y1 = _expand(box_xyxy, SURROUND_SHARE, SURROUND_SHARE, frame.shape)
    crop = np.ascontiguousarray(frame[y0:y1, x0:x1])
    scale = min(CROP_LONG_SIDE_PX / max(crop.shape[:2]), 1.0)
    size = (max(round(crop.shape[1] * scale), 1), max(round(crop.shape[0] * scale), 1))
    factor = np.array([size[0] / crop.shape[1], size[1] / crop.shape[0]] * 2)
    box = (np.array(box_xyxy) - (x0, y0, x0, y0)) * factor
    return cv2.resize(crop, size, interpolation=cv2.INTER_AREA), _clip(box, (size[1], size[0]))


def _answer(checks: Sequence[Check]) -> Answer:
    """Yes if all pass; as sure as the check that comes closest to failing, or as the one that fails most."""
    failed = [check for check in checks if not check.passed]
    margin = max(c.margin for c in failed) if failed else min(c.margin for c in checks)
    rationale = "; ".join(check.text for check in (failed or checks))
    return Answer(match=not failed, confidence=round(0.5 + 0.5 * float(margin), 3), rationale=rationale)


def _at_least(value: float, limit: float, text: str) -> Check:
    passed = value >= limit
    margin = (value - limit) / (1 - limit) if passed else (limit - value) / limit
    return Check(text, passed, float(np.clip(margin, 0, 1)))


def _at_most(value: float, limit: float, text: str) -> Check:
    passed = value <= limit
    margin = (limit - value) / limit if passed else (value - limit) / max(1 - limit, 1e-6)
    return Check(text, passed, float(np.clip(margin, 0, 1)))


def _size_check(frame: np.ndarray, box_xyxy: Box, living: bool) -> Check:
    height, width = frame.shape[:2]
    box = _clip(np.array(box_xyxy, np.float64), frame.shape)
    side = min(box[2] - box[0], box[3] - box[1])
    if side < MIN_SIDE_PX:
        return Check(f"the box is {side:.0f} px thin (needs {MIN_SIDE_PX:.0f} px)", False, 1.0)
    share = _area(box) / (height * width)
    if living and share < MIN_LIVING_SHARE:
        return Check(f"{share:.2%} of the picture (someone who acts: {MIN_LIVING_SHARE:.1%} or more)", False, 0.8)
    return _at_most(share, MAX_PICTURE_SHARE, f"{share:.1%} of the picture (at most {MAX_PICTURE_SHARE:.0%})")


def _body_checks(picture: Picture, box: np.ndarray, tints: Sequence[Tint]) -> list[Check]:
    name = " and ".join(map(str, tints))
    has = picture.has(tints)
    middle = _part_share(has, box, (0.15, 0.15, 0.85, 0.85))
    whole, ring = _part_share(has, box, WHOLE), ring_share(has, box, SURROUND_SHARE)
    ratio = min(ring / max(whole, 1e-3), 1.0)
    checks = [
        _at_least(middle, MIN_BODY_SHARE, f"{middle:.0%} of the box's middle is {name} (needs {MIN_BODY_SHARE:.0%})"),
        _at_most(
            ratio,
            MAX_SURROUND_RATIO,
            f"{name} is {whole:.0%} of the box and {ring:.0%} around it (at most {MAX_SURROUND_RATIO:.0%} of that)",
        ),
    ]
    return checks + _each_colour_checks(picture, box, tints, WHOLE)


def _each_colour_checks(
    picture: Picture, box: np.ndarray, tints: Sequence[Tint], part: tuple[float, float, float, float]
) -> list[Check]:
    """Of several colours, each must be there."""
    checks = []
    for tint in tints if len(tints) > 1 else ():
        share = _part_share(picture.has([tint]), box, part)
        checks.append(_at_least(share, MIN_EACH_SHARE, f"{share:.0%} is {tint} (needs {MIN_EACH_SHARE:.0%})"))
    return checks


def _roundness_check(picture: Picture, box: np.ndarray, tints: Sequence[Tint]) -> Check:
    membership = picture.membership(tints)
    x0, y0, x1, y1 = _expand(box, 0.0, 0.0, membership.shape)
    inside = np.zeros_like(membership)
    inside[y0:y1, x0:x1] = membership[y0:y1, x0:x1]
    patches = find_patches(inside)
    largest = max((patch.area for patch in patches), default=0)
    roundness = max((patch.roundness for patch in patches if patch.area > 0.6 * largest), default=0.0)
    return _at_least(roundness, MIN_ROUNDNESS, f"roundness {roundness:.2f} (needs {MIN_ROUNDNESS})")


def _garment_checks(picture: Picture, box: np.ndarray, garments: Sequence[Garment]) -> list[Check]:
    checks = []
    for garment, share, ring in garment_shares(picture, box, garments):
        name = f"{' and '.join(map(str, garment.tints))} {garment.word}"
        text = f"{share:.0%} of where the {name} belongs has its colour (needs {MIN_GARMENT_SHARE:.0%})"
        checks.append(_at_least(share, MIN_GARMENT_SHARE, text))
        ratio = min(ring / max(share, 1e-3), 1.0)
        text = f"beside it {ring:.0%} (at most {MAX_SURROUND_RATIO:.0%} of that)"
        checks.append(_at_most(ratio, MAX_SURROUND_RATIO, text))
        part = (
            GARMENT_COLUMNS[0],
            GARMENT_ROWS[garment.region][0],
            GARMENT_COLUMNS[1],
            GARMENT_ROWS[garment.region][1],
        )
        checks += _each_colour_checks(picture, box, garment.tints, part)
    return checks


def _figure_check(picture: Picture, box: np.ndarray, tints: Sequence[Tint]) -> Check:
    """People have heads and limbs: a box that its colours fill to the corners is a thing."""
    share = _part_share(picture.has(tints), box, (0.02, 0.02, 0.98, 0.98))
    ratio = (box[3] - box[1]) / (box[2] - box[0])
    if not 0.5 <= ratio <= 6:
        return Check(f"{ratio:.1f} times as high as wide (a person: 0.5 to 6)", False, 0.5)
    text = f"its colours fill {share:.0%} of the box (a figure: at most {MAX_RECTANGLE_SHARE:.0%})"
    return _at_most(share, MAX_RECTANGLE_SHARE, text)


def _person_check(people: Sequence[PersonBox], box: np.ndarray) -> Check:
    best = max((float(iou_with(box, np.array([person.box_xyxy]))[0]) for person in people), default=0.0)
    return _at_least(best, MIN_PERSON_IOU, f"the people detector agrees to IoU {best:.2f} (needs {MIN_PERSON_IOU})")


def _skin_check(picture: Picture, box: np.ndarray) -> Check:
    """Drawn people, and those whom the picture's edge cuts, are none to the people detector: look for faces, hands."""
    skin = picture.within([SKIN]) >= MEMBERSHIP_LEVELS[1]
    share, around = _part_share(skin, box, WHOLE), ring_share(skin, box, SURROUND_SHARE)
    apart = max(share - around, 0.0)
    return _at_least(
        apart, MIN_SKIN_SHARE, f"skin colours {share:.0%}, around {around:.0%} (needs {MIN_SKIN_SHARE:.0%} more)"
    )


def _animal_check(box: np.ndarray) -> Check:
    ratio = float(box[3] - box[1]) / float(box[2] - box[0])
    low, high = ANIMAL_RATIOS
    return Check(f"{ratio:.1f} times as high as wide (an animal: {low} to {high})", low <= ratio <= high, 0.5)


def _apart_from_people_check(people: Sequence[PersonBox], box: np.ndarray) -> Check:
    """An animal is not a patch of a person's clothes."""
    share = share_on_people(box, people)
    return _at_most(share, MAX_ON_PERSON, f"{share:.0%} of the box lies on a person (at most {MAX_ON_PERSON:.0%})")
