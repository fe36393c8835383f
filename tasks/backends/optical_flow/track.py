"""One instance during one walk: predict its mask in the next frame, then refine it or find it hidden.

    track = Track(seed, view, others)
    prediction = track.predict(step, scenery, others, taken)     where it should be
    track.settle(step, prediction, forbidden)                    track.mask is where it is; empty: hidden

First all tracks of a walk are predicted, then settled: they compete for pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tasks.backends.optical_flow.colour import Appearance, colour_density, colour_histogram
from tasks.backends.optical_flow.cut import TrackSeed, grabcut
from tasks.backends.optical_flow.frames import ScaledView, Step
from tasks.backends.optical_flow.plate import Scenery
from tasks.backends.optical_flow.shapes import (
    MIN_AREA_PX,
    InstanceShape,
    Window,
    bounds,
    centroid,
    colour_fit,
    dilate,
    erode,
    largest_piece,
    mostly_within,
    search_shape,
    solidity,
    window_around,
)

SPECK = 0.03  # of the whole instance's area; smaller loose pieces are dropped
MIN_VISIBLE = 0.02  # of the whole instance's area; less counts as hidden
MIN_POSTERIOR = 0.5  # lowest mean colour posterior of a valid mask
WHOLE = 0.98  # of the whole instance's area; with less, it is partly hidden and keeps its outline ...
OUTLINE_DECAY = 0.99  # ... but the limit decays by this a frame, as the instance may really become smaller
COMPACT = 0.85  # area over that of the convex hull; balls, cups and boxes are above, people below
SWOLLEN = 1.2  # of a compact thing's usual area; with more, it is merged with something, as a ball with a shoe
MAX_GROWTH = 1.1  # of the whole instance's area in one frame; with more, the mask leaks into something similar
MIN_RETURNED = 0.08  # of the whole instance's area that must reappear ...
SURELY = 0.75  # ... with at least this colour posterior
SEARCH_BELOW = 0.75  # flow fit, relative to the usual one, below which the search runs


@dataclass
class Prediction:
    """Where an instance is expected in the next frame."""

    mask: np.ndarray  # (h, w) bool
    posterior: np.ndarray  # (h, w) float32 in 0..1: probability that each pixel's colour is the instance's
    reach: int  # px: how far off the outline may be
    plate: np.ndarray  # (h, w) bool: the frame shows the background plate


class Track:
    """An instance during one walk: its mask, its looks, its motion."""

    def __init__(self, seed: TrackSeed, view: ScaledView, others: np.ndarray) -> None:
        self.mask = seed.mask
        self.shape = InstanceShape.of(seed.mask)
        self.outline_age = 0  # frames since the outline was last seen whole
        self.velocity = np.zeros(2)  # px a frame
        self.appearance = Appearance(seed.density, seed.density)
        self.models = (seed.background_model, seed.foreground_model)
        self.unseen = 0  # frames since it was last seen
        self.background = self._surroundings(view, others)
        self.usual_fit = colour_fit(self.posterior_of(view.colours), seed.mask)
        self.compact = solidity(seed.mask) > COMPACT
        self.usual_area = float(seed.mask.sum())  # px, follows slowly
        self.stale = self._not_it(self.posterior_of(view.colours))

    def _surroundings(self, view: ScaledView, others: np.ndarray) -> np.ndarray:
        # Its whole outline counts as its own, even hidden parts: pixels lost by mistake would otherwise be learnt as
        # background and never be found again.
        own = self.own()
        box = bounds(own) if own.any() else (0, 0, *own.shape[::-1])
        window = window_around(box, max(16, round(self.shape.radius)), own.shape)
        return background_density(view, own | others, window)  # the other instances compete with it separately

    def posterior_of(self, colours: np.ndarray) -> np.ndarray:
        """Colour bins (h, w) -> (h, w) float32, 0..1: probability of being the instance's."""
        return self.appearance.posterior_of_bins(self.background)[colours]

    def predict(self, step: Step, scenery: Scenery, others: np.ndarray, taken: np.ndarray) -> Prediction:
        """Predict its mask in step.view.

        others: (h, w) bool, the other instances in the previous frame; taken: in this frame, as far as known
        """
        if not self.unseen:
            self.background = self._surroundings(step.previous, others)
        self.stale = step.carry(self.stale)
        carried = step.carry(self.mask)
        mine = self._scenery_of(scenery, step, carried, others)
        posterior = mine.weigh(self.posterior_of(step.view.colours))
        mask, reach = self._find_again(posterior, taken) if self.unseen else self._follow(step, carried, posterior)
        return Prediction(mask, posterior, reach, mine.plate)

    def _scenery_of(self, scenery: Scenery, step: Step, carried: np.ndarray, others: np.ndarray) -> Scenery:
        """The scenery as evidence for this instance; none for a compact thing, whose colours suffice.

        Pixels well inside its mask are no evidence against it: a shirt may be as dark as the window behind it. Pixels
        that differ from the plate may be a part that its mask misses (a shoe, a hand), unless they are another's.
        """
        if self.compact:
            nothing = np.zeros_like(carried)
            return Scenery(nothing, nothing)
        return Scenery(scenery.plate & ~erode(carried, flow_reach(self.mask)), scenery.other & ~step.carry(others))

    def _follow(self, step: Step, carried: np.ndarray, posterior: np.ndarray) -> tuple[np.ndarray, int]:
        """The mask by the flow or else by a search, and how far off its outline may be, px."""
        reach = flow_reach(self.mask)
        fit = colour_fit(posterior, carried)
        broken = self._is_broken(carried)
        if fit < SEARCH_BELOW * self.usual_fit or broken:
            evidence = posterior * (step.news | dilate(self.mask, 2))
            speed = float(np.hypot(*self.velocity))
            radius = 4 * self.shape.radius + 2 * speed + 24
            centre, found_fit = search_shape(evidence, self.shape, self.shape.centre + self.velocity, radius)
            if found_fit > fit + (-0.1 if broken else 0.1):
                self._move(centre - self.shape.centre)
                return self.shape.placed(self.mask.shape), 2 * reach
        if carried.any():
            self._move(np.median(step.motion[carried], axis=0))
        return carried, reach

    def _is_broken(self, mask: np.ndarray) -> bool:
        """Is the mask of a compact thing (a ball, a cup) no longer compact? Then it has leaked or was split."""
        return self.compact and solidity(mask) < COMPACT

    def _move(self, shift: np.ndarray) -> None:
        self.shape.centre = self.shape.centre + shift
        if self.mask.sum() > 0.8 * self.shape.area:  # a half-hidden thing only seems to slow down
            self.velocity = 0.5 * self.velocity + 0.5 * shift

    def _find_again(self, posterior: np.ndarray, taken: np.ndarray) -> tuple[np.ndarray, int]:
        """Search pixels of its colours that were not there when it was hidden: nearby, then everywhere."""
        evidence = posterior * ~(dilate(self.stale, 2) | taken)
        height, width = posterior.shape
        y, x = np.ogrid[:height, :width]
        radius = 1.5 * self.shape.radius + (1.5 * float(np.hypot(*self.velocity)) + 2) * self.unseen
        near = np.hypot(x - self.shape.centre[0], y - self.shape.centre[1]) < radius
        reach = flow_reach(self.shape.mask)
        piece = largest_piece((evidence > SURELY) & near)
        if piece.sum() >= max(MIN_AREA_PX, MIN_RETURNED * self.shape.area):
            self.shape.centre = centroid(piece)
            return piece, reach
        centre, fit = search_shape(evidence, self.shape, self.shape.centre, max(height, width))
        if fit > SEARCH_BELOW * self.usual_fit:
            self.shape.centre = centre
            return self.shape.placed(self.mask.shape), 2 * reach
        return np.zeros_like(self.mask), reach

    def settle(self, step: Step, prediction: Prediction, forbidden: np.ndarray) -> None:
        """Refine the prediction to this frame's mask, or mark the instance as hidden."""
        mask = self._refine(step, prediction, forbidden)
        least_area, least_posterior = (MIN_RETURNED, SURELY) if self.unseen else (MIN_VISIBLE, MIN_POSTERIOR)
        too_small = mask.sum() < max(MIN_AREA_PX, least_area * self.shape.area)
        if too_small or prediction.posterior[mask].mean() < least_posterior:
            self._hide()
            return
        if mask.sum() > MAX_GROWTH * self.usual_area:
            mask = self._without_leaks(mask)
        self.mask, self.unseen = mask, 0
        self._update_outline(step.view, prediction, forbidden)
        known = self.stale & (prediction.posterior > 0.4) & ~dilate(self.own(), 1)
        self.stale = known | (self._not_it(prediction.posterior) & ~self._vicinity())

    def _update_outline(self, view: ScaledView, prediction: Prediction, forbidden: np.ndarray) -> None:
        """Learn the outline and the colours if the whole instance is visible."""
        # Pixels covered by another instance, or still of its colours, stay part of the outline.
        hidden = forbidden | ((prediction.posterior > 0.5) & ~self.stale)
        outline = self.shape.placed(self.mask.shape)
        mask = mostly_within(self.mask, dilate(outline, prediction.reach)) if self.compact else self.mask
        whole = mask | (outline & hidden)
        self.outline_age += 1
        if whole.sum() < WHOLE * self.shape.area * OUTLINE_DECAY**self.outline_age:
            return
        self.usual_area *= float(np.clip(whole.sum() / self.usual_area, 0.98, 1.02))
        swollen = self.compact and whole.sum() > SWOLLEN * self.usual_area
        if swollen or self._is_broken(whole):
            return
        self.shape, self.outline_age = InstanceShape.of(whole), 0
        self.usual_fit = 0.9 * self.usual_fit + 0.1 * colour_fit(prediction.posterior, self.mask)
        self.appearance.learn(colour_histogram(view.colours[self.mask]))

    def _without_specks(self, mask: np.ndarray, barred: np.ndarray) -> np.ndarray:
        """Drop small loose pieces, unless something in front may have cut them off: a shin below the ball."""
        if not mask.any():
            return mask
        window = window_around(bounds(mask), 0, mask.shape)
        part = np.ascontiguousarray(mask[window]).view(np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
        keep = stats[:, cv2.CC_STAT_AREA] >= SPECK * self.shape.area
        keep[np.unique(labels[dilate(barred, 2)[window]])] = True
        keep[0] = False
        kept = np.zeros_like(mask)
        kept[window] = keep[labels]
        return kept

    def _without_leaks(self, mask: np.ndarray) -> np.ndarray:
        """A suddenly grown mask without the growth into known look-alikes."""
        growth = (mask & ~dilate(self.shape.placed(mask.shape), 2)).astype(np.uint8)
        _, labels = cv2.connectedComponents(growth, connectivity=8)
        leaks = np.unique(labels[dilate(self.stale, 2 * flow_reach(mask))])
        return mask & ~np.isin(labels, leaks[leaks > 0])

    def own(self) -> np.ndarray:
        """(h, w) bool: its mask and its whole outline, hidden parts included."""
        return self.mask | self.shape.placed(self.mask.shape)

    def _vicinity(self) -> np.ndarray:
        """(h, w) bool: so near that pixels appearing there may be a part of it coming out of hiding."""
        near = np.zeros_like(self.mask)
        near[window_around(bounds(self.own()), round(self.shape.radius), near.shape)] = True
        return near

    def _not_it(self, posterior: np.ndarray) -> np.ndarray:
        """(h, w) bool: look-alikes, such as a shoe as white as the ball."""
        own = self.own()
        return (posterior > 0.4) & ~dilate(own, 1 + flow_reach(own))

    def _hide(self) -> None:
        self.unseen += 1
        self.mask = np.zeros_like(self.mask)

    def _refine(self, step: Step, prediction: Prediction, forbidden: np.ndarray) -> np.ndarray:
        """Decide the rim of a prediction by GrabCut: (h, w) bool."""
        if not prediction.mask.any():
            return prediction.mask
        expected, posterior, reach = prediction.mask, prediction.posterior, prediction.reach
        partly_hidden = expected.sum() < 0.8 * self.shape.area
        growth = max(reach, round(0.35 * self.shape.radius)) if partly_hidden else reach
        window = window_around(bounds(expected | self.shape.placed(expected.shape)), growth + 12, expected.shape)
        wanted, colour, barred = expected[window], posterior[window], forbidden[window]
        outline = self.shape.placed(expected.shape)[window]
        core = erode(wanted, reach) & ((colour > 0.5) | (step.agrees[window] & (colour > 0.15)))
        core |= erode(wanted | outline, 1) & (colour > 0.8)
        returning = outline | dilate(wanted, growth)
        rim = dilate(wanted, reach) | (returning & (colour > 0.4))
        likely = (wanted & (colour > 0.3)) | (outline & (colour > 0.4)) | (colour > 0.6)
        trimap = np.full(expected.shape, cv2.GC_BGD, np.uint8)
        labels = trimap[window]
        labels[rim & (colour > 0.02)] = cv2.GC_PR_BGD
        labels[rim & likely] = cv2.GC_PR_FGD
        labels[core] = cv2.GC_FGD
        labels[prediction.plate[window] & (colour < 0.5)] = cv2.GC_BGD
        labels[barred | (self.stale[window] & ~wanted)] = cv2.GC_BGD
        mask, _ = grabcut(step.view, trimap, window, self.models)
        return self._without_specks(mask, barred=forbidden)


def background_density(view: ScaledView, instances: np.ndarray, window: Window) -> np.ndarray:
    """Colour density of the window and, as it may move anywhere, of the whole frame, without the instances."""
    near = colour_histogram(view.colours[window][~instances[window]])
    far = view.histogram - colour_histogram(view.colours[instances])
    return 0.6 * colour_density(near) + 0.4 * colour_density(far)


def flow_reach(mask: np.ndarray) -> int:
    """How far, in px, the flow may misplace the outline of such a mask in one frame."""
    return int(np.clip(0.08 * np.sqrt(mask.sum()), 2, 8))
