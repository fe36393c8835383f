"""Looks at a clip's pictures: each is given the tracks that are still good, and measures something about each of them.

album = Album(footage, tracks, n_looks=12)
look_at(tracks, album, config)                   outline and likeness: what the pictures say of the masks
walk_back(tracks, album, propagator, config)     does a second walk, from a far frame, come back to the anchor?
ask_again(tracks, album, questioner, config)     what the verifier says of the track's own box on other frames
    ->  [TrackCheck(instance_id="id2", measure="confirmed", value=1.0, threshold=0.5, passed=True, ...), ...]
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np

from schemas.candidate import Anchor, Box
from schemas.grounding import Answer, Wanted
from schemas.mask_track import MaskTrack, decode_mask
from schemas.track_check import TrackCheck
from tasks.check_tracks.config import CheckConfig
from tasks.check_tracks.masks import at_least, check_of, longest_gap
from tasks.check_tracks.pixels import (
    MIN_AREA_PX,
    WORKING_SHORT_SIDE_PX,
    colours,
    likeness,
    mean_brightness,
    moves_alone,
    outline_support,
)
from tasks.engine.progress import advance, counted
from tasks.ground_instances import Verifier
from tasks.media.footage import Footage
from tasks.media.pictures import max_side_of
from tasks.media.video import sample_indices
from tasks.propagate_masks import Propagator

WORST_SHARE = 0.2  # of the frames looked at: a hand passes, the thing turns
MIN_VISIBLE = 0.5  # of the median area: with less, much of the thing is hidden
FINER = 3  # times as many frames in the second try of a walk
MAX_ABSENCE = 0.05  # of the clip's frames, between the two ends of a walk
STEPS_A_CLIP = 50  # a motion is measured over a fiftieth of the clip, or from one frame to the next


class View(NamedTuple):
    """A track on one frame, at the working size."""

    frame: int
    picture: np.ndarray  # (h, w, 3) uint8 RGB
    mask: np.ndarray  # (h, w) bool
    whole: bool  # no less of it is seen than usual
    brightness: float  # the picture's


class Album:
    """The frames of a clip that are looked at, at the working size: evenly sampled ones and the anchors'."""

    def __init__(self, footage: Footage, tracks: Sequence[MaskTrack], n_looks: int) -> None:
        n_frames, self.footage = footage.n_frames, footage
        self.looks = sorted({*sample_indices(n_frames, n_looks), *(track.anchor_frame for track in tracks)})
        step = max(1, n_frames // STEPS_A_CLIP)
        self._soon = {t: t + step if t + step < n_frames else max(t - step, 0) for t in self.looks}
        self._pictures: dict[int, np.ndarray] = {}
        self.read([*self.looks, *self._soon.values()])
        self._brightness = {t: mean_brightness(self._pictures[t]) for t in self.looks}

    def read(self, frames: Sequence[int]) -> list[np.ndarray]:
        """(h, w, 3) uint8 RGB each; what was read before is not decoded again."""
        missing = sorted(set(frames) - self._pictures.keys())
        if missing:
            height, width = self.footage.size
            pictures = self.footage.frames(missing, max_side_of(width, height, WORKING_SHORT_SIDE_PX))
            self._pictures |= zip(missing, pictures, strict=True)
        return [self._pictures[t] for t in frames]

    def views(self, track: MaskTrack) -> list[View]:
        """The track on the frames looked at on which enough of it is seen to be judged."""
        usual = np.median([area for area in track.area if area] or [0])
        views = []
        for t in self.looks:
            mask = fitted(decode_mask(track.counts[t], track.height, track.width), self._pictures[t])
            if mask.sum() >= MIN_AREA_PX:
                whole = track.area[t] >= MIN_VISIBLE * usual
                views.append(View(t, self._pictures[t], mask, whole, self._brightness[t]))
        return views

    def soon_after(self, frame: int) -> np.ndarray:
        """The picture a moment later; before, at the clip's end."""
        return self._pictures[self._soon[frame]]


def fitted(mask: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """(H, W) bool -> (h, w) bool of the picture's size: pixels of which at least half belongs to the mask."""
    shares = cv2.resize(mask.astype(np.uint8) * 255, picture.shape[1::-1], interpolation=cv2.INTER_AREA)
    return shares > 127


def home_of(track: MaskTrack, views: Sequence[View]) -> View:
    """The view of the anchor's frame, or the one nearest to it."""
    return min(views, key=lambda view: abs(view.frame - track.anchor_frame))


# --- Outline and colours ---------------------------------------------------------------------


def look_at(tracks: Sequence[MaskTrack], album: Album, config: CheckConfig) -> list[TrackCheck]:
    """Outline and likeness of each track. A track too small to be seen at the working size has neither."""
    checks = []
    for track in counted(tracks, "tracks looked at"):
        if views := album.views(track):
            checks += [*_outline(track, views, album, config), _likeness(track, views, config)]
    return checks


def _outline(track: MaskTrack, views: Sequence[View], album: Album, config: CheckConfig) -> Iterator[TrackCheck]:
    supports = [outline_support(view.picture, view.mask) for view in views]
    measured = [support for support in supports if support is not None]
    if not measured:
        return
    value, detail = float(np.median(measured)), "median share of the outline that lies on edges of the picture"
    passed = value >= config.min_outline
    if not passed:
        alone = float(np.mean([moves_alone(v.picture, album.soon_after(v.frame), v.mask) for v in views]))
        passed = alone >= config.min_own_motion
        detail += f"; moves by itself on {alone:.0%} of the frames looked at (needs {config.min_own_motion:.0%})"
    yield check_of(track, "outline", value, config.min_outline, passed, detail)


def _likeness(track: MaskTrack, views: Sequence[View], config: CheckConfig) -> TrackCheck:
    home = home_of(track, views)
    first = colours(home.picture, home.mask, home.brightness)
    values = [likeness(first, colours(v.picture, v.mask, v.brightness)) for v in views]
    detail = f"colours against those on frame {home.frame}, the worst {WORST_SHARE:.0%} of frames left out"
    return at_least(track, "likeness", float(np.quantile(values, WORST_SHARE)), config.min_likeness, detail)


# --- The second walk -------------------------------------------------------------------------


class Walk(NamedTuple):
    """From a far frame, on which the whole thing is seen, to the anchor's, or the one nearest to it."""

    track: MaskTrack
    far: View
    home: View

    @property
    def ends(self) -> tuple[int, int]:
        return min(self.far.frame, self.home.frame), max(self.far.frame, self.home.frame)


def walk_back(
    tracks: Sequence[MaskTrack], album: Album, propagator: Propagator, config: CheckConfig
) -> list[TrackCheck]:
    """Propagate each track anew, from its box on a far frame, in few steps; compare it where it began, at its anchor.

    All tracks in one pass. Those that do not come back walk again, in smaller steps: people jump. A track that is seen
    on one of the frames looked at only has nowhere to come back from.
    """
    walks = [walk for track in tracks if (walk := _walk_of(track, album.views(track)))]
    returned = _returns(walks, album, propagator, config.n_looks)
    astray = [walk for walk in walks if returned[walk.track.instance_id] < config.min_return_iou]
    returned |= _returns(astray, album, propagator, FINER * config.n_looks)
    return [
        at_least(
            walk.track,
            "return",
            returned[walk.track.instance_id],
            config.min_return_iou,
            f"IoU on frame {walk.home.frame} of a walk back from frame {walk.far.frame}",
        )
        for walk in walks
    ]


def _walk_of(track: MaskTrack, views: Sequence[View]) -> Walk | None:
    home = home_of(track, views)
    # Over a long absence nothing can be followed: a ball that was thrown out of the picture and comes back in.
    longest = MAX_ABSENCE * len(track.present)
    whole = [view for view in views if view.whole and _absence(track, view.frame, home.frame) <= longest]
    if not whole:
        return None
    far = max(whole, key=lambda view: abs(view.frame - home.frame))
    return Walk(track, far, home) if far.frame != home.frame else None


def _absence(track: MaskTrack, one: int, other: int) -> int:
    """The longest run of frames without a mask between two frames."""
    return longest_gap(np.array(track.present[min(one, other) : max(one, other) + 1], bool))


def _returns(walks: Sequence[Walk], album: Album, propagator: Propagator, n_steps: int) -> dict[str, float]:
    """{instance: IoU with the mask at its anchor} of walks over so many frames a clip."""
    if not walks:
        return {}
    first, last = min(walk.ends[0] for walk in walks), max(walk.ends[1] for walk in walks)
    ends = {frame for walk in walks for frame in walk.ends}
    between = (t for t in sample_indices(album.footage.n_frames, n_steps) if first < t < last)
    frames = sorted({*between, *ends})
    place = {frame: number for number, frame in enumerate(frames)}
    anchors = [
        Anchor(instance_id=w.track.instance_id, frame=place[w.far.frame], box_xyxy=box_of(w.far.mask)) for w in walks
    ]
    found = propagator.propagate(np.stack(album.read(frames)), anchors)
    returned = {}
    for walk in walks:
        again = decode_mask(found[walk.track.instance_id][place[walk.home.frame]], *walk.home.mask.shape)
        shared, either = np.count_nonzero(again & walk.home.mask), np.count_nonzero(again | walk.home.mask)
        returned[walk.track.instance_id] = float(shared / either)
    return returned


def box_of(mask: np.ndarray) -> Box:
    """(h, w) bool with a pixel -> its tight box."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return float(x), float(y), float(x + width), float(y + height)


# --- Questions -------------------------------------------------------------------------------


@dataclass
class Questions:
    """Is this still the described instance? About one track's own box on other frames, until the answer is known."""

    track: MaskTrack
    frames: list[int]
    needed: int  # so many must be answered with yes
    n_yes: int = 0
    n_unsure: int = 0  # a no that may as well be a yes: it tells nothing
    reasons: list[str] = field(default_factory=list)  # of each no

    @property
    def n_asked(self) -> int:
        return self.n_told + self.n_unsure

    @property
    def n_told(self) -> int:
        return self.n_yes + len(self.reasons)

    @property
    def next(self) -> int | None:
        """The frame to ask about; None once enough of them are yes, or too few can be."""
        known = self.n_yes >= self.needed or len(self.reasons) > len(self.frames) - self.needed
        return None if known or self.n_asked == len(self.frames) else self.frames[self.n_asked]

    def take(self, answer: Answer, sure_from: float) -> None:
        if answer.match and answer.confidence >= sure_from:
            self.n_yes += 1
        elif not answer.match and answer.confidence < sure_from:
            self.n_unsure += 1
        else:
            self.reasons.append(f"no on frame {self.next}: {answer.rationale}")


def ask_again(
    tracks: Sequence[MaskTrack], album: Album, wanted: Wanted, verifier: Verifier, sure_from: float, config: CheckConfig
) -> list[TrackCheck]:
    """Ask the verifier about each track's own box, on n_questions frames at most.

    In rounds, one question a track, so that what is asked does not depend on which answer comes first. Nobody asks
    what the answers so far have made needless: a good track mostly costs one question.
    sure_from: a yes less certain than this is a no, as for the anchor; a no less certain is not counted
    Raises what the verifier raises: a provider's failure is no answer.
    """
    asked = []
    for track in tracks:
        if frames := frames_to_ask_about(track, album, config):
            asked.append(Questions(track, frames, math.ceil(config.min_confirmed * len(frames))))
    pictures = _full_size(album, sorted({frame for questions in asked for frame in questions.frames}))
    instances = {instance.instance_id: instance for instance in wanted.instances}

    def ask(questions: Questions) -> Answer:
        assert questions.next is not None
        box = questions.track.box_xyxy[questions.next]
        assert box is not None
        return verifier.verify(pictures[questions.next], box, instances[questions.track.instance_id], wanted.caption)

    with ThreadPoolExecutor(verifier.concurrency, thread_name_prefix="ask_again") as pool:
        while asking := [questions for questions in asked if questions.next is not None]:
            answers = [pool.submit(copy_context().run, ask, questions) for questions in asking]
            for questions, answer in zip(asking, answers, strict=True):
                questions.take(answer.result(), sure_from)
            advance(sum(questions.n_asked for questions in asked), None, "questions asked again")
    return [
        at_least(
            questions.track,
            "confirmed",
            questions.n_yes / questions.n_told,
            config.min_confirmed,
            "; ".join([f"share of yes among {questions.n_told} answers", *questions.reasons]),
        )
        for questions in asked
        if questions.n_told
    ]


def _full_size(album: Album, frames: Sequence[int]) -> dict[int, np.ndarray]:
    return dict(zip(frames, album.footage.frames(frames), strict=True)) if frames else {}


def frames_to_ask_about(track: MaskTrack, album: Album, config: CheckConfig) -> list[int]:
    """At most n_questions of the frames on which the whole thing is seen, evenly sampled, never the anchor's."""
    left = [view.frame for view in album.views(track) if view.whole and view.frame != track.anchor_frame]
    return [left[place] for place in sample_indices(len(left), config.n_questions)]
