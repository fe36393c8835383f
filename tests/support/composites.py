"""Footage whose masks are known exactly: cut-outs pasted onto footage, moved, hidden, held, under a camera that pans.

    street = pan(foliage(rng, 240, 420), n_frames=24, step=(3, 0), size=(240, 320))
    made = compose(street, [Paste("ball", ball(18, RED), moved((40, 120), (6, 0), 24)), Paste("", wall, still(...))])
    made.frames          (24, 240, 320, 3) uint8
    made.masks["ball"]   (24, 240, 320) bool: its visible pixels; what is pasted later lies in front

Cut-outs are drawn here, or cut from a frame of real footage: cut_out(frame, mask). Footage is drawn, or real.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from schemas.grounding import Wanted
from schemas.mask_track import MaskTrack, encode_mask
from tasks.media.pictures import shrunk

Colour = tuple[int, int, int]
Place = tuple[int, int]  # px: a cut-out's left upper corner, x and y
RED, BLUE, GREEN, WHITE, ORANGE = (205, 35, 40), (35, 80, 200), (30, 140, 60), (240, 240, 236), (235, 130, 30)
SKIN, HAIR, TROUSERS = (222, 174, 138), (60, 44, 36), (74, 80, 96)
GRAIN = 2.0  # levels: a camera's noise


class CutOut(NamedTuple):
    """A thing and its outline."""

    rgb: np.ndarray  # (h, w, 3) uint8
    mask: np.ndarray  # (h, w) bool

    @property
    def height(self) -> int:
        return int(self.mask.shape[0])

    @property
    def width(self) -> int:
        return int(self.mask.shape[1])


class Paste(NamedTuple):
    """A cut-out's way through the footage; without a name it only hides what lies behind it."""

    name: str
    cut_out: CutOut
    places: Sequence[Place | None]  # one a frame; None: not there


class Composite(NamedTuple):
    """Footage, and by name the visible pixels of what was pasted."""

    frames: np.ndarray  # (N, H, W, 3) uint8 RGB
    masks: dict[str, np.ndarray]  # (N, H, W) bool

    def track(self, name: str, instance_id: str = "id1", anchor_frame: int = 0) -> MaskTrack:
        """The true track."""
        return track_of(self.masks[name], instance_id, anchor_frame)


def track_of(masks: np.ndarray, instance_id: str = "id1", anchor_frame: int = 0) -> MaskTrack:
    """(N, H, W) bool -> a track."""
    _, height, width = masks.shape
    counts = [encode_mask(mask) for mask in masks]
    return MaskTrack.of(instance_id, counts, height=height, width=width, anchor_frame=anchor_frame)


def compose(
    footage: np.ndarray, pastes: Sequence[Paste], light: Sequence[float] | np.ndarray | None = None
) -> Composite:
    """Paste onto footage (N, H, W, 3) uint8 RGB, back to front. light: a factor on every frame's brightness."""
    rng = np.random.default_rng(len(pastes))
    frames = footage.astype(np.float32)
    masks = {paste.name: np.zeros(footage.shape[:3], bool) for paste in pastes if paste.name}
    for paste in pastes:
        # A lens blurs outlines: half a pixel on either side.
        soft = cv2.GaussianBlur(np.pad(paste.cut_out.mask, 2).astype(np.float32), (3, 3), 0)
        rgb = np.pad(paste.cut_out.rgb, ((2, 2), (2, 2), (0, 0)), mode="edge").astype(np.float32)
        for t, place in enumerate(paste.places):
            if place is None:
                continue
            there, part = _overlap(place, soft.shape, footage.shape[1:3])
            alpha = soft[part][..., None]
            frames[t][there] = alpha * rgb[part] + (1 - alpha) * frames[t][there]
            covered = soft[part] >= 0.5
            for name, mask in masks.items():
                mask[t][there] = np.where(covered, name == paste.name, mask[t][there])
    frames *= np.asarray(light if light is not None else np.ones(len(frames)), np.float32)[:, None, None, None]
    frames += rng.normal(0, GRAIN, frames.shape).astype(np.float32)
    return Composite(np.clip(frames, 0, 255).astype(np.uint8), masks)


def _overlap(place: Place, size: tuple[int, int], frame: tuple[int, int]) -> tuple[tuple[slice, ...], ...]:
    """Where a padded cut-out lies in the frame, and which part of it does."""
    there, part = [], []
    for start, length, end in zip((place[1] - 2, place[0] - 2), size, frame, strict=True):
        first, last = max(start, 0), max(min(start + length, end), 0)
        there.append(slice(first, last))
        part.append(slice(first - start, max(last - start, first - start)))
    return tuple(there), tuple(part)


# --- Ways ------------------------------------------------------------------------------------


def moved(start: Place, step: tuple[float, float], n_frames: int) -> list[Place | None]:
    """A steady way; step: px a frame."""
    return [(round(start[0] + t * step[0]), round(start[1] + t * step[1])) for t in range(n_frames)]


def still(place: Place, n_frames: int, camera: tuple[float, float] = (0, 0)) -> list[Place | None]:
    """Standing still in the scene, under a camera that moves so many px a frame."""
    return moved(place, (-camera[0], -camera[1]), n_frames)


