"""a seed -> the demo's own input: drawn, captioned videos whose true masks, cuts and triplets are known.

    draw_scenes(Path("demo")) ->
        demo/manifest.jsonl          {"video": "scenes/push-0.mp4", "caption": "A boy in a red ...", "id": "push-0"}
        demo/scenes/push-0.mp4       320x240, 24 frames/s, H.264
        demo/truth/push-0.json       Truth: visible masks of the boy and the box in every frame, (boy, push, box)

Everything is painted twice from the same polygons, back to front: in colour, and as labels. What lies
in front thus takes its pixels from what lies behind, in the picture as in the truth. Both paintings are
`SUPERSAMPLING` times finer than the video; a pixel is an instance's if at least half of it is.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import av
import cv2
import numpy as np

from schemas.mask_track import encode_mask
from schemas.outcome import Status
from schemas.record import Rational, Record, column, write_atomic

WIDTH, HEIGHT, FPS = 320, 240, 24
SHOT_FRAMES = 48
SUPERSAMPLING = 3
FLOOR = 208.0  # where the figures stand, px from the top

# --- The truth -------------------------------------------------------------------------------


class TrueInstance(Record):
    """A thing that the caption describes, with its visible pixels in every frame of the video."""

    name: str = column("Its name within this truth: 'boy'", min_length=1)
    class_name: str = column("Base noun: 'boy', 'box'", min_length=1)
    noun: str = column("The caption's phrase for it: 'a boy in a red shirt'", min_length=1)
    colours: list[str] = column("Colour words of the phrase")
    living: bool = column("True for people and animals")
    counts: list[str] = column("One a frame of the video: COCO run lengths of its visible pixels")


class TrueTriplet(Record):
    """Who does what to whom, in which shot."""

    subject: str = column("Name of the instance that acts")
    verb: str = column("Base form: 'push'")
    object: str = column("Name of the instance acted upon")
    shot: int = column("Shot of the video in which it happens, from 0", ge=0)
    optional: bool = column(
        "True if the caption supports it only indirectly (the receiver of a throw): neither missed nor wrong",
        default=False,
    )


class Expectation(Record):
    """What should become of a shot, or of a row that gives no shot."""

    shot: int = column("Shot of the video, from 0; 0 for a row that gives none", ge=0)
    status: Status = column("accepted, rejected or failed")
    stage: str | None = column("The stage that should decide; null: any", default=None)
    reason: str | None = column("The reason it should give; null: any", default=None)


class Truth(Record):
    """All that is known of one manifest row."""

    schema_version: ClassVar[int] = 1

    id: str = column("The manifest row's id")
    line: int = column("The manifest's line, from 1", ge=1)
    video: str = column("Path as the manifest writes it")
    caption: str | None = column("The manifest's caption")
    width: int = column("Width of the video", unit="px", ge=1)
    height: int = column("Height of the video", unit="px", ge=1)
    fps: Rational = column("Constant frame rate", unit="frames/s")
    n_frames: int = column("Frames of the video; 0 if it cannot be read", ge=0)
    cuts: list[int] = column("Frames at which a new shot starts, without frame 0")
    instances: list[TrueInstance] = column("What the caption describes and the video shows")
    triplets: list[TrueTriplet] = column("The interactions that happen")
    expect: list[Expectation] = column("One a shot, or one for the row")


def read_truths(folder: Path) -> list[Truth]:
    """The truths that `draw_scenes` wrote under folder, in the manifest's order."""
    truths = [Truth.from_json(path.read_bytes()) for path in (folder / "truth").glob("*.json")]
    return sorted(truths, key=lambda truth: truth.line)


# --- Colours and movement --------------------------------------------------------------------

Colour = tuple[int, int, int]  # RGB, 0..255
Point = tuple[float, float]  # x to the right, y down, px of the video

# What the captions' colour words look like: saturated, so that they stand out from the pale backdrops.
COLOURS: dict[str, Colour] = {
    "red": (214, 34, 38),
    "orange": (246, 122, 14),
    "yellow": (250, 212, 24),
    "green": (28, 146, 62),
    "blue": (30, 84, 206),
    "purple": (128, 48, 172),
    "pink": (240, 70, 150),
    "black": (36, 35, 40),
}
LOOKS: tuple[tuple[Colour, Colour], ...] = (  # skin and hair
    ((242, 204, 174), (72, 50, 40)),
    ((226, 180, 144), (44, 36, 34)),
    ((236, 194, 160), (112, 76, 50)),
    ((156, 110, 82), (38, 32, 32)),
)
TROUSERS: tuple[Colour, ...] = ((74, 80, 96), (88, 82, 78), (66, 72, 80))
OUTLINE_SHADE = 0.45


def shade(colour: Colour, factor: float) -> Colour:
    """A darker (factor < 1) or lighter (> 1) tone of the same hue, within 0..255."""
    red, green, blue = (int(np.clip(round(channel * factor), 0, 255)) for channel in colour)
    return red, green, blue


def ease(t: float, start: float = 0.0, end: float = 1.0) -> float:
    """0 before start, 1 after end, smooth in between."""
    u = float(np.clip((t - start) / (end - start), 0.0, 1.0))
    return u * u * (3 - 2 * u)


def between(a: Point, b: Point, u: float) -> Point:
    """The point at fraction u of the way from a to b."""
    return a[0] + (b[0] - a[0]) * u, a[1] + (b[1] - a[1]) * u


def along(t: float, *keys: tuple[float, Point]) -> Point:
    """Where a hand is at time t: (time, point) keys in order, eased from one to the next."""
    point = keys[0][1]
    for (t0, _), (t1, target) in pairwise(keys):
        point = between(point, target, ease(t, t0, t1))
    return point


def flight(a: Point, b: Point, u: float, rise: float) -> Point:
    """A thrown thing's place on its parabola from a (u = 0) to b (u = 1), `rise` px above the chord halfway."""
    x, y = between(a, b, u)
    return x, y - 4 * rise * u * (1 - u)


# --- The canvas ------------------------------------------------------------------------------

_SUBPIXEL_BITS = 4  # cv2 draws at 1/16 px


