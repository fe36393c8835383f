"""Carry all instances through the clip: one walk forward, one backward, and a rule for contested pixels.

    anchors on frames 3 and 33 of 48:  forward 3..47 and 33..47, then backward 33..0 and 3..0

Afterwards each target has a mask for every frame. The second walk knows the masks of the first.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import cv2
import numpy as np

from schemas.candidate import Anchor
from schemas.mask_track import decode_mask, encode_mask
from tasks.backends.optical_flow.cut import TrackSeed, segment_box
from tasks.backends.optical_flow.frames import ScaledClip, ScaledView, Step
from tasks.backends.optical_flow.plate import Guess, Plate
from tasks.backends.optical_flow.shapes import bounds, erode, union, window_around
from tasks.backends.optical_flow.track import Track
from tasks.engine.progress import counted

log = logging.getLogger(__name__)


@dataclass
class Target:
    """An instance to propagate, and its masks found so far."""

    anchor: Anchor
    box: tuple[int, int, int, int]  # at the working scale
    seed: TrackSeed | None = None
    given_up: bool = False  # nothing stands out in its box
    masks: dict[int, str] = field(default_factory=dict)  # frame -> run lengths at the working scale

    @property
    def box_area(self) -> int:
        x0, y0, x1, y1 = self.box
        return (x1 - x0) * (y1 - y0)

    def counts(self, clip: ScaledClip) -> list[str]:
        """One run length a frame; empty masks for an instance that could not be segmented."""
        empty = encode_mask(np.zeros((clip.height, clip.width), bool))
        return [self.masks.get(t, empty) for t in range(clip.n_frames)]


def directions(targets: list[Target]) -> tuple[int, int]:
    """The order of the two walks: small instances must be known before a larger one's box is segmented.

    A ball in front of a man must be known when the man is cut out of his box.
    """
    if not targets:
        return 1, -1
    smallest = min(targets, key=lambda t: t.box_area)
    largest = max(targets, key=lambda t: t.box_area)
    return (1, -1) if smallest.anchor.frame <= largest.anchor.frame else (-1, 1)


def walk_clip(clip: ScaledClip, targets: list[Target], guess: Guess, direction: int) -> None:
    """Propagate every target from its anchor to the clip's end (direction 1) or to its start (-1)."""
    walking: list[tuple[Target, Track]] = []
    plate = Plate(guess)
    previous: ScaledView | None = None
    for t in counted(range(clip.n_frames)[::direction], "frames forward" if direction > 0 else "frames backward"):
        if not walking and all(target.anchor.frame != t for target in targets):
            continue
        view = clip.view(t)
        taken = _resting(clip, targets, walking, t)
        step = Step(previous, view) if previous is not None else None
        if step is not None:
            advance_tracks([track for _, track in walking], step, taken, plate)
        walking += _starting(targets, walking, view, taken, plate, t)
        moving = step.moving() if step is not None else np.zeros_like(taken)
        plate.learn(view, moving, taken | union((track.own() for _, track in walking), view.grey.shape))
        for target, track in walking:
            target.masks[t] = encode_mask(track.mask)
        previous = view if walking else None


def _resting(clip: ScaledClip, targets: list[Target], walking: list[tuple[Target, Track]], t: int) -> np.ndarray:
    """(h, w) bool: on frame t, the targets that only the previous walk has reached."""
    reached = {target.anchor.instance_id for target, _ in walking}
    resting = [x for x in targets if x.anchor.instance_id not in reached and x.anchor.frame != t and t in x.masks]
    return union((decode_mask(x.masks[t], clip.height, clip.width) for x in resting), (clip.height, clip.width))


def _starting(
    targets: list[Target],
    walking: list[tuple[Target, Track]],
    view: ScaledView,
    taken: np.ndarray,
    plate: Plate,
    t: int,
) -> list[tuple[Target, Track]]:
    """Start tracks at the anchors on frame t, small ones first: they are in front."""
    started: list[tuple[Target, Track]] = []
    for target in sorted((x for x in targets if x.anchor.frame == t), key=lambda x: x.box_area):
        others = taken | union((track.mask for _, track in walking + started), view.grey.shape)
        if target.seed is None and not target.given_up:
            target.seed = segment_box(view, target.box, others)
            target.given_up = target.seed is None
        if target.seed is None:
            log.warning("%s: nothing stands out in its box on frame %d, no masks", target.anchor.instance_id, t)
            continue
        track = Track(target.seed, view, others)
        plate.doubt(track.mask, track.posterior_of(plate.colours))
        started.append((target, track))
    return started


def advance_tracks(tracks: list[Track], step: Step, taken: np.ndarray, plate: Plate) -> None:
    """Advance all tracks by one frame; they compete for pixels."""
    plate.follow(step.camera)
    scenery = plate.compare(step.view)
    predictions = []
    for track in tracks:
        others = union((other.mask for other in tracks if other is not track), step.view.grey.shape)
        now = taken | step.carry(others) if track.unseen else taken
        predictions.append(track.predict(step, scenery, others, now))
    expected = shared_out([p.mask for p in predictions], [track.appearance.density for track in tracks], step.view)
    done: dict[int, np.ndarray] = {}
    for k in sorted(range(len(tracks)), key=lambda i: tracks[i].shape.area):  # small instances are in front
        predictions[k].mask = expected[k]
        rivals = [done[i] if i in done else erode(expected[i], 2) for i in range(len(tracks)) if i != k]
        tracks[k].settle(step, predictions[k], taken | union(rivals, step.view.grey.shape))
        done[k] = tracks[k].mask


def shared_out(masks: list[np.ndarray], densities: list[np.ndarray], view: ScaledView) -> list[np.ndarray]:
    """Give each contested pixel to the mask with the best colour likelihood and depth inside the mask."""
    contested = np.sum(masks, axis=0) > 1
    if not contested.any():
        return masks
    window = window_around(bounds(contested), 4, contested.shape)
    scores = []
    for mask, density in zip(masks, densities, strict=True):
        likelihood = cv2.blur(np.log(density[view.colours[window]] + 1e-6).astype(np.float32), (3, 3))
        depth = cv2.distanceTransform(mask[window].astype(np.uint8), cv2.DIST_L2, 3)
        scores.append(np.where(mask[window], likelihood + 0.1 * np.minimum(depth, 10), -np.inf))
    owner = np.argmax(scores, axis=0)
    shared = []
    for k, mask in enumerate(masks):
        mine = mask.copy()
        mine[window] &= (owner == k) | ~contested[window]
        shared.append(mine)
    return shared


def settle_overlaps(clip: ScaledClip, targets: list[Target]) -> None:
    """Resolve pixels that two instances got in different walks."""
    seen = [(target, target.seed.density) for target in targets if target.seed is not None]
    for t in counted(range(clip.n_frames if len(seen) > 1 else 0), "frames settled"):
        masks = [decode_mask(target.masks[t], clip.height, clip.width) for target, _ in seen]
        if not (np.sum(masks, axis=0) > 1).any():
            continue
        shared = shared_out(masks, [density for _, density in seen], clip.view(t))
        for (target, _), mask in zip(seen, shared, strict=True):
            target.masks[t] = encode_mask(mask)
