"""attention maps + mask tracks -> AAS: how much attention lies on the instance (MATRIX 4.4); which layers matter (4.5).

"boy" draws 0.3 of every head of 48, in two latent cells, both on the boy    ->  AAS 28.8
the boy is in no frame of the clip                                           ->  AAS NaN: nothing to align with

Pure functions on arrays: V videos, L layers, F x H x W the latent grid (13 x 30 x 45 for 49 frames of 480x720 px).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike

LatentRule = Literal["half", "any"]

TOP = 10  # layers that a video marks, and layers that are influential (MATRIX 4.5)


# --- Masks on the latent grid ----------------------------------------------------------------


def latent_masks(masks: np.ndarray, grid: tuple[int, int, int], rule: LatentRule = "half") -> np.ndarray:
    """Pixel masks on the grid of latent tokens: m in {0, 1}^(F x H x W) of MATRIX 4.4.

    masks: (..., N, h, w) bool
    grid:  (F, H, W). Frames go as the 3D VAE takes them: the first alone, then equal groups, so 49 -> 1 + 12 groups of
           4. Each cell covers equal pixels, so 480x720 -> 30x45 cells of 16x16.
    rule:  half: a cell is in the mask if at least half of its pixels are, over all frames of its group;
           any: if one pixel is. Small objects survive, and moving ones grow (MATRIX C.1 warns of that).
           The paper names no rule.

    Returns (..., F, H, W) bool. A small object can be empty under `half`.
    Raises ValueError if frames or pixels do not divide, or for an unknown rule.
    """
    if rule not in get_args(LatentRule):
        raise ValueError(f"no rule is called {rule!r}; choose {' or '.join(get_args(LatentRule))}")
    *_, n_frames, height, width = masks.shape
    n_latents, rows, columns = grid
    per_latent, rest = divmod(n_frames - 1, n_latents - 1) if n_latents > 1 else (0, n_frames - 1)
    if rest or height % rows or width % columns or (n_latents > 1 and per_latent == 0):
        raise ValueError(
            f"masks of {n_frames} frames of {height}x{width} do not divide into a grid of "
            f"{n_latents}x{rows}x{columns}: bring them to 1 + k * {n_latents - 1} frames and to multiples of "
            f"{rows}x{columns} first"
        )
    cells = masks.reshape(*masks.shape[:-2], rows, height // rows, columns, width // columns)
    share = cells.mean(axis=(-3, -1))  # (..., N, H, W)
    groups = share[..., 1:, :, :].reshape(*share.shape[:-3], n_latents - 1, per_latent, rows, columns)
    share = np.concatenate(
        [share[..., :1, :, :], groups.mean(axis=-3) if per_latent else share[..., 1:, :, :]], axis=-3
    )
    # Shares are sums of at most some thousand equal parts: rounding is far below one part.
    return share > 0 if rule == "any" else share >= 0.5 - 1e-9


# --- AAS -------------------------------------------------------------------------------------


def attention_alignment(attention: ArrayLike, masks: ArrayLike) -> np.ndarray:
    """AAS: the attention mass inside the mask, summed over the latent grid (MATRIX 4.4).

    attention: (..., F, H, W) float >= 0: after the softmax, summed over heads. Grounding (v2t): every video token's
               attention to a role's words, their mean. Propagation (v2v): the mean attention of a role's first-frame
               tokens to every video token.
    masks:     (..., F, H, W) bool: the role's mask on the same grid; a verb's is the union of subject and object

    Returns (...) float in heads, leading axes broadcast: v2v lies in [0, heads], as each query's attention to all
    tokens sums to 1 a head; v2t in [0, heads x cells inside]. Masses are not normalised, on purpose (B.2): they are
    compared across layers for the same masks. NaN where the mask is empty: there is nothing to align with, which is not
    a 0.
    Raises ValueError for values below 0 (scores before the softmax have no mass) or not finite, or unequal grids.
    """
    attention, masks = np.asarray(attention, float), np.asarray(masks, bool)
    if attention.shape[-3:] != masks.shape[-3:]:
        raise ValueError(
            f"attention is on a grid of {attention.shape[-3:]}, the masks on {masks.shape[-3:]}; see latent_masks"
        )
    if not (np.isfinite(attention).all() and (attention >= 0).all()):
        raise ValueError("AAS needs finite attention of at least 0: take it after the softmax, not the scores")
    inside = np.einsum("...fhw,...fhw->...", attention, masks)
    return np.where(masks.any(axis=(-3, -2, -1)), inside, np.nan)


# --- Layers ----------------------------------------------------------------------------------


class LayerInfluence(NamedTuple):
    """What places the layers (MATRIX 4.5, figure 6a)."""

    frequency: np.ndarray  # (L,) int: videos in which the layer is among the top
    magnitude: np.ndarray  # (L,) float: mean AAS over videos
    rank_sum: np.ndarray  # (L,) float: rank by frequency plus rank by magnitude; 1 is the best, ties share their mean
    influential: np.ndarray  # (top,) int: layers from 0, the lowest rank sum first


def layer_influence(aas: ArrayLike, top: int = TOP) -> LayerInfluence:
    """Layers that align in many videos, and by much (MATRIX 4.5).

    aas: (V, L) or (V, L, S) float: the AAS of one kind (such as noun grounding) by video, layer and denoising step;
         steps are averaged first, and a video of NaN (an empty mask) does not count

    Of layers with equal rank sums the one of higher magnitude comes first, then the lower one.
    Raises ValueError if no video counts, if a video has NaN for some layers only, or if there are fewer than `top`
    layers.
    """
    counted = _counted_videos(aas)
    n_layers = counted.shape[1]
    if n_layers < top:
        raise ValueError(f"no top {top} among {n_layers} layers; pass a smaller top")
    marked = np.argsort(-counted, axis=1, kind="stable")[:, :top]
    frequency = np.bincount(marked.ravel(), minlength=n_layers)
    magnitude = counted.mean(axis=0)
    rank_sum = _ranks(frequency) + _ranks(magnitude)
    return LayerInfluence(frequency, magnitude, rank_sum, np.lexsort((-magnitude, rank_sum))[:top])


class LayerDominance(NamedTuple):
    """What parts successes from failures (MATRIX 4.5, figure 6b)."""

    success_gap: np.ndarray  # (L,) mean AAS of successes minus that of all videos
    failure_gap: np.ndarray  # (L,) mean AAS of failures minus that of all videos
    separation: np.ndarray  # (L,) success_gap - failure_gap
    order: np.ndarray  # int: the layers asked for, those that separate most first


def layer_dominance(aas: ArrayLike, success: ArrayLike, layers: ArrayLike | None = None) -> LayerDominance:
    """Layers whose alignment goes with people's verdict (MATRIX 4.5).

    aas:     (V, L) or (V, L, S) as for `layer_influence`
    success: (V,) bool: people verified the interaction in the generated video
    layers:  those to order, such as LayerInfluence.influential; None: all

    The paper takes equally many of both; with unequal numbers the overall mean leans to the larger set, and both gaps
    still mean what they say. It orders by "this separation", which is taken as the difference of the gaps.
    Raises ValueError if no success or no failure counts.
    """
    counted = _counted_videos(aas)
    good = np.asarray(success, bool)[~np.isnan(_by_layer(aas)).all(axis=1)]
    if good.all() or not good.any():
        raise ValueError(f"{good.sum()} successes among {len(good)} videos: dominance needs some of both")
    overall = counted.mean(axis=0)
    success_gap = counted[good].mean(axis=0) - overall
    failure_gap = counted[~good].mean(axis=0) - overall
    separation = success_gap - failure_gap
    asked = np.arange(counted.shape[1]) if layers is None else np.sort(np.asarray(layers, int))
    order = asked[np.argsort(-separation[asked], kind="stable")]
    return LayerDominance(success_gap, failure_gap, separation, order)


def _by_layer(aas: ArrayLike) -> np.ndarray:
    """(V, L): means over steps."""
    values = np.asarray(aas, float)
    if values.ndim not in (2, 3):
        raise ValueError(f"AAS comes as (videos, layers) or (videos, layers, steps), not {values.shape}")
    return values.mean(axis=2) if values.ndim == 3 else values


def _counted_videos(aas: ArrayLike) -> np.ndarray:
    """(V', L) without the videos whose mask is empty."""
    values = _by_layer(aas)
    missing = np.isnan(values)
    if (partly := missing.any(axis=1) & ~missing.all(axis=1)).any():
        raise ValueError(
            f"video {int(partly.argmax())} has NaN for some layers or steps only: an empty mask gives all NaN"
        )
    counted = values[~missing.all(axis=1)]
    if not len(counted):
        raise ValueError("no video has an AAS: all masks are empty")
    return counted


def _ranks(values: np.ndarray) -> np.ndarray:
    """(L,) float: 1 for the largest; equal values share the mean of their ranks."""
    larger = (values[None] > values[:, None]).sum(axis=1)
    equal = (values[None] == values[:, None]).sum(axis=1)
    return larger + (equal + 1) / 2
