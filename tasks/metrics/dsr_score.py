"""boxes -> SSR-Scores of every frame -> the DSR-Score of a clip, for many clips at once (SpatialAlign 3.2).

    a fox one box's width left of a stump and level with it:   SSR left 1, right -1, top 0
    that on the first frames, its mirror image on the last:    DSR left to right 1 (official), 1.25 (paper)

Pure functions on arrays. B clips, N frames, D axes. A box is its near corner and its far corner: (left, top, right,
bottom) in an image, D = 2; with measured depth, (left, top, front, right, bottom, back), D = 3. Clips of different
lengths may share a batch: pad the shorter ones with frames in which nothing is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from schemas.relation import RELATIONS
from schemas.scores import Variant

# Weight of the two gaps in the DSR-Score. The authors' code halves them: the range is [0, 1]. Equation 3 as printed
# does not: the range is [-0.25, 1.25], although the text beside it says [0, 1].
GAP_WEIGHTS: dict[Variant, float] = {"official": 0.5, "paper": 1.0}
END_FRAMES = 3  # m in the authors' code; the paper gives no number

_NEARLY_NOTHING = 1e-150  # px: below any real distance of two centres; products with it do not underflow
_BLOCK_FRAMES = 1 << 15  # scored at a time: intermediate arrays fit into the CPU's cache


class DsrScores(NamedTuple):
    """The DSR-Scores of B clips and their parts, (B,) each; NaN if the two are never found together."""

    r_initial: np.ndarray  # mean SSR-Score of the initial relation over the first found frames, in [-1, 1]
    r_final: np.ndarray  # the same of the final relation over the last found frames
    g_initial: np.ndarray  # initial relation, first found frame minus last: in [-2, 2] whatever the variant
    g_final: np.ndarray  # final relation, last found frame minus first: in [-2, 2] whatever the variant
    score: np.ndarray  # official: in [0, 1]; paper: in [-0.25, 1.25]
    n_found: np.ndarray  # int: frames that have an SSR-Score


class ClipScores(NamedTuple):
    """The two curves of B clips (SpatialAlign, figure 2b) and their scores."""

    ssr_initial: np.ndarray  # (B, N) in [-1, 1]; NaN where the two are not both found
    ssr_final: np.ndarray
    dsr: DsrScores


def score_clips(
    animal: np.ndarray,
    object_: np.ndarray,
    found: np.ndarray,
    initial: np.ndarray,
    final: np.ndarray,
    variant: Variant = "official",
    end_frames: int = END_FRAMES,
) -> ClipScores:
    """The curves and the DSR-Scores of B clips.

    animal, object_: (B, N, 2D) boxes
    found:           (B, N) bool: both are found; elsewhere the boxes are ignored
    initial, final:  (B, D) directions of each clip's two relations (`directions_of`)

    Needs little memory besides arguments and result: score as many clips as fit into memory in one call.
    """
    ssr_initial, ssr_final = np.empty(found.shape), np.empty(found.shape)
    n_clips, n_frames = found.shape
    step = max(1, _BLOCK_FRAMES // n_frames)
    for start in range(0, n_clips, step):
        block = slice(start, start + step)
        scores = axis_scores(animal[block], object_[block], found[block], variant)
        ssr_initial[block] = project_scores(scores, initial[block])
        ssr_final[block] = project_scores(scores, final[block])
    return ClipScores(ssr_initial, ssr_final, dsr_scores(ssr_initial, ssr_final, variant, end_frames))


# --- A frame ---------------------------------------------------------------------------------


def ssr_scores(
    animal: np.ndarray, object_: np.ndarray, found: np.ndarray, directions: np.ndarray, variant: Variant = "official"
) -> np.ndarray:
    """(B, N) SSR-Scores in [-1, 1]: how well each frame shows its clip's relation (SpatialAlign 3.2, equation 2).

    animal, object_: (B, N, 2D) boxes
    found:           (B, N) bool: both are found
    directions:      (B, D) the relations

    NaN where the two are not both found, or their boxes have no score (`axis_scores`).
    """
    return project_scores(axis_scores(animal, object_, found, variant), directions)


def axis_scores(
    animal: np.ndarray, object_: np.ndarray, found: np.ndarray, variant: Variant = "official"
) -> np.ndarray:
    """(D, B, N) SSR-Scores of the relation that points along each axis: to the right, down.

    The score is the distance of the two centres along the axis, in mean sizes of the two boxes and at most 1, times the
    cosine between the axis and the vector from the object's centre to the animal's; 0 for equal centres. Equation 2 as
    printed divides by the mean of the centres' coordinates, which depends on the place in the image. The sentence below
    it defines the boxes' width and height, which occur nowhere else, and the authors' code divides by their mean. Both
    variants here do so too.

    NaN, in all axes, where the two are not both found or a coordinate is not finite, and:
    official: where either box has no width, or the two sizes along an axis add up to 0. A box without height is scored
              beside one that has one, and an inverted one (right < left) by its signed sizes: so in the authors' code
    paper:    where either box has no extent along some axis, or is inverted: the paper knows no such boxes
    """
    # Axes first, each contiguous: NumPy is several times faster than on every fourth number.
    near_a, far_a = np.split(np.moveaxis(np.asarray(animal, float), -1, 0), 2)
    near_o, far_o = np.split(np.moveaxis(np.asarray(object_, float), -1, 0), 2)
    # Missing boxes may be NaN, or overflow.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        size_a = np.subtract(far_a, near_a, order="C")
        size_o = np.subtract(far_o, near_o, order="C")
        whole = (
            (size_a[0] != 0) & (size_o[0] != 0) if variant == "official" else (np.minimum(size_a, size_o) > 0).all(0)
        )
        # Both are twice the named value: the factors cancel.
        mean_sizes = np.abs(np.add(size_a, size_o, out=size_a), out=size_a)
        ways = np.add(near_a, far_a, order="C")
        ways -= np.add(near_o, far_o, order="C")
        lengths = np.sqrt(np.einsum("dbn,dbn->bn", ways, ways))
        # A coordinate that is not finite makes the length infinite or NaN: both fail `< inf`.
        scored = found & (lengths < np.inf) & whole & (mean_sizes != 0).all(axis=0)
        lengths = np.where(scored, np.maximum(lengths, _NEARLY_NOTHING), np.nan)  # equal centres: 0, not 0/0
        # min(|way| / mean size, 1) * way / length, in place and with a single division, the slowest operation.
        scores: np.ndarray = np.minimum(np.abs(ways), mean_sizes)
        scores *= ways
        scores /= np.multiply(mean_sizes, lengths, out=mean_sizes)
        return scores


def with_inclusive_edges(boxes: np.ndarray) -> np.ndarray:
    """(..., 2D) boxes in px whose far edges are exclusive -> inclusive ones, as the authors' code takes from masks.

    (10, 20, 14, 21), one pixel high, becomes (10, 20, 13, 20), which has no height.
    """
    near, far = np.split(boxes, 2, axis=-1)
    return np.concatenate([near, far - 1], axis=-1)


def project_scores(axis_scores: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """(D, B, N) scores per axis, (B, D) directions -> (B, N) scores along the directions; -1 reverses an axis."""
    return np.einsum("dbn,bd->bn", axis_scores, directions)


def directions_of(relations: Sequence[str], n_axes: int = 2) -> np.ndarray:
    """Names of relations -> (B, n_axes) unit vectors from the object to the animal: right, down (, away).

    Raises ValueError for a relation along another axis, such as depth in a plain image.
    """
    known = {name: place for place, name in enumerate(RELATIONS)}
    directions = np.array([relation.direction for relation in RELATIONS.values()], float)
    places = np.fromiter(map(known.__getitem__, relations), np.intp, len(relations))
    if beyond := [name for name in sorted(set(relations)) if any(RELATIONS[name].direction[n_axes:])]:
        raise ValueError(f"{', '.join(beyond)}: boxes with {n_axes} axes do not show it; measure depth too")
    return directions[places, :n_axes]


# --- A clip ----------------------------------------------------------------------------------


def dsr_scores(
    ssr_initial: np.ndarray, ssr_final: np.ndarray, variant: Variant = "official", end_frames: int = END_FRAMES
) -> DsrScores:
    """The DSR-Scores of B clips from their two curves (SpatialAlign 3.2, equation 3).

    ssr_initial, ssr_final: (B, N) SSR-Scores, NaN in the same frames
    end_frames:             m, at least 1: number of first and of last found frames in the means r; all if a clip
                            has fewer

    The gaps are plain differences in both variants; `official` halves them in the sum, `paper` does not.
    """
    found = ~np.isnan(ssr_initial)
    n_found = np.count_nonzero(found, axis=1)
    firsts = first_found(found, end_frames)
    lasts = found.shape[1] - 1 - first_found(found[:, ::-1], end_frames)
    clips = np.arange(len(found))
    in_mean = np.arange(end_frames)[:, None] < n_found
    n_in_mean = in_mean.sum(axis=0)
    with np.errstate(invalid="ignore"):  # 0/0 is NaN, as intended for a clip without a found frame
        r_initial = np.where(in_mean, ssr_initial[clips, firsts], 0).sum(axis=0) / n_in_mean
        r_final = np.where(in_mean, ssr_final[clips, lasts], 0).sum(axis=0) / n_in_mean
    g_initial = ssr_initial[clips, firsts[0]] - ssr_initial[clips, lasts[0]]
    g_final = ssr_final[clips, lasts[0]] - ssr_final[clips, firsts[0]]
    score = (r_initial + r_final + GAP_WEIGHTS[variant] * (g_initial + g_final)) / 8 + 0.5
    return DsrScores(r_initial, r_final, g_initial, g_final, score, n_found)


def first_found(found: np.ndarray, n: int) -> np.ndarray:
    """(B, N) bool -> (n, B) int: the first n True frames of each clip; 0 where there are fewer."""
    left = found.copy()
    clips = np.arange(len(left))
    frames = np.empty((n, len(left)), np.intp)
    for place in range(n):
        frames[place] = left.argmax(axis=1)
        left[clips, frames[place]] = False
    return frames
