"""Boxes that two sources support in several frames, or the reason why there are none.

AgreementDetector().propose(frames, [<"a man in a blue shirt">, <"a white ball">])
    ->  {"id1": [Proposal(frame=0, box_xyxy=(301.0, 25.0, 420.0, 338.0), score=0.9), ...], "id2": [...]}
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from schemas.candidate import box_iou
from schemas.grounding import Found, NotFound, Proposal
from schemas.instance import Instance
from tasks.backends.agreement.balls import is_ball, small_ball, travelling
from tasks.backends.agreement.bodies import Body, body_finder, why_no_person
from tasks.backends.agreement.clothes import Outfit, headless_box, outfit_of
from tasks.backends.agreement.nouns import classes_of, stands
from tasks.backends.agreement.things import ClassMaps, Sighting, sightings, standing_box, tinted
from tasks.backends.colour.boxes import WHOLE, area, as_box, part_share
from tasks.backends.colour.foreground import steady_median
from tasks.backends.colour.palette import Picture, shrink
from tasks.backends.colour.phrases import Description, describe
from tasks.backends.packaged.things import classifier
from tasks.engine.progress import counted

WORKING_LONG_SIDE_PX = 640
MIN_FRAMES_SHARE, MIN_FRAMES = 3 / 8, 3  # in which an instance must be seen; or all, if there are fewer
MAX_SIZE_RATIO = 4.0  # of a box's area to the median of all frames
MIN_STEADY_IOU = 0.5  # with the median box, of what stands or has no head
MIN_HEADLESS_SHARE = 0.75  # of the frames: without a head, there is less to see
HEADLESS_TRUST, SMALL_TRUST = 0.6, 0.6
MIN_LEAD = 0.12  # in the share of the clothes' colours: of the better of two people, of one's words over another's
GOOD_CLOTHES_SHARE = 0.6  # more adds nothing to the score


class AgreementDetector:
    """Proposes what two sources see in several frames (`Detector`)."""

    def __init__(self) -> None:
        self._bodies, self._classifier = body_finder(), classifier()
        model = f"agreement-1, {self._bodies.identity}, {self._classifier.identity}"
        self.identity = {"backend": "packaged", "model": model, "opencv": cv2.__version__}
        self.concurrency, self.look_ahead = os.cpu_count() or 1, 0

    def propose(self, frames: np.ndarray, instances: list[Instance]) -> dict[str, Found]:
        """frames (T, H, W, 3) uint8 RGB -> {instance_id: proposals over all frames, or why there are none}."""
        search = Search.of(instances)
        if not search.people and not search.things:
            return dict(search.unknown)
        working = [shrink(frame, WORKING_LONG_SIDE_PX) for frame in frames]
        scale = np.array([frames.shape[2] / working[0].shape[1], frames.shape[1] / working[0].shape[0]] * 2)
        seen = [self._look(rgb, search) for rgb in counted(working, "frames searched")]
        found: dict[str, Found] = dict(search.unknown)
        for key in search.people:
            found[key] = people_found(key, [frame.bodies for frame in seen], search.people)
            if isinstance(found[key], NotFound) and len(search.people) == 1:
                found[key] = headless_found([frame.headless for frame in seen]) or found[key]
        for key, (thing, _) in search.things.items():
            if stands(thing.class_name):
                found[key] = standing_found(np.stack(working), [frame.standing[key] for frame in seen])
            else:
                found[key] = things_found([frame.things[key] for frame in seen])
                if isinstance(found[key], NotFound):
                    found[key] = balls_found([frame.balls.get(key) for frame in seen]) or found[key]
        return {key: _scaled(found[key], scale) for key in (instance.instance_id for instance in instances)}

    def _look(self, rgb: np.ndarray, search: Search) -> Seen:
        picture = Picture(rgb)
        bodies: list[Dressed] = []
        headless = None
        if search.people:
            for body in self._bodies.find(rgb):
                outfits = {key: outfit_of(picture, body, person.description) for key, person in search.people.items()}
                bodies.append(Dressed(body, outfits))
            if len(search.people) == 1 and all(why_no_person(dressed.body) for dressed in bodies):
                (person,) = search.people.values()
                headless = headless_box(picture, self._bodies.people(rgb), person.description)
        things: dict[str, list[Sighting]] = {}
        standing: dict[str, Standing] = {}
        balls: dict[str, np.ndarray | None] = {}
        if search.things:
            maps = ClassMaps(self._classifier, rgb)
            for key, (thing, classes) in search.things.items():
                if stands(thing.class_name):
                    standing[key] = Standing(maps.mass(classes), tinted(picture, thing.description))
                else:
                    things[key] = sightings(maps, picture, thing.description, classes)
                if is_ball(thing.class_name):
                    balls[key] = small_ball(picture, thing.description)
        return Seen(bodies, headless, things, standing, balls)


class Named(NamedTuple):
    """An instance, and what its words say that can be measured."""

    noun: str
    class_name: str
    description: Description


class Search(NamedTuple):
    """What to look for, and how."""

    people: dict[str, Named]
    things: dict[str, tuple[Named, np.ndarray]]  # with its classes
    unknown: dict[str, NotFound]

    @classmethod
    def of(cls, instances: Sequence[Instance]) -> Search:
        search = cls({}, {}, {})
        for instance in instances:
            named = Named(instance.noun, instance.class_name, describe(instance))
            classes = classes_of(instance.class_name)
            if named.description.person:
                search.people[instance.instance_id] = named
            elif classes is not None:
                search.things[instance.instance_id] = named, classes
            else:
                search.unknown[instance.instance_id] = NotFound.unknown(instance.class_name)
        return search


class Dressed(NamedTuple):
    """A body, and how well its clothes fit each person who is looked for."""

    body: Body
    outfits: dict[str, Outfit]


class Standing(NamedTuple):
    """Where a frame may show a piece of furniture."""

    mass: np.ndarray  # (H, W) float32: of its class
    tinted: np.ndarray  # (H, W) bool: pixels of its colours


class Seen(NamedTuple):
    """What one frame shows."""

    bodies: list[Dressed]
    headless: np.ndarray | None  # (4,) px: the one person who is looked for, without a head
    things: dict[str, list[Sighting]]
    standing: dict[str, Standing]
    balls: dict[str, np.ndarray | None]  # (4,) px: a spot that may be a ball too small for the classifier


# --- Decisions over all frames -----------------------------------------------------------------


def n_frames_needed(n_frames: int) -> int:
    return min(n_frames, max(MIN_FRAMES, round(MIN_FRAMES_SHARE * n_frames)))


def things_found(seen: Sequence[Sequence[Sighting]]) -> Found:
    """The best sighting of each frame, if there are enough and they are alike in size."""
    best = [(index, of_frame[0]) for index, of_frame in enumerate(seen) if of_frame]
    needed = n_frames_needed(len(seen))
    if best:
        median = float(np.median([area(sighting.box_xyxy) for _, sighting in best]))
        ratios = [max(area(s.box_xyxy) / median, median / area(s.box_xyxy)) for _, s in best]
        best = [item for item, ratio in zip(best, ratios, strict=True) if ratio <= MAX_SIZE_RATIO]
    if len(best) < needed:
        return NotFound(f"seen in {len(best)} of {len(seen)} frames (needs {needed})")
    return [Proposal(frame=i, box_xyxy=as_box(s.box_xyxy), score=round(s.score, 4)) for i, s in best]


def standing_found(frames: np.ndarray, seen: Sequence[Standing]) -> Found:
    """One box in all frames, the best first in the frame in which least of it is hidden. frames: (T, H, W, 3) uint8."""
    if steady_median(frames) is None:
        return NotFound("the camera moves, or the frames are few: furniture is only looked for where it stands still")
    masses = np.stack([of_frame.mass for of_frame in seen])
    box = standing_box(masses, np.stack([of_frame.tinted for of_frame in seen]))
    if box is None:
        return NotFound("seen at no one place of its colour in most frames")
    return [
        Proposal(frame=i, box_xyxy=as_box(box), score=round(min(part_share(mass, box, WHOLE), 1.0), 4))
        for i, mass in enumerate(masses)
    ]


def people_found(key: str, seen: Sequence[Sequence[Dressed]], people: dict[str, Named]) -> Found:
    """The body of each frame that wears what the words of one of the people say, and nobody else's.

    people: all who are looked for
    """
    others = {other: named for other, named in people.items() if other != key}
    if not _is_told(people[key]) and any(not _is_told(other) for other in others.values()):
        return NotFound("several people are looked for, and no colour of clothes tells who this is")
    found, doubts = [], list[str]()
    for index, bodies in enumerate(seen):
        reasons = [why_no_person(dressed.body) for dressed in bodies]
        real = [dressed for dressed, reason in zip(bodies, reasons, strict=True) if reason is None]
        own = [dressed for dressed in real if _is_own(dressed, key, others)]
        own.sort(key=lambda dressed: -dressed.outfits[key].share)
        if not real:
            doubts += [reason for reason in reasons if reason]
        elif not own:
            best = max((dressed.outfits[key] for dressed in real), key=lambda outfit: outfit.share)
            doubts.append("the clothes fit another one better" if best.fits else best.reason)
        elif len(own) > 1 and own[0].outfits[key].share - own[1].outfits[key].share < MIN_LEAD:
            doubts.append("two people fit the words")
        else:
            found.append(_proposal(index, own[0].body, own[0].outfits[key]))
    needed = n_frames_needed(len(seen))
    if len(found) < needed:
        why = f": {Counter(doubts).most_common(1)[0][0]}" if doubts else ""
        return NotFound(f"seen in {len(found)} of {len(seen)} frames (needs {needed}){why}")
    return found


def _is_told(person: Named) -> bool:
    """Whether the words name a colour of clothes."""
    return bool(person.description.large_garments)


def _is_own(dressed: Dressed, key: str, others: dict[str, Named]) -> bool:
    """Whether a body fits one's words, and nobody else's as well. Words without a colour fit every body."""
    own = dressed.outfits[key]
    rivals = [dressed.outfits[other] for other, named in others.items() if _is_told(named)]
    lead = MIN_LEAD if own.is_told else 1.0
    return own.fits and all(not rival.fits or own.share >= rival.share + lead for rival in rivals)


def _proposal(index: int, body: Body, outfit: Outfit) -> Proposal:
    score = body.quality * min(outfit.share / GOOD_CLOTHES_SHARE, 1.0)
    return Proposal(frame=index, box_xyxy=as_box(body.box_xyxy), score=round(float(np.clip(score, 0, 1)), 4))


def headless_found(boxes: Sequence[np.ndarray | None]) -> list[Proposal]:
    """Someone without a head who is at one place in most frames; empty if there is nobody."""
    seen = [(index, box) for index, box in enumerate(boxes) if box is not None]
    if not seen:
        return []
    middle = as_box(np.median([box for _, box in seen], axis=0))
    steady = [(index, as_box(box), box_iou(as_box(box), middle)) for index, box in seen]
    steady = [item for item in steady if item[2] >= MIN_STEADY_IOU]
    if len(steady) < MIN_HEADLESS_SHARE * len(boxes):
        return []
    return [Proposal(frame=i, box_xyxy=box, score=round(HEADLESS_TRUST * iou, 4)) for i, box, iou in steady]


def balls_found(boxes: Sequence[np.ndarray | None]) -> list[Proposal]:
    """A small ball that travels, as certain as it is seldom elsewhere; empty if there is none."""
    seen = [(index, box) for index, box in enumerate(boxes) if box is not None]
    if len(seen) < n_frames_needed(len(boxes)) or not travelling([box for _, box in seen]):
        return []
    # The largest first: nothing hides a part of it there.
    largest = max(area(box) for _, box in seen)
    return [
        Proposal(frame=i, box_xyxy=as_box(box), score=round(SMALL_TRUST * float(area(box) / largest), 4))
        for i, box in seen
    ]


def _scaled(found: Found, scale: np.ndarray) -> Found:
    if isinstance(found, NotFound):
        return found
    return [p.model_copy(update={"box_xyxy": as_box(np.array(p.box_xyxy) * scale)}) for p in found]