def disc(centre: Point, radius: float, radius_y: float | None = None, tilt: float = 0.0) -> np.ndarray:
    """(24, 2) outline of a circle, or of an ellipse tilted by `tilt` radians."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    x, y = radius * np.cos(angle), (radius if radius_y is None else radius_y) * np.sin(angle)
    return np.stack([x * np.cos(tilt) - y * np.sin(tilt), x * np.sin(tilt) + y * np.cos(tilt)], 1) + centre


def hull(*circles: tuple[Point, float]) -> np.ndarray:
    """(N, 2) outline stretched around circles (centre, radius): limbs, trunks, dresses."""
    points = np.concatenate([disc(centre, radius) for centre, radius in circles]).astype(np.float32)
    return cv2.convexHull(points)[:, 0]


class Canvas:
    """A picture and its labels, painted back to front with the same polygons."""

    def __init__(self, names: Sequence[str]) -> None:
        """names: the instances whose pixels are kept apart; all other things are labelled 0."""
        size = (HEIGHT * SUPERSAMPLING, WIDTH * SUPERSAMPLING)
        self._label_of = {name: number for number, name in enumerate(names, start=1)}
        self._picture = np.zeros((*size, 3), np.uint8)
        self._labels = np.zeros(size, np.uint8)
        self._label = 0
        self._zoom, self._centre = 1.0, (WIDTH / 2, HEIGHT / 2)

    def begin(self, backdrop: np.ndarray, zoom: float = 1.0, centre: Point = (WIDTH / 2, HEIGHT / 2)) -> None:
        """Start a frame on a backdrop (H * S, W * S, 3); figures are drawn `zoom` times larger about `centre`."""
        np.copyto(self._picture, backdrop)
        self._labels.fill(0)
        self._label, self._zoom, self._centre = 0, zoom, centre

    def draw_as(self, name: str | None) -> None:
        """Whose pixels the next shapes are; None or an unknown name: the scenery's, which hides what is behind."""
        self._label = self._label_of.get(name or "", 0)

    def shape(self, colour: Colour, *polygons: np.ndarray, line: float = 0.9) -> None:
        """Fill polygons as one shape with a dark outline `line` px wide on either side of its rim."""
        points = [self._fixed(polygon) for polygon in polygons]
        thickness = max(1, round(2 * line * self._zoom * SUPERSAMPLING))
        rim = shade(colour, OUTLINE_SHADE)
        for target, ink in ((self._picture, rim), (self._labels, self._label)):
            cv2.polylines(target, points, True, ink, thickness, cv2.LINE_8, _SUBPIXEL_BITS)
        for polygon in points:  # one by one: fillPoly would leave holes where polygons overlap
            cv2.fillPoly(self._picture, [polygon], colour, cv2.LINE_8, _SUBPIXEL_BITS)
            cv2.fillPoly(self._labels, [polygon], self._label, cv2.LINE_8, _SUBPIXEL_BITS)

    def detail(self, colour: Colour, *polygons: np.ndarray) -> None:
        """Fill polygons without an outline: an eye, a highlight."""
        for polygon in polygons:
            points = [self._fixed(polygon)]
            cv2.fillPoly(self._picture, points, colour, cv2.LINE_8, _SUBPIXEL_BITS)
            cv2.fillPoly(self._labels, points, self._label, cv2.LINE_8, _SUBPIXEL_BITS)

    def stroke(self, colour: Colour, points: Sequence[Point], width: float) -> None:
        """An open line: a mouth, a seam, a handle."""
        fixed = [self._fixed(np.array(points))]
        thickness = max(1, round(width * self._zoom * SUPERSAMPLING))
        cv2.polylines(self._picture, fixed, False, colour, thickness, cv2.LINE_8, _SUBPIXEL_BITS)
        cv2.polylines(self._labels, fixed, False, self._label, thickness, cv2.LINE_8, _SUBPIXEL_BITS)

    def shadow(self, x: float, y: float, radius: float) -> None:
        """Darken a flat ellipse of the floor: part of the scenery, in no mask."""
        outline = self._fixed(disc((x, y), radius, min(radius * 0.17, 7.0)))
        left, top, width, height = cv2.boundingRect(outline >> _SUBPIXEL_BITS)
        rows = slice(max(top, 0), max(top + height + 1, 0))
        columns = slice(max(left, 0), max(left + width + 1, 0))
        patch = self._picture[rows, columns]
        if patch.size == 0:
            return
        inside = np.zeros(patch.shape[:2], np.uint8)
        offset = np.array([columns.start, rows.start], np.int32) << _SUBPIXEL_BITS
        cv2.fillPoly(inside, [outline - offset], 1, cv2.LINE_8, _SUBPIXEL_BITS)
        cv2.copyTo(cv2.convertScaleAbs(patch, alpha=0.82), inside, patch)

    def supersampled(self) -> np.ndarray:
        """(H * S, W * S, 3) uint8 RGB: the picture as painted."""
        return self._picture.copy()

    def picture(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB: the frame, anti-aliased."""
        return cv2.resize(self._picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)

    def mask(self, name: str) -> np.ndarray:
        """(H, W) bool: pixels of which the instance covers, visibly, at least half."""
        covered = (self._labels == self._label_of[name]).astype(np.float32)
        return cv2.resize(covered, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) >= 0.5 - 1e-4

    def _fixed(self, polygon: np.ndarray) -> np.ndarray:
        """px of the video -> cv2's fixed-point px of the supersampled picture, whose centres are integers."""
        zoomed = (np.asarray(polygon, np.float64) - self._centre) * self._zoom + (WIDTH / 2, HEIGHT / 2)
        return np.round((zoomed * SUPERSAMPLING - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)


# --- People ----------------------------------------------------------------------------------


def joint(a: Point, b: Point, length: float, bend: float) -> Point:
    """The elbow or knee between a and b, for two bones of `length`; bend +1 or -1 chooses the side.

    Bones stretch rather than leave b out of reach.
    """
    dx, dy = b[0] - a[0], b[1] - a[1]
    distance = float(np.hypot(dx, dy)) or 1e-6
    offset = float(np.sqrt(max(length**2 - (distance / 2) ** 2, 0.0))) * bend
    return a[0] + dx / 2 - dy / distance * offset, a[1] + dy / 2 + dx / distance * offset


def step(travelled: float, stride: float, lead: float) -> Point:
    """A foot's (forward, up) px from its hip's ground point after walking `travelled` px.

    On the ground the foot stays where it is while the body passes over it; then it swings forward.
    lead 0 or 0.5 sets the two feet apart.
    """
    if stride <= 0:
        return 0.0, 0.0
    phase = (travelled / (4 * stride) + lead) % 1.0
    if phase < 0.5:
        return stride * (1 - 4 * phase), 0.0
    swing = (phase - 0.5) * 2
    return stride * (2 * swing - 1), stride * 0.55 * float(np.sin(np.pi * swing))


@dataclass(frozen=True)
class Pose:
    """Where a person stands and what the limbs do; hands and feet in px of the video."""

    x: float
    facing: int = 1  # 1 looks right, -1 left
    floor: float = FLOOR
    travelled: float = 0.0
    stride: float = 0.0  # px, half a step; 0 stands still
    lean: float = 0.0  # px that the shoulders are ahead of the hips
    crouch: float = 0.0  # px that the hips are lowered
    near_hand: Point | None = None  # None swings with the walk
    far_hand: Point | None = None
    near_foot: Point | None = None


@dataclass(frozen=True)
class Person:
    """A figure of a picture book: big head, round limbs, one clear colour to be known by."""

    height: float
    child: bool
    top: Colour
    dress: bool
    skin: Colour
    hair: Colour
    long_hair: bool
    trousers: Colour

    @property
    def head(self) -> float:
        return self.height * (0.15 if self.child else 0.12)

    @property
    def arm(self) -> float:
        """Length of upper arm and forearm together."""
        return self.height * 0.40

    def shoulder(self, pose: Pose) -> Point:
        up = self.height - 2 * self.head - self.height * 0.05
        return pose.x + pose.facing * pose.lean, pose.floor - up + pose.crouch + self._bob(pose)

    def hip(self, pose: Pose) -> Point:
        return pose.x, pose.floor - self.height * 0.40 + pose.crouch + self._bob(pose)

    def _bob(self, pose: Pose) -> float:
        if pose.stride <= 0:
            return 0.0
        return self.height * 0.012 * (1 + float(np.cos(2 * np.pi * pose.travelled / (2 * pose.stride))))

    def draw(self, canvas: Canvas, name: str | None, pose: Pose) -> None:
        self.draw_behind(canvas, name, pose)
        self.draw_near_arm(canvas, name, pose)

    def draw_behind(self, canvas: Canvas, name: str | None, pose: Pose) -> None:
        """All but the near arm, which may have to lie over what the person holds."""
        canvas.shadow(pose.x, pose.floor, self.height * 0.2)
        canvas.draw_as(name)
        if self.long_hair:
            self._draw_long_hair(canvas, pose)
        self._draw_arm(canvas, pose, pose.far_hand, side=-1)
        self._draw_leg(canvas, pose, lead=0.5, foot=None, tone=0.82)
        self._draw_leg(canvas, pose, lead=0.0, foot=pose.near_foot, tone=1.0)
        self._draw_trunk(canvas, pose)
        self._draw_head(canvas, pose)

    def draw_near_arm(self, canvas: Canvas, name: str | None, pose: Pose) -> None:
        canvas.draw_as(name)
        self._draw_arm(canvas, pose, pose.near_hand, side=1)

    def _draw_trunk(self, canvas: Canvas, pose: Pose) -> None:
        size = self.height
        (sx, sy), (hx, hy) = self.shoulder(pose), self.hip(pose)
        neck = hull(((sx, sy + size * 0.02), size * 0.035), ((sx, sy - size * 0.05), size * 0.035))
        canvas.shape(shade(self.skin, 0.92), neck)
        upper, lower = size * 0.075, size * 0.062
        shoulders = (((sx - size * 0.025, sy + upper), upper), ((sx + size * 0.025, sy + upper), upper))
        if self.dress:
            hem, sway = hy + size * 0.15, pose.facing * size * 0.02
            skirt = (((hx - size * 0.115 - sway, hem), size * 0.025), ((hx + size * 0.115 - sway, hem), size * 0.025))
            waist = ((hx, hy - size * 0.05), lower)
            canvas.shape(self.top, hull(*shoulders, waist), hull(waist, *skirt))
            canvas.stroke(shade(self.top, 0.7), [(hx - lower, hy - size * 0.05), (hx + lower, hy - size * 0.05)], 1.2)
        else:
            canvas.shape(self.trousers, hull(((hx, hy - size * 0.01), lower * 1.08)))
            canvas.shape(self.top, hull(*shoulders, ((hx, hy - size * 0.03), lower)))
        light = (sx + pose.facing * size * 0.03, sy + upper)
        canvas.detail(
            shade(self.top, 1.13), hull((light, upper * 0.5), ((hx + pose.facing * 2, hy - size * 0.09), 2.0))
        )

    def _draw_head(self, canvas: Canvas, pose: Pose) -> None:
        radius, facing = self.head, pose.facing
        x, y = self._head_centre(pose)
        canvas.shape(self.skin, disc((x, y), radius * 0.94, radius))
        angle = np.linspace(np.pi * 0.9, np.pi * 1.86, 14)  # from the nape over the crown to the forehead
        crown = [(x + facing * 1.05 * radius * np.cos(a), y + 1.07 * radius * np.sin(a)) for a in angle]
        fringe = [(x + facing * dx * radius, y - up * radius) for dx, up in ((0.45, 0.5), (-0.15, 0.42), (-0.6, 0.0))]
        canvas.shape(self.hair, np.array(crown + fringe), line=0.7)
        for dx in (0.08, 0.60):
            canvas.detail(
                (250, 250, 250), disc((x + facing * dx * radius, y + radius * 0.08), radius * 0.17, radius * 0.2)
            )
            canvas.detail((30, 26, 30), disc((x + facing * (dx + 0.05) * radius, y + radius * 0.1), radius * 0.11))
        canvas.detail(shade(self.skin, 0.9), disc((x + facing * 0.62 * radius, y + radius * 0.42), radius * 0.13))
        smile = [(x + facing * dx * radius, y + dy * radius) for dx, dy in ((0.12, 0.52), (0.32, 0.62), (0.52, 0.54))]
        canvas.stroke(shade(self.skin, 0.5), smile, 0.9)

    def _head_centre(self, pose: Pose) -> Point:
        x, y = self.shoulder(pose)
        return x + pose.facing * self.height * 0.012, y - self.head - self.height * 0.025

    def _draw_long_hair(self, canvas: Canvas, pose: Pose) -> None:
        x, y = self._head_centre(pose)
        back, radius = -pose.facing, self.head
        tip = (x + back * radius * 0.75, y + radius * 1.45)
        canvas.shape(self.hair, hull(((x + back * radius * 0.2, y), radius * 0.95), (tip, radius * 0.32)))

    def _draw_arm(self, canvas: Canvas, pose: Pose, hand: Point | None, side: int) -> None:
        """side 1 is the arm towards the viewer, -1 the one behind the trunk."""
        size, (sx, sy) = self.height, self.shoulder(pose)
        shoulder = (sx + side * -pose.facing * size * 0.02, sy + size * 0.06)
        if hand is None:
            swing, _ = step(pose.travelled, pose.stride, 0.5 if side > 0 else 0.0)
            hand = (shoulder[0] + pose.facing * (swing * 0.7 + size * 0.02), shoulder[1] + self.arm * 0.97)
        elbow = joint(shoulder, hand, self.arm / 2, bend=pose.facing)
        tone = 1.0 if side > 0 else 0.8
        thick, thin = size * 0.042, size * 0.034
        wrist = between(elbow, hand, 0.9)
        canvas.shape(shade(self.skin, tone), hull((elbow, thin), (wrist, thin * 0.9)), disc(hand, size * 0.042))
        cuff = between(elbow, hand, 0.18)
        sleeve = hull((shoulder, thick * 1.15), (elbow, thick))
        canvas.shape(shade(self.top, tone * 0.94), sleeve, hull((elbow, thick), (cuff, thick * 0.95)))

    def _draw_leg(self, canvas: Canvas, pose: Pose, lead: float, foot: Point | None, tone: float) -> None:
        size, (hx, hy) = self.height, self.hip(pose)
        apart = size * (0.03 if lead else -0.03) * pose.facing
        if foot is None:
            forward, up = step(pose.travelled, pose.stride, lead)
            foot = (pose.x + apart + pose.facing * forward, pose.floor - size * 0.03 - up)
        hip = (hx + apart * 0.8, hy)
        knee = joint(hip, foot, size * 0.189, bend=-pose.facing)
        bare = self.dress
        colour = shade(self.skin if bare else self.trousers, tone)
        thick = size * (0.036 if bare else 0.048)
        canvas.shape(colour, hull((hip, thick * 1.15), (knee, thick)), hull((knee, thick), (foot, thick * 0.8)))
        toe = (foot[0] + pose.facing * size * 0.05, foot[1] + size * 0.008)
        canvas.shape(shade((86, 60, 52), tone), hull((foot, size * 0.03), (toe, size * 0.024)))


# --- Animals ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Animal:
    """A dog or a cat in profile; `size` is its height at the shoulder, px."""

    species: str
    coat: Colour
    size: float
    collar: Colour

    def draw(
        self,
        canvas: Canvas,
        name: str | None,
        x: float,
        floor: float = FLOOR,
        *,
        facing: int = 1,
        travelled: float = 0.0,
        stride: float = 0.0,
        paw: Point | None = None,
    ) -> None:
        """x is under its middle; `paw` puts the near front paw somewhere."""
        size = self.size
        hop = size * 0.07 * float(np.sin(2 * np.pi * travelled / (4 * stride))) if stride > 0 else 0.0

        def at(forward: float, up: float) -> Point:
            return x + facing * forward * size, floor - up * size - hop

        canvas.shadow(x, floor, size * 0.8)
        canvas.draw_as(name)
        self._draw_tail(canvas, at, wag=travelled / (size or 1))
        for forward, lead, near in ((0.50, 0.55, False), (-0.52, 0.15, False), (0.42, 0.0, True), (-0.60, 0.65, True)):
            ahead, up = step(travelled, stride, lead)
            foot = (x + facing * (forward * size + ahead), floor - up - size * 0.07)
            if paw is not None and near and forward > 0:
                foot = paw
            self._draw_leg(canvas, at(forward, 0.62), foot, facing, fore=forward > 0, near=near)
        canvas.shape(self.coat, hull((at(0.40, 0.74), size * 0.27), (at(-0.52, 0.72), size * 0.24)))
        canvas.detail(shade(self.coat, 1.2), hull((at(0.25, 0.88), size * 0.08), (at(-0.45, 0.84), size * 0.07)))
        self._draw_head(canvas, at)

    def _draw_leg(self, canvas: Canvas, hip: Point, foot: Point, facing: int, *, fore: bool, near: bool) -> None:
        colour, thick = shade(self.coat, 1.0 if near else 0.75), self.size * 0.10
        knee = joint(hip, foot, self.size * 0.31, bend=facing if fore else -facing)
        toe = (foot[0] + facing * self.size * 0.08, foot[1])
        canvas.shape(
            colour,
            hull((hip, thick * 1.3), (knee, thick)),
            hull((knee, thick), (foot, thick * 0.8)),
            hull((foot, thick * 0.75), (toe, thick * 0.7)),
        )

    def _draw_tail(self, canvas: Canvas, at: Callable[[float, float], Point], wag: float) -> None:
        sway = 0.14 * float(np.sin(3 * wag))
        if self.species == "cat":
            bones = [at(-0.70, 0.8), at(-1.0, 0.95 + sway), at(-1.05, 1.35), at(-0.9 + sway, 1.6)]
        else:
            bones = [at(-0.70, 0.8), at(-0.95, 1.0 + sway), at(-1.1 + sway, 1.3 + sway)]
        radius = self.size * 0.075
        canvas.shape(self.coat, *(hull((a, radius), (b, radius * 0.9)) for a, b in pairwise(bones)))

    def _draw_head(self, canvas: Canvas, at: Callable[[float, float], Point]) -> None:
        size, dog = self.size, self.species == "dog"
        centre = at(0.72, 1.14)
        canvas.shape(self.coat, hull((at(0.48, 0.86), size * 0.19), (at(0.66, 1.06), size * 0.17)))
        canvas.shape(self.collar, hull((at(0.50, 1.05), size * 0.05), (at(0.74, 0.86), size * 0.05)))
        if dog:
            canvas.shape(self.coat, hull((centre, size * 0.24), (at(1.06, 1.06), size * 0.12)))
            canvas.shape(shade(self.coat, 0.7), hull((at(0.60, 1.28), size * 0.08), (at(0.50, 1.0), size * 0.11)))
            canvas.detail((20, 18, 20), disc(at(1.15, 1.10), size * 0.06))
        else:
            ears = (np.array([at(e - 0.09, 1.28), at(e + 0.02, 1.56), at(e + 0.13, 1.26)]) for e in (0.62, 0.86))
            canvas.shape(self.coat, disc(centre, size * 0.27, size * 0.24), *ears)
            canvas.detail((236, 150, 150), disc(at(0.96, 1.08), size * 0.035))
            for up in (1.02, 1.10):
                canvas.stroke((245, 245, 245), [at(0.9, 1.06), at(1.12, up)], 0.5)
        canvas.detail((252, 252, 252), disc(at(0.82, 1.2), size * 0.075))
        canvas.detail((24, 22, 24), disc(at(0.84, 1.2), size * 0.045))


# --- Things ----------------------------------------------------------------------------------


def draw_ball(
    canvas: Canvas, name: str | None, centre: Point, colour: Colour, radius: float = 12, turn: float = 0.0
) -> None:
    """A ball turned by `turn` radians, with a lit side and a seam."""
    canvas.shadow(centre[0], FLOOR, radius * 0.9)
    canvas.draw_as(name)
    x, y = centre
    canvas.shape(shade(colour, 0.88), disc(centre, radius))
    canvas.detail(colour, disc((x - radius * 0.12, y - radius * 0.14), radius * 0.8))
    seam = [(turn + a, 0.86 - 0.5 * np.cos(a)) for a in np.linspace(-1.2, 1.2, 9)]
    canvas.stroke(shade(colour, 0.6), [(x + r * radius * np.cos(a), y + r * radius * np.sin(a)) for a, r in seam], 1.1)
    canvas.detail(shade(colour, 1.25), disc((x - radius * 0.36, y - radius * 0.42), radius * 0.17))


def draw_box(
    canvas: Canvas,
    name: str | None,
    bottom: Point,
    colour: Colour,
    width: float = 44,
    height: float = 38,
    shadow_y: float = FLOOR,
) -> None:
    """A box with a lid seen a little from above; `bottom` is the middle of its lower front edge."""
    x, y = bottom
    half, depth = width / 2, height * 0.2
    canvas.shadow(x, shadow_y, width * 0.58)
    canvas.draw_as(name)
    lid = np.array(
        [
            (x - half, y - height),
            (x - half * 0.8, y - height - depth),
            (x + half * 0.8, y - height - depth),
            (x + half, y - height),
        ]
    )
    front = np.array([(x - half, y - height), (x + half, y - height), (x + half, y), (x - half, y)])
    canvas.shape(shade(colour, 1.18), lid)
    canvas.shape(colour, front)
    canvas.detail(
        shade(colour, 0.82),
        np.array(
            [
                (x + half * 0.55, y - height + 1),
                (x + half - 1, y - height + 1),
                (x + half - 1, y - 1),
                (x + half * 0.55, y - 1),
            ]
        ),
    )
    canvas.stroke(shade(colour, 0.6), [(x - half * 0.8, y - height * 0.72), (x + half * 0.8, y - height * 0.72)], 1.2)
    canvas.detail(shade(colour, 0.6), hull(((x - 4, y - height * 0.4), 1.6), ((x + 4, y - height * 0.4), 1.6)))


def draw_cup(
    canvas: Canvas, name: str | None, centre: Point, colour: Colour, size: float = 20, turn: float = 0.0
) -> None:
    """A mug of `size` px height about its centre, turned by `turn` radians."""
    cos, sin = np.cos(turn) * size, np.sin(turn) * size

    def at(dx: float, dy: float) -> Point:
        return centre[0] + dx * cos - dy * sin, centre[1] + dx * sin + dy * cos

    canvas.draw_as(name)
    ring = [at(0.38 + 0.26 * np.cos(a), 0.02 + 0.26 * np.sin(a)) for a in np.linspace(-1.6, 1.6, 9)]
    canvas.stroke(shade(colour, OUTLINE_SHADE), ring, size * 0.2)
    canvas.stroke(shade(colour, 0.9), ring, size * 0.1)
    canvas.shape(colour, np.array([at(-0.42, -0.5), at(0.42, -0.5), at(0.34, 0.5), at(-0.34, 0.5)]))
    canvas.detail(shade(colour, 0.72), disc(at(0, -0.46), size * 0.38, size * 0.1, turn))
    canvas.detail(shade(colour, 1.2), np.array([at(-0.28, -0.3), at(-0.18, -0.3), at(-0.16, 0.36), at(-0.24, 0.36)]))


def draw_bag(canvas: Canvas, name: str | None, grip: Point, colour: Colour) -> None:
    """A shopping bag that hangs from the hand at `grip`."""
    x, y = grip
    canvas.draw_as(name)
    canvas.stroke(shade(colour, OUTLINE_SHADE), [(x - 9, y + 16), (x - 5, y + 1), (x + 5, y + 1), (x + 9, y + 16)], 2.4)
    canvas.shape(colour, np.array([(x - 15, y + 15), (x + 15, y + 15), (x + 18, y + 37), (x - 18, y + 37)]))
    canvas.detail(
        shade(colour, 1.18), np.array([(x - 13, y + 17), (x + 13, y + 17), (x + 13.4, y + 22), (x - 13.4, y + 22)])
    )


def draw_cart(canvas: Canvas, name: str | None, x: float, colour: Colour, handle: Point, floor: float = FLOOR) -> None:
    """A cart of 62 px on two turning wheels, with a bar to its `handle`."""
    canvas.shadow(x, floor, 38)
    canvas.draw_as(name)
    side = 1 if handle[0] > x else -1
    bar = [(x + side * 26, floor - 24), handle]
    canvas.stroke(shade(colour, OUTLINE_SHADE), bar, 5.0)
    canvas.stroke(shade(colour, 0.8), bar, 3.0)
    canvas.shape(
        colour, np.array([(x - 33, floor - 42), (x + 33, floor - 42), (x + 27, floor - 14), (x - 27, floor - 14)])
    )
    for up in (33, 24):
        canvas.stroke(shade(colour, 0.72), [(x - 30, floor - up), (x + 30, floor - up)], 1.4)
    for wheel in (x - 18, x + 18):
        canvas.shape((70, 66, 70), disc((wheel, floor - 10), 9))
        canvas.detail((196, 192, 196), disc((wheel, floor - 10), 5.5))
        turn = x / 9
        for angle in (turn, turn + np.pi / 2):
            spoke = (5 * np.cos(angle), 5 * np.sin(angle))
            canvas.stroke(
                (70, 66, 70),
                [(wheel - spoke[0], floor - 10 - spoke[1]), (wheel + spoke[0], floor - 10 + spoke[1])],
                1.0,
            )


# --- Backdrops: pale, so that nothing in them has a caption's colour --------------------------


def paint_backdrop(kind: str, rng: np.random.Generator) -> np.ndarray:
    """(H * S, W * S, 3) uint8: "park", "room", "hall", "beach", "dusk" or "street", different with each rng."""
    canvas = Canvas(())
    painter = {"park": _park, "room": _room, "hall": _hall, "beach": _beach, "dusk": _dusk, "street": _street}[kind]
    painter(canvas, rng)
    return _textured(canvas.supersampled(), rng)


def _textured(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Paper grain and soft blotches: flat colour would make optical flow blind and GrabCut trivial."""
    height, width = picture.shape[:2]
    grain = cv2.resize(rng.normal(0, 3.0, (HEIGHT, WIDTH)).astype(np.float32), (width, height))
    blotches = cv2.resize(
        rng.normal(0, 3.0, (12, 16)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    return np.clip(picture + (grain + blotches)[..., None], 0, 255).astype(np.uint8)


def _gradient(top: Colour, bottom: Colour) -> np.ndarray:
    """(H * S, W * S, 3) uint8 from top to bottom."""
    height, width = HEIGHT * SUPERSAMPLING, WIDTH * SUPERSAMPLING
    u = np.linspace(0, 1, height)[:, None, None]
    return np.broadcast_to(np.array(top) * (1 - u) + np.array(bottom) * u, (height, width, 3)).astype(np.uint8)


def _rectangle(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _hills(base: float, rise: float, rng: np.random.Generator) -> np.ndarray:
    """A rolling skyline at `base` px from the top, closed along the picture's foot."""
    x = np.linspace(-4, WIDTH + 4, 60)
    waves = np.sin(x / rng.uniform(38, 60) + rng.uniform(0, 6)) + 0.5 * np.sin(
        x / rng.uniform(18, 26) + rng.uniform(0, 6)
    )
    skyline = np.stack([x, base - rise * waves / 1.5], 1)
    return np.concatenate([skyline, [(WIDTH + 4, HEIGHT + 4), (-4, HEIGHT + 4)]])


def _cloud(canvas: Canvas, x: float, y: float, size: float, colour: Colour) -> None:
    canvas.detail(
        colour,
        *(
            disc((x + dx * size, y + dy * size), r * size)
            for dx, dy, r in ((-0.8, 0.1, 0.5), (0, -0.2, 0.7), (0.8, 0.1, 0.55))
        ),
    )


def draw_tree(canvas: Canvas, x: float, floor: float, size: float = 1.0) -> None:
    """A tree 210 px high with a trunk 28 px wide at size 1; scenery, in front of what was drawn before."""
    canvas.draw_as(None)
    canvas.shadow(x, floor, 34 * size)
    trunk = [(-17, 0), (-13, -50), (-14, -130), (14, -130), (13, -50), (18, 0)]
    canvas.shape((158, 146, 136), np.array([(x + dx * size, floor + dy * size) for dx, dy in trunk]))
    canvas.stroke((138, 126, 118), [(x - 4 * size, floor - 20 * size), (x - 2 * size, floor - 74 * size)], 1.5)
    crown = ((-30, -144, 30), (28, -142, 32), (0, -172, 38))
    canvas.shape((150, 172, 146), *(disc((x + dx * size, floor + dy * size), r * size) for dx, dy, r in crown))
    canvas.detail(
        (164, 184, 158), *(disc((x + (dx - 7) * size, floor + (dy - 7) * size), r * 0.62 * size) for dx, dy, r in crown)
    )


def draw_wall(canvas: Canvas, left: float, right: float, top: float, floor: float) -> None:
    """A low wall of pale stones, in front of what was drawn before."""
    canvas.draw_as(None)
    canvas.shape((186, 182, 176), _rectangle(left, top, right, floor))
    canvas.shape((204, 200, 194), _rectangle(left - 3, top - 6, right + 3, top))
    for row, y in enumerate(np.arange(top + 12, floor, 12)):
        canvas.stroke((164, 160, 154), [(left, y), (right, y)], 1.0)
        for x in np.arange(left + 10 + 9 * (row % 2), right - 2, 18):
            canvas.stroke((164, 160, 154), [(x, y - 12), (x, y)], 1.0)


def draw_table(canvas: Canvas, left: float, right: float, top: float) -> None:
    canvas.draw_as(None)
    canvas.shadow((left + right) / 2, FLOOR, (right - left) * 0.5)
    for x in (left + 12, right - 18):
        canvas.shape((168, 156, 146), _rectangle(x, top + 5, x + 7, FLOOR + 2))
    canvas.shape((192, 180, 168), _rectangle(left, top, right, top + 8))


def _park(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.begin(_gradient((196, 216, 236), (238, 242, 242)))
    for x in (60, 170, 270):
        _cloud(canvas, x + rng.uniform(-25, 25), rng.uniform(22, 50), rng.uniform(12, 19), (247, 249, 250))
    canvas.detail((190, 206, 194), _hills(126, 14, rng))
    canvas.detail((178, 198, 178), _hills(146, 9, rng))
    canvas.detail((198, 210, 178), _rectangle(-4, 166, WIDTH + 4, HEIGHT + 4))
    draw_tree(canvas, rng.uniform(28, 60), 170, 0.5)
    draw_tree(canvas, rng.uniform(262, 300), 172, 0.58)
    for x, y in rng.uniform((0, 176), (WIDTH, HEIGHT - 4), (46, 2)):
        canvas.stroke((180, 194, 160), [(x - 2, y), (x, y - 4), (x + 2, y)], 0.8)


def _room(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.begin(_gradient((236, 230, 218), (226, 218, 204)))
    for x in np.arange(-10 + rng.uniform(0, 12), WIDTH, 24):
        canvas.detail((230, 223, 210), _rectangle(x, 0, x + 9, 168))
    left = rng.uniform(196, 226)
    canvas.shape((246, 244, 238), _rectangle(left, 24, left + 74, 96))
    canvas.detail((204, 218, 230), _rectangle(left + 6, 30, left + 34, 90), _rectangle(left + 40, 30, left + 68, 90))
    frame = rng.uniform(48, 84)
    canvas.shape((176, 164, 150), _rectangle(frame, 34, frame + 50, 74))
    canvas.detail((216, 214, 204), _rectangle(frame + 5, 39, frame + 45, 69))
    canvas.detail(
        (186, 194, 186),
        np.array([(frame + 5, 69), (frame + 20, 50), (frame + 30, 60), (frame + 37, 54), (frame + 45, 69)]),
    )
    _floorboards(canvas, (206, 194, 178), (188, 176, 160), rng)


def _hall(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.begin(_gradient((206, 214, 224), (222, 228, 232)))
    for x in np.arange(rng.uniform(-30, 0), WIDTH, 64):
        canvas.stroke((192, 202, 212), [(x, 0), (x, 166)], 1.6)
        canvas.detail((214, 222, 230), _rectangle(x + 10, 20, x + 54, 150))
    _floorboards(canvas, (214, 208, 204), (198, 192, 188), rng)


def _floorboards(canvas: Canvas, board: Colour, gap: Colour, rng: np.random.Generator) -> None:
    canvas.detail(board, _rectangle(-4, 168, WIDTH + 4, HEIGHT + 4))
    canvas.detail(shade(board, 1.1), _rectangle(-4, 163, WIDTH + 4, 169))
    for top, bottom in ((169, 180), (180, 195), (195, 215), (215, HEIGHT + 4)):
        canvas.stroke(gap, [(0, bottom), (WIDTH, bottom)], 1.0)
        for x in np.arange(rng.uniform(0, 70), WIDTH, 74):
            canvas.stroke(gap, [(x, top), (x - 3, bottom)], 1.0)


def _beach(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.begin(_gradient((214, 228, 238), (244, 238, 226)))
    canvas.detail((252, 248, 234), disc((rng.uniform(60, 250), 48), 20))
    canvas.detail((168, 196, 204), _rectangle(-4, 112, WIDTH + 4, HEIGHT))
    for _ in range(22):
        x, y = rng.uniform(0, WIDTH), rng.uniform(116, 150)
        canvas.stroke((192, 214, 218), [(x, y), (x + rng.uniform(10, 26), y)], 1.0)
    canvas.detail((238, 244, 242), _hills(158, 3, rng))
    canvas.detail((228, 216, 192), _hills(162, 3, rng))
    for x, y in rng.uniform((0, 176), (WIDTH, HEIGHT), (60, 2)):
        canvas.detail((212, 200, 176), disc((x, y), 0.9))


def _dusk(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.begin(_gradient((82, 84, 112), (150, 138, 152)))
    canvas.detail((222, 218, 206), disc((rng.uniform(60, 260), 44), 15))
    for x, y in rng.uniform((0, 0), (WIDTH, 100), (30, 2)):
        canvas.detail((200, 200, 212), disc((x, y), 0.8))
    canvas.detail((98, 98, 116), _hills(136, 14, rng))
    canvas.detail((84, 88, 98), _hills(160, 6, rng))
    canvas.detail((104, 106, 110), _rectangle(-4, 172, WIDTH + 4, HEIGHT + 4))


def _street(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.begin(_gradient((226, 220, 232), (240, 234, 232)))
    for left in np.arange(-12.0, WIDTH, 58):
        top, tone = rng.uniform(44, 92), rng.uniform(0.94, 1.04)
        canvas.shape(shade((204, 198, 206), tone), _rectangle(left, top, left + 58, 170), line=0.5)
        for x in (left + 10, left + 34):
            for y in np.arange(top + 12, 146, 26):
                canvas.detail(shade((226, 224, 226), tone), _rectangle(x, y, x + 13, y + 16))
    canvas.detail((206, 204, 204), _rectangle(-4, 168, WIDTH + 4, HEIGHT + 4))
    canvas.detail((186, 184, 186), _rectangle(-4, 218, WIDTH + 4, HEIGHT + 4))
    canvas.stroke((172, 170, 172), [(0, 218), (WIDTH, 218)], 2.0)


# --- Actions: what happens in a shot, at time t from 0 to 1 -----------------------------------

Action = Callable[[Canvas, float], None]


def make_person(kind: str, colour: str, rng: np.random.Generator, *, dress: bool = False) -> Person:
    """A boy, girl, man or woman in a top, or a dress, of a caption's colour."""
    skin, hair = LOOKS[rng.integers(len(LOOKS))]
    heights = {"boy": 92.0, "girl": 90.0, "man": 122.0, "woman": 116.0}
    return Person(
        height=heights[kind],
        child=kind in ("boy", "girl"),
        top=COLOURS[colour],
        dress=dress,
        skin=skin,
        hair=hair,
        long_hair=kind in ("girl", "woman"),
        trousers=TROUSERS[rng.integers(len(TROUSERS))],
    )


def pushing_box(who: tuple[str, Person], box: tuple[str, str], beside: str | None = None) -> Action:
    """who pushes the box to the right; `beside` is the colour of another box that only stands there."""
    (name, person), (box_name, colour) = who, box

    def action(canvas: Canvas, t: float) -> None:
        travelled = 96 * ease(t, -0.25, 1.1)
        x = 52 + travelled
        left = x + person.height * 0.42
        if beside:
            draw_box(canvas, None, (288, FLOOR - 8), COLOURS[beside], shadow_y=FLOOR - 8)
        draw_box(canvas, box_name, (left + 24, FLOOR), COLOURS[colour], width=48, height=42)
        pose = Pose(x, travelled=travelled, stride=11, lean=person.height * 0.13)
        hands = (left + 1, FLOOR - 33), (left + 3, FLOOR - 38)
        person.draw(canvas, name, _holding(pose, *hands))

    return action


def _holding(pose: Pose, near: Point | None, far: Point | None = None) -> Pose:
    return replace(pose, near_hand=near, far_hand=far)


def carrying_box(who: tuple[str, Person], box: tuple[str, str]) -> Action:
    """who walks to the left with the box in both arms."""
    (name, person), (box_name, colour) = who, box

    def action(canvas: Canvas, t: float) -> None:
        travelled = 130 * t
        pose = Pose(236 - travelled, facing=-1, travelled=travelled, stride=person.height * 0.12, lean=-3)
        sx, sy = person.shoulder(pose)
        bottom = (sx - person.height * 0.27, sy + person.height * 0.31)
        pose = _holding(pose, (bottom[0] + 7, bottom[1] - 2), (bottom[0] - 12, bottom[1] + 1))
        person.draw_behind(canvas, name, pose)
        draw_box(canvas, box_name, bottom, COLOURS[colour], width=36, height=28)
        person.draw_near_arm(canvas, name, pose)

    return action


def lifting_box(who: tuple[str, Person], box: tuple[str, str] | None) -> Action:
    """who crouches, takes the box from the floor and lifts it to the chest; without a box only crouches."""
    name, person = who

    def action(canvas: Canvas, t: float) -> None:
        down = ease(t, 0.02, 0.3) - ease(t, 0.42, 0.8)
        lifted = ease(t, 0.42, 0.85)
        size = person.height
        pose = Pose(140, crouch=size * 0.17 * down, lean=size * (0.04 + 0.13 * down))
        bottom = between((140 + size * 0.33, FLOOR), (140 + size * 0.28, FLOOR - size * 0.44), lifted)
        rest = (148.0, FLOOR - size * 0.38)
        grip = ease(t, 0.05, 0.32)
        near = between(rest, (bottom[0] - 13, bottom[1] - 6 - 8 * (1 - lifted)), grip)
        far = between(rest, (bottom[0] + 10, bottom[1] - 12), grip)
        pose = _holding(pose, near, far if box else None)
        person.draw_behind(canvas, name, pose)
        if box:
            draw_box(canvas, box[0], bottom, COLOURS[box[1]], width=40, height=32)
        person.draw_near_arm(canvas, name, pose)

    return action


def throwing_ball(who: tuple[str, Person], ball: tuple[str, str], to: tuple[str, Person]) -> Action:
    """who throws the ball in a parabola to the catcher on the right."""
    (name, person), (ball_name, colour), (catcher_name, catcher) = who, ball, to
    standing, waiting = Pose(62, lean=2), Pose(256, facing=-1, lean=-2)
    release, caught = 0.36, 0.74

    def action(canvas: Canvas, t: float) -> None:
        sx, sy = person.shoulder(standing)
        reach = person.arm
        back, front = (sx - reach * 0.55, sy - reach * 0.30), (sx + reach * 0.75, sy - reach * 0.55)
        hand = along(
            t,
            (0, (sx + reach * 0.5, sy + reach * 0.55)),
            (0.2, back),
            (release, front),
            (0.6, (sx + 8, sy + reach * 0.9)),
        )
        cx, cy = catcher.shoulder(waiting)
        goal = (cx - catcher.arm * 0.75, cy - 2)
        held = along(t, (caught, goal), (1.0, (cx - catcher.arm * 0.55, cy + catcher.arm * 0.4)))
        catching = along(t, (0.4, (cx - 8, cy + catcher.arm * 0.85)), (0.68, goal), (caught, goal))
        grip = held if t > caught else catching
        person.draw_behind(canvas, name, standing)
        catcher.draw_behind(canvas, catcher_name, _holding(waiting, None, (grip[0] + 1, grip[1] - 8)))
        if t < release:
            centre = (hand[0] + 3, hand[1] - 10)
        elif t < caught:
            start, end = (front[0] + 3, front[1] - 10), (goal[0] - 9, goal[1])
            centre = flight(start, end, (t - release) / (caught - release), rise=44)
        else:
            centre = (grip[0] - 9, grip[1])
        draw_ball(canvas, ball_name, centre, COLOURS[colour], turn=7 * t)
        person.draw_near_arm(canvas, name, _holding(standing, hand))
        catcher.draw_near_arm(canvas, catcher_name, _holding(waiting, (grip[0] + 1, grip[1] + 6)))

    return action


def kicking_ball(who: tuple[str, Person], ball: tuple[str, str], wall: tuple[float, float] | None = None) -> Action:
    """who runs up and kicks the ball, which hops and rolls away, behind a wall from x to x if there is one."""
    (name, person), (ball_name, colour) = who, ball
    contact = 0.46

    def action(canvas: Canvas, t: float) -> None:
        travelled = 76 * min(t / 0.4, 1.0)
        x = 40 + travelled
        spot = (40 + 76 + person.height * 0.36, FLOOR - 12)
        rolled = ease((t - contact) / 2 + 0.5) * 2 - 1 if t > contact else 0.0
        hop = abs(np.sin(np.pi * 2.5 * rolled)) * 26 * (1 - min(rolled, 1.0))
        ball_x = spot[0] + 160 * rolled
        running = t < 0.4
        foot = None
        if not running:
            planted = x + person.height * 0.02
            foot = along(
                t,
                (0.4, (planted - 24, FLOOR - 16)),
                (contact, (spot[0] - 14, FLOOR - 10)),
                (0.56, (spot[0] - 6, FLOOR - 24)),
                (0.78, (planted, FLOOR - person.height * 0.03)),
            )
        pose = Pose(x, travelled=travelled, stride=14 if running else 0, lean=5 if running else -2, near_foot=foot)
        draw_ball(canvas, ball_name, (ball_x, spot[1] - hop), COLOURS[colour], turn=(ball_x - spot[0]) / 12)
        person.draw(canvas, name, pose)
        if wall:
            draw_wall(canvas, *wall, FLOOR - 62, FLOOR + 9)

    return action


def chasing_ball(who: tuple[str, Animal], ball: tuple[str, str]) -> Action:
    """The animal runs after the rolling ball."""
    (name, animal), (ball_name, colour) = who, ball

    def action(canvas: Canvas, t: float) -> None:
        ball_x = 106 + 196 * t
        runner_x = 28 + 172 * t
        draw_ball(canvas, ball_name, (ball_x, FLOOR - 11), COLOURS[colour], radius=11, turn=ball_x / 11)
        animal.draw(canvas, name, runner_x, travelled=172 * t, stride=animal.size * 0.36)

    return action


def rolling_ball(who: tuple[str, Animal], ball: tuple[str, str]) -> Action:
    """The animal pushes the ball along with its paw."""
    (name, animal), (ball_name, colour) = who, ball

    def action(canvas: Canvas, t: float) -> None:
        travelled = 150 * t
        x = 62 + travelled
        ball_x = x + animal.size * 1.15
        draw_ball(canvas, ball_name, (ball_x, FLOOR - 12), COLOURS[colour], turn=ball_x / 12)
        paw = (ball_x - 13, FLOOR - 14 - 2 * float(np.sin(20 * t)))
        animal.draw(canvas, name, x, travelled=travelled, stride=animal.size * 0.3, paw=paw)

    return action


def hugging(who: tuple[str, Person], whom: tuple[str, Person]) -> Action:
    """Both walk up to each other and embrace."""
    (name, person), (other_name, other) = who, whom

    def action(canvas: Canvas, t: float) -> None:
        near = min(t / 0.55, 1.0)
        close = ease(t, 0.4, 0.75)
        apart = 58 * (1 - near)
        stride = 11.0 if near < 1 else 0.0
        left = Pose(142 - apart, travelled=58 * near, stride=stride, lean=7 * close, crouch=6 * close)
        right = Pose(176 + apart, facing=-1, travelled=58 * near, stride=stride, lean=-3 * close)
        (lx, ly), (rx, ry) = person.shoulder(left), other.shoulder(right)
        own_rest, other_rest = (lx + 4, ly + person.arm * 0.85), (rx - 4, ry + other.arm * 0.85)
        left = _holding(left, between(own_rest, (rx + 7, ry + 20), close), between(own_rest, (rx + 4, ry + 8), close))
        right = _holding(
            right, between(other_rest, (lx - 2, ly + 38), close), between(other_rest, (lx + 2, ly + 30), close)
        )
        other.draw_behind(canvas, other_name, right)
        person.draw_behind(canvas, name, left)
        other.draw_near_arm(canvas, other_name, right)
        person.draw_near_arm(canvas, name, left)

    return action


def handing_cup(who: tuple[str, Person], cup: tuple[str, str], to: tuple[str, Person]) -> Action:
    """who reaches the cup over; the other takes it."""
    (name, person), (cup_name, colour), (taker_name, taker) = who, cup, to

    def action(canvas: Canvas, t: float) -> None:
        left, right = Pose(112, lean=4 * ease(t, 0.1, 0.4)), Pose(206, facing=-1, lean=-4 * ease(t, 0.1, 0.4))
        (lx, ly), (rx, ry) = person.shoulder(left), taker.shoulder(right)
        meeting = (160.0, ly + 22)
        at_chest, at_own_chest = (lx + 18, ly + 30), (rx - 18, ry + 30)
        cup_at = along(t, (0.08, at_chest), (0.42, meeting), (0.58, meeting), (0.92, at_own_chest))
        giving = cup_at if t < 0.56 else along(t, (0.56, meeting), (0.85, (lx + 4, ly + person.arm * 0.9)))
        taking = cup_at if t > 0.48 else along(t, (0.15, (rx - 4, ry + taker.arm * 0.9)), (0.48, meeting))
        person.draw_behind(canvas, name, left)
        taker.draw_behind(canvas, taker_name, right)
        draw_cup(canvas, cup_name, cup_at, COLOURS[colour], size=24)
        person.draw_near_arm(canvas, name, _holding(left, (giving[0] - 9, giving[1] + 6)))
        taker.draw_near_arm(canvas, taker_name, _holding(right, (taking[0] + 11, taking[1] + 8)))

    return action


def moving_cart(who: tuple[str, Person], cart: tuple[str, str], *, pull: bool, front: Action | None = None) -> Action:
    """who pushes, or pulls, the cart to the right; `front` draws what passes between it and the viewer."""
    (name, person), (cart_name, colour) = who, cart
    side = -1 if pull else 1  # where the cart is, seen from the person

    def action(canvas: Canvas, t: float) -> None:
        travelled = 132 * t
        x = (112 if pull else 42) + travelled
        handle = (x + side * person.height * 0.24, FLOOR - person.height * 0.44)
        draw_cart(canvas, cart_name, x + side * (person.height * 0.24 + 46), COLOURS[colour], handle)
        pose = Pose(x, travelled=travelled, stride=13, lean=person.height * 0.07)
        person.draw(canvas, name, _holding(pose, handle, None if pull else (handle[0] + 2, handle[1] - 2)))
        if front:
            front(canvas, t)

    return action


def walking_across(person: Person) -> Action:
    """Someone the caption does not name walks past in front, to the left."""

    def action(canvas: Canvas, t: float) -> None:
        travelled = 250 * t
        person.draw(canvas, None, Pose(290 - travelled, facing=-1, floor=FLOOR + 20, travelled=travelled, stride=17))

    return action


def carrying_bag(who: tuple[str, Person], bag: tuple[str, str]) -> Action:
    """who walks to the right with a bag hanging from the hand."""
    (name, person), (bag_name, colour) = who, bag

    def action(canvas: Canvas, t: float) -> None:
        travelled = 140 * t
        pose = Pose(84 + travelled, travelled=travelled, stride=13)
        sx, sy = person.shoulder(pose)
        grip = (sx + 15 + 2 * np.sin(9 * t), sy + person.arm * 0.74)
        person.draw_behind(canvas, name, pose)
        draw_bag(canvas, bag_name, grip, COLOURS[colour])
        person.draw_near_arm(canvas, name, _holding(pose, grip))

    return action


def pushing_cup_off_table(who: tuple[str, Animal], cup: tuple[str, str]) -> Action:
    """The animal on the table pushes the cup over the edge; it falls, turning, and lies on the floor."""
    (name, animal), (cup_name, colour) = who, cup
    top, edge, size = 128.0, 214.0, 24.0
    tips, lands = 0.55, 0.78

    def action(canvas: Canvas, t: float) -> None:
        reach = ease(t, 0.02, 0.2)
        cup_x = 178 + (edge - 178) * ease(t, 0.2, tips)
        fall = float(np.clip((t - tips) / (lands - tips), 0, 1))
        rolled = ease(t, lands, 1.0)
        centre = (cup_x + 26 * fall + 16 * rolled, top - size / 2 + (FLOOR - top + 3) * fall**2)
        draw_table(canvas, 40, edge, top)
        pushing = t < tips + 0.05
        paw = between((cup_x - 34, top - 3), (cup_x - 11, top - 12), reach) if pushing else None
        x = cup_x - 46 if pushing else edge - 46
        draw_cup(canvas, cup_name, centre, COLOURS[colour], size=size, turn=np.pi / 2 * fall)
        animal.draw(canvas, name, x, top, travelled=x, stride=5 if pushing and reach == 1 else 0, paw=paw)

    return action


def nothing(canvas: Canvas, t: float) -> None:
    """An empty landscape under a passing cloud."""
    canvas.draw_as(None)
    _cloud(canvas, 60 + 90 * t, 60, 22, (246, 246, 248))


def looking_at_tree(who: tuple[str, Person]) -> Action:
    """who stands and looks; nothing is touched, nothing moves."""

    name, person = who

    def action(canvas: Canvas, t: float) -> None:
        draw_tree(canvas, 236, FLOOR + 2)
        person.draw(canvas, name, Pose(100, lean=2 * float(np.sin(3 * t))))

    return action


# --- The scenes ------------------------------------------------------------------------------


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
    dog = Animal("dog", COLOURS["black"], 40, COLOURS["yellow"])
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
    cat = Animal("cat", COLOURS["black"], 32, COLOURS["red"])
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
    cat = Animal("cat", COLOURS["orange"], 38, COLOURS["green"])
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


# --- Writing ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One manifest row with what is known of it; `video` None leaves the file out."""

    id: str
    caption: str | None
    video: bytes | None
    expect: list[Expectation]
    n_frames: int = 0
    cuts: list[int] = field(default_factory=list)
    instances: list[TrueInstance] = field(default_factory=list)
    triplets: list[TrueTriplet] = field(default_factory=list)


def draw_scenes(folder: Path, seed: int = 0, n_scenes: int = len(SCENES)) -> Path:
    """Draw the first n_scenes of SCENES, and the rows that must be dropped or fail; return the manifest's path.

    The same seed gives the same bytes: another one changes backdrops, hair, skin and grain, not the plot.
    Raises ValueError if n_scenes is not in 1..len(SCENES).
    """
    if not 1 <= n_scenes <= len(SCENES):
        raise ValueError(f"n_scenes is {n_scenes}; there are 1 to {len(SCENES)} scenes to draw")
    plots = {**dict(list(SCENES.items())[:n_scenes]), **DROPPED}
    rows = [_draw_row(name, plot, seed) for name, plot in plots.items()]
    rows += broken_rows(rows[0])
    lines = []
    for number, row in enumerate(rows, start=1):
        video = f"scenes/{row.id}.mp4" if row.id != "duplicate" else f"scenes/{rows[0].id}.mp4"
        if row.video is not None:
            write_atomic(folder / video, row.video)
        truth = _truth_of(row, number, video)
        write_atomic(folder / "truth" / f"{row.id}.json", truth.to_json())
        lines.append(json.dumps({"video": video, "caption": row.caption, "id": row.id}))
    manifest = folder / "manifest.jsonl"
    write_atomic(manifest, ("\n".join(lines) + "\n").encode())
    return manifest


def broken_rows(good: Row) -> list[Row]:
    """Rows that no curation can accept, made from a good one."""
    video = good.video or b""

    def row(name: str, data: bytes | None, status: Status, stage: str, n_frames: int = 0) -> Row:
        return Row(name, good.caption, data, [Expectation(shot=0, status=status, stage=stage)], n_frames=n_frames)

    # An MP4 ends with its index, so that half a file cannot be opened at all.
    return [
        row("truncated", video[: len(video) // 2], "failed", "split_scenes"),
        row("not-a-video", b"This is no video, whatever its name says.\n", "failed", "split_scenes"),
        row("one-frame", encode_video([np.full((HEIGHT, WIDTH, 3), 200, np.uint8)]), "rejected", "split_scenes", 1),
        row("missing", None, "failed", "read_manifest"),
        row("duplicate", video, "rejected", "read_manifest"),
    ]


def draw_shot(shot: Shot, names: Sequence[str], rng: Rng) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Each frame (H, W, 3) uint8 RGB with {name: (H, W) bool} of the named things' visible pixels."""
    backdrop = paint_backdrop(shot.backdrop, rng)
    # A camera's grain: too weak to be seen, enough that no two frames are equal.
    grains = rng.normal(0, 1.2, (4, HEIGHT, WIDTH, 1)).astype(np.float32)
    canvas = Canvas(names)
    for number in range(SHOT_FRAMES):
        canvas.begin(backdrop, shot.zoom, shot.centre)
        shot.action(canvas, number / (SHOT_FRAMES - 1))
        frame = np.clip(canvas.picture() + grains[number % len(grains)], 0, 255).astype(np.uint8)
        yield frame, {name: canvas.mask(name) for name in names}


# x264's AVX-512 code gives other bytes now and then for the same frames (seen with x264 in PyAV 18.1: 2 results
# in 24 runs). Its SSE2 code agrees with its plain C bit for bit and costs nothing at this size.
X264_OPTIONS = {"crf": "14", "preset": "veryfast", "threads": "1", "x264-params": "asm=mmx2,sse2"}


def encode_video(frames: Sequence[np.ndarray]) -> bytes:
    """(H, W, 3) uint8 RGB frames -> an H.264 MP4 at exactly FPS; the same frames give the same bytes."""
    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=FPS, options=X264_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return sink.getvalue()


def _draw_row(name: str, plot: Callable[[Rng], Scene], seed: int) -> Row:
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    scene = plot(rng)
    frames: list[np.ndarray] = []
    counts: dict[str, list[str]] = {key: [] for key in scene.nouns}
    for shot in scene.shots:
        for frame, masks in draw_shot(shot, list(scene.nouns), rng):
            frames.append(frame)
            for key, mask in masks.items():
                counts[key].append(encode_mask(mask))
    return Row(
        id=name,
        caption=scene.caption,
        video=encode_video(frames),
        expect=[Expectation(shot=i, status=s.expect[0], stage=s.expect[1]) for i, s in enumerate(scene.shots)],
        n_frames=len(frames),
        cuts=[SHOT_FRAMES * i for i in range(1, len(scene.shots))],
        instances=[_instance(key, noun, counts[key]) for key, noun in scene.nouns.items()],
        triplets=list(_triplets(scene)),
    )


def _instance(name: str, noun: str, counts: list[str]) -> TrueInstance:
    class_name = name.split()[0]  # "boy 2" is a boy
    colours = [word for word in noun.split() if word in COLOURS]
    return TrueInstance(
        name=name, class_name=class_name, noun=noun, colours=colours, living=class_name in LIVING, counts=counts
    )


def _triplets(scene: Scene) -> Iterator[TrueTriplet]:
    for number, shot in enumerate(scene.shots):
        for optional, triplets in ((False, shot.triplets), (True, shot.optional)):
            for subject, verb, thing in triplets:
                yield TrueTriplet(subject=subject, verb=verb, object=thing, shot=number, optional=optional)


def _truth_of(row: Row, line: int, video: str) -> Truth:
    return Truth(
        id=row.id,
        line=line,
        video=video,
        caption=row.caption,
        width=WIDTH,
        height=HEIGHT,
        fps=Rational.of(FPS),
        n_frames=row.n_frames,
        cuts=row.cuts,
        instances=row.instances,
        triplets=row.triplets,
        expect=row.expect,
    )
