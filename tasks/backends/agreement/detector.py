"""Boxes that two sources support in several frames, or the reason why there are none.

AgreementDetector().propose(frames, [<"a man in a blue shirt">, <"a white ball">])
    ->  {"id1": [Proposal(frame=0, box_xyxy=(301.0, 25.0, 420.0, 338.0), score=0.9), ...], "id2": [...]}
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from schemas.grounding import Found, NotFound, Proposal
from schemas.instance import Instance
from tasks.backends.agreement.bodies import Body, BodyFinder, why_no_person
from tasks.backends.agreement.clothes import Outfit, outfit_of
from tasks.backends.agreement.nouns import classes_of
from tasks.backends.agreement.things import ClassMaps, Sighting, sightings
from tasks.backends.colour.boxes import area, as_box
from tasks.backends.colour.palette import Picture, shrink
from tasks.backends.colour.phrases import Description, describe
from tasks.backends.packaged.things import Classifier
from tasks.engine.progress import counted

WORKING_LONG_SIDE_PX = 640
MIN_FRAMES_SHARE, MIN_FRAMES = 3 / 8, 3  # in which an instance must be seen; or all, if there are fewer
MAX_SIZE_RATIO = 4.0  # of a box's area to the median of all frames
MIN_LEAD = 0.12  # of the better of two people in a frame, in the share of their clothes' colours


class AgreementDetector:
    """Proposes what two sources see in several frames (`Detector`)."""

    def __init__(self) -> None:
        self._bodies, self._classifier = BodyFinder(), Classifier()
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
        for key, person in search.people.items():
            found[key] = people_found(key, person, [frame.bodies for frame in seen], search.people)
        for key, (thing, _) in search.things.items():
            found[key] = things_found(thing, [frame.things[key] for frame in seen])
        return {key: _scaled(found[key], scale) for key in (instance.instance_id for instance in instances)}

    def _look(self, rgb: np.ndarray, search: Search) -> Seen:
        picture = Picture(rgb)
        bodies: list[Dressed] = []
        if search.people:
            for body in self._bodies.find(rgb):
                outfits = {key: outfit_of(picture, body, person.description) for key, person in search.people.items()}
                bodies.append(Dressed(body, outfits))
        things: dict[str, list[Sighting]] = {}
        if search.things:
            maps = ClassMaps(self._classifier, rgb)
            for key, (thing, classes) in search.things.items():
                things[key] = sightings(maps, picture, thing.description, classes)
        return Seen(bodies, things)


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
                reason = f"no detector here knows {instance.class_name!r}; see --profile local"
                search.unknown[instance.instance_id] = NotFound(reason)
        return search


class Dressed(NamedTuple):
    """A body, and how well its clothes fit each person who is looked for."""

    body: Body
    outfits: dict[str, Outfit]


class Seen(NamedTuple):
    """What one frame shows."""

    bodies: list[Dressed]
    things: dict[str, list[Sighting]]


# --- Decisions over all frames -----------------------------------------------------------------


def n_frames_needed(n_frames: int) -> int:
    return min(n_frames, max(MIN_FRAMES, round(MIN_FRAMES_SHARE * n_frames)))


def things_found(thing: Named, seen: Sequence[Sequence[Sighting]]) -> Found:
    """The best sighting of each frame, if there are enough and they are alike in size."""
    best = [(index, of_frame[0]) for index, of_frame in enumerate(seen) if of_frame]
    needed = n_frames_needed(len(seen))
    if best:
        median = float(np.median([area(sighting.box_xyxy) for _, sighting in best]))
        ratios = [max(area(s.box_xyxy) / median, median / area(s.box_xyxy)) for _, s in best]
        best = [item for item, ratio in zip(best, ratios, strict=True) if ratio <= MAX_SIZE_RATIO]
    if len(best) < needed:
        colours = " and ".join(map(str, thing.description.body))
        what = f"{colours} {thing.class_name}".strip()
        return NotFound(f"{what!r} is seen in {len(best)} of {len(seen)} frames (needs {needed})")
    return [Proposal(frame=i, box_xyxy=as_box(s.box_xyxy), score=round(s.score, 4)) for i, s in best]


def people_found(key: str, person: Named, seen: Sequence[Sequence[Dressed]], people: dict[str, Named]) -> Found:
    """The body of each frame that wears what the words say, better than any other body, and no other person's clothes."""
    found, doubts = [], []
    for index, bodies in enumerate(seen):
        real = [dressed for dressed in bodies if why_no_person(dressed.body) is None]
        doubts += [why_no_person(d.body) for d in bodies if d not in real] if not real else []
        wearing = [d for d in real if d.outfits[key].fits]
        if real and not wearing:
            doubts.append(max((d.outfits[key] for d in real), key=lambda o: o.share).reason)
        # A body that fits someone else's words better is that one.
        own = [d for d in wearing if all(d.outfits[key].share >= d.outfits[o].share for o in people if o != key)]
        own.sort(key=lambda d: -d.outfits[key].share)
        if len(own) > 1 and own[0].outfits[key].share - own[1].outfits[key].share < MIN_LEAD:
            doubts.append("two people fit the words, and no colour tells which one")
            continue
        if own:
            score = own[0].body.quality * min(own[0].outfits[key].share / 0.6, 1.0)
            box = as_box(own[0].body.box_xyxy)
            found.append(Proposal(frame=index, box_xyxy=box, score=round(float(np.clip(score, 0, 1)), 4)))
    needed = n_frames_needed(len(seen))
    if len(found) < needed:
        named = [doubt for doubt in doubts if doubt]
        why = f": {max(set(named), key=named.count)}" if named else ""
        return NotFound(f"{person.noun!r} is seen in {len(found)} of {len(seen)} frames (needs {needed}){why}")
    return found


def _scaled(found: Found, scale: np.ndarray) -> Found:
    if isinstance(found, NotFound):
        return found
    return [p.model_copy(update={"box_xyxy": as_box(np.array(p.box_xyxy) * scale)}) for p in found]
