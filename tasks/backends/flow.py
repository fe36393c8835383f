"""Mask propagation without weights: optical flow, colour likelihood and GrabCut.

    FlowPropagator().propagate(frames, [Anchor(instance_id="id1", frame=16, box_xyxy=(12, 40, 88, 130))])
    ->  {"id1": ["PPYo0...", ...]}     one COCO run length a frame, an empty mask where id1 is not seen

The clip is walked forward once and backward once; each step computes one dense flow and one colour
index, whatever the number of instances. An instance's mask is predicted in the next frame by the flow or,
where the flow has lost it (a thrown ball), by a search for its colours in its shape; GrabCut then decides
the uncertain rim. What no longer looks like the instance is dropped: an instance without visible pixels
is hidden, has an empty mask, and is looked for, near its last place first, until it reappears.

Weak where colours do not tell: look-alikes that cross, an object coloured like its background.

Sources: DIS flow (Kroeger et al., ECCV 2016), GrabCut (Rother et al., SIGGRAPH 2004), both as in OpenCV.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from schemas.candidate import Anchor
from schemas.mask_track import decode_mask, encode_mask
from schemas.outcome import RowFailed

log = logging.getLogger(__name__)

SHORT_SIDE_PX = 480
"""Frames with a longer short side are worked on at this size; masks return at the clip's own."""

_MIN_FLOW_SIDE_PX = 64  # DIS refuses pictures below 12 px; its pyramid wants some more
_MIN_AREA_PX = 8  # fewer visible pixels are noise
_SPECK = 0.03  # of the whole instance's area; a smaller loose piece is not a part of it
_MIN_VISIBLE = 0.02  # of the whole instance's area; less than that counts as hidden
_MIN_POSTERIOR = 0.5  # mean colour posterior of a mask that is believed
_WHOLE = 0.98  # of the whole instance's area; less is partly hidden and does not become the new outline ...
_OUTLINE_DECAY = 0.99  # ... until so many frames have passed that it has really become smaller
_COMPACT = 0.85  # area over that of the convex hull: a ball, a cup, a box; a person is below
_SWOLLEN = 1.2  # of a compact thing's usual area; more is not its outline: a ball and a shoe in one blur
_MAX_GROWTH = 1.1  # of the whole instance's area in one frame; more is a leak into something like it
_MIN_RETURNED = 0.08  # what is believed to be an instance coming back must be more than a few pixels ...
_SURELY = 0.75  # ... and more surely of its colours
_SEARCH_BELOW = 0.75  # the flow's fit, relative to the usual one, under which the search is tried
_CHANGED = 18  # 8-bit levels: a pixel that changed more than this between two frames is news

_L_BINS, _AB_BINS = 16, 32
_COLOURS = _L_BINS * _AB_BINS * _AB_BINS
_UNSEEN = 5e-5  # histogram mass that the background has of every colour: an unseen colour is background

_NO_MAP = np.empty(0, np.float32)  # cv2.remap's second map: unused, the first holds both coordinates
_NO_RECT = (0, 0, 0, 0)  # cv2.grabCut's rectangle: unused, the labels say it all

Window = tuple[slice, slice]


class FlowPropagator:
    """The embedded `Propagator`. Stateless: one object may serve several threads."""

    def __init__(self) -> None:
        self.identity: dict[str, str] = {
            "backend": "flow",
            "model": "dis-grabcut-1",
            "short_side_px": str(SHORT_SIDE_PX),
            "opencv": cv2.__version__,
        }
        self.concurrency: int = os.cpu_count() or 1

    def propagate(self, frames: np.ndarray, anchors: list[Anchor]) -> dict[str, list[str]]:
        """frames (N, H, W, 3) uint8 RGB -> {instance_id: N COCO run lengths}.

        Raises RowFailed("bad_anchor") for a box without area inside its frame, or a frame outside the clip.
        """
        n_frames, height, width = frames.shape[:3]
        for anchor in anchors:
            _check_anchor(anchor, n_frames, height, width)
        clip = _Clip(frames)
        targets = [_Target(anchor, clip.scale_box(anchor.box_xyxy)) for anchor in anchors]
        for step in _directions(targets):
            _walk(clip, targets, step)
        _settle_overlaps(clip, targets)
        return {t.anchor.instance_id: [clip.full_size(counts) for counts in t.counts(n_frames)] for t in targets}


