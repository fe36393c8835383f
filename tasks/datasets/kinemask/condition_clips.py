"""velocity masks -> what KineMask's two training stages are conditioned on (3.2, 4.1, A.3).

    stage 1     all frames: the velocity masks as they are
    stage 2     drop_masks(masks, draw_kept_frames(len(masks), config, weights, rng)): some frames, the rest blank
    inference   drop_masks(masks, [0]): the first frame alone; for a user's arrow: condition_image.py

Pure functions on arrays, cheap enough to be called for each sample of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from schemas.config import StageConfig
from tasks.engine.snapshots import Snapshot, SnapshotError

CONSTANT_PROMPT = "An object moving on a surface"  # c_0 of KineMask, 4.3.1: motion control without words


class ConditioningConfig(StageConfig):
    """How frames are kept in the second stage.

    The paper gives the principle: a dropout ratio, and f* drawn mostly among early frames, where collisions occur (4.1,
    A.3). It gives no number; these are ours. So is the rule that frame 0 is always kept: it is all there is at
    inference. f* are the frames that keep their mask, as equation 6 has it; the text also calls them masked ones.
    """

    sampling: Literal["collisions", "uniform"] = Field(
        "collisions",
        description="collisions: frames are kept around those where the training set collides; uniform: all alike, the "
        "ablation of table 5b",
    )
    min_dropout: float = Field(0.5, ge=0, le=1, description="Smallest share of the frames after the first to blank")
    max_dropout: float = Field(1.0, ge=0, le=1, description="Largest share; 1 leaves the first frame alone")
    spread_frames: float = Field(
        2.0, gt=0, description="Standard deviation of the Gaussian that smooths the collisions' histogram"
    )
    early_frames: float = Field(
        12.0,
        gt=0,
        description="Where no collision is known, weights fall by 1/e in so many frames: collisions are early",
    )
    uniform_share: float = Field(
        0.1, gt=0, le=1, description="Share of the weights that is spread evenly, so that any frame may be kept"
    )

    @model_validator(mode="after")
    def _ratios_ascend(self) -> ConditioningConfig:
        if self.min_dropout > self.max_dropout:
            raise ValueError(f"min_dropout {self.min_dropout} exceeds max_dropout {self.max_dropout}")
        return self


def frame_weights(
    n_frames: int, config: ConditioningConfig, collisions_per_frame: Sequence[int] | None = None
) -> np.ndarray:
    """How likely each frame is kept: (n_frames,) float, all positive, of sum 1.

    collisions_per_frame: collisions of the training set in frame 0, 1, ... (`training_collisions`); None or all zero:
                          weights that fall from the first frame on. No matter where sampling is uniform.
    Raises ValueError if it counts frames that the clip does not have.
    """
    even = np.full(n_frames, 1 / n_frames)
    if config.sampling == "uniform":
        return even
    times = np.arange(n_frames)
    counts = np.asarray([] if collisions_per_frame is None else collisions_per_frame, float)
    if counts[n_frames:].any():
        raise ValueError(f"collisions counted in {len(counts)} frames for a clip of {n_frames}; are they its set's?")
    if counts.any():
        apart = times[:, None] - np.arange(len(counts))
        biased = np.exp(-0.5 * (apart / config.spread_frames) ** 2) @ counts
    else:
        biased = np.exp(-times / config.early_frames)
    return (1 - config.uniform_share) * biased / biased.sum() + config.uniform_share * even


def draw_kept_frames(
    n_frames: int, config: ConditioningConfig, weights: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The frames that keep their mask in one sample (f* of KineMask, equation 6): increasing indices, 0 among them.

    The dropout ratio is uniform between the config's bounds; it is the share of the frames after the first that are
    blanked. Seed rng with np.random.default_rng([seed, epoch, sample]), and the draw is that sample's own.
    """
    ratio = rng.uniform(config.min_dropout, config.max_dropout)
    return kept_frames(n_frames, n_frames - round(ratio * (n_frames - 1)), rng, weights=weights)


def kept_frames(n_frames: int, n_kept: int, rng: np.random.Generator, *, weights: np.ndarray) -> np.ndarray:
    """Frame 0 and n_kept - 1 later ones: (n_kept,) int, increasing.

    The later ones are drawn one after the other without replacement, each with probability proportional to its weight
    among those that are left. weights: (n_frames,) float, positive, as `frame_weights` gives them; that of frame 0 is
    not used. Raises ValueError for a number out of [1, n_frames] or other weights.
    """
    if not 1 <= n_kept <= n_frames:
        raise ValueError(f"{n_kept} frames to keep of {n_frames}; at least the first, at most all")
    if weights.shape != (n_frames,) or not (weights > 0).all():
        raise ValueError(f"weights {weights.shape} for {n_frames} frames; give each a positive one")
    later = weights[1:] / weights[1:].sum()
    drawn = rng.choice(np.arange(1, n_frames), size=n_kept - 1, replace=False, p=later) if n_kept > 1 else ()
    return np.sort(np.asarray([0, *drawn], np.intp))


def drop_masks(masks: np.ndarray, kept: Sequence[int] | np.ndarray) -> np.ndarray:
    """(T, H, W, 3) -> the same with every frame blank that is not kept (KineMask, equation 6)."""
    dropped = np.zeros_like(masks)
    dropped[kept] = masks[kept]
    return dropped


def training_collisions(
    snapshot: Snapshot, set_: Literal["simple_motion", "interactions"] = "interactions"
) -> list[int]:
    """Collisions of a snapshot's training clips of a set in frame 0, 1, ...: what `frame_weights` takes.

    Raises SnapshotError if it is no snapshot of curate-kinemask, or has no such clips.
    """
    snapshot.require_flow("curate-kinemask")
    chosen = snapshot.scan("clips").filter((pl.col("set") == set_) & (pl.col("split") == "train"))
    clips = chosen.select("clip_id", "n_frames").collect()
    if clips.is_empty():
        raise SnapshotError(f"{snapshot.id} has no training clips of {set_}")
    collisions = snapshot.scan("collisions").select("clip_id", "frame").collect()
    frames = collisions.join(clips, on="clip_id", how="semi")["frame"].to_numpy()
    return np.bincount(frames, minlength=max(clips["n_frames"].to_list())).tolist()
