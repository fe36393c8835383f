"""One video: what is drawn where in each frame, and the boxes of the visible pixels.

    animation = Animation(sample, plot, {"id1": "orange", "id2": "blue"}, world, rng)
    for frame, boxes in animation.frames(n_frames=41): ...       (H, W, 3) uint8, {"id1": (76.0, ...), "id2": None}

A box encloses the visible pixels, not the whole thing: where the two overlap, the animal is in front.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import cv2
import numpy as np

from schemas.candidate import Box
from schemas.dsr import ANIMAL, OBJECT, DsrLabels
from tasks.backends.drawn_videos.animals import AnimalFigure, AnimalPose
from tasks.backends.drawn_videos.plots import Path, Places, Plot, ease_along
from tasks.backends.drawn_videos.things import ThingFigure
from tasks.backends.drawn_videos.world import World, paint_scene
from tasks.media.drawing.canvas import COLOURS, Canvas, Colour, shade

SHADES = (0.88, 1.1)  # times the colour of the word
ANIMAL_SIZES, THING_WIDTHS, MAX_THING_HEIGHT = (30.0, 36.0), (74.0, 92.0), 72.0  # units of the world
GAPS = (14.0, 30.0)  # units between the two, side by side
IN_FRONT, DETOUR = 3.0, 52.0  # units: the animal is nearer than the object; detour halfway round it
EXTRA_SCALE, EXTRA_BEHIND, EXTRA_STROLL = 0.7, 24.0, 24.0  # of the second one: size; units further away; units walked
EXTRA_SIDE, ROOM_FOR_EXTRA = 34.0, 26.0  # units from the picture's edge; that the object moves aside for it
MAX_SHOWN, SHOWN_SHARE = 16, 0.2  # a vanishing animal is shown for at most so many frames: too few to be judged
SETS_OFF, ARRIVES, SOFTNESS = (0.1, 0.2), (0.78, 0.9), (0.2, 0.7)  # of the video's length
LEAP = re.compile("jump|leap|hop|bound|spring|fl(y|ie)|flutter|glide|flap|swoop|vault|skip")  # start of a leaping verb
LIGHT_IN_SHADOW = 0.91  # overlapping shadows must not look like part of a thing
GRAIN, N_GRAINS = 0.8, 4  # 8-bit levels of camera noise; several, so that consecutive frames differ


class Animation:
    """Everything that a video shows, in units of its world."""

    def __init__(
        self, labels: DsrLabels, plot: Plot, colours: dict[str, str], world: World, rng: np.random.Generator
    ) -> None:
        """colours: {instance_id: word of COLOURS}. Everything else that the prompt leaves open comes from rng."""
        self._world, self._plot = world, plot
        self._animal = AnimalFigure.of(labels.animal, _tone(colours[ANIMAL], rng), rng.uniform(*ANIMAL_SIZES))
        colour, width = _tone(colours[OBJECT], rng), rng.uniform(*THING_WIDTHS)
        self._thing = thing = ThingFigure.of(labels.object, colour, width, MAX_THING_HEIGHT)
        behind, ahead = self._animal.reach()
        self._animal_offset = (behind - ahead) / 2  # from the middle of its box to its own middle, along its heading
        extra_side = int(rng.choice([-1, 1]))
        x = world.width / 2 + rng.uniform(-8, 8) - (extra_side * ROOM_FOR_EXTRA if plot.extra else 0.0)
        self._foot = (x, world.ground)  # of the object
        self._extra_foot = (world.width - EXTRA_SIDE if extra_side > 0 else EXTRA_SIDE, world.ground - EXTRA_BEHIND)
        places = Places(
            thing_x=x,
            thing_half=thing.width / 2,
            top_y=world.ground - thing.top,
            ground_y=world.ground + IN_FRONT,
            animal_half=(behind + ahead) / 2,
            gap=rng.uniform(*GAPS),
            detour=DETOUR,
            picture_width=world.width,
        )
        self._path = Path.through(places, plot, leaps=is_leap(labels.verb))
        self._hold = (rng.uniform(*SETS_OFF), rng.uniform(*ARRIVES))  # shares of the video: it sets off and arrives
        self._softness = rng.uniform(*SOFTNESS)  # of its start and arrival, 0..1
        # Last: larger pictures take more random numbers here, and must show the same otherwise.
        self._backdrop = paint_scene(world, labels.scene, rng)
        grains = rng.normal(0, GRAIN, (N_GRAINS, world.height_px, world.width_px, 1))
        self._grains = grains.round().astype(np.int16)  # (N, H, W, 1), 8-bit levels

    def frames(self, n_frames: int) -> Iterator[tuple[np.ndarray, dict[str, Box | None]]]:
        """Each frame (H, W, 3) uint8 RGB, with the tight box of the visible pixels of the animal and the object."""
        canvas = self._world.canvas(ANIMAL, OBJECT)
        for number in range(n_frames):
            canvas.begin(self._backdrop, self._world.zoom, self._world.middle)
            self._paint_extra(canvas, number / n_frames)
            self._paint(canvas, self._pose(number, n_frames))
            grain = self._grains[number % len(self._grains)]
            frame = np.clip(canvas.picture() + grain, 0, 255).astype(np.uint8)
            yield frame, {name: visible_box(canvas.mask(name)) for name in (ANIMAL, OBJECT)}

    def _pose(self, number: int, n_frames: int) -> AnimalPose | None:
        """The animal's pose; None if it is not visible."""
        if not self._plot.animal:
            return None
        if self._plot.end is None:
            n_shown = min(MAX_SHOWN, int(SHOWN_SHARE * n_frames))
            if number >= n_shown:
                return None
            u = number / n_shown
        else:
            u = ease_along(number / max(n_frames - 1, 1), self._hold, self._softness)
        spot = self._path.at(u)
        # An animal that does not move looks at the object.
        facing = 1 if (spot.heading or self._foot[0] - spot.x) >= 0 else -1
        return AnimalPose(spot.x + facing * self._animal_offset, spot.y, facing, spot.travelled, spot.airborne)

    def _paint(self, canvas: Canvas, pose: AnimalPose | None) -> None:
        canvas.shadow(*self._foot, self._thing.width * 0.52, LIGHT_IN_SHADOW)
        if pose is not None:
            canvas.shadow(pose.x, max(pose.y, self._foot[1] + IN_FRONT), self._animal.size * 0.8, LIGHT_IN_SHADOW)
        self._thing.draw(canvas, OBJECT, self._foot)
        if pose is not None:
            self._animal.draw(canvas, ANIMAL, pose)

    def _paint_extra(self, canvas: Canvas, t: float) -> None:
        """Paint a second animal or object, part of no box, at time t, 0..1. The animal strolls towards the middle."""
        x, y = self._extra_foot
        facing = 1 if x < self._foot[0] else -1
        match self._plot.extra:
            case "animal":
                second, strolled = self._animal.scaled(EXTRA_SCALE), t * EXTRA_STROLL
                canvas.shadow(x + facing * strolled, y, second.size * 0.8, LIGHT_IN_SHADOW)
                second.draw(canvas, None, AnimalPose(x + facing * strolled, y, facing, strolled))
            case "object":
                canvas.shadow(x, y, EXTRA_SCALE * self._thing.width * 0.52, LIGHT_IN_SHADOW)
                self._thing.scaled(EXTRA_SCALE).draw(canvas, None, self._extra_foot)


def is_leap(verb: str) -> bool:
    """Does the verb go over things? True for 'jumps', 'flies down'."""
    return LEAP.match(verb.lower()) is not None


def visible_box(mask: np.ndarray) -> Box | None:
    """(H, W) bool -> its tight box, right and bottom exclusive; None if it is empty."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return (float(x), float(y), float(x + width), float(y + height)) if width else None


def _tone(word: str, rng: np.random.Generator) -> Colour:
    return shade(COLOURS[word], rng.uniform(*SHADES))