def _check_anchor(anchor: Anchor, n_frames: int, height: int, width: int) -> None:
    x0, y0, x1, y1 = anchor.box_xyxy
    where = f"{anchor.instance_id}: box {anchor.box_xyxy} on frame {anchor.frame}"
    if not anchor.frame < n_frames:
        raise RowFailed("bad_anchor", f"{where}: the clip has {n_frames} frames", retryable=False)
    if min(x1, width) - max(x0, 0) < 1 or min(y1, height) - max(y0, 0) < 1:
        raise RowFailed("bad_anchor", f"{where} covers no pixel of {width}x{height}", retryable=False)


# --- Frames ----------------------------------------------------------------------------------


@dataclass
class _View:
    """One frame at the working scale, with what all instances share."""

    rgb: np.ndarray  # (h, w, 3) uint8
    grey: np.ndarray  # (h, w) uint8
    colours: np.ndarray  # (h, w) int32: each pixel's Lab histogram bin
    histogram: np.ndarray  # (_COLOURS,) pixel counts

    @classmethod
    def of(cls, rgb: np.ndarray) -> _View:
        lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).astype(np.int32)
        colours = ((lab[..., 0] >> 4) * _AB_BINS + (lab[..., 1] >> 3)) * _AB_BINS + (lab[..., 2] >> 3)
        return cls(rgb, cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), colours, _histogram(colours))