def with_(way: Sequence[Place | None], offset: Place) -> list[Place | None]:
    """Held by what goes that way."""
    return [place and (place[0] + offset[0], place[1] + offset[1]) for place in way]


# --- Footage ---------------------------------------------------------------------------------


def pan(picture: np.ndarray, n_frames: int, step: tuple[float, float], size: tuple[int, int]) -> np.ndarray:
    """(n_frames, *size, 3): a camera that moves over a larger picture, px a frame. Positive: right and down."""
    height, width = size
    corners = [(round(t * step[1]), round(t * step[0])) for t in range(n_frames)]
    assert all(y + height <= picture.shape[0] and x + width <= picture.shape[1] for y, x in corners)
    return np.stack([picture[y : y + height, x : x + width] for y, x in corners])


def foliage(rng: np.random.Generator, height: int, width: int, colour: Colour = (92, 120, 62)) -> np.ndarray:
    """(height, width, 3) uint8: a hedge, leaves of all sizes in one colour."""
    relief = np.zeros((height, width), np.float32)
    for cell in (3, 6, 12):
        coarse = rng.normal(0, 1, (height // cell + 2, width // cell + 2)).astype(np.float32)
        relief += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * cell**0.5
    factor = 1 + 0.45 * relief[..., None] / np.abs(relief).max()
    return np.clip(np.array(colour) * factor, 0, 255).astype(np.uint8)


def room(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8: a wall with faint paper over a floor of boards."""
    rgb = np.empty((height, width, 3), np.float32)
    rgb[:], floor = (214, 206, 190), round(height * 0.7)
    rgb[:, ::24] -= 9
    rgb[floor:] = (168, 140, 108)
    rgb[floor :: max(height // 16, 8)] -= 26
    return np.clip(rgb + rng.normal(0, 3, (height, width, 1)), 0, 255).astype(np.uint8)


# --- Cut-outs --------------------------------------------------------------------------------


def cut_out(frame: np.ndarray, mask: np.ndarray) -> CutOut:
    """What a mask (H, W) covers of a frame (H, W, 3), in its tight box."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    inside = slice(y, y + height), slice(x, x + width)
    return CutOut(frame[inside].copy(), mask[inside].astype(bool))


def drawn(size: tuple[int, int], *shapes: tuple[str, tuple, Colour]) -> CutOut:
    """size: (height, width); shapes: ("disc", (x, y, radius), colour) or ("box", (x0, y0, x1, y1), colour), in turn."""
    rgb, mask = np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)
    for kind, where, colour in shapes:
        for target, ink in ((rgb, colour), (mask, 1)):
            if kind == "disc":
                cv2.circle(target, where[:2], where[2], ink, -1)
            else:
                cv2.rectangle(target, where[:2], (where[2] - 1, where[3] - 1), ink, -1)
    return CutOut(rgb, mask.astype(bool))


def ball(radius: int, colour: Colour) -> CutOut:
    side = 2 * radius + 1
    return drawn((side, side), ("disc", (radius, radius, radius), colour))


def cup(colour: Colour) -> CutOut:
    """34 px wide, 40 px high, with a handle and a white rim."""
    return drawn(
        (40, 34), ("disc", (25, 20, 8), colour), ("box", (0, 0, 26, 40), colour), ("box", (0, 0, 26, 4), WHITE)
    )


def person(shirt: Colour) -> CutOut:
    """A figure 44 px wide and 120 px high."""
    return drawn(
        (120, 44),
        ("box", (10, 70, 34, 114), TROUSERS),
        ("box", (8, 112, 36, 120), HAIR),
        ("box", (8, 34, 36, 72), shirt),
        ("box", (1, 38, 9, 72), SKIN),
        ("box", (35, 38, 43, 72), SKIN),
        ("disc", (22, 18, 16), HAIR),
        ("disc", (22, 21, 13), SKIN),
    )


def picture(rng: np.random.Generator, height: int = 60, width: int = 80) -> CutOut:
    """A framed landscape that hangs on a wall."""
    rgb = np.full((height, width, 3), HAIR, np.uint8)
    rgb[5:-5, 5:-5] = foliage(rng, height - 10, width - 10)
    return CutOut(rgb, np.ones((height, width), bool))


def blob(rng: np.random.Generator, size: int) -> np.ndarray:
    """(size, size) bool: an outline that follows nothing."""
    coarse = cv2.resize(rng.normal(0, 1, (5, 5)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    return np.hypot(x, y) + 0.15 * coarse < 0.75


NOTHING_WANTED = Wanted("", [], [])


@dataclass(frozen=True)
class Filmed:
    """Footage of frames in memory (tasks.media.footage.Footage)."""

    pictures: np.ndarray  # (N, H, W, 3) uint8
    wanted: Wanted = NOTHING_WANTED
    span: tuple[object, ...] = ()

    @property
    def n_frames(self) -> int:
        return len(self.pictures)

    @property
    def size(self) -> tuple[int, int]:
        return self.pictures.shape[1], self.pictures.shape[2]

    def frames(self, indices: Sequence[int] | None = None, max_side_px: int | None = None) -> np.ndarray:
        asked = self.pictures if indices is None else self.pictures[list(indices)]
        return np.stack([shrunk(picture, max_side_px) for picture in asked])