class _Clip:
    """A clip's frames, brought to the working scale one by one, and its masks brought back."""

    def __init__(self, frames: np.ndarray) -> None:
        self._frames = frames
        self.n_frames, self.full_height, self.full_width = frames.shape[:3]
        scale = min(1.0, SHORT_SIDE_PX / min(self.full_height, self.full_width))
        self.height = max(1, round(self.full_height * scale))
        self.width = max(1, round(self.full_width * scale))

    @property
    def _scaled(self) -> bool:
        return (self.height, self.width) != (self.full_height, self.full_width)

    def view(self, t: int) -> _View:
        frame = np.ascontiguousarray(self._frames[t])
        if self._scaled:
            frame = cv2.resize(frame, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return _View.of(frame)

    def scale_box(self, box: Iterable[float]) -> tuple[int, int, int, int]:
        """A box of the full-size frame at the working scale, clipped to it, at least one pixel wide and high."""
        x0, y0, x1, y1 = box
        sx, sy = self.width / self.full_width, self.height / self.full_height
        left = int(np.clip(np.floor(x0 * sx), 0, self.width - 1))
        top = int(np.clip(np.floor(y0 * sy), 0, self.height - 1))
        right = int(np.clip(np.ceil(x1 * sx), left + 1, self.width))
        bottom = int(np.clip(np.ceil(y1 * sy), top + 1, self.height))
        return left, top, right, bottom

    def full_size(self, counts: str) -> str:
        """A mask's run lengths at the working scale -> at the clip's own."""
        if not self._scaled:
            return counts
        mask = decode_mask(counts, self.height, self.width).astype(np.float32)
        # Linear, so that disjoint masks stay disjoint: their weights add up to at most one.
        grown = cv2.resize(mask, (self.full_width, self.full_height), interpolation=cv2.INTER_LINEAR)
        return encode_mask(grown > 0.5)


def _dense_flow(of: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """Grey pictures (h, w) -> (h, w, 2) float32, px: where each pixel of `of` lies in `towards`, as (dx, dy)."""
    height, width = of.shape
    pad = (0, max(0, _MIN_FLOW_SIDE_PX - height), 0, max(0, _MIN_FLOW_SIDE_PX - width))
    of, towards = (cv2.copyMakeBorder(grey, *pad, cv2.BORDER_REPLICATE) for grey in (of, towards))
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(
        of, towards, np.zeros((*of.shape, 2), np.float32)
    )
    return flow[:height, :width]


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(h, w) uint8: the largest difference of a channel."""
    red, green, blue = cv2.split(cv2.absdiff(a, b))  # far faster than a maximum over the last axis
    return cv2.max(cv2.max(red, green), blue)


# --- Colour ----------------------------------------------------------------------------------


def _histogram(colours: np.ndarray) -> np.ndarray:
    return np.bincount(colours.ravel(), minlength=_COLOURS).astype(np.float32)


def _density(histogram: np.ndarray) -> np.ndarray:
    """Counts -> (_COLOURS,) probabilities, blurred by one bin: neighbouring colours are alike."""
    cube = histogram.reshape(_L_BINS, _AB_BINS, _AB_BINS)
    for axis in range(3):
        padded = np.pad(cube, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        n = cube.shape[axis]
        low, mid, high = (np.take(padded, np.arange(n) + k, axis) for k in range(3))
        cube = 0.25 * low + 0.5 * mid + 0.25 * high
    flat = cube.ravel()
    return flat / max(float(flat.sum()), 1.0)


@dataclass
class _Appearance:
    """An instance's colours: as anchored, and as seen lately."""

    anchored: np.ndarray
    recent: np.ndarray

    @property
    def density(self) -> np.ndarray:
        return 0.5 * self.anchored + 0.5 * self.recent

    def learn(self, histogram: np.ndarray) -> None:
        self.recent = 0.9 * self.recent + 0.1 * _density(histogram)

    def posterior_of_bins(self, background: np.ndarray) -> np.ndarray:
        """(_COLOURS,) float32: probability that a pixel of this colour is the instance's, given its surroundings."""
        mine = self.density
        return (mine / (mine + background + _UNSEEN)).astype(np.float32)


def _background_density(view: _View, instances: np.ndarray, window: Window) -> np.ndarray:
    """Colours of the window, and (for where it may fly next) of the whole frame, without the instances' own."""
    near = _histogram(view.colours[window][~instances[window]])
    far = view.histogram - _histogram(view.colours[instances])
    return 0.6 * _density(near) + 0.4 * _density(far)


# --- Windows and shapes ----------------------------------------------------------------------


def _bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a mask that is not empty; right and bottom exclusive."""
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    return x, y, x + w, y + h


def _window(box: tuple[int, int, int, int], margin: int, shape: tuple[int, ...]) -> Window:
    x0, y0, x1, y1 = box
    return (
        slice(max(0, y0 - margin), min(shape[0], y1 + margin)),
        slice(max(0, x0 - margin), min(shape[1], x1 + margin)),
    )


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def _dilate(mask: np.ndarray, radius: int) -> np.ndarray:
    return cv2.dilate(mask.astype(np.uint8), _disc(radius)).astype(bool)


def _erode(mask: np.ndarray, radius: int) -> np.ndarray:
    # What lies beyond the picture counts as the mask's own: an object cut off by the edge has no rim there.
    return cv2.erode(mask.astype(np.uint8), _disc(radius), borderType=cv2.BORDER_REPLICATE).astype(bool)


def _pieces(mask: np.ndarray, min_area: float) -> np.ndarray:
    """The connected pieces of a mask that have at least min_area pixels."""
    n, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= min_area
    keep[0] = False
    return keep[labels] if n > 1 else np.zeros_like(mask)


def _mostly_within(mask: np.ndarray, region: np.ndarray) -> np.ndarray:
    """The connected pieces of a mask that lie mostly inside a region; the whole mask if none does."""
    n, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    total = np.bincount(labels.ravel(), minlength=n)
    inside = np.bincount(labels[region], minlength=n)
    keep = 2 * inside > total
    keep[0] = False
    return keep[labels] if keep.any() else mask


def _solidity(mask: np.ndarray) -> float:
    """Area over the area of the convex hull, 0..1; 0 for an empty mask."""
    points = cv2.findNonZero(mask.astype(np.uint8))
    if points is None:
        return 0.0
    hull = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
    return float(len(points) / np.count_nonzero(hull))


@dataclass
class _Shape:
    """An instance's whole outline when last seen whole, and where its middle is in the current frame."""

    mask: np.ndarray  # (h, w) bool, cropped
    centre: np.ndarray  # (2,) float: x, y of the crop's middle, px

    @classmethod
    def of(cls, mask: np.ndarray) -> _Shape:
        x0, y0, x1, y1 = _bounds(mask)
        return cls(mask[y0:y1, x0:x1].copy(), np.array([(x0 + x1) / 2, (y0 + y1) / 2]))

    @property
    def area(self) -> int:
        return int(np.count_nonzero(self.mask))

    @property
    def radius(self) -> float:
        """Half of the longer side, px."""
        return max(self.mask.shape) / 2

    def placed(self, shape: tuple[int, int], centre: np.ndarray | None = None) -> np.ndarray:
        """(h, w) bool: the outline in an empty frame of this shape; what lies outside is cut off."""
        height, width = self.mask.shape
        at = self.centre if centre is None else centre
        left, top = round(float(at[0]) - width / 2), round(float(at[1]) - height / 2)
        frame = np.zeros(shape, bool)
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + width, shape[1]), min(top + height, shape[0])
        if x0 < x1 and y0 < y1:
            frame[y0:y1, x0:x1] = self.mask[y0 - top : y1 - top, x0 - left : x1 - left]
        return frame


# --- Anchors ---------------------------------------------------------------------------------


@dataclass
class _Seed:
    """What the anchor's frame says of an instance; both walks start from it."""

    mask: np.ndarray  # (h, w) bool
    background_model: np.ndarray  # GrabCut's colour mixtures
    foreground_model: np.ndarray
    density: np.ndarray  # (_COLOURS,)


@dataclass
class _Target:
    """An instance to propagate and the masks found for it so far."""

    anchor: Anchor
    box: tuple[int, int, int, int]  # at the working scale
    seed: _Seed | None = None
    masks: dict[int, str] = field(default_factory=dict)  # frame -> run lengths at the working scale

    @property
    def box_area(self) -> int:
        x0, y0, x1, y1 = self.box
        return (x1 - x0) * (y1 - y0)

    def counts(self, n_frames: int) -> list[str]:
        return [self.masks[t] for t in range(n_frames)]


def _segment_box(view: _View, box: tuple[int, int, int, int], others: np.ndarray) -> _Seed:
    """GrabCut inside a box. `others` (h, w) bool: pixels known to be another instance's."""
    x0, y0, x1, y1 = box
    inside = np.zeros(view.grey.shape, bool)
    inside[y0:y1, x0:x1] = True
    window = _window(box, max(16, max(x1 - x0, y1 - y0) // 2), view.grey.shape)
    trimap = np.where(inside & ~others, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    mask, models = _cut(view, trimap, window, (np.zeros((1, 65)), np.zeros((1, 65))), iterations=5)
    mask &= inside & ~others
    if mask.sum() < max(_MIN_AREA_PX, 0.05 * inside.sum()):
        # Nothing in the box stands out: the verified box itself is the best that is known.
        mask = inside & ~others if (inside & ~others).any() else inside
    mask = _pieces(mask, 0.02 * mask.sum())
    return _Seed(mask, *models, _density(_histogram(view.colours[mask])))


def _cut(
    view: _View, trimap: np.ndarray, window: Window, models: tuple[np.ndarray, np.ndarray], *, iterations: int = 0
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """GrabCut in a window: (h, w) trimap of GC_* labels -> (h, w) bool mask, and the colour mixtures.

    With `iterations` the mixtures are learnt from scratch; without, those given are adapted once.
    """
    labels = np.ascontiguousarray(trimap[window])
    background, foreground = (m.copy() for m in models)
    certain = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if certain.any() and not certain.all() and np.isin(labels, (cv2.GC_PR_FGD, cv2.GC_PR_BGD)).any():
        mode = cv2.GC_INIT_WITH_MASK if iterations else cv2.GC_EVAL
        cv2.setRNGSeed(0)  # per thread, so per call
        cv2.grabCut(
            np.ascontiguousarray(view.rgb[window]), labels, _NO_RECT, background, foreground, max(1, iterations), mode
        )
    mask = np.zeros(trimap.shape, bool)
    mask[window] = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    return mask, (background, foreground)


# --- One step --------------------------------------------------------------------------------


@dataclass
class _Step:
    """From one frame to the next of a walk: everything that does not depend on the instance."""

    previous: _View
    view: _View
    source: np.ndarray  # (h, w, 2) float32: where each pixel of the view was in the previous one, px
    motion: np.ndarray  # (h, w, 2) float32: from there to here, px
    agrees: np.ndarray  # (h, w) bool: the flow's source has this pixel's colour
    news: np.ndarray  # (h, w) bool: changed, with the camera's own motion taken out

    @classmethod
    def between(cls, previous: _View, view: _View) -> _Step:
        flow = _dense_flow(view.grey, previous.grey)
        height, width = view.grey.shape
        grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
        camera = np.median(flow[::8, ::8].reshape(-1, 2), axis=0)
        source = grid + flow
        followed = cv2.remap(previous.rgb, source, _NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        shift = np.array([[1, 0, camera[0]], [0, 1, camera[1]]], np.float32)
        still = cv2.warpAffine(
            previous.rgb, shift, (width, height), flags=cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )
        return cls(
            previous,
            view,
            source,
            -flow,
            agrees=_difference(view.rgb, followed) < _CHANGED,
            news=_difference(view.rgb, still) > _CHANGED,
        )

    def carry(self, mask: np.ndarray) -> np.ndarray:
        """A mask of the previous frame moved along the flow, (h, w) bool."""
        soft = cv2.remap(mask.astype(np.uint8) * 255, self.source, _NO_MAP, cv2.INTER_LINEAR)
        return soft > 127


@dataclass
class _Prediction:
    """Where an instance is expected in the next frame."""

    mask: np.ndarray  # (h, w) bool
    posterior: np.ndarray  # (h, w) float32 in 0..1: how much each pixel's colour is the instance's
    reach: int  # px that the outline may be off


class _Track:
    """An instance during one walk: where it is now, what it looks like, how it moves."""

    def __init__(self, target: _Target, seed: _Seed, view: _View, others: np.ndarray) -> None:
        self.target = target
        self.mask = seed.mask
        self.shape = _Shape.of(seed.mask)
        self.outline_age = 0  # frames since the outline was last seen whole
        self.velocity = np.zeros(2)  # px a frame
        self.appearance = _Appearance(seed.density, seed.density)
        self.models = (seed.background_model, seed.foreground_model)
        self.unseen = 0  # frames since it was last seen
        self.background = self._surroundings(view, others)
        self.usual_fit = _fit(self._posterior(view), seed.mask)
        self.compact = _solidity(seed.mask) > _COMPACT
        self.usual_area = float(seed.mask.sum())  # px, follows slowly
        self.stale = self._not_it(self._posterior(view))

    def _surroundings(self, view: _View, others: np.ndarray) -> np.ndarray:
        # Its outline counts as its own even where it is not seen: what was lost by mistake would
        # otherwise become background, and never be found again.
        own = self._own()
        box = _bounds(own) if own.any() else (0, 0, *own.shape[::-1])
        window = _window(box, max(16, round(self.shape.radius)), own.shape)
        return _background_density(view, own | others, window)  # the others compete with it directly

    def _posterior(self, view: _View) -> np.ndarray:
        return self.appearance.posterior_of_bins(self.background)[view.colours]

    def predict(self, step: _Step, others: np.ndarray, taken: np.ndarray) -> _Prediction:
        """Where it should be in step.view.

        others: (h, w) bool, the other instances in the previous frame; taken: in this one, as far as known.
        """
        if not self.unseen:
            self.background = self._surroundings(step.previous, others)
        posterior = self._posterior(step.view)
        self.stale = step.carry(self.stale)
        return self._find_again(step, posterior, taken) if self.unseen else self._follow(step, posterior)

    def _follow(self, step: _Step, posterior: np.ndarray) -> _Prediction:
        carried = step.carry(self.mask)
        reach = _reach(self.mask)
        fit = _fit(posterior, carried)
        broken = self._is_broken(carried)
        if fit < _SEARCH_BELOW * self.usual_fit or broken:
            evidence = posterior * (step.news | _dilate(self.mask, 2))
            speed = float(np.hypot(*self.velocity))
            radius = 4 * self.shape.radius + 2 * speed + 24
            centre, found_fit = _search(evidence, self.shape, self.shape.centre + self.velocity, radius)
            if found_fit > fit + (-0.1 if broken else 0.1):
                self._move(centre - self.shape.centre)
                return _Prediction(self.shape.placed(self.mask.shape), posterior, 2 * reach)
        if carried.any():
            self._move(np.median(step.motion[carried], axis=0))
        return _Prediction(carried, posterior, reach)

    def _is_broken(self, mask: np.ndarray) -> bool:
        """Is a compact thing's mask (a ball's, a cup's) no longer compact? Then it has leaked, or has been split."""
        return self.compact and _solidity(mask) < _COMPACT

    def _move(self, shift: np.ndarray) -> None:
        self.shape.centre = self.shape.centre + shift
        if self.mask.sum() > 0.8 * self.shape.area:  # what is left of a thing going into hiding seems to slow down
            self.velocity = 0.5 * self.velocity + 0.5 * shift

    def _find_again(self, step: _Step, posterior: np.ndarray, taken: np.ndarray) -> _Prediction:
        """Look for pixels of its colours that were not there when it hid: nearby, then everywhere."""
        evidence = posterior * ~(_dilate(self.stale, 2) | taken)
        height, width = posterior.shape
        y, x = np.ogrid[:height, :width]
        radius = 1.5 * self.shape.radius + (1.5 * float(np.hypot(*self.velocity)) + 2) * self.unseen
        near = np.hypot(x - self.shape.centre[0], y - self.shape.centre[1]) < radius
        reach = _reach(self.shape.mask)
        piece = _largest_piece((evidence > _SURELY) & near)
        if piece.sum() >= max(_MIN_AREA_PX, _MIN_RETURNED * self.shape.area):
            self.shape.centre = _centroid(piece)
            return _Prediction(piece, posterior, reach)
        centre, fit = _search(evidence, self.shape, self.shape.centre, max(height, width))
        if fit > _SEARCH_BELOW * self.usual_fit:
            self.shape.centre = centre
            return _Prediction(self.shape.placed(self.mask.shape), posterior, 2 * reach)
        return _Prediction(np.zeros_like(self.mask), posterior, reach)

    def settle(self, step: _Step, prediction: _Prediction, forbidden: np.ndarray) -> None:
        """Refine the prediction to this frame's mask, or find that the instance is not seen."""
        mask = self._refine(step, prediction, forbidden)
        least_area, least_posterior = (_MIN_RETURNED, _SURELY) if self.unseen else (_MIN_VISIBLE, _MIN_POSTERIOR)
        too_small = mask.sum() < max(_MIN_AREA_PX, least_area * self.shape.area)
        if too_small or prediction.posterior[mask].mean() < least_posterior:
            self._hide(step)
            return
        if mask.sum() > _MAX_GROWTH * self.usual_area:
            mask = self._without_leaks(mask)
        self.mask, self.unseen = mask, 0
        if self.compact:
            mask = _mostly_within(mask, _dilate(self.shape.placed(mask.shape), prediction.reach))
        # What another instance covers, or still has its colours, is not gone: it stays part of the outline.
        whole = mask | (self.shape.placed(mask.shape) & (forbidden | ((prediction.posterior > 0.5) & ~self.stale)))
        self.outline_age += 1
        if whole.sum() >= _WHOLE * self.shape.area * _OUTLINE_DECAY**self.outline_age:
            self.usual_area *= float(np.clip(whole.sum() / self.usual_area, 0.98, 1.02))
            swollen = self.compact and whole.sum() > _SWOLLEN * self.usual_area
            if not swollen and not self._is_broken(whole):
                self._learn(step.view, whole, prediction.posterior)
        known = self.stale & (prediction.posterior > 0.4) & ~_dilate(self._own(), 1)
        self.stale = known | (self._not_it(prediction.posterior) & ~self._vicinity())

    def _without_specks(self, mask: np.ndarray, barred: np.ndarray) -> np.ndarray:
        """Small loose pieces go, unless something in front may have cut them off: a shin below the ball."""
        cut_off = _dilate(barred, 2)
        n, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        keep = stats[:, cv2.CC_STAT_AREA] >= _SPECK * self.shape.area
        keep[np.unique(labels[cut_off])] = True
        keep[0] = False
        return keep[labels] if n > 1 else np.zeros_like(mask)

    def _learn(self, view: _View, whole: np.ndarray, posterior: np.ndarray) -> None:
        """Take over outline and colours from a frame where the instance is seen whole."""
        self.shape, self.outline_age = _Shape.of(whole), 0
        self.usual_fit = 0.9 * self.usual_fit + 0.1 * _fit(posterior, self.mask)
        self.appearance.learn(_histogram(view.colours[self.mask]))

    def _without_leaks(self, mask: np.ndarray) -> np.ndarray:
        """A mask that grew suddenly, without the growth into what was already known to be something else."""
        growth = (mask & ~_dilate(self.shape.placed(mask.shape), 2)).astype(np.uint8)
        _, labels = cv2.connectedComponents(growth, connectivity=8)
        leaks = np.unique(labels[_dilate(self.stale, 2 * _reach(mask))])
        return mask & ~np.isin(labels, leaks[leaks > 0])

    def _own(self) -> np.ndarray:
        return self.mask | self.shape.placed(self.mask.shape)

    def _vicinity(self) -> np.ndarray:
        """(h, w) bool: so near that what appears there may be a part of it coming out from behind something."""
        near = np.zeros_like(self.mask)
        near[_window(_bounds(self._own()), round(self.shape.radius), near.shape)] = True
        return near

    def _not_it(self, posterior: np.ndarray) -> np.ndarray:
        """(h, w) bool: what has its colours and is something else: a shoe as white as the ball."""
        own = self._own()
        return (posterior > 0.4) & ~_dilate(own, 1 + _reach(own))

    def _hide(self, step: _Step) -> None:
        self.unseen += 1
        self.mask = np.zeros_like(self.mask)

    def _refine(self, step: _Step, prediction: _Prediction, forbidden: np.ndarray) -> np.ndarray:
        """GrabCut of the rim of a prediction, (h, w) bool."""
        if not prediction.mask.any():
            return prediction.mask
        expected, posterior, reach = prediction.mask, prediction.posterior, prediction.reach
        partly_hidden = expected.sum() < 0.8 * self.shape.area
        growth = max(reach, round(0.35 * self.shape.radius)) if partly_hidden else reach
        window = _window(_bounds(expected | self.shape.placed(expected.shape)), growth + 12, expected.shape)
        wanted, colour, barred = expected[window], posterior[window], forbidden[window]
        outline = self.shape.placed(expected.shape)[window]
        core = _erode(wanted, reach) & ((colour > 0.5) | (step.agrees[window] & (colour > 0.15)))
        core |= _erode(wanted | outline, 1) & (colour > 0.8)
        returning = outline | _dilate(wanted, growth)
        rim = _dilate(wanted, reach) | (returning & (colour > 0.4))
        likely = (wanted & (colour > 0.3)) | (outline & (colour > 0.4)) | (colour > 0.6)
        trimap = np.full(expected.shape, cv2.GC_BGD, np.uint8)
        labels = trimap[window]
        labels[rim & (colour > 0.02)] = cv2.GC_PR_BGD
        labels[rim & likely] = cv2.GC_PR_FGD
        labels[core] = cv2.GC_FGD
        labels[barred | (self.stale[window] & ~wanted)] = cv2.GC_BGD
        mask, _ = _cut(step.view, trimap, window, self.models)
        return self._without_specks(mask, barred=forbidden)


def _reach(mask: np.ndarray) -> int:
    """How far the flow may misplace the outline of a mask of this size in one frame, px."""
    return int(np.clip(0.08 * np.sqrt(mask.sum()), 2, 8))


def _fit(posterior: np.ndarray, mask: np.ndarray) -> float:
    """How well a mask fits the colours, -1..1: mean posterior inside less that of a rim around it."""
    if not mask.any():
        return -1.0
    width = int(np.clip(0.15 * np.sqrt(mask.sum()), 2, 12))
    window = _window(_bounds(mask), width + 1, mask.shape)
    inside, colour = mask[window], posterior[window]
    rim = _dilate(inside, width) & ~inside
    return float(colour[inside].mean() - (colour[rim].mean() if rim.any() else 0.0))


def _search(evidence: np.ndarray, shape: _Shape, around: np.ndarray, radius: float) -> tuple[np.ndarray, float]:
    """The place within radius px of `around` where the shape best covers the evidence: (x, y) and its fit, -1..1."""
    scale = min(1.0, 14 / max(shape.mask.shape))
    reach = round(radius + shape.radius)
    x, y = (int(v) for v in np.round(around))
    window = _window((x, y, x + 1, y + 1), reach, evidence.shape)
    region = evidence[window]
    if not region.size or not region.any():
        return around, -1.0
    small = cv2.resize(region, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    fits = cv2.filter2D(small, -1, _shape_kernel(shape.mask, scale), borderType=cv2.BORDER_CONSTANT)
    rows, columns = np.ogrid[: small.shape[0], : small.shape[1]]
    px = (columns + 0.5) / scale + window[1].start
    py = (rows + 0.5) / scale + window[0].start
    distance = np.hypot(px - around[0], py - around[1])
    fits = np.where(distance <= radius, fits, -1.0)
    row, column = np.unravel_index(np.argmax(fits - 0.2 * distance / radius), fits.shape)
    centre = np.array([px[0, column], py[row, 0]])
    return _centred(evidence, shape, centre), float(fits[row, column])


def _shape_kernel(mask: np.ndarray, scale: float) -> np.ndarray:
    """Correlation kernel, odd-sized: mean inside the shape less mean in a rim around it."""
    height, width = (max(1, round(side * scale)) for side in mask.shape)
    inside = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    inside = cv2.copyMakeBorder(inside, 3, 3 + (height + 1) % 2, 3, 3 + (width + 1) % 2, cv2.BORDER_CONSTANT)
    rim = np.clip(cv2.dilate(inside, _disc(2)) - inside, 0, 1)
    return inside / max(float(inside.sum()), 1e-6) - rim / max(float(rim.sum()), 1e-6)


def _centred(evidence: np.ndarray, shape: _Shape, centre: np.ndarray) -> np.ndarray:
    """Mean shift: move the shape onto the evidence that it covers."""
    for _ in range(3):
        weights = evidence * shape.placed(evidence.shape, centre)
        if weights.sum() < _MIN_AREA_PX:
            break
        outline = _centroid(shape.placed(evidence.shape, centre))
        centre = centre + _centroid(weights) - outline
    return centre


def _centroid(weights: np.ndarray) -> np.ndarray:
    """(h, w) weights, not all zero -> (x, y) of their mean, px."""
    moments = cv2.moments(weights.astype(np.float32))
    return np.array([moments["m10"], moments["m01"]]) / moments["m00"]


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    n, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if n < 2:
        return np.zeros_like(mask)
    return labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))


# --- Walks -----------------------------------------------------------------------------------


def _directions(targets: list[_Target]) -> tuple[int, int]:
    """Which way to walk first: the one in which a small instance is known before a larger one's box is segmented.

    A ball held before a man must be known as the ball when the man is cut out of his box.
    """
    if not targets:
        return 1, -1
    smallest = min(targets, key=lambda t: t.box_area)
    largest = max(targets, key=lambda t: t.box_area)
    return (1, -1) if smallest.anchor.frame <= largest.anchor.frame else (-1, 1)


def _walk(clip: _Clip, targets: list[_Target], direction: int) -> None:
    """Propagate every target from its anchor to the clip's end (direction 1) or to its start (-1)."""
    order = range(clip.n_frames)[::direction]
    tracks: list[_Track] = []
    previous: _View | None = None
    for t in order:
        starting = [target for target in targets if target.anchor.frame == t]
        if not tracks and not starting:
            continue
        view = clip.view(t)
        resting = [x for x in targets if all(x is not track.target for track in tracks) and x not in starting]
        taken = _union([decode_mask(x.masks[t], clip.height, clip.width) for x in resting if t in x.masks], view)
        if tracks and previous is not None:
            _advance(tracks, _Step.between(previous, view), taken)
        for target in sorted(starting, key=lambda x: x.box_area):
            others = taken | _union([track.mask for track in tracks], view)
            if target.seed is None:
                target.seed = _segment_box(view, target.box, others)
            tracks.append(_Track(target, target.seed, view, others))
        for track in tracks:
            track.target.masks[t] = encode_mask(track.mask)
        previous = view
        log.debug("walk %+d: frame %d of %d", direction, t, clip.n_frames)


def _union(masks: list[np.ndarray], view: _View) -> np.ndarray:
    together = np.zeros(view.grey.shape, bool)
    for mask in masks:
        together |= mask
    return together


def _advance(tracks: list[_Track], step: _Step, taken: np.ndarray) -> None:
    """Move all tracks one frame on; they compete for pixels."""
    predictions = []
    for track in tracks:
        others = _union([other.mask for other in tracks if other is not track], step.view)
        predictions.append(track.predict(step, others, taken | step.carry(others) if track.unseen else taken))
    expected = _shared_out([p.mask for p in predictions], [track.appearance.density for track in tracks], step.view)
    done: dict[int, np.ndarray] = {}
    for k in sorted(range(len(tracks)), key=lambda i: tracks[i].shape.area):  # small things are in front
        predictions[k].mask = expected[k]
        rivals = [done[i] if i in done else _erode(expected[i], 2) for i in range(len(tracks)) if i != k]
        tracks[k].settle(step, predictions[k], taken | _union(rivals, step.view))
        done[k] = tracks[k].mask


def _shared_out(masks: list[np.ndarray], densities: list[np.ndarray], view: _View) -> list[np.ndarray]:
    """Give each pixel that several masks claim to the one whose colours and middle are nearest."""
    contested = np.sum(masks, axis=0) > 1
    if not contested.any():
        return masks
    window = _window(_bounds(contested), 4, contested.shape)
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


def _settle_overlaps(clip: _Clip, targets: list[_Target]) -> None:
    """Share out pixels that two instances got in different walks."""
    for t in range(clip.n_frames):
        masks = [decode_mask(target.masks[t], clip.height, clip.width) for target in targets]
        if len(masks) < 2 or not (np.sum(masks, axis=0) > 1).any():
            continue
        densities = [target.seed.density for target in targets if target.seed is not None]
        for target, mask in zip(targets, _shared_out(masks, densities, clip.view(t)), strict=True):
            target.masks[t] = encode_mask(mask)
